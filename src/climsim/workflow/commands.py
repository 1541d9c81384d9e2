"""The commands ``climsim experiment NAME`` and ``climsim experiment status``."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from climsim.completion import studies, words_of

_RUN = "run"


class _RunByDefault(click.Group):
    """A group whose first word is a study unless it is one of the commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``run`` before the name of a study."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [_RUN, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the studies beside the commands."""
        return [*studies(incomplete), *super().shell_complete(ctx, incomplete)]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the short form."""
        formatter.write_usage(ctx.command_path, "NAME [OPTIONS] [KEY=VALUE]...")
        formatter.write_usage(ctx.command_path, "status [NAME or FOLDER]", prefix="       ")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the studies, the options of a run and examples."""
        from climsim.schema import EXPERIMENT, schema

        with formatter.section("Studies"):
            formatter.write_text(", ".join(schema(EXPERIMENT).choices_of_groups()["experiment"]))
        with formatter.section("Options of a study"):
            records = [p.get_help_record(ctx) for p in run.params if isinstance(p, click.Option)]
            formatter.write_dl([record for record in records if record])
        with formatter.section("Examples"):
            formatter.write_dl(
                [
                    ("climsim experiment demo", "the whole chain, small"),
                    ("climsim experiment demo members.seeds=7,43", "with other settings"),
                    ("climsim experiment demo +recipes.standard.recipe.delta=2", "one recipe"),
                    ("climsim experiment paper --dry-run source.store=S", "list the jobs"),
                    ("climsim experiment paper --slurm ...", "on a cluster"),
                    ("climsim experiment status quick --watch", "follow one that runs"),
                ]
            )


@click.group(cls=_RunByDefault, name="experiment")
def experiment() -> None:
    """Run a whole study; a second call continues where it stopped."""


class _StudyCommand(click.Command):
    """The command of a study, whose help lists the keys with the values of that study."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember the study, for the help."""
        ctx.obj = next((word for word in args if not word.startswith("-")), None)
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the command as it is typed."""
        path = ctx.command_path.removesuffix(f" {_RUN}")
        formatter.write_usage(path, f"{ctx.obj or 'NAME'} [OPTIONS] [KEY=VALUE]...")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the keys of the study."""
        from climsim.cards import flatten
        from climsim.help import write_keys
        from climsim.keys import keys
        from climsim.workflow.config import ExperimentConfig
        from climsim.workflow.run import study_values

        if ctx.obj is not None:
            values = study_values(ctx.obj)
            write_keys(formatter, keys(ExperimentConfig, flatten(values)))


@experiment.command(_RUN, hidden=True, cls=_StudyCommand)
@click.argument("name")
@click.argument(
    "overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=words_of("experiment")
)
@click.option("-n", "--dry-run", is_flag=True, help="Only list the jobs that would run.")
@click.option("--show-config", is_flag=True, help="Print the configuration and stop.")
@click.option("--until", metavar="STAGE", help="Stop after this stage, such as train.")
@click.option("--slurm", is_flag=True, help="Send the jobs to SLURM.")
@click.option(
    "--graph",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw the stages into an SVG, PNG or PDF file and stop.",
)
@click.option("--config-dir", metavar="DIR", help="Folder of further configuration.")
def run(
    name: str,
    overrides: tuple[str, ...],
    dry_run: bool,
    show_config: bool,
    until: str | None,
    slurm: bool,
    graph: Path | None,
    config_dir: str | None,
) -> None:
    """Run a study; a second call continues where it stopped."""
    import yaml

    from climsim.workflow.run import draw_experiment, run_experiment, study_values

    if show_config:
        click.echo(
            yaml.safe_dump(study_values(name, overrides, config_dir), sort_keys=False), nl=False
        )
        return
    if graph is not None:
        click.echo(f"graph: {draw_experiment(name, overrides, graph, config_dir=config_dir)}")
        return
    report = run_experiment(
        name, overrides, dry_run=dry_run, until=until, slurm=slurm, config_dir=config_dir
    )
    if report is not None:
        click.echo(f"report: {report}")


@experiment.command()
@click.argument("which", default="runs", metavar="[NAME or FOLDER]")
@click.option("--watch", "live", is_flag=True, help="Continue until nothing runs it any more.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def status(which: str, live: bool, as_json: bool) -> None:
    """Show every member and stage of a study: progress, time left, last error lines.

    WHICH is the folder of a study or its name; without it all studies below runs/ are shown.
    """
    from climsim.console import out
    from climsim.workflow.status import experiment_status, find_experiments
    from climsim.workflow.watch import show_json, view, watch

    folders = find_experiments(which)
    if as_json:
        click.echo(show_json([experiment_status(folder) for folder in folders]))
    elif live:
        watch(folders)
    else:
        for folder in folders:
            out.print(view(experiment_status(folder)))
