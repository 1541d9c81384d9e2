"""Transport of cloud condensate on the grid: first-order upwind, positive, mass conserving.

Spectral transport rings around clouds: a third of the cloud water is negative at the
truncations used here. So beside the spectral core liquid and ice stay on the grid and move
with donor-cell fluxes (Courant, Isaacson, Rees 1952) on the cells of the Gaussian grid, with
vertical mass fluxes from continuity in the hybrid coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from climsim.constants import REFERENCE_PRESSURE

if TYPE_CHECKING:
    import jax
    from dinosaur.coordinate_systems import CoordinateSystem


@dataclass(frozen=True)
class CellGeometry:
    """Faces and areas of the cells of a Gaussian grid.

    Attributes:
        area: (lat,) area of a cell [m2].
        east_face: (lat,) length of its eastern face [m].
        north_face: (lat,) length of its northern face [m], zero at the pole.
        delta_a: (level,) thickness of the layers at zero surface pressure [Pa].
        delta_b: (level,) share of surface pressure in the layers [1].
    """

    area: np.ndarray
    east_face: np.ndarray
    north_face: np.ndarray
    delta_a: np.ndarray
    delta_b: np.ndarray


def cell_geometry(coordinates: CoordinateSystem) -> CellGeometry:
    """Geometry of dinosaur's coordinate system: cell areas are the Gaussian weights."""
    horizontal, vertical = coordinates.horizontal, coordinates.vertical
    radius = float(horizontal.radius)
    longitudes, latitudes = horizontal.nodal_shape
    weights = np.broadcast_to(
        np.asarray(horizontal.quadrature_weights, np.float64), (longitudes, latitudes)
    )[0]
    sine = np.concatenate([[-1.0], -1.0 + 2.0 * np.cumsum(weights) / weights.sum()])
    face = np.arcsin(np.clip(sine, -1.0, 1.0))
    width = 2.0 * np.pi / longitudes
    north = radius * width * np.cos(face[1:])
    north[-1] = 0.0
    return CellGeometry(
        area=radius**2 * width * np.diff(sine),
        east_face=radius * np.diff(face),
        north_face=north,
        delta_a=np.diff(np.asarray(vertical.a_boundaries, np.float64)),
        delta_b=np.diff(np.asarray(vertical.b_boundaries, np.float64)),
    )


def layer_thickness(geometry: CellGeometry, surface_pressure: jax.Array) -> jax.Array:
    """Pressure thickness of the layers, (level, lon, lat) [Pa]."""
    import jax.numpy as jnp

    a = jnp.asarray(geometry.delta_a, jnp.float32)[:, None, None]
    b = jnp.asarray(geometry.delta_b, jnp.float32)[:, None, None]
    return a + b * surface_pressure


def transport(
    tracers: dict[str, jax.Array],
    wind: tuple[jax.Array, jax.Array],
    normalized_surface_pressure: tuple[jax.Array, jax.Array],
    geometry: CellGeometry,
    time_step: float,
) -> dict[str, jax.Array]:
    """Move mixing ratios over one step.

    Args:
        tracers: (level, lon, lat) mixing ratios [kg/kg], non-negative.
        wind: eastward and northward wind (level, lon, lat) [m/s].
        normalized_surface_pressure: (lon, lat) before and after the step, over `P0` [1].
        geometry: cells and layers.
        time_step: [s].

    Returns:
        (level, lon, lat) [kg/kg], non-negative; global mass as before.
    """
    import jax.numpy as jnp

    u, v = wind
    before, after = (
        layer_thickness(geometry, p * REFERENCE_PRESSURE) for p in normalized_surface_pressure
    )
    area = jnp.asarray(geometry.area, jnp.float32)
    delta_b = jnp.asarray(geometry.delta_b, jnp.float32)[:, None, None]

    def to_face(values: jax.Array, axis: int) -> jax.Array:
        return 0.5 * (values + jnp.roll(values, -1, axis))

    mass_east = to_face(u, 1) * to_face(before, 1) * jnp.asarray(geometry.east_face, jnp.float32)
    mass_north = to_face(v, 2) * to_face(before, 2) * jnp.asarray(geometry.north_face, jnp.float32)

    def outflow(east: jax.Array, north: jax.Array) -> jax.Array:
        return (east - jnp.roll(east, 1, 1) + north - jnp.roll(north, 1, 2)) / area

    divergence = outflow(mass_east, mass_north)
    pressure_tendency = -jnp.sum(divergence, axis=0)
    # Downward mass flux through the lower interface of each layer [Pa/s].
    down = jnp.cumsum(-divergence - delta_b * pressure_tendency, axis=0)
    new_mass = before + time_step * delta_b * pressure_tendency

    def donor(flux: jax.Array, values: jax.Array, following: jax.Array) -> jax.Array:
        return jnp.maximum(flux, 0.0) * values + jnp.minimum(flux, 0.0) * following

    def move(values: jax.Array) -> jax.Array:
        east = donor(mass_east, values, jnp.roll(values, -1, 1))
        north = donor(mass_north, values, jnp.roll(values, -1, 2))
        below = jnp.concatenate([values[1:], values[-1:]])
        leaving = donor(down, values, below).at[-1].set(0.0)
        entering = jnp.concatenate([jnp.zeros_like(leaving[:1]), leaving[:-1]])
        content = values * before + time_step * (entering - leaving - outflow(east, north))
        moved = jnp.maximum(content / new_mass, 0.0)
        target, actual = jnp.sum(values * before * area), jnp.sum(moved * after * area)
        return moved * jnp.where(actual > 0.0, target / jnp.where(actual > 0.0, actual, 1.0), 1.0)

    return {name: move(values) for name, values in tracers.items()}


def with_noise(
    clouds: dict[str, jax.Array], generator: np.random.Generator, deviation: float
) -> dict[str, jax.Array]:
    """Multiply the clouds of every cell by a log-normal factor, white in level.

    Args:
        clouds: liquid and ice (level, lon, lat) [kg/kg].
        generator: of the factor, which is one for both.
        deviation: standard deviation of its logarithm; 0 draws nothing.
    """
    if not deviation:
        return clouds
    shape = next(iter(clouds.values())).shape
    factor = np.exp(deviation * generator.standard_normal(shape)).astype(np.float32)
    return {name: amount * factor for name, amount in clouds.items()}
