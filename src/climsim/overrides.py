"""From the words that a user types to overrides in Hydra's grammar.

Values are taken as they stand: what the grammar would trip over is quoted, and a list needs no
brackets. Commas mean a sweep only where one was asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.errors import HydraException

from climsim.errors import ClimSimError
from climsim.keys import Hint, element, hint_of, is_list, is_text, members_of, type_text
from climsim.plugins import check_complete, entry_point_names, is_reference

_OPEN = "network.hyperparameters"
"""Key below which any key may be set."""
OPTIONS_OF: Final = {"host": "host_options"}
"""Key with the options of what a group chooses; any where that is code of the user."""
_PLAIN = re.compile(r"(?:[A-Za-z_/]|\./)[\w./+:-]*", re.ASCII)
_OTHER_MEANING = ("null", "true", "false", "nan", "inf")
_PAIRS = {"[": "]", "(": ")", "{": "}"}
_FUNCTION = re.compile(rf"(?:{'|'.join(create_functions().definitions)})\(.*\)")


def quoted(text: str) -> str:
    """A text as Hydra reads it back: in quotes where it would read something else."""
    if _PLAIN.fullmatch(text) and text.lower() not in _OTHER_MEANING:
        return text
    return "'" + re.sub(r"(\\*)('|\Z)", _escaped, text) + "'"


def _escaped(match: re.Match[str]) -> str:
    return match[1] * 2 + ("\\'" if match[2] else "")


def split_values(text: str) -> list[str]:
    """Split at the commas that stand in no quotes and no brackets."""
    parts, quote = [""], ""
    closing: list[str] = []
    for before, character in zip(f" {text}", text, strict=False):  # one longer
        if quote:
            quote = "" if character == quote and before != "\\" else quote
        elif character in "'\"" and (parts[-1].strip() or "[")[-1] in "[({,:":
            quote = character
        elif character in _PAIRS:
            closing.append(_PAIRS[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif character == "," and not closing:
            parts.append("")
            continue
        parts[-1] += character
    return parts


def check_words(words: Sequence[str]) -> None:
    """Refuse words that are no ``key=value``, with the form that was probably meant.

    Raises:
        ClimSimError: naming the word.
    """
    for index, word in enumerate(words):
        if (word.partition("=")[1] and not word.startswith("=")) or word.startswith("~"):
            continue
        after = bool(index) and words[index - 1].endswith("=")
        near = words[index - 1 : index + 1] if after else words[index : index + 3]
        meant = re.match(r"[\w.+]+=[^=]+", "".join(near))
        hint = f"write {meant[0]} without spaces" if meant else "name its key, or quote spaces"
        raise ClimSimError(f"{word!r}: expected key=value: {hint}")


def friendly(
    overrides: Sequence[str],
    groups: Mapping[str, Iterable[str]],
    cls: type | None = None,
    *,
    further: Iterable[str] = (),
    sweep: bool = False,
) -> list[str]:
    """Overrides as Hydra wants them, from what a user naturally types.

    ``network=x`` sets ``network.name``, and ``host=x`` the host, where x is code of the user
    (``path/to/file.py:Class``, or an entry point of an installed package in ``climsim.<group>s``)
    and no file of the group. A hyperparameter, or an option of such a host, may be given without
    Hydra's plus.

    Args:
        overrides: as given.
        groups: names of the configuration groups, and of the files of each.
        cls: dataclass of the configuration, which says what is a text, a path or a list.
        further: keys that exist although no file names them, see `Schema.further_keys`.
        sweep: whether commas separate the values of a sweep instead of those of a list.

    Raises:
        ClimSimError: for a value that cannot be read.
    """
    check_words(overrides)
    opened = (_OPEN, *_opened(overrides, groups))
    beyond = _Beyond(opened, frozenset(further))
    return [_override(text, groups, cls, beyond, sweep=sweep) for text in overrides]


@dataclass(frozen=True)
class _Beyond:
    """Keys that may be set although the composed configuration lacks them.

    Attributes:
        below: beginnings of keys.
        keys: whole ones.
    """

    below: tuple[str, ...]
    keys: frozenset[str]

    def __contains__(self, name: str) -> bool:
        return name.startswith(self.below) or name in self.keys


def _opened(overrides: Sequence[str], groups: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Keys of options whose names only the code of the user knows."""
    for group, value in (text.partition("=")[::2] for text in overrides):
        if group in groups and group in OPTIONS_OF:
            choices = split_values(value)
            if any(_is_of_user(group, choice, groups[group]) for choice in choices):
                yield f"{OPTIONS_OF[group]}."


