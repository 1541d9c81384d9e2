"""Of what statistics are computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from climsim.cluster import SlurmConfig
from climsim.data.store.address import StoreAddress
from climsim.data.store.splits import SPLITS
from climsim.validation import Checks


@dataclass(frozen=True)
class StatisticsConfig:
    """Of what statistics are computed.

    Attributes:
        store: prepared store: a folder, or a URL that fsspec reads.
        out: netCDF file to write.
        split: split that is summarized: ``train``, or ``weather`` for its steps outside
            ``split.training_only``; any other leaks what models are scored on into their scales.
        workers: processes; 0 for one per core.
        dask: where to work, as for preparation.
        slurm: the jobs of ``dask=slurm``.
    """

    store: StoreAddress
    out: Path
    split: str = "train"
    workers: int = 0
    dask: str = ""
    slurm: SlurmConfig = field(default_factory=SlurmConfig)

    def __post_init__(self) -> None:
        check = Checks(self)
        check.one_of(SPLITS, "split")
        check.whole("workers")
