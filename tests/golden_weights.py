"""The formula that fills the weights of the published golden cases, and where the cases lie."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests import SHARED

GOLDEN = SHARED / "golden"
INPUTS = {"default": "standard", "conf_loss": "standard", "multirep": "multirep", "v6": "expanded"}


def hash01(k: np.ndarray) -> np.ndarray:
    """Pseudo-random numbers in [0, 1) from integers."""
    product = 43758.5453 * np.sin(12.9898 * (k.astype(np.float64) + 1))
    return product - np.floor(product)


def formula_state(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Tensors of a published state dict, filled by the formula of the golden cases.

    Args:
        shapes: shape of every tensor, by published name.
    """
    state = {}
    for j, key in enumerate(sorted(shapes)):
        shape = tuple(shapes[key])
        size = int(np.prod(shape))
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros(shape, dtype=torch.int64)
            continue
        if key.endswith("resample_filter"):
            state[key] = torch.full(shape, 0.5)
            continue
        if "skip_conv_layer" in key:
            identity = torch.eye(shape[0]).unsqueeze(2)
            state[key] = identity if len(shape) == 3 else torch.zeros(shape)
            continue
        value = np.sqrt(3) * (2 * hash01(np.arange(size) + 1000003 * j) - 1)
        if key.endswith("running_var"):
            value = 0.5 + np.abs(value)
        elif len(shape) >= 2 and "residual_stack" not in key:
            value = value / np.sqrt(np.prod(shape[1:])) * (3 if "lstm" in key else 1)
        else:
            value = 0.3 * value + (1 if key.endswith(("weight", "scale", "weights")) else 0)
        state[key] = torch.tensor(value.astype(np.float32)).reshape(shape)
    return state


def formula_input(columns: int, features: int) -> torch.Tensor:
    """The input of the golden cases, shape (column, feature)."""
    value = 3 * hash01(np.arange(columns * features) + 7) - 1.5
    return torch.tensor(value.astype(np.float32)).reshape(columns, features)


def golden_cases() -> dict[str, dict]:
    """Every golden case by name; empty where the data are absent."""
    index = GOLDEN / "index.json"
    return json.loads(index.read_text()) if index.exists() else {}


def golden_shapes() -> dict[str, dict]:
    """Published tensor shapes and parameter counts; skips the test where they are absent."""
    path = GOLDEN / "published_state_dicts.json"
    if not path.exists():
        pytest.skip("golden data are not here")
    return json.loads(path.read_text())
