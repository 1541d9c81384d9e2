"""Train one member: resumable at any moment, idle when done."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import lightning
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from climsim.cards import setting
from climsim.checkpoint_cards import CheckpointCard
from climsim.data.reading.loader import BlockLoader
from climsim.data.reading.reader import BlockReader
from climsim.data.reading.resident import ResidentReader, split_bytes
from climsim.data.store.opened import Store, open_store
from climsim.devices import AUTO, CPU, device_memory, torch_device
from climsim.errors import ClimSimError
from climsim.files import require_there, write_json
from climsim.locks import LOCK_NAME, only_process
from climsim.networks.registry import NETWORKS
from climsim.precisions import FLOAT32
from climsim.products import claim
from climsim.stage import Progress
from climsim.training.build import build_module
from climsim.training.callbacks import (
    AtomicCheckpoints,
    BestCheckpoints,
    Describe,
    LastCheckpoint,
    ReportProgress,
    StopAtNan,
    device_name,
)
from climsim.training.checkpoint import BEST_NAME, LAST_NAME, read_entry
from climsim.training.config import PRECISIONS, TrainConfig
from climsim.training.held import RECORD_NAME, TRAINING, HeldRun
from climsim.training.module import VALIDATION_LOSS, EmulatorModule, Visited
from climsim.training.result import TrainResult
from climsim.training.stages import TRAIN

__all__ = ["TrainConfig", "TrainResult", "train"]

logger = logging.getLogger(__name__)

Visiting = Callable[[Store], Callable[[EmulatorModule, CheckpointCard], Visited]]
"""What makes a source of visited states, first for data, then for a network."""


def train(
    config: TrainConfig,
    progress: Progress | None = None,
    visiting: Visiting | None = None,
) -> TrainResult:
    """Train one member, or continue it, or return what it made when it is done.

    The folder then holds ``best.ckpt``, ``last.ckpt``, the best ``checkpoints/``, the log and
    ``training.json``.

    Args:
        config: the run.
        progress: called with steps done and their total.
        visiting: makes the source of states that the network reaches itself, if it is to learn
            from these too. It is called with the store where there is something left to train, and
            what it returns with the module and the card of its checkpoints.

    Raises:
        ClimSimError: if the folder holds another run or has lost the best checkpoint of this one,
            an input is unfit, or the loss is not finite.
    """
    claim(config.out, TRAINING, {"data.store": config.data.store})
    require_there({"trainer.warm_start": config.trainer.warm_start, **config.further_files})
    store = open_store(config.data.store)
    # The other processes of a distributed training belong to the first one.
    alone: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if getattr(rank_zero_only, "rank", 0) == 0:
        alone = only_process(config.out / LOCK_NAME, f"{config.out}: another process trains here")
    with alone:
        return _train(config, store, progress, visiting)


def _train(
    config: TrainConfig,
    store: Store,
    progress: Progress | None,
    visiting: Visiting | None,
) -> TrainResult:
    """Train in a folder that no other process works in."""
    held = HeldRun.read(config.out)
    config = _chosen(config, held)
    if held is not None:
        held.check(config, store)
        if held.result is not None and held.is_complete(config):
            held.require_best()
            return held.result
    of_network = None if visiting is None else visiting(store)
    module, about = build_module(config, store)
    if of_network is not None:
        module.visited = of_network(module, about.card)
    with _process_settings(config):
        last = config.out / LAST_NAME
        resume = last if last.exists() else None
        at = None if resume is None else read_entry(resume).card.progress
        description = Describe(about, 0.0 if at is None else at.hours)
        # A run that was killed before its early stop was noted has only that left to do.
        epochs = held.epochs if held is not None and held.stopped else config.trainer.epochs
        trainer = _trainer(config, epochs, description, progress)
        loader, validation = _loaders(config, store, trainer)
        if at is not None:
            loader.resume_at(at.epoch, at.batches)
            logger.info("%s: continuing after step %d", resume, at.step)
        if trainer.is_global_zero:
            write_json(config.out / RECORD_NAME, {"status": "running", "config": config.resolved()})
        if trainer.logger is not None:
            trainer.logger.log_hyperparams(config.resolved())
        _fit(trainer, module, (loader, validation), resume)
        return _record(config, trainer, description)


def _chosen(config: TrainConfig, held: HeldRun | None) -> TrainConfig:
    """The run with its precision and compilation: those it began with, else what pays here."""
    settings = config.trainer
    precision, compiled = FLOAT32, False
    if held is not None:
        began = held.config
        precision = str(TRAIN.present("trainer.precision", setting(began, "trainer.precision")))
        compiled = bool(setting(began, "trainer.compile"))
    elif torch_device("trainer.accelerator", settings.accelerator) != CPU:
        body = NETWORKS.find(config.network.name).body
        precision, compiled = body.gpu_precision, body.gpu_compile
    if settings.precision != AUTO:
        precision = settings.precision
    if settings.compile is not None:
        compiled = settings.compile
    return replace(config, trainer=replace(settings, precision=precision, compile=compiled))


def _fit(
    trainer: lightning.Trainer,
    module: EmulatorModule,
    loaders: tuple[BlockLoader, BlockLoader],
    resume: Path | None,
) -> None:
    """Run the loop; an interrupt stays an interrupt, for the caller to handle."""
    # Lightning ignores Ctrl-C while it shuts down, leaves it so, and ends the program.
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, *loaders, ckpt_path=resume, weights_only=True)
    except SystemExit as error:
        # Lightning calls every ending but an error an interrupt; its own exit follows Ctrl-C, and
        # that of SIGTERM (a scheduler's time limit) has no code, as if all had been done.
        by_signal = isinstance(error, SIGTERMException)
        if by_signal or isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        if type(error) is SystemExit:
            raise ClimSimError(
                f"network {module.config.network.name} or loss {module.config.recipe.loss}: its "
                f"code ended the program (sys.exit, code {error.code or 0}): raise an error instead"
            ) from error
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def _process_settings(config: TrainConfig) -> Iterator[None]:
    """Threads, TF32 and Lightning's chatter for the length of the run."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    tf32_by_cudnn = torch.backends.cudnn.allow_tf32
    chatter = logging.getLogger("lightning.pytorch")
    level = chatter.level
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    if torch_device("trainer.accelerator", config.trainer.accelerator) != CPU:
        # Convolutions and LSTMs have a switch of their own, which torch leaves on.
        torch.set_float32_matmul_precision("high" if config.trainer.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = config.trainer.tf32
    chatter.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # The loader resumes exactly; Lightning cannot know and says it may not.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
            warnings.filterwarnings(
                "ignore", message=".*Checkpoint directory.*exists and is not empty.*"
            )
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = tf32_by_cudnn
        chatter.setLevel(level)


def _trainer(
    config: TrainConfig, epochs: int, description: Describe, progress: Progress | None
) -> lightning.Trainer:
    settings = config.trainer
    callbacks: list[Callback] = [
        description,
        StopAtNan(config.out, settings.log_every_steps),
        BestCheckpoints(config.out, settings.keep_best),
        LastCheckpoint(config.out, settings.save_every_steps),
    ]
    if progress is not None:
        callbacks.append(ReportProgress(progress, epochs))
    if settings.early_stop_patience:
        callbacks.append(EarlyStopping(VALIDATION_LOSS, patience=settings.early_stop_patience))
    # The published loop breaks off after this batch: one more than the number says.
    batches = settings.early_stop_step + 1 if settings.early_stop_step > 0 else None
    several = settings.devices * settings.nodes > 1
    torch_device("trainer.accelerator", settings.accelerator)
    return lightning.Trainer(
        default_root_dir=config.out,
        max_epochs=epochs,
        limit_train_batches=batches,
        limit_val_batches=batches,
        devices=settings.devices,
        num_nodes=settings.nodes,
        accelerator=settings.accelerator,
        strategy="ddp" if several else "auto",
        precision=PRECISIONS[settings.precision],  # type: ignore[arg-type]
        gradient_clip_val=settings.gradient_clip or None,
        callbacks=callbacks,
        plugins=[AtomicCheckpoints()],
        logger=_logger(config),
        log_every_n_steps=settings.log_every_steps,
        enable_progress_bar=progress is None and sys.stderr.isatty(),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _logger(config: TrainConfig) -> Logger | bool:
    """The logger by name."""
    name = config.trainer.logger
    if name == "none":
        return False
    if name == "tensorboard":
        return TensorBoardLogger(config.out, name="log", version="", default_hp_metric=False)
    run = f"{config.network.name}-{config.recipe.name}-{config.seed}"
    if name == "wandb":
        return WandbLogger(name=run, save_dir=config.out, project="climsim")
    server = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{config.out / 'mlflow.db'}")
    return MLFlowLogger("climsim", run_name=run, tracking_uri=server)


class TrainingLoader(BlockLoader):
    """The loader as Lightning takes it: its position follows from the steps of the checkpoint."""

    def state_dict(self) -> dict[str, int]:
        """Nothing: Lightning would save the batch that it fetched, not the one that it trained."""
        return {}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Take nothing over (see `resume_at`)."""
        del state


def _loaders(
    config: TrainConfig, store: Store, trainer: lightning.Trainer
) -> tuple[BlockLoader, BlockLoader]:
    """Batches of the training and of the validation split for this process."""
    reader = partial(
        BlockReader,
        store,
        inputs=config.recipe.inputs,
        batch_size=config.data.batch_size,
        rank=_rank(trainer),
        world_size=trainer.world_size,
    )
    training = reader(split="train", seed=config.seed, drop_last=True)
    validation = reader(split="validation", shuffle=False)
    device = trainer.strategy.root_device
    room = config.data.gpu_share * device_memory(device)
    if split_bytes(training) + split_bytes(validation) <= room:
        logger.info("the data are kept on %s whole", device)
        held = (ResidentReader(reader, device) for reader in (training, validation))
        first, second = (TrainingLoader(reader, prefetch=0) for reader in held)
        return first, second
    prefetch = config.data.prefetch
    return TrainingLoader(training, prefetch=prefetch), TrainingLoader(
        validation, prefetch=prefetch
    )


def _rank(trainer: lightning.Trainer) -> int:
    """Number of this process; known before the processes have met."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if environment is None:
        return 0
    local = environment.local_rank()
    return int(environment.node_rank() * trainer.num_devices + local)


def _record(config: TrainConfig, trainer: lightning.Trainer, description: Describe) -> TrainResult:
    best = read_entry(config.out / BEST_NAME).card
    result = TrainResult(
        best_checkpoint=config.out / BEST_NAME,
        last_checkpoint=config.out / LAST_NAME,
        validation_loss=math.nan if best.validation_loss is None else best.validation_loss,
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        training_hours=description.training_hours,
        training_device=device_name(trainer),
    )
    if trainer.is_global_zero:
        record = {"status": "complete", "config": config.resolved(), "result": asdict(result)}
        write_json(config.out / RECORD_NAME, record)
    return result
