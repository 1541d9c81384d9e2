"""Types of what a step of the embedded model works on: its state, and what its terms publish.

At run time both are plain dictionaries: JAX traces them as they are, and restart files name their
leaves by the path of keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self, TypedDict

if TYPE_CHECKING:
    import jax
    from jcm.physics.aerosol.aerosol_types import AerosolData
    from jcm.physics.chemistry.simple_chemistry import ChemistryData
    from jcm.physics.clouds.cloud_data import CloudData
    from jcm.physics.convection.tiedtke_nordeng.types import ConvectionData
    from jcm.physics.radiation.radiation_types import RadiationData
    from jcm.physics.surface.echam.surface_types import SurfaceData
    from jcm.physics.vertical_diffusion.tte_tke.vertical_diffusion_types import (
        VerticalDiffusionData,
    )
    from jcm.physics_interface import PhysicsTendency

    from climsim.hosts.gcm.columns import RadiationColumns

TARGET_KEY: Final = "tap_target"
RETAINED_KEY: Final = "tap_retained"
TURBULENCE_KEY: Final = "tap_turbulence"
STREAMS_KEY: Final = "surface_streams"
COLUMNS_KEY: Final = "radiation_columns"
OPTICS_KEY: Final = "_surface_optics"
"""jcm's ``SURFACE_OPTICS_KEY``; a constant of ours, so that its type is known."""


SURFACE_LIGHT: Final = {
    "SOLS": "direct_visible",
    "SOLL": "direct_near_infrared",
    "SOLSD": "diffuse_visible",
    "SOLLD": "diffuse_near_infrared",
}
"""ClimSim's four streams of light at the surface and their field of `RadiationFluxes`."""


class SpectralState(Protocol):
    """State of dinosaur's dynamical core, spectral coefficients by name."""

    vorticity: jax.Array
    divergence: jax.Array
    temperature_variation: jax.Array
    log_surface_pressure: jax.Array
    tracers: Mapping[str, jax.Array]

    def replace(self, **changes: jax.Array | Mapping[str, jax.Array]) -> Self:
        """The same state with other fields."""
        ...


class ModelState(TypedDict):
    """State between two steps.

    Attributes:
        dynamics: the spectral state.
        clouds: liquid and ice (level, lon, lat) [kg/kg] where they live on the grid, or empty.
    """

    dynamics: SpectralState
    clouds: dict[str, jax.Array]


class Diagnostics(TypedDict, total=False):
    """What the terms of a step published so far, by jcm's keys and those of the taps.

    What is left of it at the end of a step is the carry that the next one starts from. Profiles
    are (level, column), scalars (column,).
    """

    radiation: RadiationData
    clouds: CloudData
    surface: SurfaceData
    convection: ConvectionData
    vertical_diffusion: VerticalDiffusionData
    chemistry: ChemistryData
    aerosol: AerosolData
    pressure_full: jax.Array
    pressure_half: jax.Array
    pressure_thickness: jax.Array
    layer_thickness: jax.Array
    air_density: jax.Array
    water_positivity_correction: dict[str, jax.Array]
    tap_target: dict[str, jax.Array]
    tap_retained: dict[str, jax.Array]
    tap_turbulence: dict[str, jax.Array]
    surface_streams: dict[str, jax.Array]
    radiation_columns: RadiationColumns
    _surface_optics: dict[str, jax.Array]
    _tendency_run: RunningTendency
    _dycore_fields: dict[str, jax.Array]
    _dt_seconds: float


class RunningTendency(TypedDict):
    """Sum of the tendencies of the terms that ran, as jcm publishes it."""

    temperature: jax.Array
    specific_humidity: jax.Array
    u_wind: jax.Array
    v_wind: jax.Array
    tracers: dict[str, jax.Array]


class Excess(NamedTuple):
    """The worst violation of one bound.

    Attributes:
        size: excess over the range, relative to its width; not positive where there is none.
        cell: its flat index.
        value: there.
    """

    size: jax.Array
    cell: jax.Array
    value: jax.Array


class Outputs(TypedDict, total=False):
    """What a compiled step gives beside the new state, fields by name.

    Attributes:
        tendencies: of the emulated term as applied, (level, column).
        surface: the eight surface fields, (column,); of full physics alone.
        diagnostics: fields of the history.
    """

    tendencies: dict[str, jax.Array]
    surface: dict[str, jax.Array]
    diagnostics: dict[str, jax.Array]


class Advanced(NamedTuple):
    """What a compiled step gives.

    Attributes:
        state: after the step.
        carry: of the physics, for the coming step.
        outputs: of the step.
    """

    state: ModelState
    carry: Diagnostics
    outputs: Outputs


def tendency_fields(tendency: PhysicsTendency) -> dict[str, jax.Array]:
    """The six emulated fields of jcm's tendency, by its names."""
    return {
        "temperature": tendency.temperature,
        "specific_humidity": tendency.specific_humidity,
        "qc": tendency.tracers["qc"],
        "qi": tendency.tracers["qi"],
        "u_wind": tendency.u_wind,
        "v_wind": tendency.v_wind,
    }
