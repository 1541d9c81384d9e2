"""Callbacks of a training run: checkpoints, progress, and a stop at the first NaN."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from climsim.checkpoint_cards import TrainingProgress
from climsim.errors import ClimSimError
from climsim.files import atomic_path
from climsim.stage import Progress
from climsim.training.checkpoint import BEST_NAME, KEY, LAST_NAME, CheckpointEntry, read_checkpoint
from climsim.training.module import VALIDATION_LOSS, VISITED

_CHECKPOINTS = "checkpoints"
_SECONDS_BETWEEN_SAVES = 60.0


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's way to files: a checkpoint appears whole or not at all."""

    def save_checkpoint(
        self, checkpoint: dict[str, object], path: str | Path, storage_options: object | None = None
    ) -> None:
        """Write under a temporary name, then rename."""
        if Path(path).name != LAST_NAME:
            checkpoint = {key: value for key, value in checkpoint.items() if key != VISITED}
        with atomic_path(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self, path: str | Path, map_location: object = "cpu", weights_only: bool | None = True
    ) -> dict[str, object]:
        """Read tensors and plain values only."""
        return dict(read_checkpoint(path))


class BestCheckpoints(ModelCheckpoint):
    """Keeps the best checkpoints by validation loss, and links the best of them."""

    def __init__(self, folder: Path, keep: int) -> None:
        """Choose where and how many.

        Args:
            folder: of the run; checkpoints go to ``checkpoints/`` in it.
            keep: how many.
        """
        super().__init__(
            dirpath=folder / _CHECKPOINTS,
            filename="epoch{epoch:03d}-loss{" + VALIDATION_LOSS + ":.6f}",
            auto_insert_metric_name=False,
            monitor=VALIDATION_LOSS,
            mode="min",
            save_top_k=keep,
            enable_version_counter=False,
            save_on_train_epoch_end=False,
        )
        self.folder = folder

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Take over what was best so far, though the folder of the run may have moved since.

        Lightning notes absolute paths, and forgets the best where they lie in another folder.
        """
        super().load_state_dict({**state_dict, **self._here(state_dict)})

    def _here(self, state: Mapping[str, object]) -> dict[str, object]:
        """The paths of a state, and the losses by path, in the present folder."""
        assert self.dirpath is not None
        folder, losses = Path(self.dirpath), state["best_k_models"]
        assert isinstance(losses, Mapping)
        named = {key: state[key] for key in ("best_model_path", "kth_best_model_path")}
        return {
            "dirpath": self.dirpath,
            "best_k_models": {str(folder / Path(p).name): loss for p, loss in losses.items()},
            **{key: str(folder / Path(str(p)).name) if p else "" for key, p in named.items()},
        }

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Keep as many of the best so far as are asked for now: it may have been more before.

        Lightning removes the worst only where there are exactly as many as it keeps.
        """
        best_first = sorted(self.best_k_models, key=lambda path: float(self.best_k_models[path]))
        for path in best_first[self.save_top_k :]:
            del self.best_k_models[path]
            trainer.strategy.remove_checkpoint(path)
        if self.best_k_models:
            self.kth_best_model_path = best_first[len(self.best_k_models) - 1]
            self.kth_value = self.best_k_models[self.kth_best_model_path]

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Save, then point ``best.ckpt`` at the best."""
        super().on_validation_end(trainer, module)
        best = Path(self.best_model_path)
        # One that was deleted or left behind is the best still, and linked already.
        if trainer.is_global_zero and best.is_file():
            link_best(best, self.folder)


def link_best(source: Path, folder: Path) -> None:
    """Make a checkpoint the ``best.ckpt`` of a run, in place of the one before.

    A hard link, or a copy where the file system has no links.
    """
    with atomic_path(folder / BEST_NAME) as target:
        try:
            os.link(source, target)
        except OSError:
            target.write_bytes(source.read_bytes())


def best_of(states: Mapping[str, Mapping[str, object]], folder: Path) -> Path | None:
    """The checkpoint of a run that ``best.ckpt`` links; None where its states do not say it.

    Args:
        states: of the callbacks, by their keys in a checkpoint.
        folder: of the run, where it is now.
    """
    callback = BestCheckpoints(folder, keep=1)
    path = states.get(callback.state_key, {}).get("best_model_path")
    return folder / _CHECKPOINTS / Path(str(path)).name if path else None


def has_stopped_early(states: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether the patience of a run was at its end.

    Args:
        states: of the callbacks, by their keys in a checkpoint.
    """
    state = states.get(EarlyStopping(VALIDATION_LOSS).state_key)
    if state is None:
        return False
    waited, patience = (int(str(state[key])) for key in ("wait_count", "patience"))
    return waited >= patience


