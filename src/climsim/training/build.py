"""From a configuration and a store to the module that is trained, and its description."""

from __future__ import annotations

from dataclasses import replace

import torch

from climsim.checkpoint_cards import NO_CLOSURE
from climsim.data.reading.reader import check_inputs
from climsim.data.statistics.statistics import Statistics, VariableStatistics, compute_statistics
from climsim.data.store.opened import Store
from climsim.errors import ClimSimError
from climsim.files import file_hash, provenance
from climsim.networks import Network, build_network
from climsim.training.checkpoint import CheckpointEntry, describe_model, start_from
from climsim.training.config import TrainConfig
from climsim.training.held import input_hashes
from climsim.training.module import EmulatorModule
from climsim.training.noise import InputNoise
from climsim.transforms import ColumnClosure, Transforms, from_published, from_statistics


def build_module(config: TrainConfig, store: Store) -> tuple[EmulatorModule, CheckpointEntry]:
    """Build the module with fresh (or warm) weights, and the description for its checkpoints.

    Args:
        config: the run.
        store: its data.
    """
    recipe = config.recipe
    transforms, statistics_hash, used = _transforms(config, store)
    transforms = _closed(config, store, transforms)
    torch.manual_seed(config.seed)
    network = build_network(
        config.network.name,
        recipe.inputs,
        recipe.confidence,
        preset=config.preset,
        n_levels=store.n_levels,
        pruned_levels=config.pruning.pruned_outputs,
        **config.network.hyperparameters,
    )
    warm = config.trainer.warm_start
    if warm is not None:
        start_from(warm, network, transforms)
    about = describe_model(
        network.config,
        transforms,
        config.resolved(),
        provenance(config.resolved(), input_hashes(config, store, statistics_hash)),
        used,
        recipe=recipe.name,
        seed=config.seed,
        statistics_hash=statistics_hash,
        time_step_s=store.time_step,
        emulated_processes=store.emulated_processes,
        parameters=_count(network),
    )
    noise = None
    if recipe.noise.present:
        noise = InputNoise(recipe.noise, transforms.inputs.encoding, store.n_levels, used)
    return EmulatorModule(config, network, transforms, noise), about


def _count(network: Network) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _closed(config: TrainConfig, store: Store, transforms: Transforms) -> Transforms:
    """The transforms with the closure that the recipe asks for."""
    recipe, levels = config.recipe, store.n_levels
    if recipe.closure == NO_CLOSURE:
        return transforms
    chosen = transforms.inputs.encoding
    scale = transforms.targets.scale[chosen.targets.slice("ptend_q0001", levels)]
    closure = ColumnClosure(chosen, levels, recipe.closure).prepare(
        store.grid,
        scale.double().numpy(),
        config.pruning.pruned_outputs,
        recipe.gravity,
        store.time_step,
    )
    return replace(transforms, closure=closure)


def _transforms(
    config: TrainConfig, store: Store
) -> tuple[Transforms, str, dict[str, VariableStatistics]]:
    """Transforms, the hash of the statistics they come from, and these where they are the store's.

    Raises:
        ClimSimError: if the statistics do not fit the store, or published ones lack a range that
            is asked for.
    """
    path, inputs = config.data.statistics, config.recipe.inputs
    check_inputs(store, inputs)
    if path is not None and path.is_dir():
        if config.data.clip_margin is not None:
            raise ClimSimError(
                f"data.clip_margin={config.data.clip_margin}: published statistics ({path}) hold "
                "no range of the training data: leave it out, or compute statistics of the store"
            )
        published = from_published(path, inputs, store.n_levels, config.pruning)
        return published, file_hash(path), {}
    statistics = compute_statistics(store) if path is None else Statistics.open(path)
    statistics.check_store(store, config.data.foreign_statistics)
    transforms = from_statistics(
        statistics, inputs, store.n_levels, config.data.clip_margin, config.pruning
    )
    return transforms, statistics.fingerprint, dict(statistics)
