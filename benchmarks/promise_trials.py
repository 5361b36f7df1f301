"""One repetition of the promise benchmark: a detector fitted to normal data, and what it flags of more of it.

Legend: L points of a stretch, N items.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from aeflow.config import (
    BatchRule,
    Calibration,
    History,
    ImagePrepare,
    PipelineConfig,
    SeriesPrepare,
    Split,
    Training,
    load_config,
)
from aeflow.config.models import Lstm, Pca
from aeflow.config.source import ImageSource, TableSource
from aeflow.data.series import Cadences, HistoryGrid
from aeflow.data.splits import CALIBRATION, TEST, split_groups, split_time
from aeflow.detector.image_fitting import ImageHistory, fit_images
from aeflow.detector.series_fitting import SeriesHistory, fit_series
from aeflow.numerics.calibration import fit_calibration
from aeflow.numerics.events import find_events
from aeflow.numerics.exchangeability import BulkCounts, check_exchangeability
from aeflow.numerics.gridding import Cadence
from benchmarks import normal_data
from benchmarks.pipelines import CONFIGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aeflow.numerics.calibration import Calibration as Fitted
    from aeflow.numerics.p_values import Rule

BATCHES = 3
"""A test part of a series is so many batches."""
FLAGS_PER_BATCH = 2.0
"""Promised of series."""
FLAGGED_SHARE = 0.05
"""Promised of images."""
_WINDOW_POINTS = 8  # of 38 channels: what a closed form fits in a fraction of a second
_STRETCH_POINTS = 6_000
_NETWORK_MACHINE = "machine-1-6"
_NETWORK_WINDOW_POINTS = 16
_SIDE_PX = 32
_BEATS = 800
_ITEMS_PER_BATCH = 100.0
_STEP_US = 60_000_000
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Judged:
    """Normal items, what was promised and expected of them, and what came.

    low, high: 95 % interval of the false flags, by the calibration. flagged_share: of the items.
    beyond: more flags or more flagged items came than chance explains: a flood of points is one event. moved: the check for a shift says so.
    """

    items: int
    promised: float
    expected: float
    low: int
    high: int
    came: int
    flagged_share: float
    beyond: bool
    moved: bool

    @property
    def outcome(self) -> str:
        """kept: within the interval; below it; above it, and told of or silent."""
        if self.came > self.high:
            return "told" if self.moved else "silent"
        return "below" if self.came < self.low else "kept"


@dataclass(frozen=True)
class Repetition:
    """One fitted detector: its whole test part, and the batches that it consists of."""

    whole: Judged
    batches: tuple[Judged, ...]


def series_repetition(seed: int, *, data: str, rule: Rule, shipped: str | None = None) -> Repetition:
    """A stretch of one series: half of it trains, a tenth stops, a fifth calibrates, a fifth is judged. shipped: the
    pipeline of `configs/` whose windows, model and scores are taken; None: PCA of short windows."""
    rng = np.random.default_rng(seed)
    series = normal_data.SERIES[data]()
    values = series[sorted(series)[rng.integers(len(series))]]
    length = int(min(_STRETCH_POINTS, len(values)) * rng.uniform(0.6, 1.0))
    first = int(rng.integers(len(values) - length + 1))
    stretch = values[first : first + length]
    split = Split(train=0.5, validation=0.1, calibration=0.2, test=0.2)
    history = _history(stretch, split)
    judged = history.part == TEST
    batch_points = int(judged.sum()) / BATCHES
    promise = Calibration(rule=rule, false_flags_per_batch=FLAGS_PER_BATCH, items_per_batch=batch_points)
    config = _config(stretch.shape[1], promise)
    if shipped is not None:
        taken = load_config(CONFIGS / f"{shipped}.yaml")
        sections = {name: getattr(taken, name) for name in ("prepare", "model", "scoring")}
        config = config.model_copy(update=sections)
    found = fit_series(config, config.model, history, items_per_batch=batch_points, device=_CPU)
    return _in_batches(found.calibration, promise, found.test_scores, history.grid.slot[judged])


def _history(values: NDArray[np.float32], split: Split) -> SeriesHistory:
    """The rows `(L, C)` of one series, one a minute, shared out in time."""
    length = len(values)
    points = np.arange(length)
    grid = HistoryGrid(
        entities=("",),
        values=np.nan_to_num(values),
        observed=~np.isnan(values),
        entity=np.zeros(length, dtype=np.int32),
        segment_start=np.zeros(length, dtype=np.int64),
        has_row=np.ones(length, dtype=bool),
        slot=points,
        time_us=points * _STEP_US,
    )
    cadence = Cadence(_STEP_US, 0)
    return SeriesHistory(grid, split_time(grid.entity, split), Cadences({"": cadence}, cadence))


def _config(channels: int, promise: Calibration) -> PipelineConfig:
    """PCA of short windows of a series."""
    return PipelineConfig(
        name="promise",
        source=TableSource(path="none", time_column="t", channels=_names(channels)),
        batch=BatchRule(by="folder"),
        history=History(batches=("history",)),
        prepare=SeriesPrepare(window_points=_WINDOW_POINTS),
        model=Pca(),
        calibration=promise,
    )


def _in_batches(
    calibration: Fitted, promise: Calibration, score: NDArray[np.float32], slot: NDArray[np.int64]
) -> Repetition:
    """Scores `(N,)` of one series, at the grid points `slot`, judged as a whole and batch by batch."""

    def events(flagged: NDArray[np.bool_], at: NDArray[np.int64]) -> int:
        event = find_events(
            flagged,
            at,
            np.zeros_like(at),
            merge_gap=promise.merge_gap_points,
            min_points=promise.min_event_points,
        )
        return int(event.max(initial=-1)) + 1

    p_value = calibration.p_values(score)
    judge = partial(_judged, calibration)
    flagged = calibration.flags(p_value)
    thirds = np.array_split(np.arange(slot.size), BATCHES)
    return Repetition(
        judge(p_value, flagged, events(flagged, slot)),
        tuple(judge(p_value[third], flagged[third], events(flagged[third], slot[third])) for third in thirds),
    )


def tile_repetition(seed: int, *, rule: Rule) -> Repetition:
    """A quarter of the tiles, drawn at random, comes later and is judged; the others are the history."""
    pixels, groups = normal_data.tiles(_SIDE_PX)
    names = sorted(set(groups))
    later = np.random.default_rng(seed).permutation(names)[: len(names) // 4]
    known = np.flatnonzero(~np.isin(groups, later))
    part = np.full(len(groups), TEST, dtype=np.int8)
    split = Split(train=0.5, validation=0.15, calibration=0.35, test=0)
    part[known] = split_groups([groups[i] for i in known], [str(i) for i in known], split, seed)
    return _images(pixels, groups, part, rule)


def shipped_tile_repetition(seed: int, *, rule: Rule) -> Repetition:
    """The detector of `configs/tiles.yaml`, fitted once: of the tiles that neither trained nor stopped it, a half
    drawn at random calibrates, and the other half is judged."""
    score, groups = _tile_scores()
    names = sorted(set(groups))
    later = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    judged = np.isin(groups, later)
    calibration = fit_calibration(
        score[~judged],
        rule=rule,
        false_flags_per_batch=FLAGGED_SHARE * _ITEMS_PER_BATCH,
        items_per_batch=_ITEMS_PER_BATCH,
        group=np.unique(groups[~judged], return_inverse=True)[1],
    )
    p_value = calibration.p_values(score[judged])
    flagged = calibration.flags(p_value)
    whole = _judged(calibration, p_value, flagged, int(flagged.sum()))
    return Repetition(whole, (whole,))


@lru_cache(maxsize=1)
def _tile_scores() -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Scores `(N,)` of the images of tiles that the shipped detector learnt nothing of, and their tiles."""
    config = load_config(CONFIGS / "tiles.yaml")
    pixels, groups = normal_data.tiles(config.item_shape[1])
    contents = tuple(str(number) for number in range(len(pixels)))
    part = split_groups(groups, contents, config.split, config.seed)
    folder, items = np.full(len(pixels), "normal"), np.arange(len(pixels))
    history = ImageHistory(pixels, items, part, contents, groups, contents, folder, Counter())
    found = fit_images(config, config.model, history, items_per_batch=_ITEMS_PER_BATCH, device=_CPU)
    of = np.array(groups)
    return (
        np.concatenate([found.calibration_scores, found.test_scores]),
        np.concatenate([of[part == CALIBRATION], of[part == TEST]]),
    )


