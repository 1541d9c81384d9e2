"""The command line: one command per stage, every setting a ``key=value`` override."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from climsim.errors import ClimSimError
from climsim.stages import GROUPS, STAGES, Stage, load
from climsim.workflow.commands import experiment


class StageCommand(click.Command):
    """A command whose help lists every configuration key with its default."""

    stage: Stage

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the keys below the options."""
        from climsim.configuration import choices, flat_defaults

        rows = [
            (key, _default_text(value)) for key, value in flat_defaults(self.stage.config).items()
        ]
        groups = choices(self.stage.config)
        if groups:
            with formatter.section("Choices (group=name)"):
                formatter.write_dl([(group, ", ".join(names)) for group, names in groups.items()])
        with formatter.section("Keys (key=value; '???' must be given)"):
            formatter.write_dl(rows, col_max=34)
        with formatter.section("Example"):
            formatter.write_text(f"climsim {' '.join(self.stage.path)} {self.stage.example}")


def _default_text(value: Any) -> str:
    return "null" if value is None else str(value)


def run_stage(stage: Stage, values: dict[str, Any]) -> Any:
    """Run a stage with a progress bar, say what it made and what that cost, return its result."""
    from climsim.configuration import build_config
    from climsim.console import peak_memory, progress_bar

    title = " ".join(stage.path)
    config = build_config(load(stage.config_class), values)
    started = time.perf_counter()
    with progress_bar(title) as progress:
        result = load(stage.function)(config, progress)
    seconds = time.perf_counter() - started
    cost = f"{seconds:.1f} s, {peak_memory() / 2**20:.0f} MiB at most"
    click.echo(f"{title}: {result} ({cost})")
    return result


def _stage_command(stage: Stage) -> click.Command:
    @click.pass_context
    def callback(
        ctx: click.Context,
        words: tuple[str, ...],
        multirun: bool,
        show_config: bool,
        config_dir: str | None,
    ) -> None:
        overrides = stage.overrides(words)
        if show_config:
            _print_config(stage, overrides, config_dir)
        elif multirun:
            from climsim.sweep import sweep

            sweep(stage, overrides, config_dir)
        else:
            from climsim.configuration import compose_config

            result = run_stage(stage, compose_config(stage.config, overrides, config_dir))
            # A report that found something wrong stops a shell script or a CI job.
            if getattr(result, "ok", True) is False:
                raise SystemExit(1)

    bare = f"[{stage.positional.upper()}] " if stage.positional else ""
    options: list[click.Parameter] = [
        click.Argument(["words"], nargs=-1, metavar=f"{bare}[KEY=VALUE]..."),
        click.Option(["-m", "--multirun"], is_flag=True, help="Sweep comma-separated values."),
        click.Option(["--show-config"], is_flag=True, help="Print the configuration and stop."),
        click.Option(["--config-dir"], metavar="DIR", help="Folder of further configuration."),
    ]
    command = StageCommand(stage.path[-1], callback=callback, params=options, help=stage.summary)
    command.stage = stage
    return command


def _print_config(stage: Stage, overrides: Sequence[str], folder: str | None) -> None:
    from omegaconf import OmegaConf

    from climsim.configuration import compose_config

    click.echo(OmegaConf.to_yaml(compose_config(stage.config, overrides, folder)), nl=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the log and the traceback of an error.")
@click.version_option(package_name="climsim-kaggle-edition")
def main_group(debug: bool) -> None:
    """Train, export, couple and evaluate neural emulators of atmospheric physics."""
    from climsim.allocation import keep_freed_memory
    from climsim.console import configure_logging

    configure_logging(debug)
    keep_freed_memory()


def _group(name: str) -> click.Group:
    """The group of commands of that name, made when first asked for."""
    known = main_group.commands.get(name)
    if isinstance(known, click.Group):
        return known
    group = click.Group(name, help=GROUPS[name])
    main_group.add_command(group)
    return group


def _add_stages() -> None:
    for stage in STAGES:
        parent = _group(stage.path[0]) if len(stage.path) > 1 else main_group
        parent.add_command(_stage_command(stage))


_add_stages()


def _online_status() -> click.Command:
    @click.argument("folder", default="runs", type=click.Path(path_type=Path))
    def callback(folder: Path) -> None:
        from climsim.console import out, text_table
        from climsim.online.status import experiment_status, status_rows

        runs = experiment_status(folder)
        out.print(text_table(status_rows(runs)))
        for run in runs:
            if run.health:
                out.print(f"{run.case}: {run.health}", markup=False, soft_wrap=True)

    command = click.command("status", help="Show every online run below FOLDER.")(callback)
    return command


_group("online").add_command(_online_status())


@main_group.command()
def doctor() -> None:
    """Say what is installed, which devices are there and what is missing."""
    from climsim.console import out
    from climsim.doctor import examine, table

    findings = examine()
    out.print(table(findings))
    if any(not finding.ok and finding.required for finding in findings):
        raise ClimSimError("doctor: something required is missing: see the rows marked 'missing'")


main_group.add_command(experiment)


@main_group.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_text", is_flag=True, help="Print JSON instead of a tree.")
def provenance(file: Path, as_text: bool) -> None:
    """Show what made FILE, back to the raw data, and whether its inputs are unchanged.

    The exit code is 1 if an input has changed since.
    """
    from climsim.console import out
    from climsim.provenance import as_json, trace, tree

    product = trace(file)
    if as_text:
        click.echo(as_json(product))
    else:
        out.print(tree(product), soft_wrap=True)
    if not product.ok:
        raise SystemExit(1)


def guarded(action: Callable[[], Any], debug: bool) -> int:
    """Run an action and turn its errors into one line and an exit code.

    Args:
        action: what to run.
        debug: whether to let the traceback through.

    Returns:
        0, 1 for an error, 130 when interrupted.
    """
    from climsim.console import fail

    try:
        action()
    except KeyboardInterrupt:
        fail("stopped; the same command continues where it stopped")
        return 130
    except ClimSimError as error:
        if debug:
            raise
        fail(str(error))
        return 1
    except Exception as error:
        if debug:
            raise
        text = " ".join(str(error).split())
        fail(f"unexpected {type(error).__name__}: {text} (--debug before the command shows where)")
        return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``climsim``: exit code 0, 1 for an error, 2 for wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("HYDRA_FULL_ERROR", "0")

    def action() -> None:
        try:
            main_group.main(args=given, prog_name="climsim", standalone_mode=False)
        except click.ClickException as error:
            error.show()
            raise SystemExit(error.exit_code) from error
        except click.Abort as error:
            raise KeyboardInterrupt from error

    sys.exit(guarded(action, "--debug" in given))


if __name__ == "__main__":
    main()
