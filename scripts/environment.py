"""What the environment holds: lists of what to install, and what each dependency costs.

`lists` writes requirements/*.txt: for the dependencies of pyproject.toml and for some of its
extras, every distribution they need, without the requirements named under
``[tool.environment.leave-out]``. `sizes` prints a Markdown table. Both read the installed
distributions, so run them in a full environment
(`pip install -c constraints.txt -e '.[test,lint,docs]'`).
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LISTS = {"demo": (), "test": ("test",), "lint": ("lint",), "docs": ("docs",)}
"""Name of each list and the extras whose distributions it adds to the first one."""
HEADER = "# Written by scripts/environment.py; installed with `pip install --no-deps`.\n"


def canonical(name: str) -> str:
    """The name of a distribution as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def project() -> dict:
    """The tables of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def wanted(extras: Iterable[str] = ()) -> list[Requirement]:
    """What pyproject.toml asks for, with the given extras."""
    tables = project()["project"]
    lines = [*tables["dependencies"]]
    for extra in extras:
        lines += tables["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def left_out() -> dict[str, set[str]]:
    """For a distribution, those of its requirements that are not installed."""
    tables = project()["tool"]["environment"]["leave-out"]
    return {canonical(name): {canonical(n) for n in names} for name, names in tables.items()}


def children(requirement: Requirement, omitted: Mapping[str, set[str]]) -> Iterator[Requirement]:
    """The requirements of an installed distribution that apply here."""
    name = canonical(requirement.name)
    for line in metadata.requires(name) or []:
        child = Requirement(line)
        extras = ("", *requirement.extras)
        applies = child.marker is None or any(child.marker.evaluate({"extra": e}) for e in extras)
        if applies and canonical(child.name) not in omitted.get(name, set()):
            yield child


def closure(roots: Iterable[Requirement], omitted: Mapping[str, set[str]]) -> set[str]:
    """Names of every distribution that the roots need.

    Raises:
        SystemExit: naming a distribution that is not installed here.
    """
    names: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    stack = list(roots)
    while stack:
        requirement = stack.pop()
        key = canonical(requirement.name), frozenset(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        names.add(key[0])
        try:
            stack += children(requirement, omitted)
        except metadata.PackageNotFoundError:
            sys.exit(f"{key[0]} is not installed here: pip install -c constraints.txt {key[0]}")
    return names


def list_texts() -> dict[Path, str]:
    """Path and text of each list; all but the first hold what they add to it."""
    base = closure(wanted(), left_out())
    texts = {}
    for name, extras in LISTS.items():
        names = closure(wanted(extras), left_out()) - (base if extras else set())
        texts[ROOT / "requirements" / f"{name}.txt"] = HEADER + "\n".join(sorted(names)) + "\n"
    return texts


def megabytes(name: str) -> float:
    """Size of the files of a distribution, without compiled bytecode [MB]."""
    files = metadata.distribution(name).files or []
    paths = [Path(str(f.locate())) for f in files if "__pycache__" not in str(f)]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def import_seconds(module: str) -> float:
    """Wall time that a fresh interpreter spends on importing a module [s]."""
    times = []
    for line in ("pass", f"import {module}"):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", line], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return times[1] - times[0]


def imported_modules(path: Path) -> set[str]:
    """Top-level modules that a source file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def users() -> dict[str, set[str]]:
    """For each imported module, the parts of the package that import it."""
    package = ROOT / "src" / "climsim"
    result: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        part = path.relative_to(package).with_suffix("").parts[0]
        for module in imported_modules(path):
            result.setdefault(module, set()).add(part)
    return result


def top_modules() -> dict[str, set[str]]:
    """For each installed distribution, the top-level modules that it brings."""
    result: dict[str, set[str]] = {}
    for module, names in metadata.packages_distributions().items():
        for name in names:
            result.setdefault(canonical(name), set()).add(module)
    return result


def size_rows() -> Iterator[str]:
    """A Markdown row for each direct dependency, those that bring most first."""
    omitted, used, modules, rows = left_out(), users(), top_modules(), []
    everything = closure(wanted(), omitted)
    for requirement in wanted():
        name = canonical(requirement.name)
        others = [r for r in wanted() if canonical(r.name) != name]
        alone = sum(map(megabytes, everything - closure(others, omitted)))
        found = sorted(modules.get(name, {name}), key=lambda m: (m not in used, m != name))
        parts = ", ".join(sorted(used.get(found[0], ()))) or "through other libraries"
        rows.append((alone, megabytes(name), name, import_seconds(found[0]), parts))
    yield "| dependency | alone [MB] | with what only it needs [MB] | import [s] | used in |"
    yield "|---|---|---|---|---|"
    for alone, own, name, seconds, parts in sorted(rows, reverse=True):
        yield f"| {name} | {own:.1f} | {alone:.1f} | {seconds:.1f} | {parts} |"


def total_rows() -> Iterator[str]:
    """A Markdown row for each list."""
    yield "| list | distributions | files [MB] |"
    yield "|---|---|---|"
    for path, text in list_texts().items():
        names = text.removeprefix(HEADER).split()
        yield f"| {path.stem} | {len(names)} | {sum(map(megabytes, names)):.0f} |"
    full = closure(wanted(), {})
    yield f"| demo, nothing left out | {len(full)} | {sum(map(megabytes, full)):.0f} |"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("lists", "sizes"))
    parser.add_argument("--check", action="store_true", help="write nothing; code 1 on a change")
    options = parser.parse_args()
    if options.what == "sizes":
        print("\n".join([*total_rows(), "", *size_rows()]))
        return
    for path, text in list_texts().items():
        if options.check and (not path.exists() or path.read_text() != text):
            sys.exit(f"{path.relative_to(ROOT)} is out of date: run scripts/environment.py lists")
        if not options.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


if __name__ == "__main__":
    main()
