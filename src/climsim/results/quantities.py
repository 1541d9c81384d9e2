"""How quantities are written: symbol, display unit, and the factor to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import xarray

from climsim.constants import MM_PER_DAY, SECONDS_PER_DAY
from climsim.evaluation.online_run import PROFILES, SURFACE
from climsim.evaluation.outputs import CONDENSATE
from climsim.variables import OUTPUTS

_PLAIN = str.maketrans("", "", "${}")


@dataclass(frozen=True)
class Quantity:
    """A quantity as a reader wants to see it.

    Attributes:
        symbol: short name.
        unit: unit on the axis.
        factor: from the unit of the metrics to that unit.
    """

    symbol: str
    unit: str
    factor: float = 1.0

    @property
    def label(self) -> str:
        """Symbol with unit, for axes and titles."""
        return f"{self.symbol} ({self.unit})"

    def shown(self, values: xarray.DataArray) -> xarray.DataArray:
        """Values in the display unit."""
        return values * self.factor


# Each stands for an output of a network and for the history field of the same tendency.
_HEATING: Final = Quantity("dT/dt", "K day$^{-1}$", SECONDS_PER_DAY)
_MOISTENING: Final = Quantity("dQ$_v$/dt", "g kg$^{-1}$ day$^{-1}$", 1e3 * SECONDS_PER_DAY)
_LIQUID: Final = Quantity("dQ$_{liq}$/dt", "mg kg$^{-1}$ day$^{-1}$", 1e6 * SECONDS_PER_DAY)
_ICE: Final = Quantity("dQ$_{ice}$/dt", "mg kg$^{-1}$ day$^{-1}$", 1e6 * SECONDS_PER_DAY)
_CLOUD: Final = Quantity("dQ$_{cloud}$/dt", "mg kg$^{-1}$ day$^{-1}$", 1e6 * SECONDS_PER_DAY)
_EASTWARD: Final = Quantity("dU/dt", "m s$^{-1}$ day$^{-1}$", SECONDS_PER_DAY)
_NORTHWARD: Final = Quantity("dV/dt", "m s$^{-1}$ day$^{-1}$", SECONDS_PER_DAY)

QUANTITIES: Final[dict[str, Quantity]] = {
    "ptend_t": _HEATING,
    "ptend_q0001": _MOISTENING,
    "ptend_q0002": _LIQUID,
    "ptend_q0003": _ICE,
    "ptend_qn": _CLOUD,
    "ptend_u": _EASTWARD,
    "ptend_v": _NORTHWARD,
    "cam_out_NETSW": Quantity("NETSW", "W m$^{-2}$"),
    "cam_out_FLWDS": Quantity("FLWDS", "W m$^{-2}$"),
    "cam_out_PRECSC": Quantity("PRECSC", "mm day$^{-1}$", MM_PER_DAY),
    "cam_out_PRECC": Quantity("PRECC", "mm day$^{-1}$", MM_PER_DAY),
    "cam_out_SOLS": Quantity("SOLS", "W m$^{-2}$"),
    "cam_out_SOLL": Quantity("SOLL", "W m$^{-2}$"),
    "cam_out_SOLSD": Quantity("SOLSD", "W m$^{-2}$"),
    "cam_out_SOLLD": Quantity("SOLLD", "W m$^{-2}$"),
    "T": Quantity("T", "K"),
    "Q": Quantity("Q", "g kg$^{-1}$", 1e3),
    "U": Quantity("U", "m s$^{-1}$"),
    "V": Quantity("V", "m s$^{-1}$"),
    "CLDLIQ": Quantity("cloud liquid", "mg kg$^{-1}$", 1e6),
    "CLDICE": Quantity("cloud ice", "mg kg$^{-1}$", 1e6),
    "TOTCLD": Quantity("cloud condensate", "mg kg$^{-1}$", 1e6),
    "DTPHYS": _HEATING,
    "DQ1PHYS": _MOISTENING,
    "DQ2PHYS": _LIQUID,
    "DQ3PHYS": _ICE,
    "DQnPHYS": _CLOUD,
    "DUPHYS": _EASTWARD,
    "DVPHYS": _NORTHWARD,
    "PRECT": Quantity("precipitation", "mm day$^{-1}$", MM_PER_DAY),
    "TMQ": Quantity("precipitable water", "kg m$^{-2}$"),
    "T_lowest": Quantity("T, lowest level", "K"),
    "cloud_path": Quantity("cloud water path", "g m$^{-2}$", 1e3),
    "FLUT": Quantity("outgoing longwave", "W m$^{-2}$"),
    "FSNT": Quantity("net solar at the top", "W m$^{-2}$"),
    "LHFLX": Quantity("latent heat flux", "W m$^{-2}$"),
    "SHFLX": Quantity("sensible heat flux", "W m$^{-2}$"),
}
"""By the name in the metrics."""
FIELD_PAIRS: Final[dict[str, tuple[str, ...]]] = {
    "state": ("T", "Q"),
    "winds": ("U", "V"),
    "clouds": ("CLDLIQ", "CLDICE"),
    "tendencies": ("DTPHYS", "DQ1PHYS"),
    "phases": ("DQ2PHYS", "DQ3PHYS"),
    "momentum": ("DUPHYS", "DVPHYS"),
    "condensate": ("TOTCLD", "DQnPHYS"),
}
"""Fields that are drawn together, by the name of the figure's variant."""

TENDENCIES: Final = (
    "ptend_t",
    "ptend_q0001",
    "ptend_q0002",
    "ptend_q0003",
    CONDENSATE,
    "ptend_u",
    "ptend_v",
)
"""Tendencies that are scored offline, in the order in which they are shown."""
PREDICTED: Final = tuple(name for name in TENDENCIES if name != CONDENSATE)
"""The same as models give them: the condensate not counted again."""
LEADING: Final = ("ptend_t", "ptend_q0001", CONDENSATE)
"""Tendencies that stand for a model where there is no room for all."""
SCORED: Final = (*TENDENCIES, *OUTPUTS.scalars)
"""All that is scored offline, in the order in which it is shown."""
COMPARED: Final = tuple(PROFILES)
"""Fields with levels that are compared online, in the order in which they are shown."""
MAPPED: Final = tuple(SURFACE)
"""Fields without levels that are compared online, likewise."""


def quantity(name: str) -> Quantity:
    """How a quantity is written; one that is not in the table is written by its own name."""
    return QUANTITIES.get(name, Quantity(name, "as stored"))


def plain(text: str) -> str:
    """A symbol or unit of a figure without its mathematical markup."""
    superscript = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    parts = text.split("$")
    for i in range(1, len(parts), 2):
        inner = parts[i]
        if inner.startswith("^"):
            parts[i] = inner[1:].translate(_PLAIN).translate(superscript)
        else:
            parts[i] = inner.lstrip("_").translate(_PLAIN)
    return "".join(parts)
