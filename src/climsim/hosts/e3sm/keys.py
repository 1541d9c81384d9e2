"""From the keys of a run to the settings of a case: what E3SM acts on, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

from climsim.constants import MEAN_TEMPERATURE
from climsim.devices import AUTO, CPU
from climsim.errors import ClimSimError
from climsim.exported_file import TORCHSCRIPT, promised_form
from climsim.hosts.batch import RunKeys
from climsim.hosts.e3sm.config import HYBRID, MMF, OF_THE_RUN, E3smConfig
from climsim.hosts.e3sm.dates import days_wanted
from climsim.hosts.settings import build_settings
from climsim.runs.config import RunConfig

_HALF_A_MONTH = 16.0
_COUPLING = (
    *("spinup_steps", "strato_water", "partial_variables", "ocean_only", "watch_physics"),
    *("ramp", "ramp_factor", "ramp_linear_steps", "ramp_step_1steps", "ramp_step_0steps"),
)
_OF_THE_RUN = (
    *("case", "folder", "days", "host", "host_options", "model", "device", "streams"),
    *("perturbation_seed", "perturbation_amplitude", "hourly_fields", "restart_days"),
)
_OF_AN_ENSEMBLE = ("models", "seeds")
_STARTS = "E3SM starts from host_options.reference_case, reference_date and reference_folder"
RUN_KEYS = RunKeys(
    taken=frozenset((*_OF_THE_RUN, *_OF_AN_ENSEMBLE, *(f"coupler.{name}" for name in _COUPLING))),
    refused={
        "threads": "host_options.threads is the number of OpenMP threads of a task",
        "start": _STARTS,
        "starts": _STARTS,
        "kept_restart_days": "E3SM keeps its restart files itself",
        "health_steps": "E3SM looks at its own bounds",
        "coupler.positivity": "E3SM always keeps water and energy positive",
        "coupler.top_levels": "E3SM fixes it in its code",
        **dict.fromkeys(
            (f"coupler.mixing{part}" for part in ("", "_low", "_high", "_statistics")),
            "E3SM couples all columns alike",
        ),
        "parallel": "the jobs of all members are submitted, and the queue decides",
        "together": "every case is a program of its own",
    },
)
"""Keys of a run that E3SM acts on."""


@dataclass(frozen=True)
class CallOptions:
    """Options of the host that say what one call does, and are no part of the case.

    Attributes:
        dry_run: only show the commands.
        build_only: create and build the case without submitting it.
        wait: stay until the case ends.
        poll_minutes: between two looks at a case that is waited for [min].
        resubmissions: of a job that failed before giving up.
    """

    dry_run: bool = False
    build_only: bool = False
    wait: bool = False
    poll_minutes: float = 10.0
    resubmissions: int = 3


_OWN_KEYS = tuple(key.name for key in fields(CallOptions))


def call_options(config: RunConfig) -> CallOptions:
    """What a call of a run does.

    Raises:
        ClimSimError: naming an option of the wrong type.
    """
    given = {key: value for key, value in config.host_options.items() if key in _OWN_KEYS}
    return build_settings(CallOptions, given)


def case_config(config: RunConfig, *, planned: bool = False) -> E3smConfig:
    """Turn the configuration of a run into that of a case.

    Args:
        config: of the run.
        planned: whether its model may not exist yet; what the file alone says is then left out.

    Raises:
        ClimSimError: for unknown or missing keys of the host.
    """
    options = _options(config)
    options.setdefault("purpose", MMF if config.model is None else HYBRID)
    if config.model is not None:
        _require_form(config.model, promised_form(config.model))
    if config.model is not None and "combination" not in options and not planned:
        options["combination"] = _combination(config.model)
    if config.perturbation_seed is not None:
        options["seed"] = config.perturbation_seed
        options["perturbation"] = _perturbation(config, options.get("perturbation", 0.0))
    if config.restart_days is not None:
        options["restart_days"] = _whole(config.restart_days, "restart_days")
    if "months" not in options:
        options["days"] = _whole(config.days, "days")
    of_the_run = {
        "case": config.case,
        "folder": config.folder,
        "model": config.model,
        "streams": config.streams,
        "hourly_fields": config.hourly_fields,
        "coupler": config.coupler,
        "cuda": None if config.device == AUTO else config.device != CPU,
    }
    case = build_settings(E3smConfig, {**of_the_run, **options})
    wanted = days_wanted(case)
    if abs(wanted - config.days) > _HALF_A_MONTH:
        raise ClimSimError(
            f"days={config.days:g}: host_options.months={case.months} are {wanted:g} days: keep "
            "one of the two (months=null takes the days)"
        )
    return case


def _options(config: RunConfig) -> dict[str, object]:
    """Settings of the case that were given for this host.

    Raises:
        ClimSimError: for unknown or missing keys, and for those that are keys of the run.
    """
    options = {k: v for k, v in config.host_options.items() if k not in _OWN_KEYS}
    known = [name for name in E3smConfig.__dataclass_fields__ if name not in OF_THE_RUN]
    for key in options:
        if key in OF_THE_RUN:
            raise ClimSimError(
                f"host_options.{key}: no option of the host but the key {OF_THE_RUN[key]} of the "
                f"run: give {OF_THE_RUN[key]}=... instead"
            )
        if key not in known:
            raise ClimSimError(
                f"host_options.{key}: unknown key of the host e3sm: expected one of "
                f"{', '.join((*known, *_OWN_KEYS))}"
            )
    missing = [key for key in ("source", "machine", "account") if options.get(key) is None]
    if missing:
        raise ClimSimError(f"host_options.{missing[0]}: the host e3sm needs it: add it")
    return {key: value for key, value in options.items() if value is not None}


def _whole(days: float, key: str) -> int:
    if days != round(days):
        raise ClimSimError(f"{key}={days:g}: expected whole days on the host e3sm")
    return round(days)


def _perturbation(config: RunConfig, given: object) -> object:
    """E3SM's ``pertlim``: the option of the host, else from the amplitude of the run.

    E3SM multiplies the temperature by 1 + x, x uniform between -p and p, whose standard deviation
    is p / sqrt(3).
    """
    changed = config.perturbation_amplitude != RunConfig.perturbation_amplitude
    if given and changed:
        raise ClimSimError(
            f"perturbation_amplitude={config.perturbation_amplitude:g}: given together with "
            f"host_options.perturbation={given}: keep one of the two"
        )
    return given or math.sqrt(3.0) * config.perturbation_amplitude / MEAN_TEMPERATURE


def _combination(model: Path) -> str:
    """The variable combination that an exported file names, as E3SM calls it."""
    # Here, not above: a reference case needs no torch.
    from climsim.export.loading import load_emulator

    emulator = load_emulator(model)
    _require_form(model, emulator.form)
    name = emulator.interface.name
    return f"{name}_conf" if emulator.confidence else name


def _require_form(model: Path, form: str) -> None:
    """Refuse an exported file that E3SM cannot load.

    Raises:
        ClimSimError: naming the file and the format to export in.
    """
    if form != TORCHSCRIPT:
        raise ClimSimError(
            f"{model}: expected a {TORCHSCRIPT}, which E3SM loads through FTorch, found an "
            f"{form}: export it with format=torchscript"
        )
