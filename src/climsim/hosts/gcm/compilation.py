"""What the embedded model needs of a machine: packages, a device, a cache of programs."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from climsim.devices import AUTO, CPU
from climsim.errors import ClimSimError
from climsim.threads import THREADS, thread_count

_log = logging.getLogger(__name__)
_FALLBACK_LOGGER = "jcm.physics.vertical_diffusion.tte_tke.vertical_diffusion"
"""Logs, once, at the first compilation, that the boundary data have no `soilw_rel`."""


XLA_THREADS = "PJRT_NPROC"
"""Environment variable with the number of XLA's threads on CPU, read once."""


def cache_root() -> Path:
    """The user's cache folder of this package."""
    return platformdirs.user_cache_path("climsim")


def default_cache_folder() -> Path:
    """Folder of compiled programs when the configuration names no other."""
    return cache_root() / "jax"


def enable_compilation_cache(folder: Path) -> None:
    """Keep compiled programs in a folder, so that only a first process compiles."""
    # XLA reports every compilation of more than two minutes as an error; this one may be.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    limit_threads()
    import jax

    logging.getLogger(_FALLBACK_LOGGER).setLevel(logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        _log.info("compiling the embedded model: some minutes, once on a machine (%s)", folder)
    jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
    # Hundreds of small programs run before the first step, and take seconds together.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextlib.contextmanager
def needs_rrtmgp() -> Iterator[None]:
    """Import inside what needs RRTMGP; jcm's ECHAM physics does, whatever its radiation.

    Raises:
        ClimSimError: if the package jax-rrtmgp is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ClimSimError(
            "embedded model: expected the package jax-rrtmgp, found none: pip install jax-rrtmgp"
        ) from error


def limit_threads() -> None:
    """Keep XLA to the threads of this process: it takes every core unless limited at its start."""
    if THREADS in os.environ:
        os.environ.setdefault(XLA_THREADS, str(thread_count()))


def select_device(wanted: str) -> None:
    """Let JAX put what follows on a device.

    Args:
        wanted: of `DEVICES`; ``auto`` leaves JAX's own choice, a GPU where it has one.

    Raises:
        ClimSimError: if there is no such device.
    """
    # JAX would otherwise take most of the memory of a GPU, which the network needs as well.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    if wanted == AUTO:
        jax.config.update("jax_default_device", None)
        return
    try:
        device = jax.devices(wanted)[0]
    except RuntimeError as error:
        raise ClimSimError(
            f"host_options.device: expected {wanted}, found no such device of JAX: install "
            f"jax[cuda13] where there is a GPU, or set host_options.device={CPU}"
        ) from error
    jax.config.update("jax_default_device", device)
