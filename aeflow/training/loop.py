"""The one training loop of every family: seeded, early stopped, resumable.

The loss is the configured error of the clean items, over what was observed, whatever the network was
shown of them; and what the family adds to it (`Autoencoder.objective`). Two runs of one seed on one CPU
end in the same bits, whether or not they were killed in between.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import cos, isfinite, pi
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aeflow.exceptions import InputError
from aeflow.models.autoencoder import Autoencoder, ClosedForm, check_items
from aeflow.models.corruption import corrupt
from aeflow.models.errors import mean_error
from aeflow.models.fused import FusedNetwork
from aeflow.training.checkpoint import (
    Checkpoint,
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    stage_checkpoint,
    whole_fingerprint,
)
from aeflow.training.devices import choose_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aeflow.config import Training
    from aeflow.models.autoencoder import Stage
    from aeflow.training.items import TrainingItems

# A larger step than this is an outlier of the batch, not a direction.
_MAX_GRADIENT_NORM = 1.0
# Of what is gone through in order: at most so many items at once, and no more than 16 MiB of values, since
# what a convolution makes of an image is many times as large.
_ORDERED_BATCH = 1024
_ORDERED_VALUES = 2**22


@dataclass(frozen=True)
class Progress:
    """After an epoch: how many of how many, and the validation loss. stage: what is trained before the
    network itself; empty for that."""

    epoch: int
    epochs: int
    validation_loss: float
    stage: str = ""


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
    """Train `network` in place, on `device`; it ends with the weights of the best validation loss. Fused ones are
    trained one after the other, each as it would be alone.

    Args:
        network: as built, or with the weights to start from.
        train: what it learns from.
        validation: what stops it.
        training: epochs, sizes, rates.
        seed: decides the order of items and what the network draws while it trains.
        device: where to compute.
        checkpoint: file for the state after each epoch; a run of the same data, model, options and
            seed goes on from there. The caller discards it when its own work is done.
        fingerprint: names the data.
        progress: told after each epoch.

    Raises:
        InputError: there are no items, one is not what the network takes, or the loss is no longer
            finite.
        StorageError: the checkpoint cannot be written.
    """
    precision = choose_precision(training.precision, device)
    begun = time.perf_counter()
    expect_items(train, validation, network.item_shape)
    if isinstance(network, FusedNetwork):
        return _fit_members(
            network,
            train,
            validation,
            training=training,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            fingerprint=fingerprint,
            progress=progress,
        )
    if isinstance(network, ClosedForm):
        # MPS has no float64.
        exact = torch.device("cpu") if device.type == "mps" else device
        network.to(exact).fit_closed_form(InOrder(train.resident(exact), network.item_shape))
        network.to(device)
        rate = len(train) / (time.perf_counter() - begun)
        return TrainingResult(
            (), 0, stopped_early=False, samples_per_second=rate, device=str(device), precision="float64"
        )
    network.to(device)
    train, validation = train.resident(device), validation.resident(device)
    if checkpoint is not None:
        # Of the weights it starts from: what the stages make of them follows from these.
        computed = f"{device.type} {precision}"
        fingerprint = whole_fingerprint(fingerprint, network, training, seed=seed, computed=computed)
    for stage in network.stages():
        fit_network(
            stage.network,
            train.seen_as(stage.view),
            validation.seen_as(stage.view),
            training=_of_stage(stage, network, training),
            seed=seed,
            device=device,
            checkpoint=None if checkpoint is None else stage_checkpoint(checkpoint, stage.name),
            fingerprint=f"{fingerprint} {stage.name}",
            progress=None if progress is None else partial(_tell_of_stage, progress, stage.name),
        )
    # The caller's random numbers are not touched.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device.type == "cuda" else []):
        _seed(seed, device)
        run = _Run(
            network,
            train,
            validation,
            training=training,
            seed=seed,
            device=device,
            precision=precision,
        )
        return run.fit(checkpoint, fingerprint, progress, torch.Generator().manual_seed(seed))


def _fit_members(
    whole: FusedNetwork,
    train: TrainingItems,
    validation: TrainingItems,
    *,
    training: Training,
    seed: int,
    device: torch.device,
    checkpoint: Path | None,
    fingerprint: str,
    progress: Callable[[Progress], None] | None,
) -> TrainingResult:
    """The result is that of the member with the most epochs, at the rate of all together."""
    results = []
    for number, member in enumerate(whole.networks(), start=1):
        name, seen = f"member{number}", partial(_seen, whole.seen_by(member))
        result = fit_network(
            member,
            train.seen_as(seen),
            validation.seen_as(seen),
            training=training,
            seed=seed,
            device=device,
            checkpoint=None if checkpoint is None else stage_checkpoint(checkpoint, name),
            fingerprint=f"{fingerprint} {name}",
            progress=None if progress is None else partial(_tell_of_stage, progress, f"member {number}"),
        )
        results.append(result)
    longest = max(results, key=lambda one: len(one.history))
    seconds = sum(1 / one.samples_per_second for one in results if one.samples_per_second)
    return replace(longest, samples_per_second=1 / seconds if seconds else 0.0)


def _seen(
    limited: Callable[[Tensor], Tensor], x: Tensor, observed: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    return limited(x), observed


def _tell_of_stage(tell: Callable[[Progress], None], stage: str, progress: Progress) -> None:
    tell(replace(progress, stage=f"{stage}, {progress.stage}" if progress.stage else stage))


def _of_stage(stage: Stage, whole: Autoencoder, training: Training) -> Training:
    """How a stage is trained, of how the whole is."""
    corruption = training.corruption if stage.corruption is None else stage.corruption
    if len(stage.network.item_shape) != len(whole.item_shape):
        corruption = tuple(one for one in corruption if one.pointwise)
    return training.model_copy(
        update={"epochs": stage.epochs, "corruption": corruption, "loss": stage.loss or training.loss}
    )


def _seed(seed: int, device: torch.device) -> None:
    # torch.manual_seed would also seed the devices that are not used here.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


class _Run:
    """The state of one run, and one epoch of it."""

    def __init__(
        self,
        network: Autoencoder,
        train: TrainingItems,
        validation: TrainingItems,
        *,
        training: Training,
        seed: int,
        device: torch.device,
        precision: torch.dtype,
    ) -> None:
        self.network, self.train, self.validation, self.training = network, train, validation, training
        self.device, self.precision = device, precision
        self.optimizer = make_optimizer(network, training)
        # Of their own: what is spoiled changes nothing of the order of items, nor of what a network draws.
        self.spoiling = torch.Generator(device)
        self.spoiling.manual_seed(seed)
        self.seed = seed
        self.history: list[EpochRecord] = []
        self.best = float("inf")
        self.best_epoch = 0
        self.best_weights = _copy(network)

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
        self.network.eval()
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
        progressed = max(self.best_epoch, self.network.warm_up_epochs())
        return len(self.history) - progressed >= self.training.patience_epochs

    def _drawn(self) -> int:
        return min(len(self.train), self.training.max_train_windows or len(self.train))

    def _epoch(self, order: torch.Generator) -> None:
        begun = time.perf_counter()
        numbers = torch.randperm(len(self.train), generator=order)[: self._drawn()]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.training, len(self.history) + 1)
        self.network.train()
        self.network.begin_epoch(len(self.history) + 1)
        sums = LossSums(self.device)
        for x, observed in _batches(self.train, numbers, self.training.batch_size):
            self.optimizer.zero_grad(set_to_none=True)
            objective = self._objective(x, observed, self.precision, self.spoiling)
            objective.backward()  # type: ignore[no-untyped-call]
            clip_gradients(self.network)
            self.optimizer.step()
            sums.add(objective.detach(), x, observed)
        train_loss = sums.mean()  # waits for the device
        seconds = time.perf_counter() - begun
        validation_loss = self._validation_loss()
        epoch = len(self.history) + 1
        expect_finite(epoch, train_loss, validation_loss, self.train, self.validation)
        self.history.append(EpochRecord(epoch, train_loss, validation_loss, seconds))
        if validation_loss < self.best:
            self.best, self.best_epoch, self.best_weights = validation_loss, epoch, _copy(self.network)

    def _objective(
        self, x: Tensor, observed: Tensor | None, precision: torch.dtype, spoiling: torch.Generator
    ) -> Tensor:
        """What is minimised: the mean error of a batch, and what the family adds."""
        shown, told = corrupt(x, observed, self.training.corruption, spoiling)
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            found = self.network.forward_spoiled(shown, told, x)
        weight = (
            observed if self.network.loss_weight is None else _counted(self.network.loss_weight, observed)
        )
        error = mean_error(self.training.loss, found.items.float(), x, weight)
        return self.network.objective(found, error)

    def _validation_loss(self) -> float:
        # In float32 whatever it trains in: that is how it will score. Spoiled alike in every epoch.
        self.network.eval()
        spoiling = torch.Generator(self.device)
        spoiling.manual_seed(self.seed)
        sums = LossSums(self.device)
        with torch.inference_mode():
            for x, observed in InOrder(self.validation):
                sums.add(self._objective(x, observed, torch.float32, spoiling), x, observed)
        return sums.mean()

    def _state(self, order: torch.Generator) -> Checkpoint:
        generators = {
            "order": order.get_state(),
            "torch": torch.get_rng_state(),
            "spoiling": self.spoiling.get_state(),
        }
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
        restore_optimizer(self.optimizer, saved.optimizer)
        order.set_state(saved.generators["order"])
        torch.set_rng_state(saved.generators["torch"])
        self.spoiling.set_state(saved.generators["spoiling"])
        if self.device.type == "cuda" and "cuda" in saved.generators:
            torch.cuda.set_rng_state(saved.generators["cuda"], self.device)
        self.history = [EpochRecord(**r) for r in saved.facts["history"]]
        self.best, self.best_epoch = saved.facts["best"], saved.facts["best_epoch"]


def expect_items(train: TrainingItems, validation: TrainingItems, item_shape: tuple[int, ...]) -> None:
    """Refuse parts that hold nothing, or not what a network takes.

    Raises:
        InputError: says which part.
    """
    for name, items in (("train", train), ("validation", validation)):
        if len(items) == 0:
            raise InputError(f"the {name} part holds no items", remedy="Give more history.")
        check_items(items.take(torch.arange(1))[0], item_shape)


def expect_finite(
    epoch: int,
    train_loss: float,
    validation_loss: float,
    train: TrainingItems,
    validation: TrainingItems,
) -> None:
    """Refuse to go on once a loss is no number.

    Raises:
        InputError: names the items where they are the cause, else the learning rate.
    """
    if isfinite(train_loss) and isfinite(validation_loss):
        return
    for items in (train, validation):
        shape = tuple(items.take(torch.arange(1))[0].shape[1:])
        for x, _ in InOrder(items):
            check_items(x, shape)
    raise InputError(
        f"the loss is no longer finite in epoch {epoch} (training {train_loss}, validation {validation_loss})",
        where="training",
        remedy="Try a smaller training.learning_rate, or precision: float32.",
    )


def make_optimizer(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    """What makes the steps. Loshchilov and Hutter, "Decoupled weight decay regularization", 2019."""
    return torch.optim.AdamW(
        (p for p in network.parameters() if p.requires_grad),
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        fused=True,
    )


def clip_gradients(network: nn.Module) -> None:
    """Make them no longer, all together, than a step may be."""
    nn.utils.clip_grad_norm_(network.parameters(), _MAX_GRADIENT_NORM, foreach=True)


def learning_rate(training: Training, epoch: int) -> float:
    """The step size in epoch 1, 2, ...; cosine: Loshchilov and Hutter, "SGDR", 2017, without restarts."""
    if training.schedule == "constant":
        return training.learning_rate
    return training.learning_rate * (1 + cos(pi * (epoch - 1) / training.epochs)) / 2


def _counted(weight: Tensor, observed: Tensor | None) -> Tensor:
    return weight if observed is None else weight * observed


class LossSums:
    """The mean loss per observed value of many batches, summed on the device so that none is waited for."""

    def __init__(self, device: torch.device) -> None:
        # MPS has no float64.
        exact = torch.float32 if device.type == "mps" else torch.float64
        self._loss = torch.zeros((), dtype=exact, device=device)
        self._values = torch.zeros((), dtype=exact, device=device)

    def add(self, loss: Tensor, x: Tensor, observed: Tensor | None) -> None:
        """Take in the mean `loss` of one batch."""
        values = x.numel() if observed is None else observed.sum()
        self._loss += loss * values
        self._values += values

    def mean(self) -> float:
        """The mean; 0 where nothing was observed."""
        return float(self._loss / self._values.clamp_min(1))


class InOrder:
    """All items in their order, batch by batch, as often as they are asked for."""

    def __init__(self, items: TrainingItems, checked_shape: tuple[int, ...] | None = None) -> None:
        self._items, self._checked_shape = items, checked_shape

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Items `(B, *item_shape)` and what was observed of them."""
        values = self._items.take(torch.arange(1))[0].numel()
        size = max(1, min(_ORDERED_BATCH, _ORDERED_VALUES // values))
        for x, observed in _batches(self._items, torch.arange(len(self._items)), size):
            if self._checked_shape is not None:
                check_items(x, self._checked_shape)
            yield x, observed


def _batches(items: TrainingItems, numbers: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    for begin in range(0, len(numbers), size):
        yield items.take(numbers[begin : begin + size])


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
