"""Sweeps: every combination of comma-separated values, each run a process of its own.

Hydra finds the combinations and starts them, one after another or through a launcher plug-in. A
process per run keeps their memory, devices and failures apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from climsim.errors import ClimSimError
from climsim.interrupts import wait_for
from climsim.stage import Stage

if TYPE_CHECKING:
    from omegaconf import DictConfig


def sweep(stage: Stage, overrides: Sequence[str], folder: str | None) -> None:
    """Run a stage for every combination; a run that fails does not keep the others from running.

    Args:
        stage: what to run.
        overrides: with comma-separated values.
        folder: a user's folder of further configuration groups.

    Raises:
        ClimSimError: if the configuration is wrong, before anything runs.
        SystemExit: with code 1 if a run failed; its error was printed in one line.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from climsim.configuration import one_line, readable_files, require_config_folder
    from climsim.overrides import friendly
    from climsim.schema import CONFIG_MODULE, schema

    _check_products(stage, overrides)
    runs: dict[str, int] = {}

    def job(config: DictConfig) -> None:
        given = list(HydraConfig.get().overrides.task)
        runs[" ".join(given)] = code = _run(stage, given, folder)
        if code == -2 or code == 130:
            raise KeyboardInterrupt

    extra: list[str] = []
    if folder:
        require_config_folder(Path(folder))
        extra = ["--config-dir", folder]
    shipped = schema(stage.name)
    shipped.register()
    further = shipped.further_keys(overrides)
    groups = shipped.choices_of_groups()
    given = friendly(overrides, groups, shipped.cls, further=further, sweep=True)
    sys.argv = [f"climsim-{stage.name}", "--multirun", *extra, *given]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints errors itself, and ends the program
    where = {"config_path": f"pkg://{CONFIG_MODULE}", "config_name": stage.name}
    try:
        with readable_files(folder):
            hydra.main(version_base=None, **where)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise one_line(error, shipped) from error
    _summarize(stage, runs)


def _check_products(stage: Stage, overrides: Sequence[str]) -> None:
    """Refuse runs that would write to one place, before the first of them has taken hours."""
    for override in overrides:
        key, _, value = override.partition("=")
        if key == stage.makes and "${" not in value and "," not in value:
            raise ClimSimError(
                f"{override}: expected a separate path for every run of a sweep, found one for "
                f"all: name the swept keys in it, such as '{override}/${{network.name}}-${{seed}}'"
            )


def _run(stage: Stage, overrides: Sequence[str], folder: str | None) -> int:
    extra = ["--config-dir", folder] if folder else []
    command = [sys.executable, "-m", "climsim", *stage.path, *extra, *overrides]
    return wait_for(subprocess.Popen(command))


def _summarize(stage: Stage, runs: dict[str, int]) -> None:
    failed = [run for run, code in runs.items() if code != 0]
    done = len(runs) - len(failed)
    text = f"; failed: {', '.join(failed)}" if failed else ""
    click.echo(f"{stage.command}: {done} of {len(runs)} runs of the sweep done{text}")
    if failed:
        raise SystemExit(1)
