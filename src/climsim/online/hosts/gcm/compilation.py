"""Where compiled programs are kept between processes."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """The user's cache folder of this package."""
    return Path.home() / ".cache" / "climsim"


def default_cache_folder() -> Path:
    """Folder of compiled programs when the configuration names no other."""
    return cache_root() / "jax"


def enable_compilation_cache(folder: Path) -> None:
    """Keep compiled programs in a folder, so that only a first process compiles."""
    import jax

    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
