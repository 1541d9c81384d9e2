"""Imports point down the list of layers only, and importing has no side effects."""

import ast
import subprocess
import sys
from pathlib import Path

import climsim

PACKAGE = Path(climsim.__file__).parent
LAYERS = (
    ("errors",),
    ("constants", "notation"),
    ("variables",),
    ("grid", "thermodynamics"),
    ("names", "system"),
    ("files", "integrity", "locks", "allocation", "plugins", "products"),
    ("data",),
    ("transforms",),
    ("networks",),
    ("losses",),
    ("training",),
    ("export", "export_published"),
    ("online",),
    ("evaluation",),
    ("figures",),
    ("report",),
    ("explore",),
    ("keys", "overrides", "stages"),
    ("configuration", "console", "doctor", "help", "options", "provenance"),
    ("workflow",),
    ("cli", "__main__", "sweep"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


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


def test_every_module_has_a_layer():
    known = set(RANK) | {"conf"}
    assert {top for _, top in modules()} <= known


def test_imports_point_down_only():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path, top in modules()
        if top in RANK
        for name in imported(path)
        if name in RANK and RANK[name] > RANK[top]
    ]
    assert wrong == []


def test_low_layers_know_neither_torch_nor_files():
    for name in ("errors", "constants", "variables", "grid", "thermodynamics"):
        text = (PACKAGE / f"{name}.py").read_text()
        for banned in ("torch", "xarray", "netCDF4", "open("):
            assert banned not in text, f"{name}.py mentions {banned}"


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
