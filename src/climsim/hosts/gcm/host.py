"""The embedded climate model as a host of the coupler."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import cftime
import numpy as np

from climsim.arrays import Array, Fields
from climsim.constants import TIME_STEP
from climsim.errors import ClimSimError
from climsim.grid import ColumnGrid
from climsim.hosts.base import HealthReport, StepResult
from climsim.hosts.gcm import dynamics
from climsim.hosts.gcm.carry import fresh_carry
from climsim.hosts.gcm.compilation import enable_compilation_cache, select_device
from climsim.hosts.gcm.condensate import with_noise
from climsim.hosts.gcm.config import ANALYTIC_DATE, GcmConfig
from climsim.hosts.gcm.exchange import (
    from_field,
    numpy_fields,
    on_gpu,
    require_field,
    singles,
    surface_sun,
)
from climsim.hosts.gcm.grid import (
    RESOLUTIONS,
    column_grid,
    model_coordinates,
    physical_constants,
)
from climsim.hosts.gcm.physics import GREY, full_physics
from climsim.hosts.gcm.programs import Programs
from climsim.hosts.gcm.refine import leaves_on, over_new_ground, padded
from climsim.hosts.gcm.restart import (
    Restart,
    is_read,
    named_leaves,
    read_restart,
    with_leaves,
    write_restart,
)
from climsim.hosts.gcm.state import SURFACE_LIGHT
from climsim.hosts.gcm.tuning import TUNING
from climsim.hosts.members import Members, SeparateMembers
from climsim.processes import in_words
from climsim.variables import OUTPUTS, RAW_PROFILES, SCALARS_IN

if TYPE_CHECKING:
    import jax

    from climsim.hosts.gcm.columns import RadiationColumns
    from climsim.hosts.gcm.state import Diagnostics, Excess, ModelState, Outputs


@dataclass(frozen=True)
class Snapshot:
    """State of one member of the model, or of several, stacked.

    Attributes:
        state: of the dynamics.
        carry: of the physics.
        latest: carry after full physics at this state where that ran too, else `carry`.
        date: beginning of the coming step.
        step: number of steps since the start state.
    """

    state: ModelState
    carry: Diagnostics
    latest: Diagnostics
    date: cftime.DatetimeNoLeap
    step: int

    def advanced(self, state: ModelState, carry: Diagnostics) -> Snapshot:
        """What this became one step later."""
        date = self.date + datetime.timedelta(seconds=TIME_STEP)
        return Snapshot(state, carry, carry, date, self.step + 1)


class GcmHost:
    """jcm's general circulation model behind the coupler's `SteppedHost` protocol."""

    dt = TIME_STEP
    provides = frozenset((*RAW_PROFILES, *SCALARS_IN))
    requires = frozenset(OUTPUTS.names)
    processes_option = "retain_turbulence"

    def __init__(self, config: GcmConfig) -> None:
        """Build the model and load its start state; programs compile at their first use."""
        enable_compilation_cache(config.cache_folder / "jax")
        select_device(config.device)
        self.config = config
        self.name = f"gcm-{config.resolution}-{config.advection}-{config.radiation}"
        coordinates = model_coordinates(config.resolution)
        self.grid: ColumnGrid = column_grid(coordinates)
        self.constants = physical_constants()
        self.emulated_processes = config.emulated_processes
        with dynamics.quiet_jcm():
            full = full_physics(coordinates, config.physics_options())
        self._core = dynamics.build_core(
            config.resolution,
            full,
            config.advection,
            config.cache_folder,
            coordinates=coordinates,
            diffusion_hours=config.damping_hours,
        )
        self.programs = Programs(self._core, config, self.grid)
        self._state = dynamics.initial_state(self._core)
        with dynamics.quiet_jcm():
            carry = fresh_carry(self._core.model, config.made_of(), config.cache_folder)
        self._carry = dynamics.strong_types(carry)
        self._template = (self._state, self._carry)
        self._fields: Callable[[Mapping[str, jax.Array]], Fields] = numpy_fields
        self._date, self._step = ANALYTIC_DATE, 0
        self._observed: tuple[Fields, dict[str, Excess]] | None = None
        self._advanced: tuple[ModelState, Diagnostics, StepResult] | None = None
        with config.start_file() as path:
            if path is not None:
                self.start_from(path)

    @property
    def core(self) -> dynamics.Core:
        """The model's objects."""
        return self._core

    @property
    def date(self) -> cftime.DatetimeNoLeap:
        """Beginning of the coming step."""
        return self._date

    @property
    def step_number(self) -> int:
        """Steps since the start state."""
        return self._step

    @property
    def source(self) -> str:
        """What made the data, for the attribute of files."""
        config = self.config
        return (
            f"embedded climate model (not E3SM-MMF): jcm {metadata.version('jcm')} with ECHAM "
            f"physics, {config.resolution}, {self.grid.n_columns} columns, "
            f"{self.grid.n_levels} levels, advection {config.advection}, "
            f"radiation {config.radiation} every {config.radiation_interval:g} s, "
            f"condensate split by {'temperature' if config.split_condensate else 'microphysics'}, "
            f"emulated term of {in_words(self.emulated_processes)}, "
            f"tuning {dict(sorted({**TUNING, **config.tuning}.items()))}, "
            f"damping of the shortest waves {config.damping_hours:g} h, "
            f"climsim-kaggle-edition {metadata.version('climsim-kaggle-edition')}"
        )

    def inputs(self) -> Fields:
        """State before physics and boundary inputs of the coming step, float32."""
        return dict(self._observe()[0])

    def health(self) -> HealthReport | None:
        """The worst violation of bounds in the present state, or None."""
        excesses = self._observe()[1]
        return worst_violation(excesses, self.grid.n_columns)

    def physics(self) -> StepResult:
        """The host's own physics at the present state, without advancing."""
        if self._advanced is None:
            inputs = self.inputs()
            state, carry, out = self.programs.full(self._state, self._carry, self._date)
            self._advanced = state, carry, self._result(inputs, out, self._fields(out["surface"]))
        return self._advanced[2]

    def step_physics(self) -> StepResult:
        """Advance one step with the host's own physics."""
        result = self.physics()
        assert self._advanced is not None
        self._commit(self._advanced[0], self._advanced[1])
        return result

    def step_emulated(self, tendencies: Fields, surface: Fields) -> StepResult:
        """Advance one step with the emulated term replaced by the arrays given.

        Args:
            tendencies: `ptend_*` of t, q0001, q0002, q0003, u, v, (level, column).
            surface: the eight `cam_out_*` scalars, (column,).
        """
        inputs = self.inputs()
        given, now = singles(surface), self.snapshot()
        fields = emulated_term(tendencies, given, (self.grid.n_levels, self.grid.n_columns))
        state, carry, out = self.programs.hybrid(now.state, now.carry, now.latest, now.date, fields)
        result = self._result(inputs, out, given)
        self._commit(state, carry)
        return result

    def radiation_columns(self) -> RadiationColumns:
        """What a radiation scheme would see of the columns now."""
        return self.programs.columns(self._state, self._carry, self._date)

    def perturb(
        self,
        seed: int,
        amplitude: float,
        *,
        humidity: float = 0.0,
        wind: float = 0.0,
        cloud: float = 0.0,
    ) -> None:
        """Add Gaussian noise to every cell, white in level and as white as the truncation allows.

        Args:
            seed: of the random generator.
            amplitude: standard deviation on the temperature [K].
            humidity: on the specific humidity, as a share of it [1].
            wind: on both components [m/s].
            cloud: standard deviation of the logarithm of a factor on liquid and ice, one factor for
                both in a cell [1].

        Raises:
            ClimSimError: for noise on clouds that are not transported on the grid.
        """
        if cloud and not self._state["clouds"]:
            raise ClimSimError(
                f"cloud_noise={cloud:g}: expected clouds on the grid, found them in the spectral "
                f"state of host_options.advection={self.config.advection}: choose "
                f"{dynamics.EULERIAN}, or leave cloud_noise out"
            )
        generator = np.random.default_rng(seed)
        spectral = dynamics.with_noise(
            self._core, self._state["dynamics"], generator, (amplitude, humidity, wind)
        )
        clouds = with_noise(self._state["clouds"], generator, cloud)
        state: ModelState = {**self._state, "dynamics": spectral, "clouds": clouds}
        self._set(dynamics.strong_types(state), self._carry)

    def set_date(self, date: cftime.DatetimeNoLeap) -> None:
        """Put the present state under another date, whose sun and boundary it then sees."""
        self._set(self._state, self._carry)
        self._date = date

    def save(self, path: Path) -> None:
        """Write a restart file atomically: all that a step reads before it writes it."""
        leaves = named_leaves(self._state, "state") | named_leaves(self._carry, "carry")
        arrays = {name: np.asarray(leaf) for name, leaf in leaves.items() if is_read(name)}
        write_restart(Path(path), Restart(arrays, self._date, self._step, self.config.identity()))

    def restore(self, path: Path) -> None:
        """Continue exactly from a restart file of the same configuration.

        Raises:
            ClimSimError: if the file is damaged or was written by another configuration.
        """
        path = Path(path)
        stored = read_restart(path)
        for key, now in self.config.identity().items():
            # A file of an earlier version does not name its tuning.
            before = stored.configuration.get(key, now)
            if before != now:
                raise ClimSimError(
                    f"{path}: expected a restart with {key} {now}, found one with {before}: choose "
                    f"the same host_options.{key}"
                )
        self._load(stored, path, strict=True)
        self._step = stored.step_number

    def start_from(self, path: Path) -> None:
        """Take a restart file as start: another advection scheme is fine.

        So is a coarser resolution; the start then has no memory of earlier steps. RRTMGP on all
        and on a few spectral points make one climate, grey radiation makes another.

        Raises:
            ClimSimError: if the file is damaged, of a finer grid, or of another climate.
        """
        stored = read_restart(path)
        made_by = stored.configuration["radiation"]
        if (made_by == GREY) != (self.config.radiation == GREY):
            raise ClimSimError(
                f"{path}: made with radiation {made_by}, whose climate is not that of radiation "
                f"{self.config.radiation}: choose the same, or begin with host_options.start=jw"
            )
        if stored.configuration["advection"] != self.config.advection:
            stored = dynamics.with_advection(stored, self.config.advection)
        if stored.configuration["resolution"] == self.config.resolution:
            self._load(stored, path, strict=False)
        else:
            self._refine(stored, path)

    def _refine(self, stored: Restart, path: Path) -> None:
        found, wanted = stored.configuration["resolution"], self.config.resolution
        order = list(RESOLUTIONS)
        if order.index(found) > order.index(wanted):
            raise ClimSimError(f"{path}: expected resolution {wanted} or coarser, found {found}")
        coordinates = model_coordinates(found)
        boundary = dynamics.boundary_data(found, coordinates, self.config.cache_folder)
        ground = np.asarray(dynamics.modal_orography(boundary.orog, coordinates))
        old, new = coordinates.horizontal, self._core.coordinates.horizontal
        state_only = {k: v for k, v in stored.arrays.items() if k.startswith("state/")}
        arrays = leaves_on(state_only, old, new)
        height = np.asarray(new.to_nodal(padded(ground, tuple(new.modal_shape))), np.float64)
        self._load(replace(stored, arrays=arrays), path, strict=False)
        fitted = over_new_ground(self._core, self._state, height)
        self._set(dynamics.strong_types(fitted), self._carry)

    def _load(self, stored: Restart, path: Path, *, strict: bool) -> None:
        try:
            state = with_leaves(self._template[0], "state", stored.arrays, strict=True)
            carry = with_leaves(self._template[1], "carry", stored.arrays, strict=strict)
        except ClimSimError as error:
            raise ClimSimError(f"{path}: {error}") from error
        self._set(dynamics.strong_types(state), dynamics.strong_types(carry))
        self._date = stored.date

    def _observe(self) -> tuple[Fields, dict[str, Excess]]:
        if self._observed is None:
            inputs, worst = self.programs.observe(self._state, self._carry, self._date)
            self._observed = self._fields(inputs), worst
        return self._observed

    def _result(self, inputs: Fields, out: Outputs, surface: Fields) -> StepResult:
        return StepResult(
            date=self._date,
            inputs=inputs,
            tendencies=self._fields(out["tendencies"]),
            surface=surface,
            diagnostics=self._fields(out["diagnostics"]),
        )

    def another(self) -> GcmHost:
        """A host of the same configuration and programs, at the present state of this one."""
        return copy.copy(self)

    def together(self, hosts: Sequence[GcmHost], by_physics: bool) -> Members:
        """Members that step in one program where that pays: several hybrids, and all on a GPU.

        Args:
            hosts: this one and others of it.
            by_physics: whether only full physics steps them, at any dates. Then several on a GPU
                are one program, all else steps one by one.
        """
        from climsim.hosts.gcm.members import GcmMembers

        several, gpu = len(hosts) > 1, on_gpu(self._state)
        if (several and gpu) if by_physics else (several or gpu):
            return GcmMembers(hosts, by_physics=by_physics)
        return SeparateMembers(hosts)

    def snapshot(self) -> Snapshot:
        """The present state."""
        latest = self._carry if self._advanced is None else self._advanced[1]
        return Snapshot(self._state, self._carry, latest, self._date, self._step)

    def take(self, snapshot: Snapshot) -> None:
        """Continue from a state of this model."""
        self._set(snapshot.state, snapshot.carry)
        self._date, self._step = snapshot.date, snapshot.step

    def give_fields(self, convert: Callable[[Mapping[str, jax.Array]], Fields]) -> None:
        """Choose the arrays that steps give: those of NumPy, unless this says otherwise."""
        self._fields = convert
        self._observed = self._advanced = None

    def _set(self, state: ModelState, carry: Diagnostics) -> None:
        self._state, self._carry = state, carry
        self._observed = self._advanced = None

    def _commit(self, state: ModelState, carry: Diagnostics) -> None:
        self._set(state, carry)
        self._date += datetime.timedelta(seconds=TIME_STEP)
        self._step += 1


