"""Running a documented command on a tiny study: inputs that are missing are put in place."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from climsim.cli import main_group
from climsim.configuration import compose_config
from climsim.overrides import split_values
from climsim.stages import STAGES, Stage

INPUTS = {
    "data check": {"raw": "raw"},
    "data prepare": {"raw": "raw"},
    "data statistics": {"store": "store"},
    "data verify": {"store": "store"},
    "data describe": {"store": "store"},
    "train": {"data.store": "store", "data.statistics": "statistics"},
    "export": {"checkpoint": "checkpoint", "members": "checkpoint"},
    "evaluate offline": {"model": "model", "members": "model", "store": "store"},
    "online run": {"model": "model"},
    "evaluate online": {
        "runs": "run",
        "reference": "reference",
        "second_reference": "second_reference",
    },
    "figures": {"offline": "offline", "online": "online"},
    "report": {"offline": "offline", "online": "online", "figures": "figures"},
}
"""For each command, the kind of product behind each key that names an input."""
SMALL = {
    "data generate": ["days=0.1"],
    "data prepare": [
        "split.name=''",
        "split.gap_days=0.05",
        "workers=1",
        "split.train=0.6",
        "split.validation=0.2",
        "split.test=0.2",
    ],
    "train": [
        "trainer.epochs=1",
        "data.batch_size=256",
        "trainer.devices=1",
        "trainer.nodes=1",
        "trainer.logger=none",
    ],
    "online run": ["days=0.1"],
    "figures": ["formats=[png]", "only=[rmse_growth,offline_profiles]"],
}
"""What makes a command cheap; the rest stands as the documentation gives it."""
EMBEDDED_MODEL = ("data generate", "online run")
OTHERS = ("doctor", "online status", "experiment")
"""Commands that are no stages and run as they are, or as a dry run."""


def stage_of(words: Sequence[str]) -> Stage | None:
    """The stage that a command line calls, if it is one."""
    return next((s for s in STAGES if tuple(words[1 : 1 + len(s.path)]) == s.path), None)


def overrides_of(stage: Stage, words: Sequence[str]) -> list[str]:
    """The overrides of a stage's line; ``...`` stands for those of its example."""
    command: click.Command = main_group
    for word in stage.path:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    context = command.make_context(command.name, list(words[1 + len(stage.path) :]))
    given = context.params["words"]
    found = stage.overrides([text for text in given if text != "..."])
    if "..." in given:
        known = {text.split("=")[0] for text in found}
        example = stage.overrides(stage.example.split())
        found += [t for t in example if t.split("=")[0] not in known]
    return found


def single(overrides: Sequence[str]) -> list[str]:
    """The overrides of the first of the runs that a sweep makes."""
    return [re.sub(r"^([^=]+=[^,\[]*),.*$", r"\1", text) for text in overrides]


def compose(stage: Stage, words: Sequence[str]) -> dict:
    """The configuration of a line; what must be given comes from the example where it is left out.

    Raises:
        ClimSimError: for a key or choice that does not exist.
    """
    overrides = single(overrides_of(stage, words))
    known = {text.split("=")[0] for text in overrides}
    example = stage.overrides(stage.example.split())
    filled = [t for t in example if t.split("=")[0] not in known]
    return compose_config(stage.name, [*overrides, *filled])


def small_line(stage: Stage, words: Sequence[str]) -> list[str]:
    """The line with the settings that make it cheap."""
    overrides = overrides_of(stage, words)
    name = " ".join(stage.path)
    flags = [word for word in words if word.startswith("-")]
    if "-m" in flags:
        swept = [t for t in overrides if single([t]) != [t]]
        overrides = [t if t == swept[-1] else single([t])[0] for t in overrides]
    cheap = {text.split("=")[0]: text for text in SMALL.get(name, [])}
    kept = [t for t in overrides if t.split("=")[0] not in cheap]
    if name == "train" and ".py:" not in " ".join(t for t in kept if t.startswith("network=")):
        kept = [t for t in kept if not t.startswith("preset=")] + ["preset=small"]
    return [*stage.path, *flags, *kept, *cheap.values()]


def anonymous_line(words: Sequence[str]) -> tuple[str, ...]:
    """What a command does, whatever its seed and the names of what it reads and makes."""
    stage = stage_of(words)
    assert stage is not None
    names = {"case", "folder", "perturbation_seed", "raw", *INPUTS.get(" ".join(stage.path), {})}
    texts = small_line(stage, words)
    return tuple(t.split("=")[0] if t.split("=")[0] in names else t for t in texts)


def place_inputs(stage: Stage, line: Sequence[str], made: dict[str, Path], folder: Path) -> None:
    """Bring the products that a line reads to where it looks for them."""
    kinds = INPUTS.get(" ".join(stage.path), {})
    for text in line:
        key, _, value = text.partition("=")
        if key not in kinds:
            continue
        for name in split_values(value.strip("[]")):
            path = folder / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                if kinds[key] == "run":
                    # Runs of one line are different runs: links to one folder would be one run.
                    shutil.copytree(made["run"], path)
                else:
                    path.symlink_to(made[kinds[key]])