def network_repetition(seed: int, *, rule: Rule) -> Repetition:
    """A small LSTM autoencoder of one machine of SMD, trained once: of what follows in time a stretch drawn at random
    calibrates, and what comes next is judged."""
    rng = np.random.default_rng(seed)
    score, slot = _network_scores()
    points = round(_STRETCH_POINTS * 0.2)
    first = int(rng.integers(score.size - 2 * points + 1))
    before, after = slice(first, first + points), slice(first + points, first + 2 * points)
    promise = Calibration(rule=rule, false_flags_per_batch=FLAGS_PER_BATCH, items_per_batch=points / BATCHES)
    one = np.zeros(points, dtype=np.int64)
    calibration = fit_calibration(
        score[before],
        rule=rule,
        false_flags_per_batch=FLAGS_PER_BATCH,
        items_per_batch=points / BATCHES,
        sequence=(one, slot[before]),
        merge_gap=promise.merge_gap_points,
        min_points=promise.min_event_points,
    )
    return _in_batches(calibration, promise, score[after], slot[after])


@lru_cache(maxsize=1)
def _network_scores() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores `(N,)` and grid points of what follows the part that trained and stopped the network."""
    values = normal_data.smd()[_NETWORK_MACHINE]
    split = Split(train=0.25, validation=0.05, calibration=0.35, test=0.35)
    history = _history(values, split)
    config = _config(
        values.shape[1],
        Calibration(false_flags_per_batch=FLAGS_PER_BATCH, items_per_batch=_STRETCH_POINTS * 0.2 / BATCHES),
    ).model_copy(
        update={
            "prepare": SeriesPrepare(window_points=_NETWORK_WINDOW_POINTS),
            "model": Lstm(task="composite", hidden_size=32, code_size=8),
            "training": Training(epochs=10, max_train_windows=4000),
        }
    )
    found = fit_series(config, config.model, history, items_per_batch=1.0, device=_CPU)
    held_out = (history.part == CALIBRATION) | (history.part == TEST)
    return np.concatenate([found.calibration_scores, found.test_scores]), history.grid.slot[held_out]


def beat_repetition(seed: int, *, rule: Rule) -> Repetition:
    """Some normal heartbeats as pictures of one line: independent items."""
    every = normal_data.beats()
    beats = every[np.random.default_rng(seed).permutation(len(every))[:_BEATS]]
    low, high = beats.min(), beats.max()
    pixels = ((beats - low) / (high - low)).astype(np.float32)[:, None, None, :].repeat(8, axis=2)
    alone = (None,) * len(pixels)
    contents = tuple(str(number) for number in range(len(pixels)))
    split = Split(train=0.4, validation=0.1, calibration=0.25, test=0.25)
    return _images(pixels, alone, split_groups(alone, contents, split, seed), rule)


def _images(
    pixels: NDArray[np.uint8] | NDArray[np.float32],
    groups: tuple[str | None, ...],
    part: NDArray[np.int8],
    rule: Rule,
) -> Repetition:
    config = PipelineConfig(
        name="promise",
        source=ImageSource(root="none"),
        batch=BatchRule(by="folder"),
        history=History(batches=("history",)),
        prepare=ImagePrepare(height_px=pixels.shape[2], width_px=pixels.shape[3]),
        model=Pca(max_components=32),
        calibration=Calibration(
            rule=rule,
            false_flags_per_batch=FLAGGED_SHARE * _ITEMS_PER_BATCH,
            items_per_batch=_ITEMS_PER_BATCH,
        ),
    )
    contents = tuple(str(number) for number in range(len(pixels)))
    folder = np.full(len(pixels), "normal")
    items = np.arange(len(pixels))
    history = ImageHistory(pixels, items, part, contents, groups, contents, folder, Counter())
    found = fit_images(config, config.model, history, items_per_batch=_ITEMS_PER_BATCH, device=_CPU)
    p_value = found.calibration.p_values(found.test_scores)
    flagged = found.calibration.flags(p_value)
    whole = _judged(found.calibration, p_value, flagged, int(flagged.sum()))
    return Repetition(whole, (whole,))


def _judged(
    calibration: Fitted, p_value: NDArray[np.float64], flagged: NDArray[np.bool_], came: int
) -> Judged:
    counts = BulkCounts()
    counts.add(p_value)
    interval = calibration.count_interval(p_value.size)
    assert interval is not None
    assert calibration.expected_false_flags_per_batch is not None
    share = p_value.size / calibration.items_per_batch
    return Judged(
        items=p_value.size,
        promised=calibration.promised * share,
        expected=calibration.expected_false_flags_per_batch * share,
        low=interval[0],
        high=interval[1],
        came=came,
        flagged_share=float(flagged.mean()),
        beyond=calibration.beyond_chance(p_value.size, came, int(flagged.sum())),
        moved=not check_exchangeability(counts, calibration.normal, {}).kept,
    )


def _names(count: int) -> tuple[str, ...]:
    return tuple(f"c{number + 1}" for number in range(count))


TRIALS: dict[str, Callable[..., Repetition]] = {
    "magnetic tiles": tile_repetition,
    "ECG5000": beat_repetition,
    **{name: partial(series_repetition, data=name) for name in normal_data.SERIES},
}
SHIPPED: dict[str, Callable[..., Repetition]] = {
    "magnetic tiles, `configs/tiles.yaml`": shipped_tile_repetition,
    **{
        f"{data}, `configs/{name}.yaml`": partial(series_repetition, data=data, shipped=name)
        for data, name in (("SMD", "smd"), ("SKAB anomaly-free", "skab"), ("NAB", "nab"))
    },
    "SMD, a small LSTM": network_repetition,
}
"""By the rule that they ship with."""
