"""The statistics stage: statistics of a store's training split as a netCDF file."""

from __future__ import annotations

import logging
from pathlib import Path

from climsim.data.statistics.config import StatisticsConfig
from climsim.data.statistics.statistics import STATISTICS, Statistics, compute_statistics
from climsim.data.store.opened import open_store
from climsim.errors import ClimSimError
from climsim.products import claim
from climsim.stage import Progress

logger = logging.getLogger(__name__)


def write_statistics(config: StatisticsConfig, progress: Progress | None = None) -> Path:
    """Compute and save the statistics; a file that belongs to this store and split is kept.

    One of an earlier version, or that was changed since, is replaced.

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
    old = _present(config.out)
    if old is not None and (old.store, old.split) == (store.fingerprint, config.split):
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


def _present(path: Path) -> Statistics | None:
    """The statistics that are there already; None where none can be read."""
    if not path.exists() or not path.stat().st_size:
        return None
    try:
        return Statistics.open(path)
    except ClimSimError as error:
        # Claimed as statistics before: what cannot be read of them is what this command makes.
        logger.warning("%s; they are computed now", error)
        return None
