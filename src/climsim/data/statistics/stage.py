"""The statistics stage: statistics of a store's training split as a netCDF file."""

from __future__ import annotations

from pathlib import Path

from climsim.data.statistics.config import StatisticsConfig
from climsim.data.statistics.statistics import STATISTICS, Statistics, compute_statistics
from climsim.data.store.opened import open_store
from climsim.products import claim
from climsim.stage import Progress


def write_statistics(config: StatisticsConfig, progress: Progress | None = None) -> Path:
    """Compute and save the statistics; a file that belongs to this store and split is kept.

    Args:
        config: store, split and file.
        progress: called with the blocks done and their total.

    Returns:
        Path of the statistics.

    Raises:
        ClimSimError: if the store cannot be read, the split is empty or a value is not finite.
    """
    claim(config.out, STATISTICS, {"store": config.store})
    store = open_store(config.store)
    if config.out.exists() and config.out.stat().st_size:
        old = Statistics.open(config.out)
        if (old.store, old.split) == (store.fingerprint, config.split):
            return config.out
    statistics = compute_statistics(
        store=store,
        split=config.split,
        progress=progress,
        workers=config.workers,
        dask=config.dask,
        slurm=config.slurm,
    )
    statistics.save(config.out, config.store)
    return config.out
