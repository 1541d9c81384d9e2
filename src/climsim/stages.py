"""The table of stages, in the order of the chain."""

from __future__ import annotations

from climsim.data import stages as data
from climsim.errors import unknown_name
from climsim.evaluation import stages as evaluation
from climsim.explore import stages as explore
from climsim.export import stages as export
from climsim.figures import stages as figures
from climsim.hosts.gcm import stages as gcm
from climsim.hub import stages as hub
from climsim.online import stages as online
from climsim.report import stages as report
from climsim.stage import Stage, load
from climsim.training import stages as training

__all__ = ["GROUPS", "STAGES", "Stage", "load", "stage"]

STAGES = (
    online.GENERATE,
    data.DOWNLOAD,
    data.CHECK,
    data.PREPARE,
    data.VERIFY,
    data.STATISTICS,
    figures.DESCRIBE,
    data.VARIABLES,
    training.TRAIN,
    export.EXPORT,
    export.CHECKPOINT_IMPORT,
    evaluation.EVALUATE_OFFLINE,
    evaluation.KAGGLE_SCORE,
    evaluation.KAGGLE_SUBMISSION,
    online.ONLINE_RUN,
    online.ONLINE_ENSEMBLE,
    online.COLLECT,
    online.FINETUNE,
    gcm.SPINUP,
    gcm.FIT_RADIATION,
    figures.CLIMATE,
    figures.DAMPING,
    evaluation.CMOR,
    evaluation.EVALUATE_ONLINE,
    evaluation.EVALUATE_HINDCASTS,
    figures.FIGURES,
    figures.SHOW,
    report.REPORT,
    explore.EXPLORE,
    hub.PUSH,
    hub.PULL,
)

GROUPS = {
    "checkpoint": "Checkpoints made elsewhere.",
    "data": "Raw step files, prepared stores and statistics.",
    "evaluate": "Metrics of predictions and of coupled runs.",
    "host": "The climate model without a network.",
    "hub": "Models and stores on the Hugging Face Hub.",
    "kaggle": "Files of the Kaggle competition: its score and its submission.",
    "online": "Coupled runs.",
}
"""First words that several commands share."""


def stage(name: str) -> Stage:
    """The stage of that name.

    Raises:
        ClimSimError: if there is none.
    """
    found = next((stage for stage in STAGES if stage.name == name), None)
    if found is None:
        raise unknown_name("stage", name, (stage.name for stage in STAGES))
    return found
