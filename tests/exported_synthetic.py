"""Checkpoints and exported files of tiny networks, for tests that need the real thing."""

from functools import cache
from pathlib import Path

import torch

from climsim.configuration import compose_config
from climsim.export.config import ExportConfig
from climsim.export.writing import run_export
from climsim.networks import build_network
from climsim.training.checkpoint import describe_model, save_model
from climsim.transforms import from_statistics
from tests.physical_samples import samples, statistics_of

LEVELS = 24
RECIPES = ("standard", "conf_loss", "diff_loss", "multirep", "v6")
TINY = {
    "unet": {"model_channels": 8, "num_blocks": 1},
    "squeezeformer": {"embed_dim": 16, "head_dim": 16, "num_heads": 2, "num_blocks": 1},
    "pure_resLSTM": {"num_lstm": 2, "hidden_state": 8},
    "pao_model": {"hidden_profile_num": 8, "hidden_scalar_num": 8},
    "convnext": {"depths": (1, 1, 1, 1), "dims": (8, 12, 16, 20)},
    "encdec_lstm": {"hidden_dim": 8, "num_layers": 2, "reduction": 24},
}


@cache
def statistics(levels: int = LEVELS):
    """Statistics of random columns."""
    return statistics_of(samples(levels))


def settings_of(recipe: str, inputs: str = ""):
    """Resolved settings of a recipe, with another set of inputs where one is given."""
    given = [f"recipe={recipe}", *([f"recipe.inputs={inputs}"] if inputs else [])]
    return compose_config("train", [*given, "data.store=x", "out=y"])["recipe"]


def write_checkpoint(
    path: Path,
    name: str = "unet",
    recipe: str = "standard",
    seed: int = 7,
    levels: int = LEVELS,
    noise: float = 0.05,
    inputs: str = "",
    loss: str = "huber",
    **facts: object,
) -> Path:
    """A checkpoint of a tiny network whose weights are noise beside those of initialization."""
    settings, known = settings_of(recipe, inputs), statistics(levels)
    transforms = from_statistics(known, settings["inputs"], levels, clip_margin=1.0)
    torch.manual_seed(seed)
    network = build_network(
        name, settings["inputs"], settings["confidence"], "small", levels, **TINY[name]
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(noise * torch.randn(parameter.shape))
    facts = {"validation_loss": 0.5, "statistics_hash": "abc", **facts}
    made_by = {"git_revision": "cafe"}
    trained = {"recipe": {"loss": loss}}
    about = describe_model(
        network.config, transforms, trained, made_by, known, recipe=recipe, seed=seed, **facts
    )
    return save_model(path, network, transforms, about)


def write_model(path: Path, seed: int, recipe: str = "standard", **options: str) -> Path:
    """An exported tiny network with the weights of its initialization."""
    checkpoint = write_checkpoint(path.with_suffix(".ckpt"), "pao_model", recipe, seed, noise=0.0)
    return run_export(ExportConfig(checkpoint=checkpoint, out=path, **options))
