"""What the shell offers behind a command: keys, choices, values and files."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ZshComplete,
    add_completion_class,
)

if TYPE_CHECKING:
    from climsim.keys import Hint
    from climsim.schema import Schema

_EXPERIMENT = "experiment"


class _Bash(BashComplete):
    """Bash that puts no space behind ``key=``, where the value follows."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)",
        '[[ $value == *= ]] && compopt -o nospace; COMPREPLY+=("$value")',
    )


class _Zsh(ZshComplete):
    """Zsh that puts no space behind ``key=``, and looks for files behind it."""

    source_template = ZshComplete.source_template.replace(
        "compadd -U -V", "compadd -S '' -U -V"
    ).replace("_path_files", "compset -P '*='; _path_files")


def register() -> None:
    """Use these forms of bash and zsh for ``climsim``."""
    add_completion_class(_Bash)
    add_completion_class(_Zsh)


def offered(name: str, words: Sequence[str], incomplete: str) -> list[CompletionItem]:
    """What can stand where the cursor is, behind a stage or a study.

    Bash counts ``=`` as a word of its own, so that a value comes alone; zsh and fish hand over the
    whole ``key=value``.

    Args:
        name: of the stage, or ``experiment``.
        words: typed before.
        incomplete: beginning of the word at the cursor.
    """
    from climsim.schema import schema

    shipped = schema(name)
    key, equals, value = incomplete.partition("=")
    if equals:
        items = _values(shipped, key, value)
        return [
            CompletionItem(f"{key}={i.value}" if i.type == "plain" else i.value, type=i.type)
            for i in items
        ]
    if words and words[-1] == "=":
        words = words[:-1]
    if words and "=" not in words[-1] and _is_key(shipped, words[-1]):
        return _values(shipped, words[-1], incomplete)
    return [CompletionItem(f"{k}=") for k in _keys(shipped) if k.startswith(incomplete)]


def words_of(name: str) -> Callable[..., list[CompletionItem]]:
    """The completion of the words of a command, as click calls it."""

    def complete(ctx: click.Context, param: click.Parameter, text: str) -> list[CompletionItem]:
        return offered(name, ctx.params.get(str(param.name)) or (), text)

    return complete


def studies(incomplete: str) -> list[CompletionItem]:
    """Names of the studies that begin so."""
    from climsim.schema import schema

    names = schema(_EXPERIMENT).choices_of_groups()["experiment"]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _keys(shipped: Schema) -> Iterator[str]:
    """Groups, then dotted keys."""
    yield from (group for group in shipped.choices if group != _EXPERIMENT)
    yield from (name for name in _dotted(shipped.cls, "") if name not in shipped.choices)


def _dotted(cls: type, before: str) -> Iterator[str]:
    from climsim.keys import hints, nested

    for name, hint in hints(cls).items():
        inner = nested(hint)
        if inner is None:
            yield before + name
        else:
            yield from _dotted(inner, f"{before}{name}.")


def _is_key(shipped: Schema, name: str) -> bool:
    return name in shipped.choices or name in _keys(shipped)


def _values(shipped: Schema, key: str, incomplete: str) -> list[CompletionItem]:
    """Choices of a group, values that a type lists, else files."""
    from climsim.keys import hint_of

    if key in shipped.choices:
        values = shipped.choices_of_groups()[key]
    else:
        values = _listed(hint_of(shipped.cls, key))
    if not values:
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(value) for value in values if value.startswith(incomplete)]


def _listed(hint: Hint) -> list[str]:
    """The values that a type has, where they are few."""
    from climsim.keys import members_of

    kinds = members_of(hint) if hint is not None else ()
    texts = ["true", "false"] if bool in kinds else []
    for kind in kinds:
        if typing.get_origin(kind) is typing.Literal:
            texts += [str(value) for value in typing.get_args(kind)]
    return texts