def _override(
    override: str,
    groups: Mapping[str, Iterable[str]],
    cls: type | None,
    beyond: _Beyond,
    *,
    sweep: bool,
) -> str:
    key, equals, value = override.partition("=")
    if not equals:
        return override
    name = key.lstrip("+~")
    if name in groups:
        return _choice(name, value, set(groups[name]), cls, sweep)
    if name in OPTIONS_OF and key == name:
        # A plain key here, which Hydra takes for the group that other commands choose from.
        return f"+{name}={_as_choice(name, value)}"
    inner = next((known for known in beyond.keys if name.startswith(f"{known}.")), None)
    if inner is not None and not key.startswith("~"):
        # Keys of an option that holds further ones have dots of their own.
        texts = split_values(value) if sweep else [value]
        last = name.removeprefix(f"{inner}.")
        return f"++{inner}={','.join(f'{{{last}: {text}}}' for text in texts)}"
    hint = hint_of(cls, name) if cls is not None and not key.startswith("~") else None
    if name in beyond:
        key = f"++{name}"

    def readable(text: str) -> str:
        return _value(override, text, hint)

    if not sweep:
        return f"{key}={_whole(override, value, hint, readable)}"
    return f"{key}={','.join(map(readable, split_values(value)))}"


def _choice(key: str, value: str, files: set[str], cls: type | None, sweep: bool) -> str:
    """A group set to one of its files, or to code of the user."""
    choices = split_values(value)
    for choice in choices:
        check_complete(choice, key)
    if len(choices) > 1 and not sweep:
        raise _many(f"{key}={value}", "one name")
    if any(_is_of_user(key, choice, files) for choice in choices):
        hint = None if cls is None else hint_of(cls, key)
        if hint is not None and is_text(hint):
            return f"{key}={','.join(_offered(key, choice, files) for choice in choices)}"
        return f"{key}.name={','.join(_value(key, choice, str) for choice in choices)}"
    return f"{key}={value}"


def _is_of_user(key: str, choice: str, files: Iterable[str]) -> bool:
    """Whether a choice of a group is code of the user."""
    if is_reference(choice) or choice in files:
        return is_reference(choice)
    return choice in entry_point_names(f"climsim.{key}s")


def _offered(key: str, choice: str, files: Iterable[str]) -> str:
    """A choice of a group whose files set the key at the top; code of the user becomes one."""
    if not _is_of_user(key, choice, files):
        return choice
    return _as_choice(key, choice)


def _as_choice(key: str, choice: str) -> str:
    """A file of a group that sets nothing but the key of the group's name."""
    name = f"user-{hashlib.sha256(choice.encode()).hexdigest()[:12]}"
    ConfigStore.instance().store(group=key, name=name, node={key: choice}, package="_global_")
    return name


def _many(override: str, expected: str) -> ClimSimError:
    return ClimSimError(
        f"{override}: expected {expected}, found several: add -m to run every combination"
    )


def _whole(override: str, value: str, hint: Hint, readable: Callable[[str], str]) -> str:
    """A value where no sweep was asked for: commas separate the elements of a list."""
    bracketed = value.startswith("[") or _FUNCTION.fullmatch(value) or value.startswith("${")
    if hint is None or not is_list(hint):
        parts = split_values(value)
        if len(parts) == 1 or bracketed or value.startswith("{") or (hint and is_text(hint)):
            return readable(value)
        if hint is None:
            return f"[{','.join(map(readable, parts))}]"
        raise _many(override, type_text(hint))
    if bracketed or value in ("", "null"):
        return readable(value)
    return f"[{','.join(map(readable, split_values(value)))}]"


def _value(override: str, text: str, hint: Hint) -> str:
    """One value; elements of a list in brackets one by one."""
    if hint is not None and is_list(hint):
        if text.startswith("[") and "]" not in text:
            raise _unbalanced(override)
        if text.startswith("[") and text.endswith("]"):
            inner = text[1:-1]
            parts = split_values(inner) if inner.strip() else []
            return f"[{','.join(_value(override, p.strip(), element(hint)) for p in parts)}]"
        hint = element(hint)
    if hint is not None and is_text(hint):
        return text if _stands(text, hint) else quoted(text)
    return _readable(override, text)


def _stands(text: str, hint: Hint) -> bool:
    """Whether a value for a text means something in Hydra's grammar that the user wants."""
    if not text or text in ("???", "null") or _FUNCTION.fullmatch(text):
        return text != "null" or str not in members_of(hint) or type(None) in members_of(hint)
    return len(text) > 1 and text[0] in "'\"" and _parses(text)


def _parses(text: str) -> bool:
    try:
        OverridesParser.create().parse_override(f"key={text}")
    except HydraException:
        return False
    return True


def _readable(override: str, text: str) -> str:
    """A value of any type: as it is where Hydra reads it, else as a text in quotes."""
    if _parses(text):
        return text
    if text[0] in "[{'\"" or _FUNCTION.fullmatch(text):
        raise _unbalanced(override)
    return quoted(text)


def _unbalanced(override: str) -> ClimSimError:
    return ClimSimError(
        f"{override}: cannot be read: expected matching brackets and quotes: quote a text "
        "with such characters, as in 'key=\"[a\"'"
    )
