"""Neural emulators of atmospheric physics: train, export, couple, evaluate."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING

from climsim.errors import ClimSimError

if TYPE_CHECKING:
    from climsim.data.store.opened import open_store
    from climsim.export.loading import load_emulator
    from climsim.networks import build_network, load_published

    __version__: str

__all__ = [
    "ClimSimError",
    "__version__",
    "build_network",
    "load_emulator",
    "load_published",
    "open_store",
]

_PUBLIC = {
    "build_network": "climsim.networks",
    "load_emulator": "climsim.export.loading",
    "load_published": "climsim.networks",
    "open_store": "climsim.data.store.opened",
}


def __getattr__(name: str) -> object:
    """Import the public functions when they are first used: torch and xarray load slowly."""
    if name == "__version__":
        return importlib.metadata.version("climsim-kaggle-edition")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
