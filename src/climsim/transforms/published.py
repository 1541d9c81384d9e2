"""Reading the statistics published with ClimSim, in their two forms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from climsim.arrays import Double
from climsim.errors import ClimSimError
from climsim.integrity import check_file_size
from climsim.interfaces import Encoding
from climsim.normalization import squashed
from climsim.transforms.inputs import feature_vector
from climsim.variables import VariableSet, variable

_RATE_FILES = {
    "state_qn": "qn_exp_lambda_large.txt",
    "state_q0002": "qc_exp_lambda_large.txt",
    "state_q0003": "qi_exp_lambda_large.txt",
}
_MULTIREP_FOLDER = "multirepresentation"


@dataclass(frozen=True)
class PublishedStatistics:
    """What the published files hold, laid out as vectors.

    Attributes:
        sub: (feature,) subtracted from inputs.
        div: (feature,) inputs are divided by it.
        scale: (target feature,) targets are multiplied by it.
        rates: (level,) exponents of each squashed profile; none for multirep.
        column: sub and div of the second encoding, each (encoded feature,); multirep only.
        minimum: (encoded feature,) of the third encoding; multirep only.
    """

    sub: Double
    div: Double
    scale: Double
    rates: tuple[Double, ...] = ()
    column: tuple[Double, Double] | None = None
    minimum: Double | None = None


def read_published(folder: Path, encoding: Encoding, levels: int) -> PublishedStatistics:
    """Read published statistics, whichever form the folder holds.

    Raises:
        ClimSimError: naming the file that is missing or of the wrong size.
    """
    if encoding.repeated:
        return _read_repeated(folder, encoding, levels)
    if (folder / "inp_sub.txt").exists():
        return _read_text(folder, encoding, levels)
    return _read_netcdf(folder, encoding, levels)


def _read_text(folder: Path, encoding: Encoding, levels: int) -> PublishedStatistics:
    size = encoding.variables.size(levels)
    return PublishedStatistics(
        _vector(folder / "inp_sub.txt", size),
        _vector(folder / "inp_div.txt", size),
        _vector(folder / "out_scale.txt", encoding.targets.size(levels)),
        _read_rates(folder, encoding, levels),
    )


def _read_rates(folder: Path, encoding: Encoding, levels: int) -> tuple[Double, ...]:
    return tuple(_vector(folder / _RATE_FILES[name], levels) for name in squashed(encoding))


def _vector(path: Path, size: int) -> Double:
    if not path.exists():
        raise ClimSimError(f"{path}: no such file: expected {size} published values")
    try:
        values = np.array(path.read_text().replace(",", " ").split(), dtype=np.float64)
    except ValueError as error:
        raise ClimSimError(f"{path}: expected numbers, found something else ({error})") from error
    if values.size != size:
        raise ClimSimError(f"{path}: expected {size} values, found {values.size}")
    return values


def _read_netcdf(folder: Path, encoding: Encoding, levels: int) -> PublishedStatistics:
    tag, variables = encoding.published_tag, encoding.variables
    mean, high, low = (
        _file_vector(folder / f"input_{kind}_{tag}_pervar.nc", variables, levels)
        for kind in ("mean", "max", "min")
    )
    rates = _read_rates(folder, encoding, levels)
    return PublishedStatistics(mean, high - low, _read_scale(folder, encoding, levels), rates)


def _read_scale(folder: Path, encoding: Encoding, levels: int) -> Double:
    targets = encoding.targets
    if (folder / "out_scale.txt").exists():
        return _vector(folder / "out_scale.txt", targets.size(levels))
    name = f"output_scale_std_lowerthred_{encoding.published_tag}.nc"
    return _file_vector(folder / name, targets, levels)


def _read_repeated(folder: Path, encoding: Encoding, levels: int) -> PublishedStatistics:
    inner = folder / _MULTIREP_FOLDER
    inner = inner if inner.is_dir() else folder
    encoded = VariableSet(encoding.name, encoding.repeated)
    return PublishedStatistics(
        _file_vector(inner / "per_lev_sub.nc", encoding.variables, levels),
        _file_vector(inner / "per_lev_div.nc", encoding.variables, levels),
        _read_scale(folder, encoding, levels),
        column=(
            _file_vector(inner / "per_col_sub.nc", encoded, levels),
            _file_vector(inner / "per_col_div.nc", encoded, levels),
        ),
        minimum=_file_vector(inner / "per_lev_min_norm.nc", encoded, levels),
    )


def _file_vector(path: Path, variables: VariableSet, levels: int) -> Double:
    """Lay the variables of a netCDF file out in the order of a set."""
    if not path.exists():
        raise ClimSimError(f"{path}: no such file: expected published statistics")
    try:
        check_file_size(path)
        with xr.open_dataset(path) as dataset:
            found = {
                name: np.asarray(v.values, np.float64) for name, v in dataset.variables.items()
            }
    except (OSError, ValueError) as error:
        raise ClimSimError(f"{path}: expected netCDF, found something else ({error})") from error
    for name in variables.names:
        expected = (levels,) if variable(name).profile else ()
        shape = found[name].shape if name in found else None
        if shape != expected:
            raise ClimSimError(f"{path}: {name}: expected shape {expected}, found {shape}")
    return feature_vector(variables, levels, {n: found[n] for n in variables.names})
