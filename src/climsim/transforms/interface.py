"""From the vector of a climate model to a variable set, and back to its tendencies."""

import numpy as np
import torch
from torch import Tensor, nn

from climsim.constants import ALL_ICE_TEMPERATURE, EXPORT_ZERO_LEVELS, MIXED_PHASE_RANGE, TIME_STEP
from climsim.interfaces import Encoding, Interface
from climsim.normalization import kept_targets
from climsim.variables import TARGETS, phases

_LIQUID_FRACTION = "liq_partition"


def liquid_fraction(
    temperature: Tensor, all_ice: float = ALL_ICE_TEMPERATURE, width: float = MIXED_PHASE_RANGE
) -> Tensor:
    """Fraction of condensate that is liquid by temperature, ``clip((T - all_ice) / width, 0, 1)``.

    The constants are arguments because TorchScript does not read module globals.

    Args:
        temperature: of any shape [K].
        all_ice: at and below it all condensate is ice [K].
        width: range of temperature in which liquid and ice coexist [K].

    Returns:
        [1], same shape.
    """
    return torch.clamp((temperature - all_ice) / width, 0.0, 1.0)


class InterfaceTransform(nn.Module):
    """From the vector of an interface to the vector that an encoding is computed from.

    Liquid and ice are added to condensate (and so are their previous tendencies) and the liquid
    fraction follows from temperature; everything else is copied.
    """

    index: Tensor
    _sums: list[tuple[int, int, int]]

    def __init__(self, encoding: Encoding, n_levels: int) -> None:
        """Find where each feature comes from.

        Args:
            encoding: what the network sees; it names its interface.
            n_levels: levels of a profile.
        """
        super().__init__()
        given, variables = encoding.interface.variables, encoding.variables
        self.n_inputs = given.size(n_levels)
        self.n_outputs = variables.size(n_levels)
        index = np.zeros(self.n_outputs, dtype=np.int64)
        sums = []
        self._liquid = (0, 0)
        places = given.slices(n_levels)
        for name, where in variables.slices(n_levels).items():
            if name == _LIQUID_FRACTION:
                source = places["state_t"]
                self._liquid = (where.start, where.stop)
            elif (parts := phases(name)) is not None:
                liquid, ice = parts
                source = places[liquid]
                sums.append((where.start, where.stop, places[ice].start))
            else:
                source = places[name]
            index[where] = np.arange(source.start, source.stop)
        self._sums = sums
        self.register_buffer("index", torch.as_tensor(index))

    def forward(self, x: Tensor) -> Tensor:
        """Rearrange.

        Args:
            x: (column, interface feature) physical values.

        Returns:
            (column, feature) physical values in the layout of the variable set.
        """
        result = x.index_select(1, self.index)
        for start, stop, ice in self._sums:
            result[:, start:stop] += x[:, ice : ice + stop - start]
        first, last = self._liquid
        result[:, first:last] = liquid_fraction(result[:, first:last])
        return result


class PhasesApart(nn.Module):
    """Tendencies of a network that predicts liquid and ice itself, zero in the top levels."""

    kept: Tensor

    def __init__(
        self, interface: Interface, n_levels: int, zero_levels: int = EXPORT_ZERO_LEVELS
    ) -> None:
        """Find the pruned tendencies.

        Args:
            interface: through which the climate model is reached.
            n_levels: levels of a profile.
            zero_levels: top levels without moisture, condensate and wind tendencies.
        """
        super().__init__()
        kept = kept_targets(n_levels, zero_levels, interface.outputs)
        self.register_buffer("kept", torch.from_numpy(kept))

    def forward(self, x: Tensor, tendencies: Tensor) -> Tensor:
        """Set the top levels to zero.

        Args:
            x: (column, interface feature), not looked at.
            tendencies: (column, output feature) physical.

        Returns:
            The same, pruned.
        """
        return tendencies * self.kept


class MicrophysicsConstraint(nn.Module):
    """From predicted condensate tendencies to those of liquid and ice, by temperature.

    With ``T' = T + dt dT`` and ``qn' = qc + qi + dt dqn``: ``qc' = w(T') qn'``,
    ``qi' = (1 - w(T')) qn'``. Moisture, condensate and wind tendencies of the top levels are zero.
    Source: Hu et al. 2025 (arXiv 2407.00124).
    """

    kept: Tensor

    def __init__(
        self,
        interface: Interface,
        n_levels: int,
        zero_levels: int = EXPORT_ZERO_LEVELS,
        time_step: float = TIME_STEP,
    ) -> None:
        """Find the temperature and the clouds in the vector.

        Args:
            interface: through which the climate model is reached.
            n_levels: levels of a profile.
            zero_levels: top levels without moisture, condensate and wind tendencies.
            time_step: over which tendencies act [s].
        """
        super().__init__()
        given = interface.variables
        self.n_outputs = interface.outputs.size(n_levels)
        self.n_levels = n_levels
        self._time_step = time_step
        self._temperature = given.slice("state_t", n_levels).start
        self._liquid = given.slice("state_q0002", n_levels).start
        self._ice = given.slice("state_q0003", n_levels).start
        self._heating = TARGETS.slice("ptend_t", n_levels).start
        self._cloud = TARGETS.slice("ptend_qn", n_levels).start
        self.register_buffer("kept", torch.from_numpy(kept_targets(n_levels, zero_levels)))

    def forward(self, x: Tensor, tendencies: Tensor) -> Tensor:
        """Split condensate.

        Args:
            x: (column, interface feature) physical values before physics.
            tendencies: (column, feature) physical, in the layout of the targets.

        Returns:
            (column, output feature) physical, liquid and ice apart.
        """
        n = self.n_levels
        y = tendencies * self.kept
        liquid = x[:, self._liquid : self._liquid + n]
        ice = x[:, self._ice : self._ice + n]
        before = x[:, self._temperature : self._temperature + n]
        after = before + self._time_step * y[:, self._heating : self._heating + n]
        total = liquid + ice + self._time_step * y[:, self._cloud : self._cloud + n]
        fraction = liquid_fraction(after)
        return torch.cat(
            [
                y[:, : self._cloud],
                (fraction * total - liquid) / self._time_step,
                ((1.0 - fraction) * total - ice) / self._time_step,
                y[:, self._cloud + n :],
            ],
            dim=1,
        )
