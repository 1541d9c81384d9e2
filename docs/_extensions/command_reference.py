"""Write reference/commands.md from the table of stages and their configuration dataclasses."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import click

from climsim.cli import main_group
from climsim.configuration import CONFIG_MODULE, choices, flat_defaults
from climsim.online.hosts.e3sm.config import E3smConfig
from climsim.online.hosts.gcm.host import GcmConfig
from climsim.stages import STAGES, Stage, load
from climsim.workflow.run import ExperimentConfig

HOSTS = {"gcm": GcmConfig, "e3sm": E3smConfig}


@dataclass(frozen=True)
class Key:
    """One configuration key.

    Attributes:
        name: dotted.
        type: as a reader writes it.
        default: as text; empty where it must be given.
        meaning: one sentence; empty where the dataclass does not say.
    """

    name: str
    type: str
    default: str
    meaning: str


def meanings(cls: type) -> dict[str, str]:
    """Name and text of each entry below ``Attributes:`` of a class and those that it extends."""
    found = {}
    for part in reversed(cls.__mro__):
        _, _, block = inspect.cleandoc(part.__doc__ or "").partition("Attributes:\n")
        entries = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", block, re.MULTILINE)
        found |= {name: " ".join(words.replace("``", "`").split()) for name, words in entries}
    return found


def type_text(hint: Any) -> str:
    """A type as a reader writes it: ``list of text`` for ``tuple[str, ...]``."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        parts = [type_text(a) for a in arguments if a is not type(None)]
        return " or ".join([*parts, *(["null"] if type(None) in arguments else [])])
    if origin in (tuple, list):
        return f"list of {type_text(arguments[0])}"
    if origin is dict:
        return "keys and values"
    if origin is typing.Literal:
        return " or ".join(f"`{a}`" for a in arguments)
    names = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def nested(hint: Any) -> type | None:
    """The dataclass in a hint such as ``Config`` or ``Config | None``, if there is one."""
    candidates = (hint, *typing.get_args(hint))
    return next((c for c in candidates if dataclasses.is_dataclass(c)), None)


def describe_key(cls: type, name: str) -> tuple[str, str]:
    """Type and meaning of a dotted key of a configuration dataclass."""
    head, _, rest = name.partition(".")
    hint = typing.get_type_hints(cls).get(head)
    if rest and (inner := nested(hint)) is not None:
        return describe_key(inner, rest)
    return type_text(hint), meanings(cls).get(head, "")


def keys(cls: type, defaults: dict[str, Any]) -> list[Key]:
    """Every key of a configuration in the order of its shipped file."""
    found = []
    for name, value in defaults.items():
        if name.startswith("host_options."):
            continue
        kind, meaning = describe_key(cls, name)
        found.append(Key(name, kind, default_text(value), meaning))
    return found


def default_text(value: Any) -> str:
    """A default as it is written on the command line."""
    if value == "???":
        return ""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, list | tuple):
        return "[" + ",".join(default_text(item) for item in value) + "]"
    return '""' if value == "" else str(value)


def dataclass_keys(cls: type, prefix: str) -> list[Key]:
    """Keys of a dataclass whose defaults stand in the class itself."""
    hints, texts, found = typing.get_type_hints(cls), meanings(cls), []
    for field in dataclasses.fields(cls):
        given = field.default is not dataclasses.MISSING
        text = default_text(field.default) if given else ""
        found.append(
            Key(prefix + field.name, type_text(hints[field.name]), text, texts.get(field.name, ""))
        )
    return found


def table(rows: list[Key]) -> Iterator[str]:
    """The Markdown table of keys."""
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key in rows:
        default = f"`{key.default}`" if key.default else "must be given"
        meaning = key.meaning.replace("|", "\\|")
        yield f"| `{key.name}` | {key.type} | {default} | {meaning} |"
    yield ""


def stage_section(stage: Stage) -> Iterator[str]:
    """Heading, example, keys and choices of one command."""
    command = " ".join(stage.path)
    yield from (f"## climsim {command}", "", stage.summary, "")
    yield from ("```sh", f"climsim {command} {stage.example}", "```", "")
    for group, names in choices(stage.config).items():
        listed = ", ".join(f"`{name}`" for name in names)
        yield from (f"`{group}=` one of {listed} ([values](choices.md)).", "")
    yield from table(keys(load(stage.config_class), flat_defaults(stage.config)))


def other_commands() -> Iterator[str]:
    """The help of the commands that are no stages."""
    stages = {stage.path for stage in STAGES}
    for path, command in sorted(walk(main_group, ())):
        if path not in stages:
            text = command.get_help(click.Context(command, info_name=f"climsim {' '.join(path)}"))
            yield from (f"## climsim {' '.join(path)}", "", "```text", text, "```", "")


def walk(
    group: click.Group, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group with its words; a hidden one stands in its group's help."""
    for name, command in group.commands.items():
        below = command.commands.values() if isinstance(command, click.Group) else ()
        if not command.hidden and (not below or any(c.hidden for c in below)):
            yield (*path, name), command
        if isinstance(command, click.Group):
            yield from walk(command, (*path, name))


def commands_page() -> str:
    """The page of all commands and their keys."""
    lines = ["# Commands and their keys", ""]
    lines += [
        "Every command takes `key=value`; `--help` prints the same lists, `--show-config` the",
        "resolved configuration, and `-m` runs every combination of comma-separated values.",
        "",
    ]
    for stage in STAGES:
        lines += stage_section(stage)
    for name, cls in HOSTS.items():
        lines += [f"## Keys of host={name}", "", *table(dataclass_keys(cls, "host_options."))]
    lines += ["## Keys of an experiment", "", *table(dataclass_keys(ExperimentConfig, ""))]
    lines += other_commands()
    return "\n".join(lines) + "\n"


def choices_page() -> str:
    """The page of the shipped configuration groups, file by file."""
    root = resources.files(CONFIG_MODULE)
    lines = ["# Configuration groups", ""]
    lines += ["`group=name` on the command line takes the values of one of these files.", ""]
    for group in sorted(p for p in root.iterdir() if p.is_dir() and p.name != "__pycache__"):
        lines += [f"## {group.name}", ""]
        for file in sorted(group.iterdir(), key=lambda p: p.name):
            name = f"{group.name}={file.name.removesuffix('.yaml')}"
            lines += [f"**`{name}`**", "", "```yaml", file.read_text().rstrip(), "```", ""]
    return "\n".join(lines) + "\n"


def write_pages(folder: Path) -> None:
    """Write the generated pages into the folder ``reference`` where they changed."""
    for name, text in (("commands.md", commands_page()), ("choices.md", choices_page())):
        path = folder / "reference" / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir)))
    return {"parallel_read_safe": True}
