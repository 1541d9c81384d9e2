"""What a stage is: one arrow of the chain, as a command, a rule of a study and a configuration.

Each package that does the work of stages declares them in its module ``stages``, which loads
nothing else; `climsim.stages` lists them all.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from climsim.errors import ClimSimError

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""
EVERYTHING = ("*",)
"""Keys that may change where a stage compares its product with its settings and inputs itself."""


@dataclass(frozen=True)
class Stage:
    """One arrow of the chain.

    Attributes:
        name: of the stage, of its rule in a study and of its configuration.
        command: words of its command, such as ``data prepare``.
        config: ``module:name`` of the configuration dataclass, which holds keys and defaults.
        run: ``module:name`` of the library function, called with (config, progress).
        summary: what the command does, in one sentence.
        example: overrides of a typical call.
        needs: keys that name what it reads.
        makes: key that names what it writes; empty where it writes nothing.
        may_change: keys that may change while a product is continued; `EVERYTHING` for all.
        renamed: keys whose values had other words one release before, and for each of these the
            present one.
        choices: groups of shipped configurations, and the choice of each that is the default.
        positional: key that a first bare word sets; empty where every key is named.
        scores: ``module:name`` of a function that reads lines to print from the result.
    """

    name: str
    command: str
    config: str
    run: str
    summary: str
    example: str
    needs: tuple[str, ...] = ()
    makes: str = ""
    may_change: tuple[str, ...] = ()
    renamed: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)
    choices: Mapping[str, str] = field(default_factory=dict, hash=False)
    positional: str = ""
    scores: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """Words of the command."""
        return tuple(self.command.split())

    def present(self, key: str, value: object) -> object:
        """The value of a key that an earlier version noted, in the words of now."""
        renamed = self.renamed.get(key, {})
        return renamed.get(value, value) if isinstance(value, str) else value

    def overrides(self, words: Sequence[str]) -> list[str]:
        """The words of a call as ``key=value``, the bare first one included.

        Raises:
            ClimSimError: if the first word is bare and every key is to be named.
        """
        first = words[0] if words else "="
        second = words[1] if len(words) > 1 else ""
        if "=" in first or first.startswith("~") or second.startswith("="):
            return list(words)
        if not self.positional:
            meant = next(key for key in (*self.needs, self.makes) if key)
            raise ClimSimError(f"{first!r}: expected key=value: write {meant}={first}")
        return [f"{self.positional}={first}", *words[1:]]


def load(reference: str) -> Any:
    """Import what ``module:name`` names."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
