"""Importing a published checkpoint: weights and statistics in, a checkpoint to export out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from climsim.export.config import ImportConfig
from climsim.files import file_hash, provenance
from climsim.networks import load_published
from climsim.products import claim
from climsim.stage import Progress
from climsim.training.checkpoint import CHECKPOINT, describe_model, save_model
from climsim.transforms import Transforms, from_published


def import_checkpoint(config: ImportConfig, progress: Progress | None = None) -> Path:
    """Turn a published checkpoint and its statistics into a checkpoint of this package.

    The result exports like one that was trained here.

    Args:
        config: what to import.
        progress: called with (done, total) steps.

    Returns:
        Path of the checkpoint.

    Raises:
        ClimSimError: if the weights do not fit, listing every misfit, or a statistic is missing.
    """
    claim(config.target, CHECKPOINT, {"file": config.file, "statistics": config.source})
    report = progress or (lambda done, total: None)
    recipe = config.recipe
    network = load_published(
        config.file,
        config.network.name,
        recipe.inputs,
        recipe.confidence,
        **config.network.hyperparameters,
    )
    report(1, 3)
    transforms = from_published(config.source, recipe.inputs, network.n_levels)
    report(2, 3)
    statistics_hash = _hash_of(transforms)
    hashes = {str(config.file): file_hash(config.file), str(config.source): statistics_hash}
    about = describe_model(
        network.config,
        transforms,
        config.resolved(),
        provenance(config.resolved(), hashes),
        recipe=recipe.name,
        seed=None,
        statistics_hash=statistics_hash,
        parameters=sum(p.numel() for p in network.parameters()),
        imported=True,
    )
    path = save_model(config.target, network, transforms, about)
    report(3, 3)
    return path


def _hash_of(transforms: Transforms) -> str:
    """SHA-256 of the numbers the statistics became."""
    digest = hashlib.sha256()
    parts: Mapping[str, nn.Module] = {"inputs": transforms.inputs, "targets": transforms.targets}
    for name, module in parts.items():
        for key, value in sorted(module.state_dict().items()):
            digest.update(f"{name}.{key}".encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
