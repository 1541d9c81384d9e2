"""The help of commands: every key with its meaning, read from the dataclass of a configuration."""

from __future__ import annotations

from collections.abc import Sequence

import click

from climsim.keys import Key
from climsim.stage import Stage

_KEY_WIDTH = 34
_WORDS = f"{__name__}.words"
"""Key of the words of a command in the context of click."""


class StageCommand(click.Command):
    """A command whose help lists every configuration key with its default and meaning."""

    stage: Stage

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember the words: help on a choice shows the keys that come with it."""
        ctx.meta[_WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the keys below the options."""
        from climsim.configuration import flat_defaults
        from climsim.keys import keys
        from climsim.schema import schema

        shipped = schema(self.stage.name)
        groups = shipped.choices_of_groups()
        if groups:
            with formatter.section("Choices (group=name)"):
                formatter.write_dl([(group, ", ".join(names)) for group, names in groups.items()])
        chosen = [word for word in ctx.meta.get(_WORDS, ()) if word.partition("=")[0] in groups]
        defaults = flat_defaults(shipped.name, chosen)
        write_keys(formatter, keys(shipped.cls, defaults, shipped.option_classes(chosen)))
        with formatter.section("Example"):
            formatter.write_text(f"climsim {self.stage.command} {self.stage.example}")

    def known_keys(self) -> list[str]:
        """Groups and dotted keys."""
        from climsim.configuration import flat_defaults

        return [*self.stage.choices, *flat_defaults(self.stage.name)]


def write_keys(formatter: click.HelpFormatter, keys: Sequence[Key]) -> None:
    """Write keys with meaning, type and default; those of an open dictionary share a meaning."""
    rows, before = [], ""
    for key in keys:
        default = f"default {key.default}" if key.default else "must be given"
        rows.append((key.name, f"[{default}]" if key.meaning == before else _text(key, default)))
        before = key.meaning
    with formatter.section("Keys (key=value)"):
        formatter.write_dl(rows, col_max=_KEY_WIDTH)


def _text(key: Key, default: str) -> str:
    # What begins with a word of the code keeps its letters.
    first = key.meaning[:1].upper()
    meaning = f"{first}{key.meaning[1:]}".replace("`", "")
    return f"{meaning} [{key.type.replace('`', '')}; {default}]".strip()
