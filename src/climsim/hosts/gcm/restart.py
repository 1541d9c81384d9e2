"""Restart files of the embedded model: named arrays, written whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar, cast

import cftime
import numpy as np
from numpy.typing import ArrayLike

from climsim.errors import ClimSimError
from climsim.files import atomic_path
from climsim.products import Kind, archived
from climsim.system import refusal

FORMAT: Final = "climsim-gcm-restart"
FORMAT_VERSION: Final = 1
_HEADER = "header"
Tree = TypeVar("Tree")
"""Nested dictionaries and dataclasses with arrays as leaves."""
RESTART = Kind(
    "a restart file of the embedded model",
    # NumPy stores text as UTF-32.
    lambda path: FORMAT.encode("utf-32-le") in archived(path, f"{_HEADER}.npy"),
)
_CARRIED = (
    "_post_physics_state/",
    "_prev_step/",
    "convection/ktype",
    "radiation/cos_zenith",
    "radiation/lw_heating_rate",
    "radiation/step",
    "radiation/surface_",
    "radiation/sw_heating_rate",
    "radiation/toa_",
    "surface_streams/",
    "surface/land_albedo_at_solve",
    "surface/land_surface_temperature",
    "surface/latent_heat_flux",
    "surface/momentum_flux_",
    "surface/sensible_heat_flux",
    "vertical_diffusion/surface_exchange_heat",
    "vertical_diffusion/thv_variance",
    "vertical_diffusion/tke",
)
"""Leaves of jcm's carry that a step reads before it writes them, by prefix: a twelfth of it all."""


@dataclasses.dataclass(frozen=True)
class Restart:
    """A stored model state.

    Attributes:
        arrays: leaves by path, such as `state/vorticity` or `carry/radiation/step`.
        date: beginning of the coming step.
        step_number: steps taken since the analytic start state.
        configuration: resolution, advection and radiation that made it.
    """

    arrays: dict[str, np.ndarray]
    date: cftime.DatetimeNoLeap
    step_number: int
    configuration: dict[str, str]


def named_leaves(tree: object, prefix: str) -> dict[str, ArrayLike]:
    """Leaves of nested dictionaries and dataclasses, keyed by their path."""
    return dict(_walk(tree, prefix))


def _walk(node: object, path: str) -> Iterator[tuple[str, ArrayLike]]:
    if node is None:
        return
    if isinstance(node, dict):
        for key in sorted(node):
            yield from _walk(node[key], f"{path}/{key}")
    elif dataclasses.is_dataclass(node):
        for field in dataclasses.fields(node):
            yield from _walk(getattr(node, field.name), f"{path}/{field.name}")
    elif not isinstance(node, str):
        yield path, cast(ArrayLike, node)


def with_leaves(tree: Tree, prefix: str, arrays: dict[str, np.ndarray], strict: bool) -> Tree:
    """Copy of a tree with its leaves replaced by stored arrays.

    Args:
        tree: template that gives structure, shapes and dtypes.
        prefix: path of its root in `arrays`.
        arrays: stored leaves.
        strict: refuse a leaf that is not stored and that a step reads; otherwise the template's
            value is kept.

    Raises:
        ClimSimError: if such a leaf is missing (strict), or one has another shape.
    """
    if tree is None or isinstance(tree, str):
        return tree
    if isinstance(tree, dict):
        leaves = {k: with_leaves(v, f"{prefix}/{k}", arrays, strict) for k, v in tree.items()}
        return cast(Tree, leaves)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        changes = {
            f.name: with_leaves(getattr(tree, f.name), f"{prefix}/{f.name}", arrays, strict)
            for f in dataclasses.fields(tree)
        }
        return dataclasses.replace(tree, **changes)
    if prefix not in arrays:
        if strict and is_read(prefix):
            raise ClimSimError(f"restart: {prefix} is missing; the file is from another version")
        return tree
    stored, template = arrays[prefix], np.asarray(tree)
    expected = template.shape
    if stored.shape != expected:
        raise ClimSimError(f"restart: {prefix} has shape {stored.shape}, expected {expected}")
    return cast(Tree, stored.astype(template.dtype))


def is_read(path: str) -> bool:
    """Whether a step reads a leaf before it writes it, so that a restart file has to hold it.

    Args:
        path: of the leaf, such as ``carry/radiation/step``.
    """
    part, _, rest = path.partition("/")
    return part != "carry" or rest.startswith(_CARRIED)


def write_restart(path: Path, restart: Restart, *, compress: bool = False) -> None:
    """Write a restart file atomically.

    Args:
        path: where.
        restart: the state.
        compress: smaller file, slower to write.
    """
    header = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "date": restart.date.strftime("%Y-%m-%d %H:%M:%S"),
        "step_number": restart.step_number,
        "configuration": restart.configuration,
    }
    save = np.savez_compressed if compress else np.savez
    payload = {_HEADER: np.array(json.dumps(header)), **restart.arrays}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        save(stream, allow_pickle=False, **payload)


def read_restart(path: Path, *, header_only: bool = False) -> Restart:
    """Read a restart file.

    Args:
        path: of the file.
        header_only: whether all but the arrays is wanted.

    Raises:
        ClimSimError: if it is missing, truncated, damaged or no restart file.
    """
    if not path.is_file():
        raise ClimSimError(f"{path}: no such restart file")
    try:
        with np.load(path, allow_pickle=False) as stored:
            if _HEADER not in stored.files:
                raise ClimSimError(f"{path}: expected a {FORMAT} file, found another npz file")
            header = json.loads(str(stored[_HEADER]))
            wanted = [] if header_only else [name for name in stored.files if name != _HEADER]
            arrays = {name: stored[name] for name in wanted}
    except (zipfile.BadZipFile, EOFError, ValueError, TypeError, OSError) as error:
        raise refusal(error, path) or ClimSimError(
            f"{path}: expected a {FORMAT} file, found a truncated or foreign one; "
            "use an older restart file"
        ) from error
    if header.get("format") != FORMAT or header.get("version") != FORMAT_VERSION:
        raise ClimSimError(
            f"{path}: expected format {FORMAT} version {FORMAT_VERSION}, found "
            f"{header.get('format')} version {header.get('version')}"
        )
    return Restart(
        arrays=arrays,
        date=parse_date(header["date"]),
        step_number=int(header["step_number"]),
        configuration=dict(header["configuration"]),
    )


def parse_date(text: str) -> cftime.DatetimeNoLeap:
    """Noleap date from `YYYY-MM-DD HH:MM:SS`."""
    day, clock = text.split(" ")
    return cftime.DatetimeNoLeap(*map(int, day.split("-")), *map(int, clock.split(":")))
