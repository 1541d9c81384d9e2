"""A picture of an experiment: its stages, how many jobs each has, and what waits for what."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import networkx
from matplotlib.figure import Figure

from climsim.errors import ClimSimError
from climsim.evaluation.members import iteration_of, member_of
from climsim.figures.draw import METADATA
from climsim.files import atomic_path
from climsim.online.stages import ONLINE_RUN
from climsim.products import Kind, claim, mentions
from climsim.workflow.jobs import Job
from climsim.workflow.order import awaited
from climsim.workflow.steps import JOINT, STEPS

FORMATS = (".svg", ".png", ".pdf")
GRAPH = Kind("a picture of this package", lambda path: mentions(path, b"climsim"))
_COLORS = {"data": "#cfe3f3", "member": "#d9ecd0", "online": "#fbe3c5", "joint": "#e6dcf1"}


@dataclass(frozen=True, order=True)
class Node:
    """Jobs that are one box of the picture.

    Attributes:
        rule: of the jobs.
        iteration: of their members; 0 for the first, and for what all share.
    """

    rule: str
    iteration: int = 0

    @classmethod
    def of(cls, job: Job) -> Node:
        """The box of a job."""
        return cls(job.rule, iteration_of(member_of(job.member).recipe)[1] if job.member else 0)


def graph_of(folder: Path, jobs: Sequence[Job]) -> networkx.DiGraph:
    """What waits for what among the boxes of the jobs, without what follows from the rest.

    Args:
        folder: of the experiment.
        jobs: all of them.
    """
    made = {job.output: Node.of(job) for job in jobs}
    graph = networkx.DiGraph()
    graph.add_nodes_from(made.values())
    after = awaited(folder, jobs)
    for job in jobs:
        before = {made[path] for path in after[job.name] if path in made}
        graph.add_edges_from((node, Node.of(job)) for node in before)
    return networkx.transitive_reduction(graph)


def draw_jobs(folder: Path, jobs: Sequence[Job], title: str) -> Figure:
    """Draw what waits for what from left to right.

    Args:
        folder: of the experiment.
        jobs: all of them.
        title: above the picture.
    """
    graph, counts = graph_of(folder, jobs), Counter(map(Node.of, jobs))
    layers = list(networkx.topological_generations(graph))
    height = max(len(layer) for layer in layers)
    figure = Figure(figsize=(1.75 * len(layers) + 0.5, 1.15 * height + 0.6), layout="constrained")
    axes = figure.add_subplot()
    positions = {
        node: (float(x), (len(layer) - 1) / 2 - row)
        for x, layer in enumerate(layers)
        for row, node in enumerate(sorted(layer))
    }
    for before, after in graph.edges:
        style = {"arrowstyle": "-|>", "color": "0.45", "shrinkA": 30, "shrinkB": 32}
        axes.annotate("", positions[after], positions[before], arrowprops=style)
    for node, (x, y) in positions.items():
        box = {"boxstyle": "round,pad=0.5", "facecolor": _color(node.rule), "edgecolor": "0.35"}
        text = _box_text(node, counts[node])
        axes.text(x, y, text, ha="center", va="center", fontsize=9, bbox=box)
    axes.set(xlim=(-0.5, len(layers) - 0.5), ylim=(-height / 2, height / 2))
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)
    return figure


def _box_text(node: Node, count: int) -> str:
    """Name of a box, its iteration, and the number of its jobs."""
    lines = textwrap.wrap(node.rule.replace("_", " "), 10)
    if node.iteration:
        lines.append(f"iteration {node.iteration}")
    return "\n".join(lines if count == 1 else [*lines, f"× {count}"])


def _color(rule: str) -> str:
    if rule in JOINT:
        return _COLORS["joint"]
    if STEPS[rule].stage is ONLINE_RUN:
        return _COLORS["online"]
    return _COLORS["member" if STEPS[rule].of_members else "data"]


def save_graph(folder: Path, jobs: Sequence[Job], title: str, path: Path) -> Path:
    """Draw what waits for what into a file.

    Args:
        folder: of the experiment.
        jobs: all of them.
        title: above the picture.
        path: SVG, PNG or PDF file to write.

    Raises:
        ClimSimError: for another kind of file.
    """
    claim(path, GRAPH, key="--graph")
    check_format(path)
    figure = draw_jobs(folder, jobs, title)
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
