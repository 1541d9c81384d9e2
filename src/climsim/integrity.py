"""Whether files are as they were written: CRCs of zip archives, checksum and size of netCDF files.

torch does not compare the CRCs of its own archives, and netCDF files carry none by themselves.
"""

from __future__ import annotations

import hashlib
import json
import logging
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from climsim.errors import ClimSimError
from climsim.system import refusal

if TYPE_CHECKING:
    import netCDF4

logger = logging.getLogger(__name__)

CHECKSUM = "checksum"
"""Attribute of a netCDF file with the hash of all that can be read from it."""
_LARGEST_COMPRESSION = 1100
"""More than deflate achieves: no whole file declares more than so many times its own size."""
_SMALL = 64 * 2**20
"""Declared sizes [bytes] up to here are read whatever the size of the file."""


def check_zip(file: str | Path | IO[bytes]) -> None:
    """Compare every member of a zip archive with its CRC.

    Args:
        file: the archive, such as a checkpoint or an exported model.

    Raises:
        zipfile.BadZipFile: if it is no archive or a member differs.
        OSError: if it cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (zlib.error, struct.error, EOFError, RuntimeError, ValueError) as error:
        raise zipfile.BadZipFile(str(error)) from error
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} does not fit its checksum")


def check_size(path: str | Path, file: netCDF4.Dataset) -> None:
    """Refuse a netCDF file whose variables cannot be in it, before any of them is read.

    A file that was cut short, or made to exhaust the memory, declares gigabytes in few kilobytes.

    Args:
        path: of the file.
        file: opened.

    Raises:
        OSError: naming the largest variable; callers treat it as any other unreadable file.
    """
    sizes = {
        name: variable.size * max(np.dtype(variable.dtype).itemsize, 1)
        for name, variable in file.variables.items()
    }
    written, declared = Path(path).stat().st_size, sum(sizes.values())
    if declared <= max(_SMALL, _LARGEST_COMPRESSION * written):
        return
    largest = max(sizes, key=lambda name: sizes[name])
    raise OSError(
        f"declares {declared / 2**30:.1f} GiB, such as {largest} of shape {file[largest].shape}, "
        f"in {written} bytes"
    )


def check_file_size(path: str | Path) -> None:
    """Do as `check_size` with a file that another library is going to open."""
    import netCDF4

    with netCDF4.Dataset(path) as file:
        check_size(path, file)


def add_checksum(path: Path) -> None:
    """Give a netCDF file that was just written the hash of its content as an attribute."""
    import netCDF4

    with netCDF4.Dataset(path, "a") as file:
        file.setncattr(CHECKSUM, _content_hash(file))


def check_netcdf(path: str | Path) -> None:
    """Compare a netCDF file with its checksum; one without is only warned of.

    Raises:
        ClimSimError: if it cannot be read, or was changed since it was written.
    """
    import netCDF4

    try:
        with netCDF4.Dataset(path) as file:
            check_size(path, file)
            found = getattr(file, CHECKSUM, None)
            same = found is None or found == _content_hash(file)
    except (OSError, RuntimeError, ValueError, IndexError, AttributeError) as error:
        raise refusal(error, path) or ClimSimError(
            f"{path}: not a readable netCDF file ({error}): give another one, or make it again"
        ) from error
    if found is None:
        logger.warning("%s: has no checksum (of an earlier version?), so it is not checked", path)
    if not same:
        raise ClimSimError(
            f"{path}: was damaged or edited after it was written (its content does not fit its "
            "checksum): delete it and make it again"
        )


def _content_hash(file: netCDF4.Dataset) -> str:
    """Hash of the variables, with their axes and attributes, and of the attributes of the file."""
    digest = hashlib.sha256()
    file.set_auto_maskandscale(False)
    file.set_auto_chartostring(False)
    for name in sorted(file.variables):
        variable = file.variables[name]
        values = np.asarray(variable[...])
        header = [name, variable.dimensions, values.shape, values.dtype.str, _attributes(variable)]
        digest.update(json.dumps(header).encode())
        text = values.dtype.hasobject
        content = json.dumps(values.tolist()).encode() if text else values.tobytes()
        digest.update(content)
    attributes = {k: v for k, v in _attributes(file).items() if k != CHECKSUM}
    digest.update(json.dumps(attributes, sort_keys=True).encode())
    return digest.hexdigest()


def _attributes(holder: netCDF4.Dataset | netCDF4.Variable) -> dict[str, object]:
    return {name: np.asarray(holder.getncattr(name)).tolist() for name in sorted(holder.ncattrs())}
