"""Exported files of tiny networks, for tests that need the real thing."""

from pathlib import Path

import torch

from climsim.configuration import compose_config
from climsim.export.writing import ExportConfig, run_export
from climsim.networks import build_network
from climsim.training.checkpoint import describe_model, save_model
from climsim.transforms import from_statistics
from tests.physical_samples import samples, statistics_of

LEVELS = 24


def write_model(path: Path, seed: int, recipe: str = "standard") -> Path:
    """An exported tiny network with the weights of its initialization."""
    settings = compose_config("train", [f"recipe={recipe}", "data.store=x", "out=y"])["recipe"]
    known = statistics_of(samples(LEVELS))
    transforms = from_statistics(known, settings["inputs"], LEVELS, clip_margin=1.0)
    torch.manual_seed(seed)
    sizes = {"hidden_profile_num": 8, "hidden_scalar_num": 8}
    network = build_network(
        "pao_model", settings["inputs"], settings["confidence"], "small", LEVELS, **sizes
    )
    facts = {"recipe": recipe, "seed": seed, "validation_loss": 0.5, "statistics_hash": "abc"}
    about = describe_model(network.config, transforms, {}, {}, known, **facts)
    checkpoint = save_model(path.with_suffix(".ckpt"), network, transforms, about)
    return run_export(ExportConfig(checkpoint=checkpoint, out=path))
