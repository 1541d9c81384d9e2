"""Precisions of networks, by the names that they have in training and export alike."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

FLOAT32: Final = "float32"
BFLOAT16: Final = "bfloat16"
FLOAT16: Final = "float16"
FORMER_PRECISIONS: Final = MappingProxyType({"32": FLOAT32, "bf16": BFLOAT16, "16": FLOAT16})
"""Words of one release before, and the present ones."""
