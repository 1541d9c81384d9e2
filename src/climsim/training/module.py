"""The Lightning module: transforms, network and loss of one member."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

import lightning
import torch
from torch import Tensor, nn

from climsim.data.reading.loader import Batch
from climsim.errors import ClimSimError
from climsim.interfaces import encoding
from climsim.losses import LossTerms, RecipeLoss
from climsim.networks.network import NetworkOutput
from climsim.training.config import TrainConfig
from climsim.training.noise import InputNoise
from climsim.training.optimization import build_optimizer
from climsim.training.schedules import build_schedule
from climsim.transforms import Transforms

logger = logging.getLogger(__name__)

VALIDATION_LOSS = "validation_loss"
"""Plain loss of the prediction on the validation split: what checkpoints are chosen by."""
_SEED_STRIDE = 1_000_003
VISITED = "visited"
"""Entry of the checkpoint to resume from: where the source of visited states stands."""


class Visited(Protocol):
    """A source of states that the network in training has reached itself.

    Attributes:
        weight: share of their loss in the loss to minimize.
    """

    weight: float

    def __call__(self, step: int) -> Batch | None:
        """Physical inputs and targets for a step of training; None where it has none."""
        ...

    def state(self) -> dict[str, object]:
        """Where it stands: tensors and plain values, for a checkpoint."""
        ...

    def restore(self, state: Mapping[str, object]) -> None:
        """Continue from there."""
        ...


class EmulatorModule(lightning.LightningModule):
    """Trains a network on physical batches; transforms run here, on the device.

    The random numbers of a step depend on seed, step and process alone, and so does the learning
    rate (plateau: on the validation losses so far), which makes resuming exact.
    """

    def __init__(
        self,
        config: TrainConfig,
        network: nn.Module,
        transforms: Transforms,
        noise: InputNoise | None = None,
    ) -> None:
        """Build loss and schedule of a run.

        Args:
            config: the run.
            network: from network input to scaled targets, and confidence where the recipe has it.
            transforms: between physical vectors and the network.
            noise: on the inputs in training; None for none.
        """
        super().__init__()
        self.config = config
        self.network = network
        self.inputs = transforms.inputs
        self.targets = transforms.targets
        self.closure = transforms.closure
        self.noise = noise
        self.transforms = transforms
        self.visited: Visited | None = None
        self._epoch = 0.0
        recipe = config.recipe
        self.loss = RecipeLoss(
            recipe.loss,
            recipe.delta,
            recipe.difference,
            recipe.confidence,
            n_levels=transforms.targets.n_levels,
            targets=encoding(recipe.inputs).targets,
        )
        self.schedule = build_schedule(config.schedule, config.optimizer.learning_rate)
        # In a list, so that the network is registered, and saved, once and under its own name.
        self._call: list[Callable[[Tensor], NetworkOutput]] = [network]
        self._proven = True
        if config.trainer.compile:
            self._call, self._proven = [torch.compile(network, dynamic=False)], False

    def terms(self, batch: Batch, noise: InputNoise | None = None) -> LossTerms:
        """Loss terms of a batch of physical vectors, with noise on the inputs if there is any."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            given = batch[0] if noise is None else noise(batch[0], self._epoch)
            x = self.inputs.encode(given)
            y = self.targets.encode(batch[1])
        output = self._run_network(x)
        prediction, confidence = output if isinstance(output, tuple) else (output, None)
        closed = self._closed(given, prediction.float())
        return self.loss(closed, y, None if confidence is None else confidence.float())

    def _closed(self, x: Tensor, scaled: Tensor) -> Tensor:
        """The scaled prediction as the exported file gives it, its columns closed."""
        if self.closure is None:
            return scaled
        with torch.autocast(self.device.type, enabled=False):
            return self.transforms.physical(x, scaled) * self.targets.scale

    def _run_network(self, x: Tensor) -> NetworkOutput:
        if self._proven:
            return self._call[0](x)
        try:
            output = self._call[0](x)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            logger.warning("torch.compile failed (%s): training continues uncompiled", reason)
            self._call = [self.network]
            output = self.network(x)
        self._proven = True
        return output

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Set the random stream and the learning rate of this step."""
        processes = self.trainer.world_size
        step = self.global_step * processes + self.global_rank
        torch.manual_seed((self.config.seed * _SEED_STRIDE + step) % 2**63)
        share = batch_idx / max(float(self.trainer.num_training_batches), 1.0)
        epoch = self.current_epoch + min(share, 1.0)
        self._epoch = epoch
        factor = self.schedule.factor(epoch, self.config.trainer.epochs)
        rate = self.config.optimizer.learning_rate * factor
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss to minimize."""
        terms = self.terms(batch, self.noise)
        total = terms.total
        reached = None if self.visited is None else self.visited(self.global_step)
        if self.visited is not None and reached is not None:
            own = self.terms(reached, self.noise)
            total = torch.lerp(total, own.total, self.visited.weight)
            size = reached[0].shape[0]
            plain = own.plain.detach()
            self.log("visited_loss", plain, on_step=False, on_epoch=True, batch_size=size)
        # The steps at which Lightning writes; in between it would write these values again.
        if (self.global_step + 1) % self.config.trainer.log_every_steps == 0:
            self.log("train_loss", total.detach())
            self.log("train_plain_loss", terms.plain.detach())
            self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        return total

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the plain loss of a batch to the mean of the epoch."""
        terms = self.terms(batch)
        size = batch[0].shape[0]
        self.log(VALIDATION_LOSS, terms.plain, on_epoch=True, sync_dist=True, batch_size=size)

    def on_validation_epoch_end(self) -> None:
        """Let the schedule see the loss."""
        loss = float(self.trainer.callback_metrics[VALIDATION_LOSS])
        self.schedule.update(loss)
        if self.trainer.is_global_zero:
            logger.info("epoch %d: validation loss %.5g", self.current_epoch + 1, loss)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer; the learning rate is set at every step."""
        trainable = [p for p in self.network.parameters() if p.requires_grad]
        if not trainable:
            raise ClimSimError(f"network {self.config.network.name}: nothing to train")
        trainable += [] if self.closure is None else list(self.closure.parameters())
        return build_optimizer(trainable, self.config.optimizer)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Add the state of the schedule, and of the source of visited states."""
        checkpoint["plateau"] = self.schedule.state()
        if self.visited is not None:
            checkpoint[VISITED] = self.visited.state()

    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Take the states of both over."""
        state = checkpoint["plateau"]
        assert isinstance(state, Mapping)
        self.schedule.restore(state)
        if self.visited is not None:
            reached = checkpoint[VISITED]
            assert isinstance(reached, Mapping)
            self.visited.restore(reached)
