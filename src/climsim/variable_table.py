"""One table of every variable of a set: place in the vector, unit, origin, normalization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from climsim.constants import N_LEVELS
from climsim.errors import unknown_name
from climsim.interfaces import ENCODINGS, INTERFACES
from climsim.normalization import input_rule, target_rule
from climsim.notation import text_table
from climsim.stage import Progress
from climsim.validation import Checks, whole
from climsim.variables import (
    EARLIER_SCALARS,
    EXPANDED,
    KAGGLE_INPUTS,
    OUTPUTS,
    STANDARD,
    TARGETS,
    V1_TARGETS,
    VariableSet,
    variable,
)

SETS: dict[str, VariableSet] = {
    **{name: e.variables for name, e in ENCODINGS.items()},
    **{s.name: s for s in (TARGETS, KAGGLE_INPUTS, V1_TARGETS)},
    **{f"interface_{name}": i.variables for name, i in INTERFACES.items()},
    OUTPUTS.name: OUTPUTS,
}
"""Sets that a table can be made of, by name."""

_PHYSICAL = "none: physical values"


@dataclass(frozen=True)
class VariableRow:
    """One line of the table.

    Attributes:
        name: name in the files and in a store.
        meaning: what it is.
        unit: unit.
        levels: number of values.
        first: position of its first value (model top) in the vector, from 0.
        last: position of its last value.
        derived: how it is made from the raw files.
        normalization: how a network sees it.
    """

    name: str
    meaning: str
    unit: str
    levels: int
    first: int
    last: int
    derived: str
    normalization: str


@dataclass(frozen=True)
class VariablesConfig:
    """Which table to show.

    Attributes:
        set: name of the variable set (`SETS`).
        levels: number of levels.
        form: ``text`` or ``markdown``.
    """

    set: str = "standard"
    levels: int = N_LEVELS
    form: str = "text"

    def __post_init__(self) -> None:
        Checks(self).one_of(("text", "markdown"), "form")


def show_variables(config: VariablesConfig, progress: Progress | None = None) -> str:
    """Make the table of a set as text.

    Args:
        config: which one.
        progress: not used: the table is there at once.

    Raises:
        ClimSimError: if there is no such set.
    """
    del progress
    rows = variables_table(config.set, config.levels)
    return (markdown(rows) if config.form == "markdown" else text(rows)).rstrip("\n")


def variables_table(name: str, levels: int = N_LEVELS) -> list[VariableRow]:
    """List the variables of a set in the order of its vector.

    Args:
        name: name of the set (`SETS`).
        levels: number of levels.

    Raises:
        ClimSimError: if there is no such set.
    """
    if name not in SETS:
        raise unknown_name("variable set", name, SETS)
    whole("levels", levels, least=1)
    return [
        VariableRow(
            name=key,
            meaning=variable(key).long_name,
            unit=variable(key).unit,
            levels=where.stop - where.start,
            first=where.start,
            last=where.stop - 1,
            derived=derivation(key),
            normalization=normalization(key, name),
        )
        for key, where in SETS[name].slices(levels).items()
    ]


def derivation(name: str) -> str:
    """How a variable is made from the raw files, as a formula; t is the present step."""
    if name in _FORMULAS:
        return _FORMULAS[name]
    if name.startswith("ptend_"):
        key = name.replace("ptend_", "state_")
        return f"(mlo.{key} - mli.{key}) / dt"
    if name.endswith(("_dyn", "_prvphy")):
        return _previous_step(name)
    if name in EARLIER_SCALARS:
        return f"mli(t-1).{name.removeprefix('tm_')}"
    return f"as in {'mlo' if name.startswith('cam_out_') else 'mli'}"


_FORMULAS = {
    "state_rh": "q0001 / q_sat(T, p), SAM's saturation mixed between liquid and ice by T",
    "state_qn": "q0002 + q0003",
    "liq_partition": "clip((T - 253.16 K) / 20 K, 0, 1)",
    "clat": "cos(lat)",
    "slat": "sin(lat)",
    "icol": "number of the column in the file, from 1",
    "ptend_qn": "(mlo.(q0002 + q0003) - mli.(q0002 + q0003)) / dt",
    "cam_in_SNOWHICE": "as in mli, fill values (1e30, off sea ice) set to 0",
    "cam_in_SNOWHLAND": "as in mli, fill values set to 0",
}


def _previous_step(name: str) -> str:
    newer, older = ("t-1", "t-2") if name.startswith("tm_") else ("t", "t-1")
    _, key, kind = name.removeprefix("tm_").split("_")
    what = {
        "q0": "(q0001 + q0002 + q0003)",
        "qn": "(q0002 + q0003)",
    }.get(key, f"state_{key}")
    if kind == "dyn":
        return f"(mli({newer}).{what} - mlo({older}).{what}) / dt"
    return f"(mlo({older}).{what} - mli({older}).{what}) / dt"


def normalization(name: str, variables: str) -> str:
    """How a network sees a variable of a set, with statistics of the training split."""
    if variables in (TARGETS.name, V1_TARGETS.name):
        return target_rule(name).describe(variable(name).profile)
    if variables not in ENCODINGS:
        return _PHYSICAL
    return input_rule(name, ENCODINGS[variables]).describe(variable(name).profile)


def markdown(rows: Sequence[VariableRow]) -> str:
    """The table in Markdown, for the documentation."""
    header = [f.name for f in fields(VariableRow)]
    lines = [header, ["---"] * len(header), *([str(c) for c in astuple(row)] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def page() -> str:
    """The tables of all sets as one page of Markdown, for the documentation."""
    parts = [_PAGE_HEAD]
    for name, about in _ABOUT.items():
        parts.append(f"## {name}\n\n{about}\n\n{markdown(variables_table(name))}")
    return "\n".join(parts)


_PAGE_HEAD = """---
measured: nothing
---

