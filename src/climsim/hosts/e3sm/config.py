"""The configuration of one E3SM-MMF case."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from cftime import DatetimeNoLeap

from climsim.constants import STEPS_PER_DAY
from climsim.errors import ClimSimError
from climsim.hosts.settings import GROUP
from climsim.names import check_name
from climsim.runs.coupling import CouplerOptions
from climsim.runs.streams import STREAMS
from climsim.validation import Checks, refused, require

HYBRID, MMF, TRAINING = "hybrid", "mmf", "training"
CPP_DEFINITIONS = {HYBRID: ("MMF_NN_EMULATOR",), MMF: (), TRAINING: ("MMF_ML_TRAINING",)}
"""Macros of E3SM's build by purpose of the case."""
_OCEAN_ONLY = "MMF_NN_EMULATOR_OCN_ONLY"
"""Macro of a build that takes the surface scalars from the network over open ocean alone."""
COMBINATIONS = ("v2", "v2_conf", "v6")
RUN_TYPES = ("branch", "hybrid", "startup")
OF_THE_RUN = {
    **{key: key for key in ("case", "folder", "model", "streams", "hourly_fields", "coupler")},
    **{key: key for key in ("days", "restart_days")},
    "seed": "perturbation_seed",
    "cuda": "device",
}
"""Settings of a case that keys of the run decide, and those keys."""
_PATHS = ("folder", "source", "model", "reference_folder", "executable", "ftorch", "source_mods")
_COUNTS = (
    *("months", "months_per_job", "hourly_samples", "steps_per_day"),
    *("tasks", "threads", "tasks_per_node"),
)
_COUNTS_OF_THE_RUN = ("days", "restart_days")
GPU_LAYOUT = {"tasks": 8, "threads": 8, "tasks_per_node": 4}
"""Process layout of the published cases on GPU nodes: two nodes of four tasks."""
CPU_LAYOUT = {"tasks": 64, "threads": 1, "tasks_per_node": 64}
"""Process layout of the published cases on CPU nodes: one node of 64 tasks."""


@dataclass(frozen=True)
class Job:
    """What a batch job is asked for.

    Attributes:
        months: simulated months of one job.
        minutes_per_month: wall time of a simulated month [min].
    """

    months: int
    minutes_per_month: float


HYBRID_JOB = Job(61, 20.0)
"""The slowest of the published hybrids made 6.9 simulated years a day, 17.4 minutes a month."""
OWN_PHYSICS_JOB = Job(12, 120.0)
"""The published cases of E3SM-MMF asked for 12 hours for six months, 24 for 13."""
_WORD = (re.compile(r"[A-Za-z0-9_.+][A-Za-z0-9_.+%:@^-]*"), "a word of CIME, such as F2010-MMF1")
_PATTERNS = {
    **dict.fromkeys(("machine", "account", "compiler", "queue", "compset", "grid"), _WORD),
    "reference_date": (re.compile(r"\d{4}-\d{2}-\d{2}"), "a date as YYYY-MM-DD"),
    "reference_time": (
        re.compile(r"[0-7]\d{4}|8[0-5]\d{3}|86[0-3]\d{2}"),
        "a second of the day in five digits, up to 86399",
    ),
    "mail": (re.compile(r"([\w.+-]+@[\w.-]+)?"), "an address such as name@example.org, or none"),
}
"""What a text must match as a whole, and the same in words."""
_LIST_PATTERNS = {
    "hourly_fields": (re.compile(r"\w+"), "names of fields of E3SM's history"),
    **dict.fromkeys(
        ("cpp_definitions", "user_cpp"),
        (re.compile(r"[A-Za-z_]\w*(=\w+)?"), "macros as NAME or NAME=VALUE"),
    ),
    "environment_lines": (re.compile(r"[A-Za-z_]\w*=[^\n]*"), "lines as NAME=VALUE"),
    "case_files": (re.compile(r"[^\n]+"), "paths of files"),
    "mail_types": (re.compile(r"never|all|begin|end|fail"), "never, all, begin, end or fail"),
}
"""The same of every entry of a list."""
_DAYS_PER_MONTH = 365.0 / 12.0
_UNFIT = re.compile(r"[^\w@%+=:./~^-]")
"""What CIME, whose own scripts do not quote paths, would take for more than a path."""


def user_key(name: str) -> str:
    """The key of a run that a user sets a setting of a case by."""
    return OF_THE_RUN.get(name, f"{GROUP}.{name}")


