"""The fast radiation: RRTMGP on a few of its spectral points, each with a fitted weight.

The fluxes of the 240 points of the small tables are alike enough for some two dozen of them to
stand for all. Points are added one after another, each time the one with which non-negative
weights reproduce heating rates and fluxes best; every point is a whole two-stream solution, so
energy closes as in RRTMGP and states far from those of the fit are no worse.

Source: optimal spectral sampling, Moncet et al. 2008, J. Quant. Spectrosc. Radiat. Transf. 109;
representative points by their fluxes, Buehler et al. 2010, ibid. 111.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from climsim.constants import SECONDS_PER_DAY
from climsim.hosts.gcm import correlated_k
from climsim.hosts.gcm.cloud_draw import stratified_numbers
from climsim.hosts.gcm.columns import RadiationColumns, RadiationFluxes, heating
from climsim.hosts.gcm.config import LONGWAVE_POINTS, SHORTWAVE_POINTS
from climsim.hosts.gcm.correlated_k import SpectralPoints
from climsim.hosts.gcm.medium import medium_of

_CALM: Final = 1.0
"""Heating beside which the variability of a level counts [K/day]."""
_FLUX: Final = 3.0
"""Error of a flux that counts like one of a unit of heating at one level [W/m2]."""
_EXACT: Final = 30.0
"""How much more what enters the column, sunlight or the surface's emission, counts."""
FLUXES: Final = tuple(
    item.name
    for item in dataclasses.fields(RadiationFluxes)
    if not item.name.endswith(("_absorbed", "_in"))
)


def with_whole_clouds(columns: RadiationColumns) -> RadiationColumns:
    """Each column twice: without clouds, and with its clouds covering it whole.

    Which points see a cloud of part cover is a matter of the draw; here all do or none.
    """

    def both(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, values], axis=-1)

    count = columns.cover.shape[-1]
    whole = (np.asarray(columns.cover) > 0.0).astype(np.float32)
    doubled = jax.tree.map(both, columns)
    cover = np.concatenate([np.zeros_like(whole), whole], axis=-1)
    paths = {
        name: np.where(np.arange(2 * count) < count, 0.0, getattr(doubled, name))
        for name in ("liquid_path", "ice_path")
    }
    return dataclasses.replace(doubled, cover=cover, **paths)


def point_fluxes(columns: RadiationColumns) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Longwave and shortwave fields of `RadiationFluxes` for each point, (point, ...)."""
    points = correlated_k.all_points(columns.temperature.shape[0])

    @functools.partial(jax.jit, static_argnums=0)
    def longwave(size: int, part: RadiationColumns) -> dict[str, jax.Array]:
        medium = medium_of(part)
        point = correlated_k.longwave_point(part, medium, points)
        return jax.lax.map(lambda n: correlated_k.longwave_fields(point(n)), jnp.arange(size))

    @functools.partial(jax.jit, static_argnums=0)
    def shortwave(size: int, part: RadiationColumns) -> dict[str, jax.Array]:
        medium = medium_of(part)
        point = correlated_k.shortwave_point(part, medium, points)
        return jax.lax.map(lambda n: correlated_k.shortwave_fields(point(n)), jnp.arange(size))

    columns = jax.tree.map(jnp.asarray, columns)
    return longwave(len(points.longwave), columns), shortwave(len(points.shortwave), columns)


def _rows(fields: dict[str, jax.Array], interfaces: jax.Array, entering: str) -> np.ndarray:
    """What the fit compares, (row, point)."""
    absorbed = next(name for name in fields if name.endswith("_absorbed"))
    rate = np.asarray(
        jax.vmap(heating, in_axes=(0, None))(fields[absorbed], interfaces), np.float64
    )
    rate = rate * SECONDS_PER_DAY
    variability = rate.sum(axis=0).std(axis=-1)
    scale = 1.0 / (variability + _CALM)
    parts = [(rate * scale[None, :, None]).reshape(rate.shape[0], -1)]
    for name, values in fields.items():
        if name == absorbed:
            continue
        strength = np.sqrt(_EXACT) if name == entering else 1.0
        parts.append(strength * np.asarray(values, np.float64) / _FLUX)
    return np.concatenate(parts, axis=1).T


def choose(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and their non-negative weights that reproduce the sum over all points best.

    Args:
        rows: (row, point).
        count: how many points.
    """
    from scipy.linalg import cholesky
    from scipy.optimize import nnls

    target = rows.sum(axis=1)
    gram = np.concatenate([rows, target[:, None]], axis=1)
    gram = gram.T @ gram
    gram += 1e-9 * np.trace(gram) / len(gram) * np.eye(len(gram))
    factor = cholesky(gram)
    chosen: list[int] = []
    for _ in range(count):
        best = (np.inf, -1)
        for candidate in range(rows.shape[1]):
            if candidate not in chosen:
                _, residual = nnls(factor[:, [*chosen, candidate]], factor[:, -1])
                best = min(best, (residual, candidate))
        chosen.append(best[1])
    chosen.sort()
    weights, _ = nnls(factor[:, chosen], factor[:, -1])
    used = weights > 0.0
    return np.asarray(chosen)[used], weights[used]


