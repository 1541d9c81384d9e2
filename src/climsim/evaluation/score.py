"""What a score is, and the registry of all scores.

A score is one class: the statistics that it needs, the formula on their sums, and its name, unit,
dimensions and weights. Accumulation, saved datasets and the tables of docs/evaluation.md follow
from the registered classes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from climsim.errors import ClimSimError
from climsim.evaluation.sums import Statistic
from climsim.registry import Registry
from climsim.variables import variable

UNDEFINED: Final = "NaN where undefined: the truth has no variance"
"""Comment of R2."""
_FEW: Final = 2
"""Units that are listed; a score of more different ones has that of its quantity."""


class Labelled(NamedTuple):
    """Values with the names of their axes and their attributes, as xarray takes them."""

    dims: tuple[str, ...]
    values: ArrayLike
    attributes: dict[str, str]


@dataclass(frozen=True)
class Subject:
    """A quantity that a score is of.

    Attributes:
        name: name in the names of saved variables.
        unit: unit of the quantity.
        long_name: what it is, in words.
        profile: whether it has a value on every level.
    """

    name: str
    unit: str
    long_name: str
    profile: bool = False


@dataclass(frozen=True)
class Subjects:
    """Quantities that a score is of, one saved variable each.

    Attributes:
        kind: what stands for a quantity in the name of a score, such as ``output``.
        members: the quantities.
    """

    kind: str
    members: tuple[Subject, ...]

    @classmethod
    def of_variables(cls, kind: str, names: Iterable[str]) -> Subjects:
        """Quantities from the table of variables."""
        found = [variable(name) for name in names]
        return cls(kind, tuple(Subject(v.name, v.unit, v.long_name, v.profile) for v in found))


ALL: Final = Subjects("all", (Subject("", "1", ""),))
"""For scores that are of everything together and save a single variable."""

State = TypeVar("State")


class Score(Generic[State]):
    """A formula on sums, with what names and describes its values.

    The first paragraph of the docstring of a score is its meaning in the documentation.

    Attributes:
        name: of the saved variables; ``{output}`` (the kind of the subjects) stands for a quantity.
        label: what axes and headings call it, with mathematics between dollar signs; empty for the
            quantity alone.
        long_name: attribute of the saved variables; ``{what}`` stands for the quantity in words
            and ``{name}`` for its name.
        subjects: the quantities that it is of.
        statistics: the sums that it needs; without one of these it is left out.
        units: unit; empty for the unit of the quantity.
        dims: axes; ``level`` falls away for quantities without levels.
        weights: what counts how much in it, in words.
        comment: attribute of the saved variables; empty for none.
    """

    name: ClassVar[str]
    label: ClassVar[str] = ""
    long_name: ClassVar[str]
    subjects: ClassVar[Subjects]
    statistics: ClassVar[tuple[Statistic[Any, Any], ...]]
    units: ClassVar[str] = ""
    dims: ClassVar[tuple[str, ...]] = ()
    weights: ClassVar[str]
    comment: ClassVar[str] = ""

    def values(self, state: State, subject: Subject) -> ArrayLike | None:
        """The formula.

        Args:
            state: sums of the whole data, and the grid.
            subject: one of the quantities.

        Returns:
            Values on ``dims``, with one level for a quantity without levels; None where the data
            do not hold the quantity.
        """
        raise NotImplementedError

    def unit_of(self, subject: Subject) -> str:
        """Unit of the values."""
        return self.units or subject.unit

    def variable_of(self, subject: Subject, **parts: str) -> str:
        """Name of the saved variable of a quantity.

        Args:
            subject: the quantity.
            parts: what else the name holds, by the word that stands for it.
        """
        return self.name.format(**{self.subjects.kind: subject.name}, **parts)

    def is_measure(self, measure: str) -> bool:
        """Whether the names of the saved variables are a measure with the quantity behind it."""
        stem = self.name.removesuffix(f"_{{{self.subjects.kind}}}")
        return re.fullmatch(re.sub(r"{\w+}", r"\\w+", stem), measure) is not None

    def labelled(self, values: ArrayLike, subject: Subject, **parts: str) -> Labelled:
        """Values with axes and attributes; the level axis of a quantity without levels goes."""
        dims = self.dims
        if "level" in dims and not subject.profile:
            axis = dims.index("level")
            dims = dims[:axis] + dims[axis + 1 :]
            if np.ndim(values) > len(dims):
                values = np.take(values, 0, axis=axis)
        words = {"what": subject.long_name, "name": subject.name} | parts
        text = self.long_name.format(**words)
        notes = {"units": self.unit_of(subject), "long_name": text}
        if self.comment:
            notes["comment"] = self.comment.format(**parts)
        return Labelled(dims, values, notes)

    def meaning(self) -> str:
        """What it says, in words: the first paragraph of its docstring."""
        paragraph = (inspect.getdoc(self) or "").split("\n\n")[0]
        return " ".join(paragraph.split()).removesuffix(".").replace("``", "`")


AnyScore = TypeVar("AnyScore", bound=Score[Any])


def _of_user(name: str, score: object) -> Score[Any]:
    """The score that an installed package brings."""
    if not (isinstance(score, type) and issubclass(score, Score)):
        raise ClimSimError(
            f"score {name!r}: expected a subclass of climsim.evaluation.score.Score, found "
            f"{getattr(score, '__name__', score)!r}: derive the class from one of its families"
        )
    return score()


SCORES: Registry[Score[Any]] = Registry(
    "score",
    package="climsim.evaluation.scores",
    entry_points="climsim.scores",
    adapt=_of_user,
)
"""Every score, by the name of its saved variables."""


def register(score: type[AnyScore]) -> type[AnyScore]:
    """Add a score to the registry, as a decorator of its class.

    Raises:
        ClimSimError: if another score has its name.
    """
    SCORES.add(score.name, score(), score.__module__)
    return score


def scores_of(family: type[AnyScore]) -> list[AnyScore]:
    """All registered scores of a family, such as those of offline evaluation, in their order.

    Every module of ``climsim.evaluation.scores`` is imported, so a new score is one class there,
    or one class of an installed package that offers it as an entry point in ``climsim.scores``.
    """
    found = [score for score in SCORES.everything().values() if isinstance(score, family)]
    # Modules may have been imported in any order; that of the scores within one is kept.
    return sorted(found, key=lambda score: type(score).__module__)


@cache
def score_of(measure: str, quantity: str = "") -> Score[Any] | None:
    """The score that a measure in saved metrics is; None where no registered one is.

    Args:
        measure: name of saved variables without the quantity, such as ``rmse_mean``.
        quantity: one that it is of; empty for any.
    """
    return next(
        (
            score
            for score in SCORES.everything().values()
            if score.is_measure(measure)
            and (not quantity or quantity in (subject.name for subject in score.subjects.members))
        ),
        None,
    )


def by_quantity(scores: Iterable[AnyScore]) -> Iterator[tuple[AnyScore, Subject]]:
    """Scores with each of their quantities, in the order in which they are saved.

    Neighbouring scores of the same quantities are saved quantity by quantity.
    """
    for subjects, group in groupby(scores, key=lambda score: score.subjects):
        together = list(group)
        yield from ((score, subject) for subject in subjects.members for score in together)


def score_table(scores: Sequence[Score[Any]]) -> list[str]:
    """Lines of a Markdown table of scores: name, meaning, unit, axes, weights."""
    lines = ["| score | meaning | unit | axes | weights |", "|---|---|---|---|---|"]
    for score in scores:
        units = sorted({score.unit_of(subject) for subject in score.subjects.members})
        unit = ", ".join(units) if len(units) <= _FEW else f"of the {score.subjects.kind}"
        name = score.name.replace("{", "<").replace("}", ">")
        axes = ", ".join(f"`{dim}`" for dim in score.dims)
        lines.append(f"| `{name}` | {score.meaning()} | {unit} | {axes} | {score.weights} |")
    return lines
