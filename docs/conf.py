"""Configuration of the documentation site: `make docs` builds it without a network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "ClimSim Kaggle Edition"
author = "The ClimSim Kaggle Edition developers"
copyright = "2026, the developers; Apache-2.0"

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "command_reference",
    "measured",
]
exclude_patterns = ["_extensions", "reference/api/modules.rst", "reference/generated"]
default_role = "literal"
# Builtin types in signatures collide with attributes of that name: there is no index of Python.
suppress_warnings = ["ref.python"]
highlight_language = "none"

myst_heading_anchors = 3

apidoc_modules = [
    {
        "path": "../src/climsim",
        "destination": "reference/api",
        "implicit_namespaces": False,
        "max_depth": 2,
        "automodule_options": {"members"},
        "exclude_patterns": ["../src/climsim/__main__.py", "../src/climsim/conf"],
    }
]
autodoc_mock_imports = ["bokeh", "tornado"]  # of the extra `explore`, which the site does without
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = project
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
