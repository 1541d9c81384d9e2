"""What scores and figures of a study ask of its runs and members, checked before the first runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from climsim.cards import setting
from climsim.configuration import build_config
from climsim.constants import DAYS_PER_YEAR
from climsim.errors import ClimSimError
from climsim.evaluation.config import OnlineConfig
from climsim.evaluation.members import Member, member_of_file
from climsim.evaluation.stages import EVALUATE_OFFLINE, EVALUATE_ONLINE
from climsim.figures.config import FiguresConfig
from climsim.figures.stages import FIGURES
from climsim.hosts import batch_runner
from climsim.plugins import short_name
from climsim.training.stages import TRAIN
from climsim.workflow.jobs import Job
from climsim.workflow.steps import REFERENCE_STEP, STEPS

_PARTIAL_MONTHS = 62
"""Most days that a time mean over months leaves out of a run, at both ends."""


def check_scored(jobs: Sequence[Job]) -> None:
    """Refuse scores over more than the runs have, and figures of what the study does not hold.

    Args:
        jobs: of the study.

    Raises:
        ClimSimError: naming the stage and the key.
    """
    by_rule = {job.rule: job for job in jobs}
    figures, scores = by_rule.get(FIGURES.name), by_rule.get(EVALUATE_ONLINE.name)
    if scores is not None:
        _check_scores(scores, jobs)
    if figures is not None:
        _check_figures(figures, jobs)
    if figures is not None and scores is not None:
        _check_years(figures, scores, jobs)


def filters_left(
    given: Mapping[str, object], jobs: Sequence[Job], there: Collection[str]
) -> dict[str, object]:
    """Filters of figures that name members of which some failed, without what only those had.

    A filter of which nothing is left stays: then there is nothing to draw, and the stage says so.

    Args:
        given: settings of the figures.
        jobs: of the study.
        there: names of the members that there are.

    Returns:
        Those that differ, by key.
    """
    members = list(_members([job for job in jobs if not job.member or job.member in there]))
    left: dict[str, object] = {}
    for key, known in _known(members).items():
        wanted = given.get(f"{key}s")
        kept = [value for value in wanted if value in known] if isinstance(wanted, list) else []
        if kept and kept != wanted:
            left[f"{key}s"] = kept
    return left


def _check_scores(scores: Job, jobs: Sequence[Job]) -> None:
    """Refuse time means that leave out all days of the reference run, or ask for more."""
    config, days = build_config(OnlineConfig, scores.settings or {}), _reference_days(jobs)
    if days is None:
        return
    try:
        config.require_length(days, "the reference run of the study")
    except ClimSimError as error:
        raise ClimSimError(f"stages.{scores.rule}: {error}") from error


def _check_figures(figures: Job, jobs: Sequence[Job]) -> None:
    """Refuse to draw a network, recipe or seed that no member has."""
    known = _known(list(_members(jobs)))
    try:
        build_config(FiguresConfig, figures.settings or {}).filters.require(known)
    except ClimSimError as error:
        raise ClimSimError(f"stages.{figures.rule}: {error}") from error


def _check_years(figures: Job, scores: Job, jobs: Sequence[Job]) -> None:
    """Refuse to draw first years over which no time means are formed."""
    drawn = build_config(FiguresConfig, figures.settings or {}).years
    config, days = build_config(OnlineConfig, scores.settings or {}), _reference_days(jobs)
    wanted = drawn * DAYS_PER_YEAR
    if config.years:
        holds = config.years == drawn
    else:
        holds = days is None or 0 <= days - config.skip_days - wanted <= _PARTIAL_MONTHS
    if drawn and not holds:
        means = f"years={config.years}" if config.years else f"all {days:g} days"
        raise ClimSimError(
            f"stages.{figures.rule}: years={drawn}: expected time means over as many years, found "
            f"{means} of stages.{scores.rule}: give stages.{scores.rule}.years={drawn}"
        )


def _reference_days(jobs: Sequence[Job]) -> float | None:
    """Days of the reference run that members are measured against; None on a host in batch."""
    for job in jobs:
        if job.rule == REFERENCE_STEP:
            settings = job.settings or {}
            in_batch = batch_runner(str(setting(settings, "host"))) is not None
            return None if in_batch else float(str(setting(settings, "days")))
    return None


def _known(members: Sequence[Member]) -> dict[str, list[str | int]]:
    """What figures can be asked for, by what a filter looks at."""
    return {
        "network": [member.network for member in members],
        "recipe": [member.recipe for member in members],
        "seed": [member.seed for member in members],
    }


def _members(jobs: Sequence[Job]) -> Iterator[Member]:
    """The members of a study as their metrics name them."""
    trained = {job.member: job.settings or {} for job in jobs if STEPS[job.rule].stage is TRAIN}
    for job in jobs:
        if job.rule != EVALUATE_OFFLINE.name:
            continue
        if job.member in trained:
            given = trained[job.member]
            network, recipe = (str(setting(given, f"{key}.name")) for key in ("network", "recipe"))
            yield Member(short_name(network), recipe, int(str(setting(given, "seed"))))
        else:
            yield member_of_file(Path(str(setting(job.settings or {}, "model"))))
