"""Closing the water budget of a column inside the model, after its targets are physical.

The emulated term loses water by precipitation alone, as the surface flux of moisture is delivered
outside of it. What a network's tendencies create beyond that is taken out of the vapour.

A network removes condensate here and there that is not there. A climate model raises such
tendencies to zero, which adds condensate on average, as nothing lowers others. So a closure may let
the rest of the column's condensate pay for it before the climate model has to. And it may condense
what vapour the tendencies leave above saturation.
"""

import numpy as np
import torch
from torch import Tensor, nn

from climsim.arrays import Double
from climsim.checkpoint_cards import WATER, WATER_CLOUD, WATER_HEAT, WATER_SATURATED
from climsim.constants import (
    DRY_AIR_HEAT_CAPACITY,
    EXPORT_ZERO_LEVELS,
    GRAVITY,
    TIME_STEP,
    VAPORIZATION_HEAT,
    WATER_DENSITY,
)
from climsim.errors import ClimSimError
from climsim.grid import ColumnGrid
from climsim.interfaces import Encoding
from climsim.transforms.saturation import Saturation

_WATER_TARGETS = ("ptend_q0001", "ptend_qn", "ptend_q0002", "ptend_q0003")
_VAPOUR, _HEATING, _RAIN = "ptend_q0001", "ptend_t", "cam_out_PRECC"
_CLOUD = "ptend_qn"
_LEAST_PATH = 1e-12
"""Condensate of a column that counts as none [kg m-2]."""
_LATENT_WARMING = VAPORIZATION_HEAT / DRY_AIR_HEAT_CAPACITY


