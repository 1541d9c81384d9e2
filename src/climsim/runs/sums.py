"""What a run adds up over its steps: corrections, budgets, losses and the network's share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from climsim.runs.budgets import BudgetSums


@dataclass
class StepSums:
    """Sums over the steps of a run.

    Attributes:
        coupled_steps: steps in which the network took part.
        corrections: by rule and variable, number of values changed since the start.
        added: by variable, global mean that positivity added, summed over steps.
        budgets: sums of the residuals.
        losses: by kind (predicted, true) and target, sum over steps of the mean over cells, and
            the number of steps.
        share_sum: global mean of the network's share in the tendencies, summed over coupled steps.
    """

    coupled_steps: int = 0
    corrections: dict[str, int] = field(default_factory=dict)
    added: dict[str, float] = field(default_factory=dict)
    budgets: BudgetSums = field(default_factory=BudgetSums)
    losses: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    share_sum: float = 0.0

    @property
    def mean_share(self) -> float | None:
        """Mean share of the network in coupled steps; None before the first."""
        return self.share_sum / self.coupled_steps if self.coupled_steps else None

    def add_handed(
        self, counts: Mapping[str, float], added: Mapping[str, float], share: float
    ) -> None:
        """Add what the coupler did in one step.

        Args:
            counts: values changed, by rule and variable.
            added: by variable, global mean that positivity added.
            share: global mean of the network's share.
        """
        self.coupled_steps += 1
        self.share_sum += share
        for name, count in counts.items():
            self.corrections[name] = self.corrections.get(name, 0) + int(count)
        for name, value in added.items():
            self.added[name] = self.added.get(name, 0.0) + value

    def add_losses(self, kind: str, means: Mapping[str, float]) -> None:
        """Add the losses of one step, in units of the training loss.

        Args:
            kind: ``predicted`` by the confidence head or ``true`` against the host's physics.
            means: over all cells, by name of the target.
        """
        for name, mean in means.items():
            total = self.losses.setdefault(kind, {}).setdefault(name, [0.0, 0.0])
            total[0] += mean
            total[1] += 1.0

    def mean_losses(self) -> dict[str, dict[str, float]]:
        """Mean losses by kind and target."""
        return {
            kind: {n: total / steps for n, (total, steps) in by_target.items()}
            for kind, by_target in self.losses.items()
        }

    def to_dict(self) -> dict[str, object]:
        """Plain values, with what follows from them, for the file of the record."""
        return {
            **asdict(self),
            "mean_losses": self.mean_losses(),
            "mean_share": self.mean_share,
            "budgets": self.budgets.summary(),
            "budget_sums": self.budgets.sums,
        }
