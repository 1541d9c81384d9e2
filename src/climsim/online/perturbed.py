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


@dataclass(frozen=True)
class Amplitudes:
    """Standard deviations of noise, white in level; of each list a state takes one at random.

    Attributes:
        temperature: [K].
        humidity: share of the specific humidity [1].
        wind: of both components [m/s].
    """

    temperature: tuple[float, ...] = ()
    humidity: tuple[float, ...] = ()
    wind: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for key, unit in (("temperature", "K"), ("humidity", ""), ("wind", "m/s")):
            values = tuple(float(value) for value in getattr(self, key))
            object.__setattr__(self, key, values)
            for value in values:
                at_least("noise" if key == "temperature" else f"{key}_noise", value, 0.0, unit)

    def __bool__(self) -> bool:
        return bool(self.temperature or self.humidity or self.wind)

    def __str__(self) -> str:
        units = {"temperature": "K", "humidity": "of the humidity", "wind": "m/s"}
        given = [f"{list(v)} {units[k]}" for k, v in asdict(self).items() if v]
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
            moist = {
                name: self._one(values, generator)
                for name, values in (("humidity", self.humidity), ("wind", self.wind))
                if values
            }
            host.perturb(seed, temperature, **moist)
            return host.physics()
        finally:
            host.restore(before)

    @staticmethod
    def _one(values: tuple[float, ...], generator: np.random.Generator) -> float:
        return float(generator.choice(values)) if values else 0.0
