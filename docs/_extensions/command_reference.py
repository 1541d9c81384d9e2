"""Write the lists of commands, keys and choices from the stages and their dataclasses.

The pages `reference/commands.md` and `reference/choices.md` include them: in the repository these
two are there without the lists, so that links to them lead somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from climsim.cli import main_group
from climsim.configuration import flat_defaults
from climsim.hosts.e3sm.config import OF_THE_RUN
from climsim.keys import Key, dataclass_keys, keys
from climsim.online.stages import ONLINE_RUN
from climsim.overrides import OPTIONS_OF
from climsim.schema import CONFIG_MODULE, option_classes, schema
from climsim.stages import STAGES, Stage
from climsim.workflow.run import ExperimentConfig

if TYPE_CHECKING:
    from sphinx.application import Sphinx

OF_HOST = f"{OPTIONS_OF['host']}."
WIDTH = 88
"""Longest line of a command on a page [characters]."""


def table(rows: list[Key]) -> Iterator[str]:
    """The Markdown table of keys."""
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key in rows:
        default = f"`{key.default}`" if key.default else "must be given"
        meaning = key.meaning.replace("|", "\\|")
        yield f"| `{key.name}` | {key.type} | {default} | {meaning} |"
    yield ""


def wrapped(command: str, width: int = WIDTH) -> str:
    """A command on as many lines as it takes, as a shell reads it."""
    lines, rest = [], command
    while len(rest) > width:
        # A space in quotes belongs to a word.
        spaces = [m.start() for m in re.finditer(r" (?=(?:[^']*'[^']*')*[^']*$)", rest)]
        places = [place for place in spaces if place > 4]  # behind the indentation
        if not places:
            break
        place = max((p for p in places if p <= width - 2), default=places[0])
        lines.append(rest[:place] + " \\")
        rest = "    " + rest[place:].lstrip()
    return "\n".join([*lines, rest])


def stage_section(stage: Stage) -> Iterator[str]:
    """Heading, example, keys and choices of one command."""
    command, shipped = stage.command, schema(stage.name)
    yield from (f"## climsim {command}", "", stage.summary, "")
    yield from ("```sh", wrapped(f"climsim {command} {stage.example}"), "```", "")
    run, config = (name.replace(":", ".") for name in (stage.run, stage.config))
    yield from (f"In Python: {{py:func}}`{run}` of a {{py:class}}`{config}`.", "")
    for group, names in shipped.choices_of_groups().items():
        listed = ", ".join(f"`{name}`" for name in names)
        yield from (f"`{group}=` one of {listed} ([values](choices.md)).", "")
    defaults = flat_defaults(stage.name)
    own = {name: value for name, value in defaults.items() if not name.startswith(OF_HOST)}
    yield from table(keys(shipped.cls, own))


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
    """All commands and their keys."""
    lines: list[str] = []
    for stage in STAGES:
        lines += stage_section(stage)
    for name in schema(ONLINE_RUN.name).choices_of_groups()["host"]:
        rows = [row for cls in option_classes("host", name) for row in dataclass_keys(cls, OF_HOST)]
        if name == "e3sm":
            rows = [row for row in rows if row.name.removeprefix(OF_HOST) not in OF_THE_RUN]
        lines += [f"## Keys of host={name}", "", *table(rows)]
    lines += ["## Keys of an experiment", "", *table(dataclass_keys(ExperimentConfig, ""))]
    lines += other_commands()
    return "\n".join(lines) + "\n"


def choices_page() -> str:
    """The shipped configuration groups, file by file."""
    root = resources.files(CONFIG_MODULE)
    lines: list[str] = []
    for group in sorted(p for p in root.iterdir() if p.is_dir() and p.name != "__pycache__"):
        lines += [f"## {group.name}", ""]
        for file in sorted(group.iterdir(), key=lambda p: p.name):
            name = f"{group.name}={file.name.removesuffix('.yaml')}"
            lines += [f"**`{name}`**", "", "```yaml", file.read_text().rstrip(), "```", ""]
    return "\n".join(lines) + "\n"


def write_pages(folder: Path) -> None:
    """Write the lists into the folder ``reference/generated`` where they changed."""
    generated = folder / "reference" / "generated"
    generated.mkdir(exist_ok=True)
    for name, text in (("commands.md", commands_page()), ("choices.md", choices_page())):
        path = generated / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir)))
    return {"parallel_read_safe": True}
