"""What scores and figures of a study ask of its runs, checked before the first runs."""

from __future__ import annotations

from collections.abc import Sequence

from climsim.cards import setting
from climsim.configuration import build_config
from climsim.constants import DAYS_PER_YEAR
from climsim.errors import ClimSimError
from climsim.evaluation.config import OnlineConfig
from climsim.evaluation.stages import EVALUATE_ONLINE
from climsim.figures.config import FiguresConfig
from climsim.figures.stages import FIGURES
from climsim.hosts import batch_runner
from climsim.workflow.jobs import Job
from climsim.workflow.steps import REFERENCE_STEP

_PARTIAL_MONTHS = 62
"""Most days that a time mean over months leaves out of a run, at both ends."""


def check_scored(jobs: Sequence[Job]) -> None:
    """Refuse scores over more than the runs have, and figures of years that are not scored.

    Args:
        jobs: of the study.

    Raises:
        ClimSimError: naming the stage and the key.
    """
    by_rule = {job.rule: job for job in jobs}
    figures, scores = by_rule.get(FIGURES.name), by_rule.get(EVALUATE_ONLINE.name)
    if scores is None:
        return
    _check_scores(scores, jobs)
    if figures is not None:
        _check_years(figures, scores, jobs)


def _check_scores(scores: Job, jobs: Sequence[Job]) -> None:
    """Refuse time means that leave out all days of the reference run, or ask for more."""
    config, days = build_config(OnlineConfig, scores.settings or {}), _reference_days(jobs)
    if days is None:
        return
    try:
        config.require_length(days, "the reference run of the study")
    except ClimSimError as error:
        raise ClimSimError(f"stages.{scores.rule}: {error}") from error


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
