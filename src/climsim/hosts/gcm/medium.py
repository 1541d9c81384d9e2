"""Columns in the layout of jax-rrtmgp, and what its optics take of them."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from climsim.hosts.gcm.columns import MICRON, RadiationColumns


def _profile(values: jax.Array) -> jax.Array:
    """(level, column), top first, to the library's (1, column, level + 2), surface first."""
    upward = jnp.pad(values[::-1].T, ((0, 0), (1, 1)), mode="edge")
    return upward[None]


def _with_linear_halo(values: jax.Array) -> jax.Array:
    bottom, top = 2.0 * values[..., 1] - values[..., 2], 2.0 * values[..., -2] - values[..., -3]
    return values.at[..., 0].set(bottom).at[..., -1].set(top)


def paths_by_point(path: jax.Array, cloudy: jax.Array) -> jax.Array:
    """(point, 1, column, level + 2) path of the condensate that each spectral point sees."""
    seen = jnp.where(cloudy, path[:, None, :], 0.0)[::-1]
    return jnp.pad(jnp.moveaxis(seen, 0, -1), ((0, 0), (0, 0), (1, 1)))[:, None]


@dataclasses.dataclass(frozen=True)
class Medium:
    """Columns in the library's layout, (1, column, level + 2), surface first.

    Attributes:
        pressure: [Pa].
        temperature: [K].
        molecules: of air over a unit of area [1/m2].
        gases: mole fractions by name [mol/mol].
        liquid_radius: effective radius of droplets [m].
        ice_radius: effective radius of crystals [m].
    """

    pressure: jax.Array
    temperature: jax.Array
    molecules: jax.Array
    gases: dict[str, jax.Array]
    liquid_radius: jax.Array
    ice_radius: jax.Array

    def arguments(
        self, index: jax.Array, gases: dict[str, int], liquid: jax.Array, ice: jax.Array
    ) -> dict[str, jax.Array | dict[int, jax.Array]]:
        """What the library's optics of one spectral point take, by its names of arguments.

        Args:
            index: of the point in the library's table.
            gases: index of each gas in that table, by name.
            liquid: path of the liquid that the point sees [kg/m2].
            ice: likewise of the ice [kg/m2].
        """
        return {
            "pressure": self.pressure,
            "temperature": self.temperature,
            "molecules": self.molecules,
            "igpt": index,
            "vmr_fields": {gases[name]: value for name, value in self.gases.items()},
            "cloud_r_eff_liq": self.liquid_radius,
            "cloud_path_liq": liquid,
            "cloud_r_eff_ice": self.ice_radius,
            "cloud_path_ice": ice,
        }


def medium_of(columns: RadiationColumns) -> Medium:
    """Bring columns into the library's layout."""
    from rrtmgp import constants

    vapour = columns.humidity / (1.0 - columns.humidity) * (constants.R_V / constants.R_D)
    moles = constants.DRY_AIR_MOL_MASS + constants.WATER_MOL_MASS * vapour
    mass = jnp.diff(columns.interfaces, axis=0) / constants.G
    well_mixed = jnp.ones_like(columns.temperature)
    gases = {
        "h2o": vapour,
        "o3": columns.ozone,
        "ch4": columns.methane,
        "co2": well_mixed * columns.carbon_dioxide,
        "n2o": well_mixed * columns.nitrous_oxide,
    }
    return Medium(
        pressure=_profile(columns.pressure),
        temperature=_with_linear_halo(_profile(columns.temperature)),
        molecules=_profile(mass / moles * constants.AVOGADRO),
        gases={name: _profile(value) for name, value in gases.items()},
        liquid_radius=_profile(columns.liquid_radius * MICRON),
        ice_radius=_profile(columns.ice_radius * MICRON),
    )


def aerosol_of(columns: RadiationColumns) -> dict[str, jax.Array]:
    """Optical properties of the aerosol by the library's name, (band, 1, column, level + 2)."""
    profiles = {
        "optical_depth": columns.aerosol_depth,
        "ssa": columns.aerosol_albedo,
        "asymmetry_factor": columns.aerosol_asymmetry,
    }
    return {name: jax.vmap(_profile)(value) for name, value in profiles.items()}
