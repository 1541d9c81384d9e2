"""From the keys of a run to the settings of a case: what E3SM acts on, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from climsim.constants import MEAN_TEMPERATURE
from climsim.errors import ClimSimError
from climsim.hosts.batch import RunKeys
from climsim.hosts.e3sm import logs
from climsim.hosts.e3sm.config import HYBRID, MMF, E3smConfig
from climsim.runs.config import RunConfig

_OWN_KEYS = ("dry_run", "build_only", "wait", "poll_minutes", "resubmissions")
OF_THE_RUN = {
    "case": "case", "folder": "folder", "model": "model", "streams": "streams",
    "hourly_fields": "hourly_fields", "coupler": "coupler", "days": "days", "cuda": "device",
    "restart_days": "restart_days", "seed": "perturbation_seed",
}  # fmt: skip
"""Settings of a case that keys of the run decide."""
_HALF_A_MONTH = 16.0
RUN_KEYS = RunKeys(
    taken=frozenset(
        {
            "case", "folder", "days", "host", "host_options", "model", "device",
            "perturbation_seed", "perturbation_amplitude", "streams", "hourly_fields",
            "restart_days", "coupler.spinup_steps", "coupler.strato_water",
            "coupler.partial_variables", "coupler.ocean_only", "coupler.ramp",
            "coupler.ramp_factor", "coupler.ramp_linear_steps", "coupler.ramp_step_1steps",
            "coupler.ramp_step_0steps", "coupler.watch_physics", "models", "seeds",
        }
    ),
    refused={
        "threads": "host_options.threads is the number of OpenMP threads of a task",
        "start": "E3SM starts from host_options.reference_case, reference_date and "
        "reference_folder",
        "coupler.positivity": "E3SM always keeps water and energy positive",
        "coupler.top_levels": "E3SM fixes it in its code",
        **dict.fromkeys(
            ("coupler.mixing", "coupler.mixing_low", "coupler.mixing_high",
             "coupler.mixing_statistics"),
            "E3SM couples all columns alike",
        ),
        "parallel": "the jobs of all members are submitted, and the queue decides",
    },
)  # fmt: skip
"""Keys of a run that E3SM acts on."""


def case_config(config: RunConfig) -> E3smConfig:
    """Turn the configuration of a run into that of a case.

    Raises:
        ClimSimError: for unknown or missing keys of the host.
    """
    options = _options(config)
    options.setdefault("purpose", MMF if config.model is None else HYBRID)
    if config.model is not None and "combination" not in options:
        options["combination"] = _combination(config.model)
    if config.perturbation_seed is not None:
        options["seed"] = config.perturbation_seed
        options["perturbation"] = _perturbation(config, options.get("perturbation", 0.0))
    if config.restart_days is not None:
        options["restart_days"] = _whole(config.restart_days, "restart_days")
    if "months" not in options:
        options["days"] = _whole(config.days, "days")
    values: dict[str, Any] = {
        "case": config.case, "folder": config.folder, "model": config.model,
        "streams": config.streams, "hourly_fields": config.hourly_fields,
        "coupler": config.coupler, "cuda": config.device != "cpu", **options,
    }  # fmt: skip
    case = E3smConfig(**values)
    wanted = logs.days_wanted(case)
    if abs(wanted - config.days) > _HALF_A_MONTH:
        raise ClimSimError(
            f"days={config.days:g}: host_options.months={case.months} are {wanted:g} days: keep "
            "one of the two (months=null takes the days)"
        )
    return case


def _options(config: RunConfig) -> dict[str, Any]:
    """Settings of the case that were given for this host.

    Raises:
        ClimSimError: for unknown or missing keys, and for those that are keys of the run.
    """
    options = {k: v for k, v in config.host_options.items() if k not in _OWN_KEYS}
    known = [name for name in E3smConfig.__dataclass_fields__ if name not in OF_THE_RUN]
    for key in options:
        if key in OF_THE_RUN:
            raise ClimSimError(f"host_options.{key}: expected as {OF_THE_RUN[key]} of the run")
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


def _perturbation(config: RunConfig, given: float) -> float:
    """E3SM's ``pertlim``: the option of the host, else from the amplitude of the run.

    E3SM multiplies the temperature by 1 + x, x uniform between -p and p, whose standard deviation
    is p / sqrt(3).
    """
    own = config.perturbation_amplitude != RunConfig.perturbation_amplitude
    if given and own:
        raise ClimSimError(
            f"perturbation_amplitude={config.perturbation_amplitude:g}: given together with "
            f"host_options.perturbation={given:g}: keep one of the two"
        )
    return given or math.sqrt(3.0) * config.perturbation_amplitude / MEAN_TEMPERATURE


def _combination(model: Path) -> str:
    """The variable combination that an exported file names, as E3SM calls it."""
    # Here, not above: a reference case needs no torch.
    from climsim.export.loading import load_emulator

    emulator = load_emulator(model)
    name = emulator.interface.name
    return f"{name}_conf" if emulator.confidence else name