def worst_violation(excesses: Mapping[str, Excess], columns: int) -> HealthReport | None:
    """The worst violation among those of each bound, or None.

    Args:
        excesses: by name of the bound.
        columns: number of columns.
    """
    from climsim.hosts.gcm.observe import BOUNDS

    name = max(excesses, key=lambda name: float(excesses[name].size))
    worst = excesses[name]
    if not float(worst.size) > 0.0:
        return None
    level, column = divmod(int(worst.cell), columns)
    profile = name in ("state_t", "state_u", "state_v")
    return HealthReport(name, column, level if profile else None, float(worst.value), BOUNDS[name])


def emulated_term(
    tendencies: Fields, surface: Fields, shape: tuple[int, int]
) -> dict[str, jax.Array | Array]:
    """The emulated term as the hybrid step takes it, by name.

    Args:
        tendencies: `ptend_*` of t, q0001, q0002, q0003, u, v, (level, column).
        surface: the eight `cam_out_*` scalars, (column,), single precision.
        shape: numbers of levels and columns.

    Raises:
        ClimSimError: if a field is missing or has another shape.
    """
    from climsim.hosts.gcm.outputs import TENDENCY_NAMES
    from climsim.hosts.gcm.terms import PREFIX

    light = tuple(f"cam_out_{name}" for name in SURFACE_LIGHT)
    for name in TENDENCY_NAMES:
        require_field(tendencies, name, shape)
    for name in dict.fromkeys((*surface, *light, "cam_out_NETSW", "cam_out_FLWDS")):
        require_field(surface, name, shape[1:])
    down, up = surface_sun(surface, light, "cam_out_NETSW")
    fields = {jcm_name: tendencies[name] for name, jcm_name in TENDENCY_NAMES.items()}
    fields |= {"sw_down": down, "sw_up": up, "lw_down": surface["cam_out_FLWDS"]}
    return {PREFIX + name: from_field(values) for name, values in fields.items()}
