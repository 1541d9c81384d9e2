"""Numbers that say how a Python code base is built, for this project or any other.

Run: ``python scripts/code_metrics.py [FOLDER ...]``. Test files (``test_*``, ``*_test.py``,
``conftest.py`` and everything under ``tests``) are left out. One row a folder: number of modules
and lines; median, 90th percentile and longest of the lines of modules and of functions; share of
functions over 40 lines; share of functions whose return is annotated; ``Any`` and
``dict[str, Any]`` by 1000 lines; calls with six or more positional arguments; ``# fmt: skip``.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

LONG_FUNCTION = 40
MANY_ARGUMENTS = 6


@dataclass
class Counts:
    """What was counted in the modules of a folder.

    Attributes:
        modules: lines of each module.
        functions: lines of each function.
        typed: functions whose return is annotated.
        any_names: uses of ``Any`` in annotations and expressions.
        any_dicts: uses of ``dict[str, Any]``.
        crowded_calls: calls with `MANY_ARGUMENTS` or more positional arguments.
        fmt_skips: comments that keep the formatter out.
    """

    modules: list[int] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    typed: int = 0
    any_names: int = 0
    any_dicts: int = 0
    crowded_calls: int = 0
    fmt_skips: int = 0

    def add(self, text: str) -> None:
        """Count one module."""
        self.modules.append(text.count("\n"))
        self.fmt_skips += len(re.findall(r"#\s*fmt:\s*skip", text))
        for node in ast.walk(ast.parse(text)):
            self._add_node(node)

    def _add_node(self, node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
            self.typed += node.returns is not None
        elif isinstance(node, ast.Name) and node.id == "Any":
            self.any_names += 1
        elif isinstance(node, ast.Subscript) and ast.unparse(node) == "dict[str, Any]":
            self.any_dicts += 1
        elif isinstance(node, ast.Call) and len(node.args) >= MANY_ARGUMENTS:
            self.crowded_calls += 1

    def row(self, name: str) -> str:
        """The line of the table."""
        lines = sum(self.modules)
        long = 100 * float(np.mean(np.array(self.functions) > LONG_FUNCTION))
        return (
            f"{name:24.24s} {len(self.modules):7d} {lines:6d}  {_spread(self.modules):>16s}"
            f"  {_spread(self.functions):>14s} {long:5.1f} %"
            f"  {100 * self.typed / max(len(self.functions), 1):5.0f} %"
            f" {1000 * self.any_names / lines:7.1f} {1000 * self.any_dicts / lines:7.1f}"
            f" {self.crowded_calls:6d} {self.fmt_skips:8d}"
        )


def _spread(values: list[int]) -> str:
    return f"{np.median(values):.0f} / {np.percentile(values, 90):.0f} / {max(values)}"


def modules(folder: Path) -> Iterator[Path]:
    """Python files of a folder that are not tests."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        name = path.name
        if "tests" in parts or name.startswith("test_") or name.endswith("_test.py"):
            continue
        if name != "conftest.py":
            yield path


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("src")])
    print(
        "folder                   modules  lines   module med/p90/max"
        "  function med/p90/max  >40  typed     Any   dicts  calls  fmtskip"
    )
    for folder in parser.parse_args().folders:
        counts = Counts()
        for path in modules(folder):
            counts.add(path.read_text())
        print(counts.row(str(folder)))


if __name__ == "__main__":
    main()
