"""What a host's physics does at a state with noise, which the run itself does not see.

Such pairs show a network how perturbations of a profile decay: physics has removed from the weather
what differs at random from layer to layer, so a network never meets it in training but through its
own errors.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from climsim.hosts.base import SteppedHost, StepResult
from climsim.validation import at_least

_BEFORE = "before_noise"
_KEYS = {
    "temperature": "noise",
    "humidity": "humidity_noise",
    "wind": "wind_noise",
    "cloud": "cloud_noise",
}
"""Key of a configuration for each kind of noise."""
KEYS_SINCE = tuple(key for key in _KEYS.values() if key != "noise")
"""Those of them that records of the first version do not have."""
_UNITS = {"temperature": "K", "humidity": "", "wind": "m/s", "cloud": ""}
_OF = {
    "temperature": "K",
    "humidity": "of the humidity",
    "wind": "m/s",
    "cloud": "of the logarithm of cloud",
}


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
        for name, key in _KEYS.items():
            values = tuple(float(value) for value in getattr(self, name))
            object.__setattr__(self, name, values)
            for value in values:
                at_least(key, value, 0.0, _UNITS[name])

    @classmethod
    def settle(cls, config: object) -> None:
        """Make the keys of a configuration tuples of numbers."""
        amplitudes = cls.of(config)
        for name, key in _KEYS.items():
            object.__setattr__(config, key, getattr(amplitudes, name))

    @classmethod
    def of(cls, config: object) -> Amplitudes:
        """Those of a configuration that has a key for each kind of noise."""
        return cls(**{name: getattr(config, key) for name, key in _KEYS.items()})

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    def __str__(self) -> str:
        given = [f"{list(v)} {_OF[k]}" for k, v in asdict(self).items() if v]
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
            host.perturb(seed, temperature, **further)
            return host.physics()
        finally:
            host.restore(before)

    @staticmethod
    def _one(values: tuple[float, ...], generator: np.random.Generator) -> float:
        return float(generator.choice(values)) if values else 0.0
