"""Options that every command has, before its name or after it, and hints at wrong ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

DEBUG, VERBOSE, QUIET = "debug", "verbose", "quiet"
_HELP = {
    DEBUG: (["--debug"], "Show the whole log, and the traceback of an error."),
    VERBOSE: (["-v", "--verbose"], "Show more of the log."),
    QUIET: (["-q", "--quiet"], "Show results and errors only."),
}


class LocalPath(click.ParamType):
    """A path of this machine, as an argument without a key."""

    name = "path"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """The path; an empty text and a URL are refused as where a key gives it."""
        from climsim.configuration import local_path

        key = "path" if param is None or param.name is None else param.name
        return Path(local_path(str(value), key))


@dataclass(frozen=True)
class Shown:
    """How much a command says.

    Attributes:
        debug: everything, and tracebacks.
        verbose: more of the log.
        quiet: only results and errors.
    """

    debug: bool = False
    verbose: bool = False
    quiet: bool = False


def shown() -> Shown:
    """What the options of the command that runs ask for."""
    context = click.get_current_context(silent=True)
    meta = {} if context is None else context.meta
    return Shown(*(bool(meta.get(_key(name))) for name in _HELP))


def _key(name: str) -> str:
    return f"{__name__}.{name}"


def _remember(context: click.Context, option: click.Parameter, value: bool) -> None:
    from climsim.log import configure_logging

    if value:
        context.meta[_key(str(option.name))] = True
        with context.scope(cleanup=False):
            now = shown()
        configure_logging(debug=now.debug, verbose=now.verbose, quiet=now.quiet)


def add_common_options(command: click.Command) -> None:
    """Give a command, and every command below it, the options that all have."""
    for name, (forms, text) in _HELP.items():
        option = click.Option(
            [*forms, name], is_flag=True, expose_value=False, callback=_remember, help=text
        )
        command.params.append(option)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            add_common_options(below)


def explained(error: click.UsageError, words: Sequence[str]) -> click.UsageError:
    """The error that says how a key is set where it was given as an option.

    Args:
        error: of wrong usage.
        words: of the command line.
    """
    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return error
    known: Sequence[str] = getattr(error.ctx.command, "known_keys", list)()
    name = error.option_name.lstrip("-").replace("-", "_")
    meant = next(_resembling(name, known), None)
    if meant is None:
        return error
    after = [*words, "..."][[*words, error.option_name].index(error.option_name) + 1 :]
    value = after[0] if after and not after[0].startswith("-") else "..."
    text = f"{error.message} Settings have no dashes: write {meant}={value}"
    return click.UsageError(text, error.ctx)


def _resembling(name: str, known: Sequence[str]) -> Iterator[str]:
    yield from (key for key in known if key == name)
    yield from (key for key in known if key.rpartition(".")[2] == name)
