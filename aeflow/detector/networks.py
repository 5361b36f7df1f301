"""How many networks a detector of series has, which entities each learns from, and which it serves.

Legend: N windows, E entities, K cohorts, M networks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from aeflow.data.ordered_map import map_in_order
from aeflow.data.splits import TRAIN, VALIDATION
from aeflow.detector.cohorts import Groups
from aeflow.detector.side_by_side import one_thread_each
from aeflow.models.bank import NetworkBank
from aeflow.models.catalog import build, has_closed_form
from aeflow.training.items import WindowItems
from aeflow.training.loop import fit_network
from aeflow.training.together import can_train_together, fit_together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from aeflow.config import Entities, Model, PipelineConfig
    from aeflow.data.series import HistoryGrid
    from aeflow.models.autoencoder import Autoencoder
    from aeflow.training.loop import Progress, TrainingResult

B = TypeVar("B")

# With fewer windows a network of one's own would only learn them by heart.
_OWN_WINDOWS = {TRAIN: 50, VALIDATION: 10}


@dataclass(frozen=True, eq=False)
class Plan:
    """learners: `(M, E)` bool, from which entities each network learns; the last learns from all. member:
    `(E + K + 1,)` int64, the network that serves each entity, the new ones of each cohort, and all others."""

    learners: NDArray[np.bool_]
    member: NDArray[np.int64]

    @classmethod
    def of(cls, config: Entities, entities: tuple[str, ...], enough: NDArray[np.bool_]) -> Plan:
        """As the config says. enough: `(E,)` entities with so many windows that a network can learn from them
        alone; of a cohort one is enough."""
        groups, count = Groups.of(config, entities), len(entities)
        rows = count + len(groups.names) + 1
        learners: list[NDArray[np.bool_]] = []
        member = np.full(rows, -1, dtype=np.int64)
        if config.networks != "shared":
            for code in range(len(groups.names)):
                mine = groups.cohort == code
                if (mine & enough).any():
                    member[np.append(np.flatnonzero(mine), count + code)] = len(learners)
                    learners.append(mine)
        if config.networks == "each":
            for code in np.flatnonzero(enough).tolist():
                member[code] = len(learners)
                learners.append(np.arange(count) == code)
        learners.append(np.ones(count, dtype=bool))
        member[member < 0] = len(learners) - 1
        return cls(np.stack(learners), member)

    def __len__(self) -> int:
        """M."""
        return len(self.learners)


def fit_networks(
    config: PipelineConfig,
    model: Model,
    grid: HistoryGrid,
    flat: NDArray[np.float32],
    ends: Mapping[int, NDArray[np.int64]],
    *,
    device: torch.device,
    checkpoint: Path | None,
    fingerprint: str,
    progress: Callable[[Progress], None] | None,
) -> tuple[Autoencoder, TrainingResult, NDArray[np.int64] | None]:
    """Train the networks that the config asks for, each from the same first weights.

    Args:
        config: of the pipeline.
        model: of every network.
        grid: the history.
        flat: `(L, C)` its values as networks see them.
        ends: part -> ends of its windows `(N,)`, sorted.
        device: where to compute.
        checkpoint: see `fit_network`; each further network has one beside it.
        fingerprint: names the data.
        progress: told after each epoch of each network.

    Returns:
        the network or the bank of them; how the training went, the history being that of the network which
        learns from all; `Plan.member`, None where there is one network.
    """
    enough = np.ones(len(grid.entities), dtype=bool)
    for part, least in _OWN_WINDOWS.items():
        enough &= np.bincount(grid.entity[ends[part]], minlength=enough.size) >= least
    plan = Plan.of(config.entities, grid.entities, enough)
    window = config.item_shape[0]

    # Built before anything runs side by side: weights are drawn from torch's own generator.
    networks = [build(model, config.item_shape, seed=config.seed) for _ in plan.learners]

    def fit_one(number: int) -> tuple[TrainingResult, int]:
        learns, last = plan.learners[number], number == len(plan) - 1
        train, validation = (
            _items(flat, grid, ends[part], learns, window, whole=len(plan) == 1)
            for part in (TRAIN, VALIDATION)
        )
        result = fit_network(
            networks[number],
            train,
            validation,
            training=config.training,
            seed=config.seed,
            device=device,
            checkpoint=checkpoint
            if checkpoint is None or last
            else checkpoint.with_name(f"{checkpoint.name}-{number}"),
            fingerprint=fingerprint if last else f"{fingerprint} {number}",
            progress=_numbered(progress, number, len(plan)),
        )
        networks[number].eval()
        return result, len(train)

    # The last one, of all entities, has many times as many windows as any other.
    few = networks[:-1]
    fitted: list[tuple[TrainingResult, int]] = []
    if can_train_together(few, config.training, device):
        parts = [
            [_items(flat, grid, ends[part], learns, window, whole=False) for learns in plan.learners[:-1]]
            for part in (TRAIN, VALIDATION)
        ]
        together = fit_together(
            few,
            *parts,
            training=config.training,
            seed=config.seed,
            progress=_named(progress, f"{len(few)} networks together"),
        )
        fitted = list(zip(together, map(len, parts[0]), strict=True))
    fitted += _fit_each(fit_one, range(len(fitted), len(plan)), model, device)
    results, sizes = zip(*fitted, strict=True)
    if len(networks) == 1:
        return networks[0], results[0], None
    seconds = sum(size / result.samples_per_second for size, result in zip(sizes, results, strict=True))
    together = replace(results[-1], samples_per_second=sum(sizes) / seconds)
    return NetworkBank(networks).eval(), together, plan.member


def _fit_each(fit_one: Callable[[int], B], numbers: range, model: Model, device: torch.device) -> list[B]:
    """`fit_one` of each number, in order: side by side on the cores, one thread each, where a network is fitted
    in one go on a CPU. Those that are trained draw random numbers, and go one after another."""
    if len(numbers) == 1 or device.type != "cpu" or not has_closed_form(model):
        return [fit_one(number) for number in numbers]
    with one_thread_each() as workers:
        return list(map_in_order(fit_one, numbers, workers=workers, ahead=2 * workers))


def _items(
    flat: NDArray[np.float32],
    grid: HistoryGrid,
    ends: NDArray[np.int64],
    learns: NDArray[np.bool_],
    window: int,
    *,
    whole: bool,
) -> WindowItems:
    """The windows of some entities, of as much of the grid as they need."""
    if whole:
        return WindowItems(flat, grid.observed, ends, window)
    mine = ends[learns[grid.entity[ends]]]
    low, high = int(mine[0]) - window + 1, int(mine[-1]) + 1
    return WindowItems(flat[low:high], grid.observed[low:high], mine - low, window)


def _numbered(
    progress: Callable[[Progress], None] | None, number: int, count: int
) -> Callable[[Progress], None] | None:
    return progress if count == 1 else _named(progress, f"network {number + 1} of {count}")


def _named(progress: Callable[[Progress], None] | None, stage: str) -> Callable[[Progress], None] | None:
    if progress is None:
        return None

    def tell(done: Progress) -> None:
        progress(replace(done, stage=f"{stage}, {done.stage}" if done.stage else stage))

    return tell
