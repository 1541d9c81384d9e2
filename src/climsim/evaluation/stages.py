"""Stages of the package: metrics of predictions and of coupled runs."""

from __future__ import annotations

from climsim.stage import Stage

EVALUATE_OFFLINE = Stage(
    name="evaluate_offline",
    command="evaluate offline",
    config="climsim.evaluation.config:OfflineConfig",
    run="climsim.evaluation.offline:evaluate_offline",
    summary="Score an exported model on the test split.",
    example="model=runs/unet.pt store=runs/store.zarr out=runs/offline.nc",
    needs=("model", "store", "members", "confidences", "loss_of"),
    makes="out",
    scores="climsim.evaluation.summary:offline_lines",
)

KAGGLE_SCORE = Stage(
    name="kaggle_score",
    command="kaggle score",
    config="climsim.evaluation.config:KaggleScoreConfig",
    run="climsim.evaluation.kaggle_score:score_kaggle",
    summary="Score a model or a submission on a file of samples as the Kaggle competition did.",
    example="model=runs/unet.pt truth=kaggle/train.csv weights=kaggle/sample_submission.csv "
    "grid=runs/raw/ClimSim_low-res_grid-info.nc out=runs/kaggle.json",
    needs=("model", "truth", "targets", "weights", "members", "grid"),
    makes="out",
    scores="climsim.evaluation.kaggle_score:score_lines",
)

KAGGLE_SUBMISSION = Stage(
    name="kaggle_submission",
    command="kaggle submission",
    config="climsim.evaluation.config:SubmissionConfig",
    run="climsim.evaluation.kaggle_submission:write_submission",
    summary="Predict the samples of the Kaggle competition and write the weighted submission.",
    example="model=runs/unet.pt inputs=kaggle/test.csv weights=kaggle/sample_submission.csv "
    "grid=runs/raw/ClimSim_low-res_grid-info.nc out=runs/submission.csv",
    needs=("model", "inputs", "weights", "members", "grid"),
    makes="out",
)

CMOR = Stage(
    name="online_cmor",
    command="online cmor",
    config="climsim.evaluation.config:CmorConfig",
    run="climsim.evaluation.cmor:write_cmor",
    summary="Write the monthly means of a run as CMIP's tools expect them, one variable a file.",
    example="run=runs/hybrid out=runs/cmor variables=ta,pr levels=plev19",
    needs=("run",),
    makes="out",
)

EVALUATE_ONLINE = Stage(
    name="evaluate_online",
    command="evaluate online",
    config="climsim.evaluation.config:OnlineConfig",
    run="climsim.evaluation.online:evaluate_online",
    summary="Measure online runs against a reference run.",
    example="runs=runs/hybrid reference=runs/reference out=runs/online.nc",
    needs=("runs", "reference", "second_reference", "external"),
    makes="out",
    scores="climsim.evaluation.summary:online_lines",
)

EVALUATE_HINDCASTS = Stage(
    name="evaluate_hindcasts",
    command="evaluate hindcasts",
    config="climsim.evaluation.config:HindcastConfig",
    run="climsim.evaluation.hindcasts:evaluate_hindcasts",
    summary="Measure short runs from many starts against the run that kept these, for a ranking.",
    example="runs=runs/hindcasts/unet reference=runs/reference out=runs/hindcasts.nc",
    needs=("runs", "reference"),
    makes="out",
    scores="climsim.results.ranking:ranking_lines",
)
