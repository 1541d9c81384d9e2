"""Vapour above saturation condenses, whatever a network says.

A climate model's physics ends every step near saturation: in the weather of the embedded model it
leaves two cells of a thousand above 102 %. A network's tendencies leave more, the next step adds to
it, and the air of a coupled run leaves what the network was trained on.
"""

import torch
from torch import Tensor, nn

from climsim.constants import (
    ALL_ICE_TEMPERATURE,
    DRY_AIR_GAS_CONSTANT,
    DRY_AIR_HEAT_CAPACITY,
    FREEZING_TEMPERATURE,
    FUSION_HEAT,
    MIXED_PHASE_RANGE,
    VAPORIZATION_HEAT,
    VAPOUR_GAS_CONSTANT,
)
from climsim.physics.thermodynamics import (
    COLD_COEFFICIENTS,
    ICE_COEFFICIENTS,
    ICE_POLYNOMIAL_BOTTOM,
    ICE_POLYNOMIAL_TOP,
    LIQUID_COEFFICIENTS,
)
from climsim.transforms.interface import liquid_fraction

MOST_HUMID = 1.02
"""Relative humidity that is left at most."""
_ITERATIONS = 3
"""Of Newton's method: from 180 % it then ends within 0.2 % of that humidity."""


class Saturation(nn.Module):
    """How much vapour has to condense for the air to be near saturation, and what that warms.

    Solves ``q - c = s q_sat(T + L c / cp, p)`` for the condensed c > 0, with s = `MOST_HUMID`, the
    saturation of ClimSim's ``state_rh`` (`climsim.physics.thermodynamics.saturation_humidity`) and
    the latent heat of the mix of phases by temperature. Scriptable, in float64.
    """

    _liquid: list[float]
    _ice: list[float]
    _cold: list[float]

    def __init__(self) -> None:
        """Take the constants over: TorchScript reads no module globals."""
        super().__init__()
        self._liquid, self._ice = list(LIQUID_COEFFICIENTS), list(ICE_COEFFICIENTS)
        self._cold = list(COLD_COEFFICIENTS)
        self._ice_bottom, self._ice_top = ICE_POLYNOMIAL_BOTTOM, ICE_POLYNOMIAL_TOP
        self._freezing, self._most = FREEZING_TEMPERATURE, MOST_HUMID
        self._all_ice, self._mixed = ALL_ICE_TEMPERATURE, MIXED_PHASE_RANGE
        self._vaporization = VAPORIZATION_HEAT / DRY_AIR_HEAT_CAPACITY
        self._fusion = FUSION_HEAT / DRY_AIR_HEAT_CAPACITY
        self._hectopascals = 100.0 * DRY_AIR_GAS_CONSTANT / VAPOUR_GAS_CONSTANT
        # d q_sat / dT = q_sat L / (Rv T2), here of L / cp.
        self._slope = DRY_AIR_HEAT_CAPACITY / VAPOUR_GAS_CONSTANT
        self._iterations = _ITERATIONS

    def _polynomial(self, x: Tensor, coefficients: list[float]) -> Tensor:
        value = torch.full_like(x, coefficients[-1])
        for index in range(len(coefficients) - 1):
            value = value * x + coefficients[len(coefficients) - 2 - index]
        return value

    def humidity(self, temperature: Tensor, pressure: Tensor) -> Tensor:
        """Saturation humidity [kg kg-1] at a temperature [K] and pressure [Pa], both float64."""
        d = temperature - self._freezing
        liquid = self._polynomial(d.clamp(min=-80.0), self._liquid)
        # A branch that is not taken must not give a gradient that is no number.
        within = d.clamp(min=self._ice_bottom - self._freezing, max=0.0)
        ice = self._polynomial(within, self._ice)
        cold = self._polynomial(d.clamp(min=-100.0, max=0.0), self._cold)
        ice = torch.where(temperature > self._ice_bottom, ice, cold)
        ice = torch.where(temperature > self._ice_top, liquid, ice)
        fraction = liquid_fraction(temperature, self._all_ice, self._mixed)
        vapour = fraction * liquid + (1.0 - fraction) * ice
        return self._hectopascals * vapour / pressure

    def forward(
        self, temperature: Tensor, vapour: Tensor, pressure: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Condense.

        Args:
            temperature: (column, level) [K].
            vapour: (column, level) specific humidity [kg kg-1].
            pressure: (column, level) [Pa].

        Returns:
            What condenses [kg kg-1] and the warming that comes of it [K], (column, level), float64.
        """
        start, held, pressure = temperature.double(), vapour.double(), pressure.double()
        ice = 1.0 - liquid_fraction(start, self._all_ice, self._mixed)
        warming = self._vaporization + self._fusion * ice
        condensed = torch.zeros_like(held)
        for _ in range(self._iterations):
            now = (start + warming * condensed).clamp(min=100.0, max=400.0)
            most = self._most * self.humidity(now, pressure)
            response = 1.0 + warming * most * warming * self._slope / now.square()
            condensed = (condensed + (held - condensed - most) / response).clamp(min=0.0)
        return condensed, warming * condensed
