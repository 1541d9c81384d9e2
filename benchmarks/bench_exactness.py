"""Every network, recipe and format: how far an exported file is from the modules in Python.

Run: ``python benchmarks/bench_exactness.py --out exactness.jsonl [--networks unet ...]
[--recipes standard ...] [--forms onnx ...] [--preset small] [--counts 1 384 21600] [--threads 2]``,
or with ``--checkpoints FILE ...`` of trained models in place of networks with random weights.
What stands in the file is not measured again, so a run that was stopped continues; the table of all
that it holds is printed at the end. ``file`` is the largest difference from the modules over the
largest value of each variable, for each number of columns; ``float32`` is that of the modules
themselves from their network in float64, for a block of columns: what rounding alone does to them.
``s`` is the time of the export, ``MiB`` the size.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from bench_export import LEVELS, make_checkpoint, parser, prepare
from climsim.errors import ClimSimError
from climsim.export.comparison import relative_difference
from climsim.export.formats import FORMATS
from climsim.export.loading import load_emulator
from climsim.export.module import EmulationMember, build_emulation
from climsim.export.probe import training_columns
from climsim.export.writing import export_model
from climsim.training.checkpoint import load_model
from tests.exported_synthetic import RECIPES

Key = tuple[str, str, str, str]
"""Network, recipe, preset, format."""
BLOCK = 384


@dataclass(frozen=True)
class Row:
    """One file.

    Attributes:
        key: network, recipe, preset and format.
        rounding: difference of the modules from float64.
        file: difference of the file from the modules, by number of columns.
        seconds: that the export took.
        mebibytes: size of the file.
        refused: why there is none; empty where there is one.
    """

    key: Key
    rounding: float
    file: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    mebibytes: float = 0.0
    refused: str = ""

    def line(self) -> str:
        """The row of a Markdown table."""
        network, recipe, preset, form = self.key
        file = ", ".join(f"{v:.1e}" for v in self.file.values())
        name = f"`{network}`, {preset} | {recipe} | {form}"
        made = f"{self.seconds:.0f} | {self.mebibytes:.1f}"
        return f"| {name} | {file or self.refused} | {self.rounding:.1e} | {made} |"


def outputs(checkpoint: Path, x: Tensor, precision: torch.dtype) -> Tensor:
    """What the modules in Python give, with their network in a precision; blocks need less room."""
    model = load_model(checkpoint)
    member = EmulationMember(model.network, model.transforms, precision)
    module = build_emulation([member], model.confidence)
    with torch.inference_mode():
        return torch.cat([module(block) for block in x.split(BLOCK)])


def rows_of(
    checkpoint: Path, of: Key, forms: Sequence[str], folder: Path, counts: Sequence[int]
) -> Iterator[Row]:
    """Export a model in some formats and compare each file."""
    model = load_model(checkpoint)
    given, about = model.transforms.inputs.encoding.interface.variables, model.about
    known = about.statistics, about.statistics_fields
    x = training_columns(given, *known, max(counts))
    expected = outputs(checkpoint, x, torch.float32)
    exact = outputs(checkpoint, x[:BLOCK], torch.float64)
    rounding = relative_difference(exact, expected[:BLOCK], LEVELS)
    for form in forms:
        row = Row((*of[:3], form), rounding)
        path = folder / f"model{FORMATS.find(form).suffix}"
        start = time.perf_counter()
        try:
            export_model(checkpoint, path, format=form)
        except ClimSimError as error:
            yield replace(row, refused=str(error).partition(": ")[2])
            continue
        seconds = time.perf_counter() - start
        file = load_emulator(path)
        found = {n: torch.from_numpy(file(x[:n].numpy())) for n in counts}
        yield replace(
            row,
            file={
                str(n): relative_difference(expected[:n], y, LEVELS, expected)
                for n, y in found.items()
            },
            seconds=seconds,
            mebibytes=path.stat().st_size / 2**20,
        )


def measured(path: Path) -> dict[Key, Row]:
    """What was measured before."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [Row(**{**(values := json.loads(line)), "key": tuple(values["key"])}) for line in lines]
    return {row.key: row for row in rows}


def models(options: argparse.Namespace) -> Iterator[tuple[Key, Callable[[Path], Path]]]:
    """What is compared, and how its checkpoint comes about, given a folder for it."""
    for path in options.checkpoints:
        card = load_model(path).card
        size = f"trained, {(card.parameters or 0) / 1e6:.2f} million weights"
        yield (card.network.name, card.recipe, size, ""), partial(_kept, path)
    if options.checkpoints:
        return
    for recipe, network in itertools.product(options.recipes, options.networks):
        chosen = argparse.Namespace(**{**vars(options), "recipe": recipe})
        made = partial(make_checkpoint, network, options=chosen)
        yield (network, recipe, options.preset, ""), made


def _kept(path: Path, folder: Path) -> Path:
    """A checkpoint that is there, whatever the folder."""
    return path


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--recipes", nargs="+", default=list(RECIPES))
    arguments.add_argument("--forms", nargs="+", default=list(FORMATS.names()))
    arguments.add_argument("--checkpoints", nargs="+", type=Path, default=[])
    arguments.add_argument("--counts", nargs="+", type=int, default=[1, 384, 21600])
    options = arguments.parse_args()
    prepare(options)
    for of, checkpoint in models(options):
        known = measured(options.out)
        forms = [form for form in options.forms if (*of[:3], form) not in known]
        with tempfile.TemporaryDirectory() as scratch, options.out.open("a") as kept:
            folder = Path(scratch)
            rows = rows_of(checkpoint(folder), of, forms, folder, options.counts) if forms else ()
            for row in rows:
                kept.write(f"{json.dumps(asdict(row))}\n")
                kept.flush()
                print(row.line(), flush=True)
    print("| network | recipe | format | file | float32 | s | MiB |\n|---|---|---|---|---|---|---|")
    for _, row in sorted(measured(options.out).items()):
        print(row.line())


if __name__ == "__main__":
    main()
