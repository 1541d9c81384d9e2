"""A picture of an experiment: its stages, how many jobs each has, and what waits for what."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import networkx
from matplotlib.figure import Figure

from climsim.errors import ClimSimError
from climsim.figures.draw import METADATA
from climsim.files import atomic_path
from climsim.online.stages import ONLINE_RUN
from climsim.products import Kind, claim, mentions
from climsim.workflow.steps import JOINT, STEPS

FORMATS = (".svg", ".png", ".pdf")
GRAPH = Kind("a picture of this package", lambda path: mentions(path, b"climsim"))
_NODE = re.compile(r'^\s*(\d+)\s*\[\s*label\s*=\s*"([^"\\]+)', re.MULTILINE)
_EDGE = re.compile(r"^\s*(\d+)\s*->\s*(\d+)", re.MULTILINE)
_COLORS = {"data": "#cfe3f3", "member": "#d9ecd0", "online": "#fbe3c5", "joint": "#e6dcf1"}


def parse_rules(dot: str) -> networkx.DiGraph:
    """Read Snakemake's graph of rules.

    Args:
        dot: what ``--rulegraph`` prints, in graphviz's language.

    Returns:
        A graph of the names of the rules, without the last one, which only asks for the rest.
    """
    names = dict(_NODE.findall(dot))
    graph = networkx.DiGraph()
    graph.add_nodes_from(names.values())
    graph.add_edges_from((names[a], names[b]) for a, b in _EDGE.findall(dot))
    graph.remove_nodes_from(["all"])
    return networkx.transitive_reduction(graph)


def draw_rules(graph: networkx.DiGraph, jobs: Mapping[str, int], title: str) -> Figure:
    """Draw a graph of rules from left to right.

    Args:
        graph: of the rules.
        jobs: number of jobs of each rule.
        title: above the picture.
    """
    layers = list(networkx.topological_generations(graph))
    height = max(len(layer) for layer in layers)
    figure = Figure(figsize=(1.75 * len(layers) + 0.5, 1.15 * height + 0.6), layout="constrained")
    axes = figure.add_subplot()
    place = {
        rule: (float(x), (len(layer) - 1) / 2 - row)
        for x, layer in enumerate(layers)
        for row, rule in enumerate(sorted(layer))
    }
    for before, after in graph.edges:
        style = {"arrowstyle": "-|>", "color": "0.45", "shrinkA": 30, "shrinkB": 32}
        axes.annotate("", place[after], place[before], arrowprops=style)
    for rule, (x, y) in place.items():
        count = jobs.get(rule, 1)
        words = "\n".join(textwrap.wrap(rule.replace("_", " "), 10))
        text = words if count == 1 else f"{words}\n× {count}"
        box = {"boxstyle": "round,pad=0.5", "facecolor": _color(rule), "edgecolor": "0.35"}
        axes.text(x, y, text, ha="center", va="center", fontsize=9, bbox=box)
    axes.set(xlim=(-0.5, len(layers) - 0.5), ylim=(-height / 2, height / 2))
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)
    return figure


def _color(rule: str) -> str:
    if rule in JOINT:
        return _COLORS["joint"]
    if STEPS[rule].stage is ONLINE_RUN:
        return _COLORS["online"]
    return _COLORS["member" if STEPS[rule].of_members else "data"]


def save_graph(dot: str, rules: list[str], title: str, path: Path) -> Path:
    """Draw Snakemake's graph of rules into a file.

    Args:
        dot: what ``--rulegraph`` prints.
        rules: rule of every job.
        title: above the picture.
        path: SVG, PNG or PDF file to write.

    Raises:
        ClimSimError: for another kind of file.
    """
    claim(path, GRAPH, key="--graph")
    check_format(path)
    figure = draw_rules(parse_rules(dot), Counter(rules), title)
    kind = path.suffix[1:]
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=150, metadata=METADATA[kind])
    return path


def check_format(path: Path) -> None:
    """Refuse a file that is no picture.

    Raises:
        ClimSimError: if the name does not end in a known format.
    """
    if path.suffix not in FORMATS:
        raise ClimSimError(f"--graph: {path}: expected a name ending in {', '.join(FORMATS)}")
