"""How statistics become transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from climsim.arrays import Double
from climsim.checkpoint_cards import NO_CLOSURE, TransformsCard
from climsim.constants import FILL_THRESHOLD, N_LEVELS
from climsim.errors import ClimSimError
from climsim.interfaces import Encoding, encoding
from climsim.normalization import (
    RESOLUTION,
    Squashed,
    Standardized,
    VariableStatisticsLike,
    input_rule,
    kept_inputs,
    squashed,
    target_rule,
)
from climsim.pruning import PruningConfig
from climsim.transforms.closure import ColumnClosure
from climsim.transforms.inputs import (
    InputTransform,
    MultirepInputs,
    NormalizedInputs,
    feature_vector,
)
from climsim.transforms.published import read_published
from climsim.transforms.targets import TargetTransform
from climsim.variables import VariableSet, variable


class StatisticsLike(Protocol):
    """Statistics of the training split by variable name."""

    def __getitem__(self, name: str) -> VariableStatisticsLike: ...


@dataclass(frozen=True)
class Transforms:
    """Everything between physical vectors and a network.

    Attributes:
        inputs: physical input vector to network input.
        targets: scaled prediction to physical tendencies, and back.
        closure: closes the columns of physical tendencies; None leaves them as predicted.
    """

    inputs: InputTransform
    targets: TargetTransform
    closure: ColumnClosure | None = None

    def physical(self, x: Tensor, scaled: Tensor) -> Tensor:
        """Scaled prediction to physical tendencies, their columns closed where that is asked for.

        Args:
            x: (column, feature) physical inputs.
            scaled: (column, target).

        Returns:
            (column, target) physical.
        """
        tendencies = self.targets.decode(scaled)
        if self.closure is None:
            return tendencies
        closed: Tensor = self.closure(x, tendencies)
        return closed


def from_statistics(
    statistics: StatisticsLike,
    inputs: str,
    levels: int = N_LEVELS,
    clip_margin: float | None = None,
    pruning: PruningConfig | None = None,
) -> Transforms:
    """Build the transforms from statistics of the training split.

    Features without variance in training become 0 (their divisor is infinite), so an unseen value
    cannot blow up.

    Args:
        statistics: by variable name.
        inputs: name of an encoding, such as ``"standard"``, ``"multirep"`` or ``"expanded"``.
        levels: levels of a profile.
        clip_margin: if given, physical inputs are moved into the training range, widened on each
            side by this share of it; ``None`` lets every value through.
        pruning: what is pruned and clipped; None for the published choice.

    Raises:
        ClimSimError: for an unknown kind of input, a variable without statistics, or a pruning that
            the inputs do not know.
    """
    chosen, pruned = encoding(inputs), _fitting(encoding(inputs), pruning)
    variables, targets = chosen.variables, chosen.targets
    _check_statistics(statistics, (*variables.names, *targets.names), levels)
    bounds = None if clip_margin is None else _bounds(statistics, variables, levels, clip_margin)
    rules = {n: input_rule(n, chosen) for n in variables.names}
    sub = {n: rule.subtracted(statistics[n]) for n, rule in rules.items()}
    div = {n: rule.divisor(statistics[n]) for n, rule in rules.items()}
    scaling = feature_vector(variables, levels, sub), feature_vector(variables, levels, div)
    if chosen.repeated:
        encoder: InputTransform = _repeated(chosen, statistics, levels, scaling, bounds)
    else:
        rule = Squashed(zero_levels=0)
        rates = [rule.rate(statistics[name], levels) for name in squashed(chosen)]
        rate = _kept_rate(chosen, levels, rates, pruned)
        encoder = NormalizedInputs(chosen, levels, scaling, rate, bounds, pruning=pruned)
    scale = {n: target_rule(n).scale(statistics[n]) for n in targets.names}
    scaled = feature_vector(targets, levels, scale)
    return Transforms(encoder, TargetTransform(levels, scaled, pruned.pruned_outputs, targets))


def _fitting(chosen: Encoding, pruning: PruningConfig | None) -> PruningConfig:
    """The pruning of an encoding.

    Raises:
        ClimSimError: if inputs in several representations, which are not pruned, shall be.
    """
    published = PruningConfig()
    if pruning is None:
        return published
    if chosen.repeated and pruning.of_inputs != published.of_inputs:
        raise ClimSimError(
            f"pruning: expected the defaults, except for output_prune and strato_lev_out, with "
            f"recipe.inputs={chosen.name}, found others: inputs in three representations are "
            "neither pruned nor clipped"
        )
    return pruning


def _kept_rate(
    chosen: Encoding, levels: int, rates: Sequence[Double], pruning: PruningConfig
) -> Double:
    """Exponents of all squashed profiles, 0 where they are pruned."""
    if not rates:
        return np.zeros(0)
    names, places = squashed(chosen), chosen.variables.slices(levels)
    kept = kept_inputs(chosen, levels, pruning)
    return np.concatenate(rates) * np.concatenate([kept[places[name]] for name in names])


def _check_statistics(statistics: StatisticsLike, names: tuple[str, ...], levels: int) -> None:
    for name in names:
        try:
            found = np.shape(statistics[name].mean)
        except KeyError as error:
            raise ClimSimError(
                f"statistics: expected variable {name}, found none: compute the statistics again"
            ) from error
        expected = (levels,) if variable(name).profile else ()
        if found != expected:
            raise ClimSimError(
                f"statistics: {name}: expected shape {expected}, found {found}: "
                "use statistics of the same level count"
            )


def _bounds(
    statistics: StatisticsLike, variables: VariableSet, levels: int, margin: float
) -> tuple[Double, Double]:
    low = feature_vector(variables, levels, {n: statistics[n].min for n in variables.names})
    high = feature_vector(variables, levels, {n: statistics[n].max for n in variables.names})
    width = margin * (high - low)
    return low - width, high + width


def _repeated(
    chosen: Encoding,
    statistics: StatisticsLike,
    levels: int,
    scaling: tuple[Double, Double],
    bounds: tuple[Double, Double] | None,
) -> MultirepInputs:
    profiles = VariableSet(chosen.name, chosen.repeated)
    rule = Standardized(repeated=True)
    encoded = {n: statistics[n] for n in profiles.names}
    column_sub = {n: s.column_mean for n, s in encoded.items()}
    column_div = {n: rule.column_divisor(s) for n, s in encoded.items()}
    minimum = {n: rule.minimum(s) for n, s in encoded.items()}
    column = (
        feature_vector(profiles, levels, column_sub),
        feature_vector(profiles, levels, column_div),
    )
    least = feature_vector(profiles, levels, minimum)
    return MultirepInputs(
        encoding=chosen, n_levels=levels, level=scaling, column=column, minimum=least, bounds=bounds
    )


def from_published(
    folder: str | Path,
    inputs: str,
    levels: int = N_LEVELS,
    pruning: PruningConfig | None = None,
) -> Transforms:
    """Build the transforms from the statistics published with ClimSim.

    Reads the netCDF files (``input_mean_*``, ``input_max_*``, ``input_min_*``,
    ``output_scale_*``, ``multirepresentation/``, ``qn_exp_lambda_large.txt``) or the text form of a
    published model (``inp_sub.txt``, ``inp_div.txt``, ``out_scale.txt``). Published statistics
    count the fill values of snow on sea ice, so those are passed on as they are.

    Args:
        folder: where the files are.
        inputs: name of an encoding, such as ``"standard"``, ``"multirep"`` or ``"expanded"``.
        levels: levels of a profile.
        pruning: what is pruned and clipped; None for the published choice.

    Raises:
        ClimSimError: naming the file that is missing or of the wrong size, or a pruning that the
            inputs do not know.
    """
    chosen, pruned = encoding(inputs), _fitting(encoding(inputs), pruning)
    found = read_published(Path(folder), chosen, levels)
    snow = chosen.variables.slices(levels).get("cam_in_SNOWHICE", slice(0))
    fill_to_zero = bool(np.all(np.abs(found.sub[snow]) < FILL_THRESHOLD * RESOLUTION))
    scaling = found.sub, _infinite_where_zero(found.div)
    if chosen.repeated:
        assert found.column is not None
        assert found.minimum is not None
        encoder: InputTransform = MultirepInputs(
            chosen,
            levels,
            scaling,
            (found.column[0], _infinite_where_zero(found.column[1])),
            found.minimum,
            fill_to_zero=fill_to_zero,
        )
    else:
        rate = _kept_rate(chosen, levels, found.rates, pruned)
        encoder = NormalizedInputs(
            chosen, levels, scaling, rate, fill_to_zero=fill_to_zero, pruning=pruned
        )
    targets = TargetTransform(levels, found.scale, pruned.pruned_outputs, chosen.targets)
    return Transforms(encoder, targets)


def _infinite_where_zero(div: Double) -> Double:
    return np.where(div == 0, np.inf, div)


def transforms_card(transforms: Transforms) -> TransformsCard:
    """What, with their buffers, rebuilds the transforms."""
    inputs = transforms.inputs
    return TransformsCard(
        kind=inputs.encoding.name,
        n_levels=inputs.n_levels,
        bounded=inputs.bounded,
        fill_to_zero=inputs.fill_to_zero,
        closure=NO_CLOSURE if transforms.closure is None else transforms.closure.kind,
    )


def empty_transforms(card: TransformsCard) -> Transforms:
    """Transforms of a card, their buffers yet to be loaded.

    Args:
        card: made by `transforms_card`.
    """
    chosen, levels = encoding(card.kind), card.n_levels
    size = chosen.variables.size(levels)
    ones = np.ones(size)
    bounds = (-ones, ones) if card.bounded else None
    targets = TargetTransform(levels, np.ones(chosen.targets.size(levels)), targets=chosen.targets)
    closure = None
    if card.closure != NO_CLOSURE:
        closure = ColumnClosure(chosen, levels, card.closure)
    if chosen.repeated:
        encoded = np.ones(levels * len(chosen.repeated))
        pairs = (ones, ones), (encoded, encoded)
        repeated = MultirepInputs(
            chosen, levels, *pairs, encoded, bounds=bounds, fill_to_zero=card.fill_to_zero
        )
        return Transforms(repeated, targets, closure)
    rate = np.ones(levels * len(squashed(chosen)))
    once = NormalizedInputs(
        chosen, levels, (ones, ones), rate, bounds=bounds, fill_to_zero=card.fill_to_zero
    )
    return Transforms(once, targets, closure)