# Variables

Every variable of every set, in the order of the vector that a network or the exported file sees.
This page is what the library's own tables say:

```sh
climsim data variables expanded
climsim data variables outputs levels=30
climsim data variables targets form=markdown
```

Profiles come first, each from the model top (level 0) to the surface, then the scalars. `mli` is
the file with the state before physics, `mlo` the one after it; t is the present step and dt its
length (1200 s in the published data; a store says its own as `time_step_s`). In names,
`_prvphy` is what physics did in the previous step, `_dyn` what dynamics and the other components
did between that step and this one, and the prefix `tm_` moves either one step further back.
Statistics are those of the training split; "per level" means one number per level, otherwise there
is one for the variable.
"""

_ABOUT = {
    STANDARD.name: "Inputs of the recipes standard, conf_loss, diff_loss, steady.",
    "multirep": "The same inputs, each profile but one in three representations.",
    EXPANDED.name: "Inputs of the recipe v6: with the two previous steps and latitude.",
    TARGETS.name: "What networks predict.",
    KAGGLE_INPUTS.name: "Inputs of the Kaggle competition, as they are in its files.",
    "v1": "Inputs of the first ClimSim networks, which predict two profiles.",
    "v2": "Raw inputs of the present step, for targets with liquid and ice apart.",
    "v2_rh": "The same with relative humidity.",
    "v3": "Raw inputs and the large-scale forcing, for targets with liquid and ice apart.",
    "v4": "Inputs with two previous steps and the place, liquid and ice apart in the targets too.",
    "v5": "The inputs of v4 with condensate and its liquid fraction, for the targets of the study.",
    "v7": "The standard inputs and what physics did in the previous step.",
    "v1_targets": "What a network with the inputs v1 predicts.",
    "interface_v2": "What the climate model hands to an exported model of the standard set.",
    "interface_v6": "What the climate model hands to an exported model of the expanded set.",
    "interface_raw": "The same of v2.",
    "interface_forced": "The same of v3.",
    "interface_located": "The same of v4 and v5.",
    "interface_previous": "The same of v7.",
    OUTPUTS.name: "What an exported model hands back.",
}


def text(rows: Sequence[VariableRow]) -> str:
    """The table in columns of plain text, for the terminal."""
    header = tuple(f.name for f in fields(VariableRow))
    cells = [tuple(str(cell) for cell in astuple(row)) for row in rows]
    return "\n".join(text_table((header, *cells), left=len(header)))
