"""The one training loop of every family: seeded, early stopped, resumable.

The loss is the mean squared error over what was observed, plus the family's own penalty. Two runs of
one seed on one CPU end in the same bits, whether or not they were killed in between.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aeflow.exceptions import InputError
from aeflow.models.autoencoder import Autoencoder, ClosedForm, check_items
from aeflow.training.checkpoint import Checkpoint, optimizer_tensors, read_checkpoint, restore_optimizer
from aeflow.training.devices import choose_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aeflow.config import Training
    from aeflow.training.items import TrainingItems

# A larger step than this is an outlier of the batch, not a direction.
_MAX_GRADIENT_NORM = 1.0
_CLOSED_FORM_BATCH = 4096


@dataclass(frozen=True)
class Progress:
    """After an epoch: how many of how many, and the validation loss."""

    epoch: int
    epochs: int
    validation_loss: float


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: mean losses per observed value; seconds it took."""

    epoch: int
    train_loss: float
    validation_loss: float
    seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """How a training run went. A closed-form family has no history and `best_epoch` 0."""

    history: tuple[EpochRecord, ...]
    best_epoch: int
    stopped_early: bool
    samples_per_second: float
    device: str
    precision: str


def fit_network(
    network: Autoencoder,
    train: TrainingItems,
    validation: TrainingItems,
    *,
    training: Training,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    progress: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Train `network` in place, on `device`; it ends with the weights of the best validation loss.

    Args:
        network: newly built; its weights are drawn anew from `seed`.
        train: what it learns from; validation: what stops it.
        training: epochs, sizes, rates.
        seed: decides weights and order of items.
        device: where to compute.
        checkpoint: folder for the state after each epoch; a run with the same `fingerprint` goes on
            from there.
        fingerprint: names data, model and options.
        progress: told after each epoch.

    Raises:
        InputError: an item is not what the network takes, or the loss is no longer finite.
    """
    precision = choose_precision(training.precision, device)
    begun = time.perf_counter()
    for items in (train, validation):
        check_items(items.take(torch.arange(min(len(items), 1)))[0], network.item_shape)
        items.resident(device)
    network.to(device)
    if isinstance(network, ClosedForm):
        network.fit_closed_form(_batches(train, torch.arange(len(train)), _CLOSED_FORM_BATCH))
        rate = len(train) / (time.perf_counter() - begun)
        return TrainingResult(
            (), 0, stopped_early=False, samples_per_second=rate, device=str(device), precision="float64"
        )
    # The caller's random numbers are not touched.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for module in network.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        run = _Run(network, train, validation, training, device, precision)
        return run.fit(checkpoint, fingerprint, progress, torch.Generator().manual_seed(seed))


class _Run:
    """The state of one run, and one epoch of it."""

    def __init__(
        self,
        network: Autoencoder,
        train: TrainingItems,
        validation: TrainingItems,
        training: Training,
        device: torch.device,
        precision: torch.dtype,
    ) -> None:
        self.network, self.train, self.validation, self.training = network, train, validation, training
        self.device, self.precision = device, precision
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, foreach=True
        )
        self.history: list[EpochRecord] = []
        self.best = float("inf")
        self.best_epoch = 0
        self.best_weights = _copy(network)
        if precision == torch.bfloat16 and len(network.item_shape) == 3:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def fit(
        self,
        checkpoint: Path | None,
        fingerprint: str,
        progress: Callable[[Progress], None] | None,
        order: torch.Generator,
    ) -> TrainingResult:
        """All epochs that are still to be run."""
        if checkpoint is not None and (saved := read_checkpoint(checkpoint, fingerprint)) is not None:
            self._restore(saved, order)
        while len(self.history) < self.training.epochs and not self._stale():
            self._epoch(order)
            if checkpoint is not None:
                self._state(order).write(checkpoint, fingerprint)
            if progress is not None:
                progress(Progress(len(self.history), self.training.epochs, self.history[-1].validation_loss))
        self.network.load_state_dict(self.best_weights)
        self.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        elapsed = sum(r.seconds for r in self.history)
        drawn = self._drawn() * len(self.history)
        return TrainingResult(
            tuple(self.history),
            self.best_epoch,
            stopped_early=len(self.history) < self.training.epochs,
            samples_per_second=drawn / elapsed if elapsed else 0.0,
            device=str(self.device),
            precision=str(self.precision).removeprefix("torch."),
        )

    def _stale(self) -> bool:
        return len(self.history) - self.best_epoch >= self.training.patience_epochs

    def _drawn(self) -> int:
        return min(len(self.train), self.training.max_train_windows or len(self.train))

    def _epoch(self, order: torch.Generator) -> None:
        begun = time.perf_counter()
        numbers = torch.randperm(len(self.train), generator=order)[: self._drawn()]
        self.network.train()
        total = torch.zeros((), device=self.device)
        for x, observed in _batches(self.train, numbers, self.training.batch_size):
            self.optimizer.zero_grad(set_to_none=True)
            loss, penalty = self._loss(x, observed)
            (loss + penalty).backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), _MAX_GRADIENT_NORM, foreach=True)
            self.optimizer.step()
            total += loss.detach() * len(x)
        train_loss = float(total) / len(numbers)  # waits for the device
        seconds = time.perf_counter() - begun
        validation_loss = self._validation_loss()
        epoch = len(self.history) + 1
        if not (_finite(train_loss) and _finite(validation_loss)):
            raise InputError(
                f"the loss is no longer finite in epoch {epoch} (training {train_loss}, validation {validation_loss})",
                where="training",
                remedy="Try a smaller training.learning_rate, or precision: float32.",
            )
        self.history.append(EpochRecord(epoch, train_loss, validation_loss, seconds))
        if validation_loss < self.best:
            self.best, self.best_epoch, self.best_weights = validation_loss, epoch, _copy(self.network)

    def _loss(self, x: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            found = self.network(x, observed)
        return masked_mean_square(found.items.float() - x, observed), found.penalty.float()

    def _validation_loss(self) -> float:
        self.network.eval()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        with torch.inference_mode():
            for x, observed in _batches(self.validation, torch.arange(len(self.validation)), 512):
                total += self._loss(x, observed)[0].double() * len(x)
        return float(total) / len(self.validation)

    def _state(self, order: torch.Generator) -> Checkpoint:
        generators = {"order": order.get_state(), "torch": torch.get_rng_state()}
        if self.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.device)
        facts = {
            "history": [asdict(r) for r in self.history],
            "best": self.best,
            "best_epoch": self.best_epoch,
        }
        return Checkpoint(
            dict(self.network.state_dict()),
            self.best_weights,
            optimizer_tensors(self.optimizer),
            generators,
            facts,
        )

    def _restore(self, saved: Checkpoint, order: torch.Generator) -> None:
        self.network.load_state_dict(saved.weights)
        self.best_weights = {k: v.to(self.device) for k, v in saved.best.items()}
        restore_optimizer(self.optimizer, saved.optimizer, self.network)
        order.set_state(saved.generators["order"])
        torch.set_rng_state(saved.generators["torch"])
        if self.device.type == "cuda" and "cuda" in saved.generators:
            torch.cuda.set_rng_state(saved.generators["cuda"], self.device)
        self.history = [EpochRecord(**r) for r in saved.facts["history"]]
        self.best, self.best_epoch = saved.facts["best"], saved.facts["best_epoch"]


def masked_mean_square(error: Tensor, observed: Tensor | None) -> Tensor:
    """The mean of the squared errors over what was observed; 0 where nothing was."""
    if observed is None:
        return error.square().mean()
    return (error.square() * observed).sum() / observed.sum().clamp_min(1)


def _batches(items: TrainingItems, numbers: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    for begin in range(0, len(numbers), size):
        yield items.take(numbers[begin : begin + size])


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _finite(value: float) -> bool:
    return -float("inf") < value < float("inf")
