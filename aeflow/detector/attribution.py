"""What part of a point's score each channel caused: the windows behind it, scored again with channels held.

See `numerics.attribution` for what is asked. The windows go through the same network, the same distance and the
same smoothing as they did in the batch, so this holds for every family. A baseline is left out: it divides all
variants of a stretch by one number; where networks are fused, what is usual of each stands in for it.

Legend: L grid points, C channels, N windows, V variants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from aeflow.data.series import SeriesInputs
from aeflow.detector.series_scores import SeriesNormal, score_series
from aeflow.memory import hand_back
from aeflow.numerics.attribution import causal_shares, held_variants, level_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch
    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.models.autoencoder import Autoencoder

LEVEL_POINTS = 20
"""The level of a channel is taken from so many grid points before an event."""
_VALUES_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Stretch:
    """The grid points that decide the score of the last of them.

    values, observed: `(L, C)` float32 and bool as in `SeriesInputs`. slot: `(L,)`. ends: `(N,)` last points of the
    windows whose scores it is the mean of. level: `(C,)` what channels stood at before the event. first: from this
    point on they are held. parts: `(C,)` additive parts of the score.
    """

    entity: str
    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    slot: NDArray[np.int64]
    ends: NDArray[np.int64]
    level: NDArray[np.float32]
    first: int
    parts: NDArray[np.float32]


_Varied: TypeAlias = "tuple[Stretch, NDArray[np.float32], NDArray[np.int64]]"
"""A stretch, its variants `(V, L, C)`, and the channels `(M,)` that moved."""


def points_of_onset(config: PipelineConfig) -> int:
    """How many grid points before the first flagged one an event is taken to begin: half of those that its score
    is a mean over. A fault has to fill some of them before it is flagged."""
    return (config.lag_points + 1) // 2


def level_before(
    normal: SeriesNormal,
    config: PipelineConfig,
    entity: str,
    values: NDArray[np.float32],
    observed: NDArray[np.bool_],
    slot: NDArray[np.int64],
    start: int,
) -> NDArray[np.float32]:
    """The level `(C,)` of each channel over the last grid points before the event that was first flagged at the
    slot `start`; of a channel that was not observed there, what is usual of the entity."""
    onset = start - points_of_onset(config)
    before = (slot < onset) & (slot >= onset - LEVEL_POINTS)
    (code,) = normal.codes((entity,))
    return level_of(values[before], observed[before], normal.scale.center[code])


def stretch_behind(
    config: PipelineConfig,
    inputs: SeriesInputs,
    window: int,
    start: int,
    level: NDArray[np.float32],
    parts: NDArray[np.float32],
) -> Stretch:
    """What decides the score of the window of this number.

    Args:
        config: of the pipeline.
        inputs: hold the window, and those that its smoothing looks back to.
        window: into `inputs.ends`.
        start: slot of the first flagged point of its event.
        level: `(C,)` of `level_before`.
        parts: `(C,)` additive parts of its score.
    """
    end = int(inputs.ends[window])
    entity, slots = inputs.grid_entity[inputs.ends], inputs.grid_slot[inputs.ends]
    together = (entity == inputs.grid_entity[end]) & (inputs.ends <= end)
    ends = inputs.ends[together & (slots > inputs.grid_slot[end] - config.scoring.smooth_points)]
    points = slice(int(ends[0]) - inputs.window + 1, end + 1)
    slot = inputs.grid_slot[points]
    return Stretch(
        entity=inputs.entities[inputs.grid_entity[end]],
        values=inputs.values[points],
        observed=inputs.observed[points],
        slot=slot,
        ends=ends - points.start,
        level=level,
        first=int(np.searchsorted(slot, start - points_of_onset(config))),
        parts=parts,
    )


def attribute(
    normal: SeriesNormal,
    network: Autoencoder,
    config: PipelineConfig,
    stretches: Iterable[Stretch],
    *,
    device: torch.device,
    chunk_items: int,
) -> Iterator[NDArray[np.float64]]:
    """The share of each channel `(C,)` in the score of each stretch, in order; nothing depends on how many go through
    the network together, but for rounding."""
    waiting: list[_Varied] = []
    size = 0
    for stretch in stretches:
        waiting.append((stretch, *held_variants(stretch.values, stretch.level, stretch.first)))
        size += waiting[-1][1].size
        if size >= _VALUES_AT_ONCE:
            yield from _shares(normal, network, config, waiting, device, chunk_items)
            waiting, size = [], 0
    if waiting:
        yield from _shares(normal, network, config, waiting, device, chunk_items)


def _shares(
    normal: SeriesNormal,
    network: Autoencoder,
    config: PipelineConfig,
    waiting: list[_Varied],
    device: torch.device,
    chunk_items: int,
) -> Iterator[NDArray[np.float64]]:
    found = score_series(
        normal,
        network,
        _side_by_side(config.item_shape[0], waiting),
        config.error,
        config.scoring.model_copy(update={"baseline_points": 0}),
        device=device,
        chunk_items=chunk_items,
    )
    begin = 0
    for stretch, variants, moved in waiting:
        end = begin + len(variants) * stretch.ends.size
        scores = found.score[begin:end].reshape(len(variants), -1)[:, -1]
        yield causal_shares(scores, moved, stretch.parts)
        begin = end
    hand_back()


def _side_by_side(window: int, varied: list[_Varied]) -> SeriesInputs:
    """The variants of some stretches, each as if it were an entity by itself."""
    entities: list[str] = []
    values, observed, entity, slot, ends = [], [], [], [], []
    points = 0
    for stretch, variants, _ in varied:
        count, length, channels = variants.shape
        numbers = np.arange(count)
        values.append(variants.reshape(-1, channels))
        observed.append(np.tile(stretch.observed, (count, 1)))
        entity.append(np.repeat(len(entities) + numbers, length).astype(np.int32))
        slot.append(np.tile(stretch.slot, count))
        ends.append((points + numbers[:, np.newaxis] * length + stretch.ends).ravel())
        entities += [stretch.entity] * count
        points += count * length
    return SeriesInputs.without_rows(
        entities=tuple(entities),
        window=window,
        values=np.concatenate(values),
        observed=np.concatenate(observed),
        grid_entity=np.concatenate(entity),
        grid_slot=np.concatenate(slot),
        ends=np.concatenate(ends),
    )
