"""The steps of a study: which stages it has, and where the product of each goes in its folder.

A step is a rule of the graph and bears the name of its stage. The reference runs are a second step
of the stage ``online_run``, as they need other resources than the coupled ones, the scores of
ensembles one of ``evaluate_offline``, as they need several models, and preparation and training
with states that a model visited are second steps of their stages.
"""

from __future__ import annotations

from dataclasses import dataclass

from climsim.data.stages import PREPARE, STATISTICS
from climsim.evaluation.stages import EVALUATE_HINDCASTS, EVALUATE_OFFLINE, EVALUATE_ONLINE
from climsim.export.stages import EXPORT
from climsim.figures.stages import FIGURES
from climsim.online.stages import COLLECT, GENERATE, ONLINE_ENSEMBLE, ONLINE_RUN
from climsim.report.stages import REPORT
from climsim.stage import Stage
from climsim.training.stages import TRAIN

REFERENCE_STEP = "online_reference"
ENSEMBLE_STEP = "evaluate_ensemble"
"""Offline scores of the mean prediction of the seeds of a network and recipe."""
VISITED_STORE_STEP, RETRAIN_STEP = "prepare_visited", "train_visited"
"""Steps of the later iterations of training."""
HINDCAST_REFERENCE_STEP, HINDCAST_STEP = "hindcast_reference", "online_hindcasts"
"""Short runs from many starts: the run with full physics that keeps these, and those of members."""
FAILURES = "failures.json"
_MEMBER = "{member}"


@dataclass(frozen=True)
class Step:
    """A stage of a study.

    Attributes:
        stage: what is run.
        product: what it makes, in the folder of the study; ``{member}`` stands for the member,
            reference run or ensemble, ``{ending}`` for that of exported files.
        mark: file that marks a folder as complete, which the stage can resume; empty where the
            product is a file.
        name: of the rule; empty for that of the stage.
        priority: of its jobs among those that could start.
        anew: whether a product that is there is put aside when its job runs, not grown: what it is
            made of may have been replaced.
    """

    stage: Stage
    product: str
    mark: str = ""
    name: str = ""
    priority: int = 0
    anew: bool = False

    @property
    def rule(self) -> str:
        """Name of the rule."""
        return self.name or self.stage.name

    @property
    def output(self) -> str:
        """File that says that it is complete."""
        return self.mark or self.product

    @property
    def of_members(self) -> bool:
        """Whether each member has a job of its own."""
        return _MEMBER in self.product


_ALL = (
    Step(GENERATE, "raw", "flags/generate.done", priority=10),
    Step(PREPARE, "store.zarr", "flags/prepare.done"),
    Step(STATISTICS, "statistics.nc"),
    Step(TRAIN, "members/{member}", "flags/train-{member}.done", priority=5),
    Step(EXPORT, "models/{member}{ending}"),
    Step(EVALUATE_OFFLINE, "offline/{member}.nc"),
    Step(EVALUATE_OFFLINE, "offline/{member}.nc", name=ENSEMBLE_STEP),
    Step(ONLINE_RUN, "online/{member}", "flags/online-{member}.done", REFERENCE_STEP),
    Step(ONLINE_RUN, "online/{member}", "flags/online-{member}.done"),
    Step(
        ONLINE_RUN,
        "hindcasts/{member}",
        "flags/hindcasts-{member}.done",
        HINDCAST_REFERENCE_STEP,
    ),
    Step(ONLINE_ENSEMBLE, "hindcasts/{member}", "flags/hindcasts-{member}.done", HINDCAST_STEP),
    Step(COLLECT, "visited/{member}", "flags/online_collect-{member}.done"),
    Step(
        PREPARE,
        "stores/{member}.zarr",
        "flags/prepare-{member}.done",
        VISITED_STORE_STEP,
        anew=True,
    ),
    Step(TRAIN, "members/{member}", "flags/train-{member}.done", RETRAIN_STEP, priority=5),
    Step(EVALUATE_ONLINE, "online.nc"),
    Step(EVALUATE_HINDCASTS, "hindcasts.nc"),
    Step(FIGURES, "figures", "flags/figures.done"),
    Step(REPORT, "report.html"),
)
STEPS = {step.rule: step for step in _ALL}
"""Steps by rule, in the order of the chain."""
JOINT = (ENSEMBLE_STEP, "evaluate_online", "evaluate_hindcasts", "figures", "report")
"""Those that bring members together."""


def path_of(stage: Stage, member: str = "") -> str:
    """Where the product of a stage goes, in the folder of the study; not for exported files.

    Their names depend on their format: see `climsim.workflow.maker.Jobs.model_of`.
    """
    return STEPS[stage.name].product.replace(_MEMBER, member)
