"""Fit the spectral points of the fast radiation on columns of a run, and measure their errors."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jax
import numpy as np

from climsim.constants import STEPS_PER_DAY
from climsim.hosts.gcm import build_host, correlated_k, reduced
from climsim.hosts.gcm.cloud_draw import stratified_numbers
from climsim.hosts.gcm.columns import RadiationColumns, RadiationFluxes
from climsim.hosts.gcm.config import FitConfig
from climsim.hosts.gcm.correlated_k import SpectralPoints
from climsim.hosts.gcm.harvest import joined, perturbed
from climsim.hosts.gcm.host import GcmHost
from climsim.products import Kind, archived, claim
from climsim.stage import Progress

__all__ = ["FitConfig", "fit_radiation"]
_log = logging.getLogger(__name__)
_BETWEEN: Final = 31
"""Steps between samples: no divisor of a day, so that all hours are seen."""
_SUNLIT: Final = 0.05
_COMPARED: Final = (
    "longwave_out",
    "surface_longwave_down",
    "shortwave_out",
    "surface_shortwave_down",
)


POINTS = Kind(
    "a file of spectral points",
    # NumPy stores text as UTF-32.
    lambda path: '"made_by"'.encode("utf-32-le") in archived(path, "notes.npy"),
)


def fit_radiation(
    config: FitConfig, progress: Progress | None = None, host: GcmHost | None = None
) -> Path:
    """Run full physics, fit points on some of its columns, write them with their errors.

    Args:
        config: of the fit.
        progress: called with (steps done, steps in all).
        host: one built before; None builds it.

    Returns:
        The file; its `notes` hold the errors on columns of later days, as they are and perturbed.
    """
    claim(config.out, POINTS)
    host = build_host(config.host_options) if host is None else host
    seen = _columns_of(host, config.days, progress)
    last = max(1, len(seen) // 3)
    fitted = _some(joined(seen[:-last] or seen), config.columns, seed=1)
    natural = _some(joined(seen[-last:]), config.columns, seed=2)
    points = reduced.fit_points(
        joined([_sunlit(fitted), _sunlit(perturbed(fitted, 3))]), config.longwave, config.shortwave
    )
    drawn = best_draw(points, natural, config.draws)
    reduced.save_points(config.out, drawn.points, drawn.notes() | {"made_by": host.source})
    _log.info("%s: heating within %.2f K/day", config.out, drawn.natural.heating)
    return config.out


def _columns_of(host: GcmHost, days: int, progress: Progress | None) -> list[RadiationColumns]:
    seen, total = [], days * STEPS_PER_DAY
    for step in range(total):
        if step % _BETWEEN == 0:
            now = host.radiation_columns()
            seen.append(jax.tree.map(np.asarray, _some(now, 64, seed=step)))
        host.step_physics()
        if progress is not None:
            progress(step + 1, total)
    return seen


def _some(columns: RadiationColumns, count: int, seed: int) -> RadiationColumns:
    """Some of the columns, chosen at random."""
    there = columns.cos_zenith.shape[-1]
    chosen = np.random.default_rng(seed).permutation(there)[:count]
    return jax.tree.map(lambda values: np.asarray(values)[..., chosen], columns)


def _sunlit(columns: RadiationColumns) -> RadiationColumns:
    """The same columns with the sun up in all of them."""
    sun = np.maximum(np.abs(np.asarray(columns.cos_zenith)), _SUNLIT)
    return dataclasses.replace(columns, cos_zenith=sun.astype(np.float32))


@dataclass(frozen=True)
class Drawn:
    """Spectral points with their draw of clouds.

    Attributes:
        points: with the draw.
        seed: of the draw.
        natural: errors on states of a run.
        perturbed: errors on states around them.
    """

    points: SpectralPoints
    seed: int
    natural: reduced.FitErrors
    perturbed: reduced.FitErrors

    def notes(self) -> dict[str, object]:
        """Plain values, as the file of the points notes them."""
        return {
            "seed": self.seed,
            "natural": self.natural.to_dict(),
            "perturbed": self.perturbed.to_dict(),
        }


def best_draw(points: SpectralPoints, columns: RadiationColumns, draws: int) -> Drawn:
    """Give the points the draw of clouds that errs least.

    Args:
        points: to be given a draw.
        columns: states of a run, that the draws and the perturbed columns come from.
        draws: how many are tried.
    """
    whole = jax.jit(correlated_k.solve)
    truth = whole(columns)
    levels = columns.temperature.shape[0]

    @jax.jit
    def solved(
        seen: RadiationColumns, longwave: np.ndarray, shortwave: np.ndarray
    ) -> RadiationFluxes:
        return correlated_k.solve(
            seen,
            dataclasses.replace(points, longwave_numbers=longwave, shortwave_numbers=shortwave),
        )

    def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
        return (
            stratified_numbers(len(points.longwave), levels, seed),
            stratified_numbers(len(points.shortwave), levels, seed + 1),
        )

    tried = {}
    for seed in range(0, 2 * draws, 2):
        made = reduced.errors(solved(columns, *draw(seed)), truth, columns)
        compared = [made.fluxes[name] for name in _COMPARED]
        score = sum(error.rmse + 2.0 * abs(error.bias) for error in compared)
        tried[score] = (seed, made)
    seed, natural = tried[min(tried)]
    longwave, shortwave = draw(seed)
    other = perturbed(columns, seed=11)
    strained = reduced.errors(solved(other, longwave, shortwave), whole(other), other)
    chosen = dataclasses.replace(points, longwave_numbers=longwave, shortwave_numbers=shortwave)
    return Drawn(chosen, seed, natural, strained)