def fit_points(
    columns: RadiationColumns, longwave: int = LONGWAVE_POINTS, shortwave: int = SHORTWAVE_POINTS
) -> SpectralPoints:
    """Points and weights for the states given.

    Args:
        columns: states with clouds, by day.
        longwave: how many longwave points.
        shortwave: how many shortwave points.
    """
    columns = with_whole_clouds(columns)
    interfaces = jnp.asarray(columns.interfaces)
    levels = columns.temperature.shape[0]
    long_fields, short_fields = point_fluxes(columns)
    long_index, long_weight = choose(
        _rows(long_fields, interfaces, "surface_longwave_up"), longwave
    )
    short_index, short_weight = choose(_rows(short_fields, interfaces, "shortwave_in"), shortwave)
    return SpectralPoints(
        longwave=long_index,
        longwave_weight=long_weight.astype(np.float32),
        longwave_numbers=stratified_numbers(len(long_index), levels),
        shortwave=short_index,
        shortwave_weight=short_weight.astype(np.float32),
        shortwave_numbers=stratified_numbers(len(short_index), levels),
    )


@dataclasses.dataclass(frozen=True)
class FluxError:
    """Error of one flux.

    Attributes:
        bias: mean error [W/m2].
        rmse: root mean square error [W/m2].
    """

    bias: float
    rmse: float


@dataclasses.dataclass(frozen=True)
class FitErrors:
    """Errors of fluxes against RRTMGP's.

    Attributes:
        columns: how many were compared.
        longwave: root mean square error of the heating at each level [K/day].
        shortwave: likewise [K/day].
        heating: root mean square error of their sum, over all levels [K/day].
        fluxes: errors by name of the flux.
    """

    columns: int
    longwave: tuple[float, ...]
    shortwave: tuple[float, ...]
    heating: float
    fluxes: Mapping[str, FluxError]

    def to_dict(self) -> dict[str, object]:
        """Plain values, as the file of the points notes them."""
        values = dataclasses.asdict(self)
        return {**values, **values.pop("fluxes")}


def errors(made: RadiationFluxes, truth: RadiationFluxes, columns: RadiationColumns) -> FitErrors:
    """Compare fluxes with RRTMGP's.

    Args:
        made: fluxes of the points.
        truth: RRTMGP's of the same columns.
        columns: what both were computed for.
    """
    by_band = {}
    both: np.ndarray = np.zeros(1, np.float32)
    for name in ("longwave", "shortwave"):
        error = np.asarray(getattr(made, f"{name}_absorbed")) - np.asarray(
            getattr(truth, f"{name}_absorbed")
        )
        error = np.asarray(heating(error, columns.interfaces)) * SECONDS_PER_DAY
        both = both + error
        rmse = np.sqrt((error**2).mean(axis=1))
        by_band[name] = tuple(round(float(value), 3) for value in rmse)
    fluxes = {}
    for name in FLUXES:
        error = np.asarray(getattr(made, name)) - np.asarray(getattr(truth, name))
        fluxes[name] = FluxError(
            bias=round(float(error.mean()), 3),
            rmse=round(float(np.sqrt((error**2).mean())), 3),
        )
    return FitErrors(
        columns=int(columns.temperature.shape[-1]),
        longwave=by_band["longwave"],
        shortwave=by_band["shortwave"],
        heating=round(float(np.sqrt((both**2).mean())), 3),
        fluxes=fluxes,
    )


def save_points(path: Path, points: SpectralPoints, notes: Mapping[str, object]) -> None:
    """Write points as one file.

    Args:
        path: where.
        points: to write.
        notes: what made them and how well they do.
    """
    from climsim.files import atomic_path

    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, notes=np.array(json.dumps(notes)), **dataclasses.asdict(points))


def load_points(path: Path) -> SpectralPoints:
    """Points from a file that `save_points` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        names = [item.name for item in dataclasses.fields(SpectralPoints)]
        return SpectralPoints(**{name: stored[name] for name in names})


@functools.cache
def shipped_points() -> SpectralPoints:
    """The points that are shipped, read once."""
    path = resources.files(__package__) / "assets" / "radiation_points.npz"
    with resources.as_file(path) as found:
        return load_points(found)


def solve(columns: RadiationColumns) -> RadiationFluxes:
    """Fluxes of all columns by the shipped points."""
    return correlated_k.solve(columns, shipped_points())
