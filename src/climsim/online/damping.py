"""How models answer to noise on their inputs: stability without a coupled run.

Full physics damps what differs at random from layer to layer. Does a network? And does one that
reads its own tendencies of earlier steps answer with less than it was given?
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from climsim.arrays import Array, Fields
from climsim.constants import SECONDS_PER_DAY
from climsim.devices import AUTO, check_device
from climsim.files import require_apart, require_there
from climsim.grid import ColumnGrid
from climsim.hosts import build_host
from climsim.hosts.base import SteppedHost, require_noise
from climsim.online.coupler import split_output
from climsim.online.memory import Memory, assemble
from climsim.online.model import CoupledModel, open_model
from climsim.stage import Progress
from climsim.validation import Checks, require

PERTURBED: Final = {
    "t": ("state_t",),
    "q": ("state_q0001",),
    "wind": ("state_u", "state_v"),
}
"""Inputs that get noise together, by the name of the answer."""
PHYSICS: Final = "full physics"
"""The row of the host's own physics."""
_REMEMBERED: Final = ("t", "u")
_MEMORY_NOISE: Final = 0.1
"""Noise on a remembered tendency, in units of its spread in each level."""


@dataclass(frozen=True)
class DampingConfig:
    """Which models answer to which noise at which states.

    Attributes:
        models: exported models.
        out: netCDF file of the rates; the figure lies beside it.
        starts: restart files of the host; empty takes the host's own start state.
        steps: of full physics after each start, which fill the memory of models that have one.
        draws: of the noise at each state.
        temperature: standard deviation of the noise on the temperature [K].
        humidity: on the specific humidity, as a share of it [1].
        wind: on both winds [m/s].
        lowest: levels above the surface in which differences between layers are measured.
        seed: of the noise.
        host: name of the host, a module of `climsim.hosts`, or ``path/to/file.py:build_host``.
        host_options: settings of the host, by key.
        device: where the models run: ``cpu``, ``gpu``, or ``auto`` for a GPU where there is one.
        threads: of a model on a CPU; 0 takes OMP_NUM_THREADS, or every core.
    """

    models: tuple[Path, ...]
    out: Path
    starts: tuple[Path, ...] = ()
    steps: int = 3
    draws: int = 3
    temperature: float = 0.3
    humidity: float = 0.05
    wind: float = 0.5
    lowest: int = 16
    seed: int = 0
    host: str = "gcm"
    host_options: dict[str, object] = field(default_factory=dict)
    device: str = AUTO
    threads: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(Path(path) for path in self.models))
        object.__setattr__(self, "starts", tuple(Path(path) for path in self.starts))
        object.__setattr__(self, "out", Path(self.out))
        check = Checks(self)
        check.whole("draws", least=1)
        check.whole("steps", least=2)
        check.whole("lowest", least=3)
        check.whole("seed", "threads")
        check.positive("temperature", "humidity", "wind")
        check_device("device", self.device)
        require_apart({"models": self.models})
        names = [path.stem for path in self.models]
        require(
            "models",
            ", ".join(names),
            len(set(names)) == len(names),
            "files of different names",
            "the rows are called by them: rename one",
        )

    def amplitude(self, group: str) -> float:
        """Amplitude of the noise on a group of `PERTURBED`."""
        return {"t": self.temperature, "q": self.humidity, "wind": self.wind}[group]


@dataclass
class Damping:
    """Answers of one model, or of full physics.

    Attributes:
        rates: by group of `PERTURBED`, (level,) rate at which noise decays [1/day].
        smoothing: by group, rate at which differences between neighbouring layers decay in the
            lowest levels [1/day]; below 0 they grow.
        returned: by remembered tendency, (level,) share of its noise that comes back [1]; above 1
            an error grows from step to step. Empty for a model without memory.
    """

    rates: dict[str, Array] = field(default_factory=dict)
    smoothing: dict[str, float] = field(default_factory=dict)
    returned: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class _State:
    """Where models are asked: inputs of a step and the steps before."""

    inputs: Fields
    memory: Memory


