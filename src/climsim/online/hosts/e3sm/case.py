"""Writing the scripts of a case and executing them."""

from __future__ import annotations

import logging
import re
import shlex
import subprocess
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from climsim.errors import ClimSimError
from climsim.files import file_hash, provenance, write_json, write_text
from climsim.online.hosts.e3sm.config import CPP_DEFINITIONS, E3smConfig
from climsim.online.hosts.e3sm.namelist import user_nl_eam
from climsim.online.record import CASE_NOTE, RUN
from climsim.products import claim

_log = logging.getLogger(__name__)
CREATE, SUBMIT, NAMELIST, ABOUT = "create_case.sh", "submit_case.sh", "user_nl_eam", CASE_NOTE
BUILT = "built"
_COMMAND = re.compile(r"^\s*(\./\S+|\S*/create_newcase)\s")


def _render(name: str, config: E3smConfig) -> str:
    text = resources.files(__package__).joinpath(f"{name}.j2").read_text()
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False, finalize=_quoted,
    )  # fmt: skip
    template = environment.from_string(text)
    definitions = CPP_DEFINITIONS[config.purpose]
    return template.render(c=config, definitions=definitions)


def _quoted(value: Any) -> str:
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
            raise ClimSimError(
                f"{config.model}: no such file: e3sm.model must be an exported model"
            )
        inputs[str(config.model)] = file_hash(config.model)
    files = case_files(config)
    written = config.folder / NAMELIST
    if (config.folder / "created").exists() and written.read_text() != files[NAMELIST]:
        raise ClimSimError(
            f"{config.folder}: holds a case with another namelist: choose another folder"
        )
    for name, text in files.items():
        write_text(config.folder / name, text)
    about: dict[str, Any] = {k: str(v) for k, v in asdict(config).items()}
    write_json(config.folder / ABOUT, {**about, **provenance(about, inputs)})
    return config.folder


def create_case(config: E3smConfig) -> None:
    """Create, configure and build a case; what is done already is left.

    Raises:
        ClimSimError: if a command of CIME fails.
    """
    write_case(config)
    _execute(config.folder, CREATE)


def submit_case(config: E3smConfig, proceed: bool = False) -> None:
    """Submit a case.

    Args:
        config: of the case.
        proceed: go on from its last restart instead of starting.

    Raises:
        ClimSimError: if it is not built, or a command of CIME fails.
    """
    if not (config.folder / BUILT).exists():
        raise ClimSimError(f"{config.folder}: the case is not built: create it first")
    _execute(config.folder, SUBMIT, "continue" if proceed else "start")


def _execute(folder: Path, script: str, *arguments: str) -> None:
    """Run a script; its output goes to a log beside it."""
    log = folder / f"{script.removesuffix('.sh')}.log"
    with log.open("a") as stream:
        result = subprocess.run(
            ["bash", str(folder / script), *arguments],
            stdout=stream, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if result.returncode:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1] if lines else "no output"
        raise ClimSimError(
            f"{folder / script}: expected exit code 0, found {result.returncode} ({last}): see "
            f"{log}, mend it and run again"
        )
    _log.info("%s: done", folder / script)
