"""Writing the scripts of a case and executing them."""

from __future__ import annotations

import json
import logging
import re
import shlex
import subprocess
from importlib import resources
from pathlib import Path

import jinja2

from climsim.errors import ClimSimError
from climsim.files import file_hash, provenance, read_json, remove, write_json, write_text
from climsim.hosts.batch import leaf_keys
from climsim.hosts.e3sm.config import E3smConfig
from climsim.hosts.e3sm.dates import last_restart, resubmissions, stop_date
from climsim.hosts.e3sm.namelist import user_nl_eam
from climsim.interrupts import wait_for
from climsim.products import claim
from climsim.runs.record import CASE_NOTE, RUN

_log = logging.getLogger(__name__)
CREATE, SUBMIT, NAMELIST, ABOUT = "create_case.sh", "submit_case.sh", "user_nl_eam", CASE_NOTE
BUILT = "built"
_OF_A_JOB = (
    *("queue", "account", "mail", "mail_types"),
    *("months_per_job", "minutes_per_month", "executable"),
)
"""Settings that may change from one job of a case to the next."""
_COMMAND = re.compile(r"^\s*(\./\S+|\S*/create_newcase)\s")


def _render(name: str, config: E3smConfig, days: float = 0.0) -> str:
    text = resources.files(__package__).joinpath(f"{name}.j2").read_text()
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        finalize=_quoted,
    )
    template = environment.from_string(text)
    definitions = " ".join(f"-D{name}" for name in config.definitions)
    return template.render(
        c=config,
        definitions=definitions,
        stop_date=stop_date(config),
        resubmissions=resubmissions(config, days),
    )


def _quoted(value: object) -> str:
    """What a template puts into a script: one word of the shell, whatever is in it."""
    return shlex.quote(str(value))


def case_files(config: E3smConfig) -> dict[str, str]:
    """Text of every file of a case, by name."""
    return {
        CREATE: _render(CREATE, config),
        SUBMIT: _render(SUBMIT, config),
        NAMELIST: user_nl_eam(config),
    }


def dry_run(config: E3smConfig) -> list[str]:
    """Every command that creating, building and submitting the case would call, in order."""
    files = case_files(config)
    lines = [*files[CREATE].splitlines(), *files[SUBMIT].splitlines()]
    commands = [line.strip() for line in lines if _COMMAND.match(line + " ")]
    return [c for c in commands if c != "./xmlchange CONTINUE_RUN=TRUE"]


def write_case(config: E3smConfig) -> Path:
    """Write the scripts, the namelist and what made them.

    Returns:
        The folder of the case.

    Raises:
        ClimSimError: if the folder holds another case, or the model is missing.
    """
    claim(config.folder, RUN, key="folder")
    inputs = {}
    if config.model is not None:
        if not config.model.is_file():
            raise ClimSimError(f"model={config.model}: no such file: give an exported model")
        inputs[str(config.model)] = file_hash(config.model)
    _require_files(config)
    require_same_case(config)
    if _difference(config) is not None:
        # Nothing was built yet, so what was created under other settings is made anew.
        for marker in ("created", "configured"):
            remove(config.folder / marker)
    for name, text in case_files(config).items():
        write_text(config.folder / name, text)
    about = describe_case(config)
    write_json(config.folder / ABOUT, {**about, **provenance(about, inputs)})
    return config.folder


def _require_files(config: E3smConfig) -> None:
    """Refuse a case whose own files are not there.

    Raises:
        ClimSimError: naming the key and the path.
    """
    for path in config.case_files:
        if not path.is_file():
            raise ClimSimError(f"host_options.case_files: {path}: no such file: give its path")
    folder = config.source_mods
    if folder is not None and not any(folder.glob("*.F90")):
        raise ClimSimError(
            f"host_options.source_mods: {folder}: expected a folder with *.F90 files, found none"
        )


def describe_case(config: E3smConfig) -> dict[str, str]:
    """Every setting of a case as text, as ``case.json`` keeps it."""
    values = {name: str(value) for name, (value, _) in leaf_keys(config).items()}
    acts = {"cuda": str(config.model_on_gpu), "definitions": " ".join(config.definitions)}
    return {**values, **acts}


def require_same_case(config: E3smConfig) -> None:
    """Refuse a folder that holds the built case of other settings.

    Raises:
        ClimSimError: naming the setting and both values.
    """
    difference = _difference(config)
    if difference is not None and (config.folder / BUILT).exists():
        key, before, now = difference
        raise ClimSimError(
            f"{config.folder}: holds another case: {key} was {before}, now {now}: choose another "
            "folder or delete it"
        )


def _difference(config: E3smConfig) -> tuple[str, str, str] | None:
    """A setting that the case in the folder does not share, its value there and the one of now."""
    path = config.folder / ABOUT
    if not path.exists():
        return None
    about = read_json(path)
    for key, value in describe_case(config).items():
        # A setting that is not there came with a later version, whose default was used.
        if key not in _OF_A_JOB and about.get(key, value) != value:
            return key, str(about[key]), value
    if config.model is not None and config.model.is_file():
        now, name = file_hash(config.model), str(config.model)
        before = json.loads(about.get("input_hashes", "{}")).get(name, now)
        return None if before == now else (f"the content of {name}", before[:12], now[:12])
    return None


def create_case(config: E3smConfig) -> None:
    """Create, configure and build a case; what is done already is left.

    Raises:
        ClimSimError: if a command of CIME fails.
    """
    write_case(config)
    _execute(config.folder, CREATE)


def submit_case(config: E3smConfig, days: float = 0.0) -> None:
    """Submit a case, which continues from its last restart where it has come to one.

    Args:
        config: of the case.
        days: simulated days that lie behind.

    Raises:
        ClimSimError: if it is not built, or a command of CIME fails.
    """
    if not (config.folder / BUILT).exists():
        raise ClimSimError(f"{config.folder}: the case is not built: create it first")
    require_same_case(config)
    # Queue, account and length of a job may have changed since the case was created, and so has
    # what is left.
    write_text(config.folder / SUBMIT, _render(SUBMIT, config, days))
    _execute(config.folder, SUBMIT, "continue" if last_restart(config, days) else "start")


def _execute(folder: Path, script: str, *arguments: str) -> None:
    """Run a script; its output goes to a log beside it."""
    log = folder / f"{script.removesuffix('.sh')}.log"
    with log.open("a") as stream:
        # A group of its own: what the script started ends with it at an interrupt.
        command = ["bash", str(folder / script), *arguments]
        code = wait_for(
            subprocess.Popen(
                command, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
            )
        )
    if code:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1] if lines else "no output"
        raise ClimSimError(
            f"{folder / script}: expected exit code 0, found {code} ({last}): see "
            f"{log}, fix it and run again"
        )
    _log.info("%s: done", folder / script)