@dataclass(frozen=True)
class E3smConfig:
    """One case of the FTorch branch of E3SM.

    Attributes:
        case: name of the case.
        folder: where everything of the case goes.
        source: E3SM's source tree (it holds ``cime/scripts/create_newcase``).
        machine: name of the machine in CIME.
        account: account that the job is charged to.
        purpose: ``hybrid`` (coupled to a model), ``mmf`` (the reference) or ``training`` (writes
            the step pairs of a data set).
        model: exported model of a hybrid.
        combination: variable combination of the model: ``v2``, ``v2_conf`` or ``v6``.
        compiler: compiler in CIME.
        queue: queue of the job.
        compset: E3SM's component set.
        grid: E3SM's grid.
        tasks: MPI tasks; None takes the published layout: 8 where the name of the compiler ends
            with ``gpu``, else 64.
        threads: OpenMP threads of a task; None likewise: 8 on GPU nodes, else 1.
        tasks_per_node: MPI tasks on a node; None likewise: 4 on GPU nodes, else 64.
        steps_per_day: couplings of the atmosphere in a day.
        run_type: ``branch`` from a restart, ``hybrid`` or ``startup``.
        reference_case: case of the restart.
        reference_date: its date, YYYY-MM-DD.
        reference_time: its second of the day, five digits.
        reference_folder: folder of the restart files.
        months: simulated months.
        days: simulated days; None takes the months.
        months_per_job: simulated months of one job; further jobs resubmit themselves. None takes
            61 of a hybrid, 12 of E3SM's own physics.
        minutes_per_month: wall time that is asked for a simulated month [min]; None takes 20 of a
            hybrid, 120 of E3SM's own physics.
        restart_days: simulated days between restart files.
        perturbation: amplitude of a relative perturbation of the start temperature; it needs a
            run type other than branch. 0 adds none.
        seed: of that perturbation, 1 or more (0 is none to E3SM); None takes E3SM's own.
        executable: ``e3sm.exe`` built by another case with equal definitions; None builds one.
        ftorch: folder where FTorch is installed.
        cuda: whether the model runs on a GPU; None where the name of the compiler ends in ``gpu``.
        cpp_definitions: further macros of the build, as NAME or NAME=VALUE.
        user_cpp: macros of the build in place of those of the purpose; None keeps them.
        environment_lines: variables that are set before CIME is called, as NAME=VALUE, such as
            ``NVCC_WRAPPER_DEFAULT_OPTIONS=-arch=sm_80``.
        case_files: files that are copied into CIME's folder of the case before its setup, such as
            the ``user_docn.streams.txt.prescribed`` of a run in June, July and August.
        source_mods: folder whose ``*.F90`` and ``*.xml`` files take the place of those of the
            atmosphere's source (SourceMods); None takes the source as it is.
        debug_build: whether E3SM is compiled with CIME's DEBUG.
        mail: address that SLURM writes to about the jobs; empty for none.
        mail_types: what it writes about: begin, end, fail, all or never.
        streams: history streams to write.
        hourly_fields: fields of the hourly stream; empty takes those of the other streams, as
            published.
        hourly_samples: hourly samples in a file; the published cases have 1.
        debug_checks: whether E3SM checks every state for invalid values.
        coupler: rules of the coupling.
    """

    case: str
    folder: Path
    source: Path
    machine: str
    account: str
    purpose: str = HYBRID
    model: Path | None = None
    combination: str = "v2"
    compiler: str = "gnugpu"
    queue: str = "regular"
    compset: str = "F2010-MMF1"
    grid: str = "ne4pg2_ne4pg2"
    tasks: int | None = None
    threads: int | None = None
    tasks_per_node: int | None = None
    steps_per_day: int = STEPS_PER_DAY
    run_type: str = "branch"
    reference_case: str = "E3SM_ML_ne4_rerun.F2010-MMF1"
    reference_date: str = "0002-12-30"
    reference_time: str = "00000"
    reference_folder: Path | None = None
    months: int = 61
    days: int | None = None
    months_per_job: int | None = None
    minutes_per_month: float | None = None
    restart_days: int = 30
    perturbation: float = 0.0
    seed: int | None = None
    executable: Path | None = None
    ftorch: Path | None = None
    cuda: bool | None = None
    cpp_definitions: tuple[str, ...] = ()
    user_cpp: tuple[str, ...] | None = None
    environment_lines: tuple[str, ...] = ()
    case_files: tuple[Path, ...] = ()
    source_mods: Path | None = None
    debug_build: bool = False
    mail: str = ""
    mail_types: tuple[str, ...] = ("begin", "end")
    streams: tuple[str, ...] = ("h0",)
    hourly_fields: tuple[str, ...] = ()
    hourly_samples: int = 1
    debug_checks: bool = True
    coupler: CouplerOptions = field(default_factory=CouplerOptions)

    def __post_init__(self) -> None:
        for name in _PATHS:
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value).absolute())
        self._check_texts()
        for name in ("streams", *_LIST_PATTERNS):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))
        files = tuple(Path(path).absolute() for path in self.case_files)
        object.__setattr__(self, "case_files", files)
        layout = GPU_LAYOUT if self._has_gpu else CPU_LAYOUT
        for name, count in layout.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, count)
        check = Checks(self, GROUP)
        check.one_of(CPP_DEFINITIONS, "purpose")
        check.one_of(COMBINATIONS, "combination")
        check.one_of(RUN_TYPES, "run_type")
        check.whole(*_COUNTS, least=1)
        check.positive("minutes_per_month")
        of_the_run = Checks(self)
        of_the_run.each_of(STREAMS, "streams")
        of_the_run.whole(*_COUNTS_OF_THE_RUN, least=1)
        self._check_what_belongs_together()

    def _check_texts(self) -> None:
        """Refuse what would be more than one value in the scripts of CIME."""
        check_name(self.case, "case")
        check_name(self.reference_case, f"{GROUP}.reference_case")
        for key, (pattern, words) in _PATTERNS.items():
            value = getattr(self, key)
            require(user_key(key), value, bool(pattern.fullmatch(str(value))), words)
        try:
            DatetimeNoLeap(*map(int, self.reference_date.split("-")))
        except ValueError as error:
            raise refused(
                user_key("reference_date"), "a day of a year of 365", self.reference_date
            ) from error
        for key, (pattern, words) in _LIST_PATTERNS.items():
            for value in getattr(self, key) or ():
                require(user_key(key), value, bool(pattern.fullmatch(str(value))), words)
        paths = [(key, getattr(self, key)) for key in _PATHS]
        for key, path in (*paths, *(("case_files", path) for path in self.case_files)):
            unfit = _UNFIT.search(str(path))
            if unfit:
                raise ClimSimError(
                    f"{user_key(key)}: expected a path that E3SM's own scripts can take, found "
                    f"{unfit[0]!r} in {str(path)!r}: choose or link another folder"
                )

    def _check_what_belongs_together(self) -> None:
        if self.purpose == HYBRID and self.model is None:
            raise ClimSimError("model: a hybrid case needs an exported model")
        if self.run_type != "startup" and self.reference_folder is None:
            raise ClimSimError(
                f"{GROUP}.reference_folder: a {self.run_type} run needs the folder of the restart"
            )
        if self.perturbation and self.run_type == "branch":
            raise ClimSimError(
                f"{GROUP}.perturbation: a branch run repeats its restart exactly: set "
                f"{GROUP}.run_type=hybrid"
            )
        if self.seed is not None and not self.perturbation:
            raise ClimSimError(
                f"{GROUP}.perturbation: expected an amplitude > 0 beside a perturbation seed, "
                "found 0: set it and host_options.run_type=hybrid"
            )
        if self.seed is not None and self.seed < 1:
            raise ClimSimError(
                f"perturbation_seed: expected 1 or more, found {self.seed}: E3SM takes 0 for no "
                "seed, and every member would get the same noise"
            )
        if self.coupler.watch_physics and not self.coupler.blends:
            raise ClimSimError(
                "coupler.watch_physics: E3SM runs its physics beside the network only under "
                "partial coupling: use ramp_factor or partial_variables"
            )

    @property
    def definitions(self) -> tuple[str, ...]:
        """Macros of the build, which an executable depends on."""
        ocean_only = self.purpose == HYBRID and self.coupler.ocean_only
        of_purpose = CPP_DEFINITIONS[self.purpose] if self.user_cpp is None else self.user_cpp
        implied = (*of_purpose, *((_OCEAN_ONLY,) if ocean_only else ()))
        return (*implied, *(name for name in self.cpp_definitions if name not in implied))

    @property
    def _has_gpu(self) -> bool:
        """Whether the compiler is one for nodes with GPUs."""
        return self.compiler.endswith("gpu")

    @property
    def model_on_gpu(self) -> bool:
        """Whether the model runs on a GPU."""
        return self._has_gpu if self.cuda is None else self.cuda

    @property
    def stop(self) -> tuple[str, int]:
        """Unit and length of one job, as CIME's ``STOP_OPTION`` and ``STOP_N``."""
        if self.days is None:
            return "nmonths", min(self.months, self._job_months)
        return "ndays", min(self.days, round(self._job_months * _DAYS_PER_MONTH))

    @property
    def _job_months(self) -> int:
        """Most months of one job."""
        job = HYBRID_JOB if self.purpose == HYBRID else OWN_PHYSICS_JOB
        return self.months_per_job or job.months

    @property
    def wall_time(self) -> str:
        """Wall time of one job, HH:MM:SS."""
        unit, length = self.stop
        months = length / (_DAYS_PER_MONTH if unit == "ndays" else 1)
        job = HYBRID_JOB if self.purpose == HYBRID else OWN_PHYSICS_JOB
        minutes = math.ceil(months * (self.minutes_per_month or job.minutes_per_month))
        return f"{minutes // 60:02d}:{minutes % 60:02d}:00"

    @property
    def case_root(self) -> Path:
        """Folder of CIME's case scripts."""
        return self.folder / "case"

    @property
    def build_folder(self) -> Path:
        """Folder of the executable."""
        return self.folder / "build" if self.executable is None else self.executable.parent

    @property
    def run_folder(self) -> Path:
        """Folder that E3SM runs in."""
        return self.folder / "run"