class _Projection:
    """Sums of noise times answer and of noise squared, over columns, draws and states.

    Args:
        area: (column,) weights.
        lowest: levels above the surface in which differences between layers are measured.
    """

    def __init__(self, area: Array, lowest: int) -> None:
        self._area, self._lowest = area, lowest
        self._each: list[Array | float] = [0.0, 0.0]
        self._rough = [0.0, 0.0]

    def add(self, noise: Array, answer: Array) -> None:
        """Add one draw.

        Args:
            noise: on an input, (level, column).
            answer: change of its tendency, alike [unit of the input s-1].
        """
        change, reply = (np.asarray(x, np.float64) for x in (noise, answer))
        self._each[0] += (self._area * change * reply).sum(axis=1)
        self._each[1] += (self._area * change**2).sum(axis=1)
        rough, smoothing = (np.diff(x[-self._lowest :], n=2, axis=0) for x in (change, reply))
        self._rough[0] += float((self._area * rough * smoothing).sum())
        self._rough[1] += float((self._area * rough**2).sum())

    @property
    def rates(self) -> Array:
        """Rate of decay in each level [1/day]."""
        return -SECONDS_PER_DAY * _ratio(self._each[0], self._each[1])

    @property
    def smoothing(self) -> float:
        """Rate of decay of the second difference between layers [1/day]."""
        return -SECONDS_PER_DAY * float(_ratio(self._rough[0], self._rough[1]))


def _ratio(above: Array | float, below: Array | float) -> Array:
    above, below = np.asarray(above), np.asarray(below)
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def measure_damping(
    config: DampingConfig, progress: Progress | None = None, host: SteppedHost | None = None
) -> tuple[dict[str, Damping], ColumnGrid]:
    """Ask the host's physics and every model for their answer to noise.

    Args:
        config: models, states and noise.
        progress: called with (rows done, rows in all).
        host: one built before, at its start state; None builds it from the configuration.

    Returns:
        The answers by row, full physics first, and the host's columns.

    Raises:
        ClimSimError: if a model or a start does not fit the host.
    """
    require_there({"models": config.models, "starts": config.starts})
    host = build_host(config.host, config.host_options) if host is None else host
    require_noise(host, ("humidity", "wind"), "the noise that models are to damp")
    levels = host.grid.n_levels
    require(
        "lowest", config.lowest, config.lowest <= levels, f"at most {levels}, the host's levels"
    )
    # A model that does not fit is refused before the host's physics compiles.
    models = {
        path.stem: open_model(path, host, config.device, config.threads) for path in config.models
    }
    total = len(models) + 1
    with TemporaryDirectory(prefix="climsim-") as folder:
        states, physics = _states_and_physics(config, host, Path(folder))
    rows = {PHYSICS: physics}
    for name, model in models.items():
        if progress is not None:
            progress(len(rows), total)
        rows[name] = damping_of(model, states, host.grid, config)
    if progress is not None:
        progress(total, total)
    return rows, host.grid


def _states_and_physics(
    config: DampingConfig, host: SteppedHost, scratch: Path
) -> tuple[list[_State], Damping]:
    """The states, and how the host's physics answers there."""
    first, there = scratch / "first", scratch / "there"
    host.save(first)
    states: list[_State] = []
    sums = _projections(host.grid, config)
    for number, start in enumerate(config.starts or (first,)):
        host.restore(start)
        memory = Memory(dt=host.dt)
        for _ in range(config.steps):
            done = host.step_physics()
            memory = memory.advance(done.inputs, done.tendencies)
        host.save(there)
        quiet = host.physics()
        states.append(_State(quiet.inputs, memory))
        for group in PERTURBED:
            for draw in range(config.draws):
                seed = config.seed + number * config.draws + draw
                _perturb(host, group, seed, config.amplitude(group))
                noisy = host.physics()
                without = quiet.inputs, quiet.tendencies
                _add(sums[group], group, without, (noisy.inputs, noisy.tendencies))
                host.restore(there)
    return states, _result(sums)