class ColumnClosure(nn.Module):
    """Takes the column residual of water out of the vapour tendency.

    ``R = sum_k((dqv + dqn)_k m_k) + rho_w max(PRECC, 0)`` with the layer mass ``m = dp / g``;
    ``dqv_k`` changes by ``-R w_k / sum(w m)``. The weights w are positive, learned, and 0 in the
    levels in which an exported model has no moisture tendency; those levels are no part of R. They
    start from the variance of the vapour tendency per level, which makes the correction the
    smallest one in units of the spread. A column without residual is left as it is. Outside of
    training the rain itself is floored at 0 too, so that means of closed models are closed.

    Under ``"water_cloud"`` condensate is limited before that: a level in which ``q + dt dq < 0`` is
    left with none, and what it lacked is taken from the levels that keep some, in proportion to
    what they keep, so that the column's condensate changes as predicted. Where the column would
    hold less than none, it is left with none, and the vapour pays for the rest.

    Under ``"water_saturated"`` vapour above saturation condenses after that (`Saturation`): the
    column keeps its water, and warms by the latent heat.

    Attributes:
        kind: one of `climsim.checkpoint_cards.CLOSURES`.
    """

    layer: Tensor
    layer_by_pressure: Tensor
    start: Tensor
    kept: Tensor
    middle: Tensor
    middle_by_pressure: Tensor
    time_step: Tensor
    _clouds: list[tuple[int, int]]

    def __init__(self, encoding: Encoding, n_levels: int, kind: str = WATER) -> None:
        """Find pressure and water in the vectors; `prepare` fills in the numbers.

        Args:
            encoding: of the physical input vector; its targets hold all water.
            n_levels: levels of a profile.
            kind: one of `climsim.checkpoint_cards.CLOSURES`.
        """
        super().__init__()
        self.kind = kind
        self.n_levels = n_levels
        places = encoding.targets.slices(n_levels)
        self._water = [places[name].start for name in _WATER_TARGETS if name in places]
        self._vapour, self._heating = places[_VAPOUR].start, places[_HEATING].start
        self._rain = places[_RAIN].start
        held = encoding.variables.slices(n_levels)
        self._pressure = held["state_ps"].start
        self._clouds = [
            (places[name].start, held[name.replace("ptend_", "state_")].start)
            for name in _WATER_TARGETS
            if kind == WATER_CLOUD and name in places and name != _VAPOUR
        ]
        self._density, self._least_path = WATER_DENSITY, _LEAST_PATH
        self._warming = _LATENT_WARMING if kind == WATER_HEAT else 0.0
        self._saturates = kind == WATER_SATURATED
        self._cloud, self._temperature, self._humidity = 0, 0, 0
        if self._saturates:
            self._cloud = places[_CLOUD].start
            self._temperature = held["state_t"].start
            self._humidity = held["state_rh"].start
        self.saturation = Saturation()
        for name in ("layer", "layer_by_pressure", "start", "kept"):
            self.register_buffer(name, torch.ones(n_levels, dtype=torch.float64))
        # Files of the other kinds need none and, older than this one, have none.
        step = torch.tensor(TIME_STEP, dtype=torch.float64)
        persistent = kind in (WATER_CLOUD, WATER_SATURATED)
        self.register_buffer("time_step", step, persistent=persistent)
        for name in ("middle", "middle_by_pressure"):
            ones = torch.ones(n_levels, dtype=torch.float64)
            self.register_buffer(name, ones, persistent=self._saturates)
        self.learned = nn.Parameter(torch.zeros(n_levels))

    def prepare(
        self,
        grid: ColumnGrid,
        vapour_scale: Double,
        pruned_levels: int,
        gravity: float = GRAVITY,
        time_step: float = TIME_STEP,
    ) -> "ColumnClosure":
        """Take over the vertical coordinate and the weights to start from.

        Args:
            grid: of the data.
            vapour_scale: (level,) inverse of the spread of the vapour tendency.
            pruned_levels: top levels without moisture tendencies in the prediction.
            gravity: of the model that the data are of [m s-2].
            time_step: over which a tendency acts [s].

        Returns:
            Itself.

        Raises:
            ClimSimError: if no level is left.
        """
        top = max(pruned_levels, EXPORT_ZERO_LEVELS)
        if top >= self.n_levels:
            raise ClimSimError(
                f"recipe.closure={self.kind}: expected levels below the top {top}, which have no "
                f"moisture tendency, found {self.n_levels} in all: set recipe.closure=none"
            )
        scale = np.asarray(vapour_scale, dtype=np.float64)
        values = {
            "layer": np.diff(grid.hyai) * grid.p0 / gravity,
            "layer_by_pressure": np.diff(grid.hybi) / gravity,
            "start": -2.0 * np.log(scale / scale[top:].min()),
            "kept": np.where(np.arange(self.n_levels) < top, 0.0, 1.0),
            "middle": grid.hyam * grid.p0,
            "middle_by_pressure": grid.hybm,
        }
        for name, value in values.items():
            getattr(self, name).copy_(torch.as_tensor(value))
        self.time_step.fill_(time_step)
        return self

    def forward(self, x: Tensor, tendencies: Tensor) -> Tensor:
        """Close the columns.

        Args:
            x: (column, feature) physical inputs in the layout of the encoding's variables.
            tendencies: (column, target) physical.

        Returns:
            (column, target) physical, of the same type.
        """
        n, vapour, heating = self.n_levels, self._vapour, self._heating
        mass = self.layer + self.layer_by_pressure * x[:, self._pressure].double().unsqueeze(1)
        mass = mass * self.kept
        for first, state in self._clouds:
            limited = tendencies.clone()
            limited[:, first : first + n] = self._borrowed(
                x[:, state : state + n], tendencies[:, first : first + n], mass
            )
            tendencies = limited
        residual = self._density * tendencies[:, self._rain].double().clamp(min=0.0)
        for first in self._water:
            water = tendencies[:, first : first + n].double()
            residual = residual + (water * mass).sum(dim=1)
        weights = torch.softmax(self.start + self.learned.double(), dim=0) * self.kept
        share = weights / (weights * mass).sum(dim=1, keepdim=True)
        change = torch.zeros_like(tendencies)
        change[:, vapour : vapour + n] = -(residual.unsqueeze(1) * share).to(tendencies.dtype)
        if self._warming > 0.0:
            moved = change[:, vapour : vapour + n].clone()
            change[:, heating : heating + n] = -self._warming * moved
        closed = tendencies + change
        if self._saturates:
            closed = closed + self._condensed(x, closed)
        if not self.training:
            # In training a rain below zero keeps its gradient; the mean of members needs none.
            closed[:, self._rain] = tendencies[:, self._rain].clamp(min=0.0)
        return closed

    def _condensed(self, x: Tensor, tendencies: Tensor) -> Tensor:
        """Change of tendencies, (column, target), by which no air is left above saturation."""
        n, step = self.n_levels, self.time_step
        surface = x[:, self._pressure].double().unsqueeze(1)
        pressure = self.middle + self.middle_by_pressure * surface
        before = x[:, self._temperature : self._temperature + n].double()
        humid = x[:, self._humidity : self._humidity + n].double()
        vapour = humid * self.saturation.humidity(before, pressure)
        after = before + step * tendencies[:, self._heating : self._heating + n].double()
        vapour = vapour + step * tendencies[:, self._vapour : self._vapour + n].double()
        condensed, warming = self.saturation(after, vapour, pressure)
        rate = (self.kept * condensed / step).to(tendencies.dtype)
        heating = (self.kept * warming / step).to(tendencies.dtype)
        change = torch.zeros_like(tendencies)
        change[:, self._vapour : self._vapour + n] = -rate
        change[:, self._cloud : self._cloud + n] = rate
        change[:, self._heating : self._heating + n] = heating
        return change

    def _borrowed(self, amount: Tensor, tendency: Tensor, mass: Tensor) -> Tensor:
        """Tendencies of condensate, (column, level), that leave none negative.

        Args:
            amount: (column, level) before the step [kg kg-1].
            tendency: (column, level) as predicted [kg kg-1 s-1].
            mass: (column, level) of the layers, 0 where nothing may change [kg m-2].
        """
        before = amount.double()
        after = before + self.time_step * tendency.double()
        positive = after.clamp(min=0.0)
        held = (positive * mass).sum(dim=1, keepdim=True)
        lacking = ((positive - after) * mass).sum(dim=1, keepdim=True)
        share = (1.0 - lacking / held.clamp(min=self._least_path)).clamp(min=0.0)
        limited = ((positive * share - before) / self.time_step).to(tendency.dtype)
        changed = (lacking > 0.0) & (mass > 0.0)
        return torch.where(changed, limited, tendency)
