"""Imports point down the list of layers only, and importing has no side effects."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import climsim
from climsim.schema import SCHEMAS
from tests import ROOT

PACKAGE = Path(climsim.__file__).parent
PAGE = ROOT / "docs" / "architecture.md"
HEAVY = {
    "torch",
    "lightning",
    "jax",
    "jcm",
    "xarray",
    "netCDF4",
    "matplotlib",
    "bokeh",
    "hydra",
}
RUN_ONLY = HEAVY - {"hydra", "netCDF4"}
"""What help, completion and checks of keys do without."""


def rows():
    """Packages and heavy libraries of each row of the page's table, the lowest layer first."""
    section = PAGE.read_text().partition("\n## Layers\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    for line in lines:
        packages, _, libraries = (cell.strip() for cell in line.strip("|").split("|"))
        yield re.findall(r"`(\w+)`", packages), set(re.findall(r"\w+", libraries))


LAYERS = tuple(rows())
RANK = {name: rank for rank, (names, _) in enumerate(LAYERS) for name in names}
LIBRARIES = {name: libraries for names, libraries in LAYERS for name in names}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            yield path, parts[0]


def imported(path):
    """Top-level parts of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("climsim"):
            parts = node.module.split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            yield from names
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("climsim."))


def libraries(path):
    """Heavy libraries that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
    return found & HEAVY


def test_every_package_has_one_row_and_every_row_a_package():
    listed = [name for names, _ in LAYERS for name in names]
    assert len(listed) == len(set(listed))
    assert {top for _, top in modules()} - {"conf"} == set(listed)


def test_imports_point_down_only():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path, top in modules()
        if top in RANK
        for name in imported(path)
        if name in RANK and RANK[name] > RANK[top]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["report", "explore"])
def test_pages_read_saved_metrics_by_way_of_results_only(package):
    files = (PACKAGE / package).rglob("*.py")
    assert [path.name for path in files if "evaluation" in imported(path)] == []


def test_packages_import_only_the_heavy_libraries_of_their_row():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path, top in modules()
        for name in libraries(path) - LIBRARIES.get(top, set())
    ]
    assert wrong == []


def test_low_layers_know_neither_torch_nor_files():
    for path, top in modules():
        if RANK.get(top, RANK["cli"]) <= RANK["grid"]:
            text = path.read_text()
            for banned in ("torch", "xarray", "netCDF4", "open("):
                assert banned not in text, f"{path.relative_to(PACKAGE)} mentions {banned}"


def test_import_is_light_and_opens_nothing():
    code = """
import sys
opened = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        mode = arguments[1] or "r"
        if not arguments[0].endswith((".py", ".pyc", ".so")) and "__pycache__" not in arguments[0]:
            opened.append(arguments[0])
sys.addaudithook(watch)
import climsim
heavy = sorted({"torch", "jax", "lightning", "xarray", "matplotlib"} & set(sys.modules))
assert not heavy, heavy
assert not opened, opened
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def loaded_for_keys():
    """Libraries that the keys of each configuration load beside those of the ones before it."""
    code = f"""
import json, sys
from climsim.configuration import flat_defaults
from climsim.keys import keys
from climsim.schema import SCHEMAS
loaded, known = {{}}, set()
for schema in SCHEMAS.values():
    assert keys(schema.cls, flat_defaults(schema.name))
    now = {RUN_ONLY | {"zarr", "pandas", "huggingface_hub.hf_api"}} & set(sys.modules)
    loaded[schema.name], known = sorted(now - known), now
print(json.dumps(loaded))
"""
    command = [sys.executable, "-c", code]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_keys_of_a_command_are_known_without_loading_what_runs_it(name, loaded_for_keys):
    assert loaded_for_keys[name] == []
