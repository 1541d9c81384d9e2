"""What a host's physics does at a state with noise, which the run itself does not see.

Such pairs show a network how perturbations of a profile decay: physics has removed from the weather
what differs at random from layer to layer, so a network never meets it in training but through its
own errors.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from climsim.hosts.base import SteppedHost, StepResult, require_noise
from climsim.validation import at_least

_BEFORE = "before_noise"


class _Kind(NamedTuple):
    """A kind of noise: key of a configuration, unit, and what follows an amplitude in words."""

    key: str
    unit: str
    words: str


_KINDS = {
    "temperature": _Kind("noise", "K", "K"),
    "humidity": _Kind("humidity_noise", "", "of the humidity"),
    "wind": _Kind("wind_noise", "m/s", "m/s"),
    "cloud": _Kind("cloud_noise", "", "of the logarithm of cloud"),
}
LATER_KEYS = tuple(kind.key for kind in _KINDS.values() if kind.key != "noise")
"""Keys that records of the first version do not have."""


@dataclass(frozen=True)
class Amplitudes:
    """Standard deviations of noise, white in level; of each list a state takes one at random.

    Attributes:
        temperature: [K].
        humidity: share of the specific humidity [1].
        wind: of both components [m/s].
        cloud: of the logarithm of a factor on liquid and ice [1].
    """

    temperature: tuple[float, ...] = ()
    humidity: tuple[float, ...] = ()
    wind: tuple[float, ...] = ()
    cloud: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            values = tuple(float(value) for value in getattr(self, name))
            object.__setattr__(self, name, values)
            for value in values:
                at_least(kind.key, value, 0.0, kind.unit)

    @classmethod
    def settle(cls, config: object) -> None:
        """Make the keys of a configuration tuples of numbers."""
        amplitudes = cls.of(config)
        for name, kind in _KINDS.items():
            object.__setattr__(config, kind.key, getattr(amplitudes, name))

    @classmethod
    def of(cls, config: object) -> Amplitudes:
        """Those of a configuration that has a key for each kind of noise."""
        return cls(**{name: getattr(config, kind.key) for name, kind in _KINDS.items()})

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    def __str__(self) -> str:
        given = [f"{list(v)} {_KINDS[k].words}" for k, v in asdict(self).items() if v]
        return "noise of " + ", ".join(given)

    def physics(
        self, host: SteppedHost, generator: np.random.Generator, scratch: Path
    ) -> StepResult:
        """The host's own physics at its state, or at one with noise; the state stays.

        Args:
            host: the climate model.
            generator: draws amplitudes and noise.
            scratch: folder for a restart file that is not kept.
        """
        if not self:
            return host.physics()
        before = scratch / _BEFORE
        host.save(before)
        try:
            temperature = self._one(self.temperature, generator)
            seed = int(generator.integers(2**31))
            further = {
                name: self._one(values, generator)
                for name, values in asdict(self).items()
                if values and name != "temperature"
            }
            require_noise(host, further, "this noise on the states")
            host.perturb(seed, temperature, **further)
            return host.physics()
        finally:
            host.restore(before)

    @staticmethod
    def _one(values: tuple[float, ...], generator: np.random.Generator) -> float:
        return float(generator.choice(values)) if values else 0.0
