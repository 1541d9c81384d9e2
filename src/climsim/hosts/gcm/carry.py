"""The cross-step carry that the embedded model starts with, kept between processes.

jcm traces its whole physics to learn which arrays ride from step to step, which takes a third of
the time until a first step. What it finds depends on code and options alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from climsim.errors import ClimSimError
from climsim.files import atomic_path, environment

if TYPE_CHECKING:
    from jcm.model import Model

    from climsim.hosts.gcm.state import Diagnostics

_CODE = Path(__file__).parent


def fresh_carry(model: Model, options: Mapping[str, object], folder: Path) -> Diagnostics:
    """The carry of a model that has not run yet.

    Args:
        model: jcm's model.
        options: all that the physics and the grid of the model are made of.
        folder: where it is kept, as trusted as compiled programs are: what lies there is unpickled.
            A file of other code, or a damaged one, is made anew; one that cannot be written is
            left out.

    Returns:
        Arrays of NumPy in the structures of jcm.
    """
    import jax

    described = json.dumps(options, sort_keys=True)
    path = folder / f"carry-{hashlib.sha256(described.encode()).hexdigest()[:16]}.pkl"
    made_for = f"{described} {environment()} {_code_hash()}".encode()
    kept = _read(path, made_for)
    if kept is None:
        kept = jax.tree_util.tree_map(np.asarray, model.initial_physics_carry())
        # A run does without what only saves time: a full disk shows where it matters.
        with contextlib.suppress(OSError, ClimSimError):
            _write(path, made_for, kept)
    return kept


def _read(path: Path, made_for: bytes) -> Diagnostics | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    size = hashlib.sha256().digest_size
    checksum, packed = content[:size], content[size:]
    if checksum != hashlib.sha256(made_for + packed).digest():
        return None
    carry: Diagnostics = pickle.loads(zlib.decompress(packed))
    return carry


def _write(path: Path, made_for: bytes, carry: Diagnostics) -> None:
    # Nearly all of it is zeros.
    packed = zlib.compress(pickle.dumps(carry), level=1)
    with atomic_path(path) as temporary:
        temporary.write_bytes(hashlib.sha256(made_for + packed).digest() + packed)


def _code_hash() -> str:
    digest = hashlib.sha256()
    for file in sorted((*_CODE.glob("*.py"), *_CODE.parents[1].glob("*.py"))):
        digest.update(file.read_bytes())
    return digest.hexdigest()