class LastCheckpoint(Checkpoint):
    """Keeps one checkpoint to resume from: every so many steps and after every epoch.

    A process that trains alone also saves every minute, so that slow steps lose little work.
    """

    def __init__(self, folder: Path, every_steps: int) -> None:
        """Choose where and how often.

        Args:
            folder: of the run.
            every_steps: steps between saves; 0 for epoch ends only.
        """
        self.path = folder / LAST_NAME
        self.every_steps = every_steps
        self._saved = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Save if it is time; the last batch of an epoch is saved after validation."""
        due = bool(self.every_steps) and trainer.global_step % self.every_steps == 0
        # Clocks differ between processes, and all of them have to save together.
        if self.every_steps and trainer.world_size == 1:
            due |= time.monotonic() - self._saved > _SECONDS_BETWEEN_SAVES
        if due and not trainer.is_last_batch:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Save."""
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved = time.monotonic()


class Describe(Callback):
    """Adds what rebuilds the model, how far training had come and what it took, to checkpoints."""

    def __init__(self, about: CheckpointEntry, hours: float = 0.0) -> None:
        """Take the description.

        Args:
            about: made by `climsim.training.checkpoint.describe_model`.
            hours: wall time of the training before this process [h].
        """
        self.about = about
        self._hours = hours
        self._start = time.monotonic()

    @property
    def training_hours(self) -> float:
        """Wall time spent on the weights so far, over all processes that resumed [h]."""
        return self._hours + (time.monotonic() - self._start) / 3600

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_save_checkpoint(
        self,
        trainer: Trainer,
        module: LightningModule,
        checkpoint: dict[str, object],
    ) -> None:
        """Add the ``climsim`` entry."""
        loss = trainer.callback_metrics.get(VALIDATION_LOSS)
        batches = trainer.fit_loop.epoch_loop.batch_progress.current
        card = replace(
            self.about.card,
            validation_loss=None if loss is None else float(loss),
            progress=TrainingProgress(
                epoch=trainer.current_epoch,
                batches=batches.ready,
                step=trainer.global_step,
                hours=self.training_hours,
                device=device_name(trainer),
            ),
        )
        checkpoint[KEY] = replace(self.about, card=card).to_entry()


def device_name(trainer: Trainer) -> str:
    """What a trainer runs on, such as ``4 x NVIDIA A100`` or ``2 threads of AMD EPYC``."""
    if trainer.strategy.root_device.type == "cuda":
        name = torch.cuda.get_device_name(trainer.strategy.root_device)
        return f"{trainer.world_size} x {name}"
    count = torch.get_num_threads()
    threads = f"{count} thread{'s' if count > 1 else ''} of {_processor()}"
    return threads if trainer.world_size == 1 else f"{trainer.world_size} x {threads}"


@cache
def _processor() -> str:
    """The name of the processor; Linux alone does not give it to Python."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


class StopAtNan(Callback):
    """Ends the run when a loss is not finite, before anything of it is saved.

    On a CPU every step is looked at; on a GPU, where looking waits for the device, every step is
    noted and the note is read every so many steps and before every save.
    """

    def __init__(self, folder: Path, every_steps: int) -> None:
        """Choose how often a device is asked.

        Args:
            folder: of the run, for the message.
            every_steps: steps between looks on a GPU.
        """
        self.folder = folder
        self.every_steps = every_steps
        self._finite: Tensor | None = None

    def on_train_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Note whether the loss is finite."""
        loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        assert isinstance(loss, Tensor)
        finite = torch.isfinite(loss.detach())
        self._finite = finite if self._finite is None else self._finite & finite
        if loss.device.type == "cpu" or trainer.global_step % self.every_steps == 0:
            self._look(trainer)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Look at the validation loss before a checkpoint is chosen by it."""
        loss = trainer.callback_metrics.get(VALIDATION_LOSS)
        if loss is not None and not torch.isfinite(loss):
            raise self._error(trainer, "validation loss")

    def on_save_checkpoint(
        self,
        trainer: Trainer,
        module: LightningModule,
        checkpoint: dict[str, object],
    ) -> None:
        """Save nothing that follows a loss that is not finite."""
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        if self._finite is not None and not bool(self._finite):
            raise self._error(trainer, "loss")

    def _error(self, trainer: Trainer, what: str) -> ClimSimError:
        last = self.folder / LAST_NAME
        kept = f"the last good checkpoint is {last}" if last.exists() else "none was saved before"
        return ClimSimError(
            f"{self.folder}: expected a finite {what}, found NaN or infinity at step "
            f"{trainer.global_step} (epoch {trainer.current_epoch + 1}); {kept}: check the data "
            "for outliers, or train in another folder with a lower optimizer.learning_rate or with "
            "trainer.gradient_clip (trainer.warm_start starts from the weights of a checkpoint)"
        )


class ReportProgress(Callback):
    """Reports to a caller how many steps are done, of how many."""

    def __init__(self, report: Progress, epochs: int) -> None:
        """Choose whom to report to.

        Args:
            report: called with steps done and their total.
            epochs: of the whole run.
        """
        self.report = report
        self.epochs = epochs

    def on_train_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Report."""
        if trainer.is_global_zero:
            total = int(trainer.num_training_batches) * self.epochs
            self.report(min(trainer.global_step, total), total)