def _perturb(host: SteppedHost, group: str, seed: int, amplitude: float) -> None:
    """Add noise to a group of inputs of a host."""
    if group == "t":
        host.perturb(seed, amplitude)
    elif group == "q":
        host.perturb(seed, 0.0, humidity=amplitude)
    else:
        host.perturb(seed, 0.0, wind=amplitude)


def _projections(grid: ColumnGrid, config: DampingConfig) -> dict[str, _Projection]:
    return {group: _Projection(grid.area_weights(), config.lowest) for group in PERTURBED}


def _add(
    sums: _Projection,
    group: str,
    quiet: tuple[Fields, Fields],
    noisy: tuple[Fields, Fields],
) -> None:
    """Add what noise did to a group, from (inputs, tendencies) without and with it."""
    for name in PERTURBED[group]:
        tendency = name.replace("state_", "ptend_")
        sums.add(noisy[0][name] - quiet[0][name], noisy[1][tendency] - quiet[1][tendency])


def _result(sums: Mapping[str, _Projection]) -> Damping:
    return Damping(
        {group: projection.rates for group, projection in sums.items()},
        {group: projection.smoothing for group, projection in sums.items()},
    )


def damping_of(
    model: CoupledModel, states: Iterable[_State], grid: ColumnGrid, config: DampingConfig
) -> Damping:
    """How a model answers to noise.

    Args:
        model: exported model.
        states: where it is asked.
        grid: the host's columns.
        config: of the noise.
    """
    generator = np.random.default_rng(config.seed)
    sums = _projections(grid, config)
    back = {name: _Projection(grid.area_weights(), config.lowest) for name in _REMEMBERED}
    for state in states:
        quiet = _tendencies(model, state, grid)
        for group, names in PERTURBED.items():
            for _ in range(config.draws):
                inputs = dict(state.inputs)
                for name in names:
                    inputs[name] = _noisy(inputs[name], group, config, generator.standard_normal)
                noisy = _tendencies(model, replace(state, inputs=inputs), grid)
                _add(sums[group], group, (state.inputs, quiet), (inputs, noisy))
        if model.interface.steps_of_memory:
            _add_returned(model, state, grid, back, generator)
    result = _result(sums)
    if model.interface.steps_of_memory:
        result.returned = {
            name: -projection.rates / SECONDS_PER_DAY for name, projection in back.items()
        }
    return result


def _noisy(
    values: Array, group: str, config: DampingConfig, normal: Callable[[tuple[int, ...]], Array]
) -> Array:
    noise = config.amplitude(group) * normal(values.shape)
    return values * (1.0 + noise) if group == "q" else values + noise


def _add_returned(
    model: CoupledModel,
    state: _State,
    grid: ColumnGrid,
    back: Mapping[str, _Projection],
    generator: np.random.Generator,
) -> None:
    """Add what comes back of noise on the tendencies of the step before."""
    without = _tendencies(model, state, grid)
    for short, sums in back.items():
        name = f"state_{short}_prvphy"
        given = np.asarray(state.memory.physics[name], np.float64)
        spread = given.std(axis=1, keepdims=True)
        noise = _MEMORY_NOISE * spread * generator.standard_normal(given.shape)
        memory = replace(state.memory, physics={**state.memory.physics, name: given + noise})
        answer = _tendencies(model, replace(state, memory=memory), grid)[f"ptend_{short}"]
        sums.add(noise, answer - without[f"ptend_{short}"])


def _tendencies(model: CoupledModel, state: _State, grid: ColumnGrid) -> Fields:
    """What a model answers, (level, column) each."""
    vector = assemble(model.interface, state.inputs, state.memory, grid)
    return split_output(model(vector), grid.n_levels).tendencies
