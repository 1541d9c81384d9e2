"""What is scored, against what, and by which definitions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from climsim.constants import DAYS_PER_YEAR
from climsim.data.store.address import StoreAddress
from climsim.data.store.splits import SPLITS
from climsim.errors import ClimSimError, unknown_name
from climsim.evaluation.cmor_table import CMOR_VARIABLES
from climsim.evaluation.definitions import COUPLER, EQUAL, LEFT_OUT, Definitions
from climsim.files import require_apart
from climsim.products import note_of
from climsim.validation import Checks, different, refused

ARRAYS: Final = (".npy", ".npz", ".h5", ".hdf5")
"""Endings of files of plain arrays."""
NOT_WITH_ITSELF: Final = "what is compared with itself has no errors: give another run"


@dataclass(frozen=True)
class OfflineConfig:
    """What is scored, on which data.

    Attributes:
        model: exported model file, or predictions to be scored in its place: what
            `save_predictions` wrote, or an ``.npy``, ``.npz`` or ``.h5`` array (time, column,
            feature) of outputs in physical units, of the split's steps.
        store: prepared store: a folder, or a URL that fsspec reads.
        out: netCDF file to write.
        members: further model files; the mean of all is scored, and the ensemble by its CRPS.
        split: split that is scored.
        batch_columns: columns that the model sees at once.
        stride: every n-th step of the split is scored, n being this number.
        save_predictions: Zarr folder for the predictions and confidences of the steps that are
            scored; None keeps none.
        predictions_key: names of the arrays where `model` is an ``.npz`` or ``.h5`` of several;
            more than one make an ensemble.
        confidences: file of an array (time, column, target feature) of predicted losses that
            belong to the array of `model`, under the same name; None where there are none.
        loss_of: exported model in units of whose training loss these are.
        allow_nan: whether scores that are NaN because the model or the store holds no finite
            numbers are accepted; otherwise they end in an error once the metrics are written.
    """

    model: Path
    store: StoreAddress
    out: Path
    members: tuple[Path, ...] = ()
    split: str = "test"
    batch_columns: int = 4096
    stride: int = 1
    save_predictions: Path | None = None
    predictions_key: tuple[str, ...] = ()
    confidences: Path | None = None
    loss_of: Path | None = None
    allow_nan: bool = False

    def __post_init__(self) -> None:
        check = Checks(self)
        check.one_of(SPLITS, "split")
        check.whole("batch_columns", "stride", least=1)
        different("predictions_key", self.predictions_key)
        if (self.confidences is None) != (self.loss_of is None):
            raise ClimSimError(
                "confidences, loss_of: expected both or none: give the array, and an exported "
                "model in units of whose training loss it is"
            )
        require_apart(
            {"model": self.model, "members": self.members, "confidences": self.confidences},
            "give each model once, and confidences in a file of their own",
        )

    @property
    def sources(self) -> list[tuple[Path, str]]:
        """Files whose mean is scored, each with the name of an array in it; empty for models."""
        return [
            (path, key)
            for path in (self.model, *self.members)
            for key in (self.predictions_key if path.suffix in ARRAYS else ()) or ("",)
        ]


@dataclass(frozen=True)
class OnlineConfig:
    """Which runs are measured against which reference.

    Attributes:
        runs: folders of the runs with emulated physics.
        reference: folder of the run with full physics (the paper's MMF1).
        out: netCDF file to write.
        second_reference: folder of the second run with full physics (the paper's MMF2), the
            floor; or None.
        skip_days: first days that time means and distributions leave out.
        mean_stream: stream of the time means: ``h0``, ``h1``, or ``auto`` (months where the
            reference has at least two full ones, else days).
        years: time means and distributions are over the first so many years, and a run that
            stopped after them counts as whole; 0 for all that the reference has.
        tropopause: ``coupler`` (the paper's: the coupler's rule, mean by mean) or ``wmo``.
        month_weights: ``equal`` (the paper's) or ``length``, of the means in a time mean.
        first_month: ``left_out`` of zonal biases over months (the paper's), or ``counted``.
        external: folders of runs of other studies, which figures draw beside the members.
        workers: processes that measure; 0 for one per core.
    """

    runs: tuple[Path, ...]
    reference: Path
    out: Path
    second_reference: Path | None = None
    skip_days: float = 0.0
    mean_stream: str = "auto"
    years: int = 0
    tropopause: str = COUPLER
    month_weights: str = EQUAL
    first_month: str = LEFT_OUT
    external: tuple[Path, ...] = ()
    workers: int = 1

    def __post_init__(self) -> None:
        compared = {"reference": self.reference, "second_reference": self.second_reference}
        require_apart(
            {"runs": self.runs, **compared, "external": self.external},
            NOT_WITH_ITSELF,
        )
        if not (self.runs or self.second_reference or self.external):
            raise ClimSimError(
                "runs: expected folders of runs, found none, and no second_reference: give some"
            )
        check = Checks(self)
        check.at_least(0, "skip_days")
        check.whole("workers")
        check.one_of(("auto", "h0", "h1"), "mean_stream")
        _ = self.definitions

    def require_length(self, days: float, reference: str, counted: bool = True) -> None:
        """Refuse to leave out all that the reference has, or to count more years than it has.

        Args:
            days: length of the reference.
            reference: what it is, for the message.
            counted: whether any of its means begins after the days that are left out.

        Raises:
            ClimSimError: naming the key.
        """
        if self.skip_days and not (counted and self.skip_days < days):
            raise ClimSimError(
                f"skip_days={self.skip_days:g}: expected days that leave some of the {days:g} that "
                f"{reference} has: skip fewer"
            )
        if self.years * DAYS_PER_YEAR > days:
            raise ClimSimError(
                f"years={self.years}: expected years that {reference} has, found {days:g} days in "
                "it: run it longer, or years=0 for all that it has"
            )

    @property
    def definitions(self) -> Definitions:
        """Which definitions the scores follow."""
        return Definitions(self.tropopause, self.month_weights, self.first_month, self.years)


@dataclass(frozen=True)
class HindcastConfig:
    """Which short runs are measured against which long one.

    Attributes:
        runs: folders of runs that begin at restart files which the reference kept, or of ensembles
            of such runs.
        reference: folder of the run with full physics that kept them.
        out: netCDF file to write.
        workers: processes that measure; 0 for one per core.
    """

    runs: tuple[Path, ...]
    reference: Path
    out: Path
    workers: int = 1

    def __post_init__(self) -> None:
        require_apart(
            {"runs": self.runs, "reference": self.reference},
            NOT_WITH_ITSELF,
        )
        if not self.runs:
            raise ClimSimError(
                "runs: expected folders of runs or of ensembles, found none: give some"
            )
        Checks(self).whole("workers")


@dataclass(frozen=True)
class CmorConfig:
    """Which run is written, and how.

    Attributes:
        run: folder of the run.
        out: folder for the files; one of an earlier call is replaced.
        variables: names of CMIP's table ``Amon``, such as ``ta,pr``; empty for all that the history
            holds.
        levels: ``model`` for the levels of the model, ``plev19`` for CMIP6's 19 pressure levels;
            cloud variables stay on model levels.
        source: name of the model, for file names and attributes.
    """

    run: Path
    out: Path
    variables: tuple[str, ...] = ()
    levels: str = "plev19"
    source: str = "climsim"

    def __post_init__(self) -> None:
        Checks(self).one_of(("model", "plev19"), "levels")
        different("variables", self.variables)
        for name in self.variables:
            made_of_it = [v.name for v in CMOR_VARIABLES.values() if name in v.fields]
            if name not in CMOR_VARIABLES and made_of_it:
                raise refused(
                    "variables",
                    "names of the table Amon",
                    name,
                    f"{' or '.join(made_of_it)} is made of that field of the history",
                )
            if name not in CMOR_VARIABLES:
                raise unknown_name("variable of the table Amon", name, CMOR_VARIABLES)


@dataclass(frozen=True)
class KaggleScoreConfig:
    """What is scored, on which samples.

    Attributes:
        model: exported model file, or a submission (``.csv``, ``.parquet``), whose values are
            weighted already.
        truth: file of samples with the targets, and with the inputs of a model.
        targets: file of the targets where they are not in `truth`; empty otherwise.
        weights: the competition's ``sample_submission.csv``, whose rows are the weights of the
            targets; None for 1 each.
        out: JSON file to write, with the score of each target.
        members: further model files; the mean of all is scored.
        grid: grid file, for the pressure of the levels; None for ``*grid-info.nc`` beside `truth`.
        levels: of a profile, where a submission is scored; a model says its own.
        batch_columns: samples that the model sees at once.
    """

    model: Path
    truth: Path
    out: Path
    targets: str | Path = ""
    weights: Path | None = None
    members: tuple[Path, ...] = ()
    grid: Path | None = None
    levels: int = 60
    batch_columns: int = 4096

    def __post_init__(self) -> None:
        Checks(self).whole("batch_columns", "levels", least=1)
        require_apart(
            {"model": self.model, "members": self.members, "truth": self.truth},
            "give each model once, and the truth that it is scored against",
        )


@dataclass(frozen=True)
class SubmissionConfig:
    """What is predicted, for which samples.

    Attributes:
        model: exported model file.
        inputs: file of samples with the column ``sample_id``, such as the competition's
            ``test.csv``.
        weights: the competition's ``sample_submission.csv``, whose rows are the weights of the
            targets.
        out: submission to write, ``.csv`` or ``.parquet``.
        members: further model files; the mean of all is submitted.
        grid: grid file, for the pressure of the levels; None for ``*grid-info.nc`` beside `inputs`.
        batch_columns: samples that the model sees at once.
    """

    model: Path
    inputs: Path
    weights: Path
    out: Path = Path("submission.csv")
    members: tuple[Path, ...] = ()
    grid: Path | None = None
    batch_columns: int = 4096

    def __post_init__(self) -> None:
        Checks(self).whole("batch_columns", least=1)
        require_apart({"model": self.model, "members": self.members}, "give each model once")

    @property
    def note(self) -> Path:
        """File beside the submission that says what made it."""
        return note_of(self.out)
