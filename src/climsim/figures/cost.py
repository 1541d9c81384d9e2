"""What members cost to train: read from the metadata of their model files."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from climsim.figures.study import Study


@dataclass(frozen=True)
class Cost:
    """Size and training time of a member; NaN where its model file does not say.

    Attributes:
        parameters: trainable parameters.
        training_hours: wall time of the training [h].
    """

    parameters: float = float("nan")
    training_hours: float = float("nan")


def member_costs(study: Study) -> Mapping[str, Cost]:
    """Cost of each member by label; members without offline metrics have unknown cost."""
    costs: defaultdict[str, Cost] = defaultdict(Cost)
    if study.offline is not None:
        names = ("member", "parameters", "model_metadata")
        columns = (study.offline[name].values for name in names)
        for label, size, text in zip(*columns, strict=True):
            numbers = dict(_numbers(json.loads(str(text))))
            costs[str(label)] = Cost(float(size), numbers.get("training_hours", float("nan")))
    return costs


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number of nested mappings with its own key, outer ones last so that they win."""
    for value in values.values():
        if isinstance(value, Mapping):
            yield from _numbers(value)
    for key, value in values.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield key, float(value)
