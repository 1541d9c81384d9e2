"""The command line: one command per stage, every setting a ``key=value`` override."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from climsim import completion
from climsim.errors import ClimSimError
from climsim.help import StageCommand
from climsim.interrupts import interrupted, on_interrupt
from climsim.keys import Values
from climsim.options import LocalPath, Shown, add_common_options, explained, shown
from climsim.stages import GROUPS, STAGES, Stage, load
from climsim.workflow.commands import experiment


def run_stage(stage: Stage, values: Values, as_json: bool = False) -> object:
    """Run a stage with a progress bar, say what it made and what that cost, return its result.

    Products go to standard output with their scores; a table that is the result alone goes there
    by itself, and messages about it to standard error.
    """
    from climsim.configuration import stage_config
    from climsim.console import peak_memory, progress_bar

    title = stage.command
    config = stage_config(stage.name, values)
    started = time.perf_counter()
    quiet = shown().quiet
    with progress_bar(title, shown=not quiet) as progress:
        result = load(stage.run)(config, progress)
    seconds = time.perf_counter() - started
    cost = f"{seconds:.1f} s, {peak_memory() / 2**20:.0f} MiB at most"
    scores = load(stage.scores)(result) if stage.scores else ()
    if as_json:
        click.echo(_as_json(title, result, scores, seconds))
    elif isinstance(result, str):
        click.echo(result)
        click.echo(f"{title}: done ({cost})", err=True) if not quiet else None
    else:
        click.echo(f"{title}: {result}" + ("" if quiet else f" ({cost})"))
        for line in scores:
            click.echo(line)
    return result


def _as_json(title: str, result: object, scores: Sequence[str], seconds: float) -> str:
    values = dict(vars(result)) if dataclasses.is_dataclass(result) else result
    content = {"command": title, "result": values, "scores": list(scores), "seconds": seconds}
    return json.dumps(content, default=str)


def _as_list(rows: Sequence[object]) -> str:
    """Dataclasses as JSON; what is unknown is null there, which has no NaN."""

    def known(value: object) -> object:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    content = [{key: known(value) for key, value in vars(row).items()} for row in rows]
    return json.dumps(content, indent=2, default=str)


def _stage_command(stage: Stage) -> click.Command:
    @click.pass_context
    def callback(
        ctx: click.Context,
        words: tuple[str, ...],
        multirun: bool,
        show_config: bool,
        as_json: bool,
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

            values = compose_config(stage.name, overrides, config_dir)
            result = run_stage(stage, values, as_json)
            # A report that found something wrong stops a shell script or a CI job.
            if getattr(result, "ok", True) is False:
                raise SystemExit(1)

    command = StageCommand(
        stage.path[-1], callback=callback, params=_stage_options(stage), help=stage.summary
    )
    command.stage = stage
    return command


def _stage_options(stage: Stage) -> list[click.Parameter]:
    bare = f"[{stage.positional.upper()}] " if stage.positional else ""
    return [
        click.Argument(
            ["words"],
            nargs=-1,
            metavar=f"{bare}[KEY=VALUE]...",
            shell_complete=completion.words_of(stage.name),
        ),
        click.Option(["-m", "--multirun"], is_flag=True, help="Sweep comma-separated values."),
        click.Option(["--show-config"], is_flag=True, help="Print the configuration and stop."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."),
        click.Option(["--config-dir"], metavar="DIR", help="Folder of further configuration."),
    ]


def _print_config(stage: Stage, overrides: Sequence[str], folder: str | None) -> None:
    from omegaconf import OmegaConf

    from climsim.configuration import compose_config

    values = compose_config(stage.name, overrides, folder)
    click.echo(OmegaConf.to_yaml(values), nl=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="climsim-kaggle-edition")
def main_group() -> None:
    """Train, export, couple and evaluate neural emulators of atmospheric physics."""
    from climsim.allocation import keep_freed_memory
    from climsim.log import configure_logging

    if shown() == Shown():
        configure_logging()
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
    @click.argument("folder", default="runs", type=LocalPath())
    @click.option("--json", "as_text", is_flag=True, help="Print JSON instead of a table.")
    def callback(folder: Path, as_text: bool) -> None:
        from climsim.console import out, terminal_table
        from climsim.online.status import runs_below, status_rows

        runs = runs_below(folder)
        if as_text:
            click.echo(_as_list(runs))
            return
        out.print(terminal_table(status_rows(runs)))
        for run in runs:
            if run.health:
                out.print(f"{run.case}: {run.health}", markup=False, soft_wrap=True)

    command = click.command("status", help="Show every online run below FOLDER.")(callback)
    return command


_group("online").add_command(_online_status())


@main_group.command()
@click.option("--json", "as_text", is_flag=True, help="Print JSON instead of a table.")
def doctor(as_text: bool) -> None:
    """Say what is installed, which devices are there and what is missing."""
    from climsim.console import out
    from climsim.doctor import examine, table

    findings = examine()
    if as_text:
        click.echo(_as_list(findings))
    else:
        out.print(table(findings))
    missing = [f"{f.what}: {f.detail}" for f in findings if f.required and not f.ok]
    if missing:
        raise ClimSimError(f"doctor: missing or too small: {'; '.join(missing)}")


main_group.add_command(experiment)


@main_group.command()
@click.argument("file", type=LocalPath())
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


add_common_options(main_group)
completion.register()


def guarded(action: Callable[[], object], debug: bool) -> int:
    """Run an action and turn its errors into one line and an exit code.

    Args:
        action: what to run.
        debug: whether to let the traceback through.

    Returns:
        0, 1 for an error, 130 when interrupted.
    """
    from climsim.console import fail
    from climsim.plugins import clear_error, error_of_user

    try:
        action()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has enough, as `head` does.
        _drop_output()
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        fail("stopped; run the same command again to finish")
        return 130
    except ClimSimError as error:
        if debug:
            raise
        fail(str(error))
        return 1
    except SystemExit as error:
        # Ours ends the program as it says; that of a user's code is a fault of it.
        known = error_of_user(error)
        if known is None or debug:
            raise
        fail(str(known))
        return 1
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.filename is None:
            _drop_output()
        text = " ".join(str(error).split())
        unexpected = f"unexpected {type(error).__name__}: {text} (--debug shows where)"
        fail(str(clear_error(error) or unexpected))
        return 1
    return 0


def _drop_output() -> None:
    """Let the rest of the output go nowhere, so that the end of the program tries it no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``climsim``: exit code 0, 1 for an error, 2 for wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("HYDRA_FULL_ERROR", "0")

    def action() -> None:
        try:
            main_group.main(args=given, prog_name="climsim", standalone_mode=False)
        except click.ClickException as error:
            refused = explained(error, given) if isinstance(error, click.UsageError) else error
            refused.show()
            raise SystemExit(refused.exit_code) from error
        except click.Abort as error:
            # The command line's library takes the end of a file for an interrupt of a prompt.
            if isinstance(error.__cause__, EOFError):
                raise error.__cause__ from None
            raise KeyboardInterrupt from error

    with on_interrupt(interrupted):
        code = guarded(action, "--debug" in given)
    sys.exit(code)


if __name__ == "__main__":
    main()
