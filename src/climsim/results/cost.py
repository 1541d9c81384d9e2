"""What members cost to train: read from the saved metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from climsim.results.study import Study


@dataclass(frozen=True)
class Cost:
    """Size and training time of a member; NaN or empty where its model file does not say.

    Attributes:
        parameters: trainable parameters.
        training_hours: wall time of the training [h].
        training_device: what it was trained on.
    """

    parameters: float = float("nan")
    training_hours: float = float("nan")
    training_device: str = ""


def member_costs(study: Study) -> Mapping[str, Cost]:
    """Cost of each member by label; members without offline metrics have unknown cost."""
    costs: defaultdict[str, Cost] = defaultdict(Cost)
    if study.offline is not None:
        names = ("member", "parameters", "training_hours", "training_device")
        columns = (study.offline[name].values for name in names)
        for label, size, hours, device in zip(*columns, strict=True):
            costs[str(label)] = Cost(float(size), float(hours), str(device))
    return costs
