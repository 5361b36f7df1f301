"""What looks back over the scores of an entity: their mean, and the level that they usually have.

A value at a grid point depends on the points of the same entity at most so many steps before it, and on nothing
else: neither on where a batch or a portion of it begins, provided that so many steps before are there. Sums are
of the same numbers in the same order wherever they are taken.

Legend: N scored points, entity after entity, each in the order of time; K columns; E entities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCKS = 16
"""A baseline of so many points is learnt anew every sixteenth of them."""
_LEAST_SHARE = 0.1
"""A baseline is never less than this share of the usual level: where nothing moves, scores are nearly nothing,
and the first that moves a little would be thousands of times as high."""
_CELLS_AT_ONCE = 2**21


def trailing_mean(
    values: NDArray[np.floating[Any]],
    entity: NDArray[np.integer[Any]],
    slot: NDArray[np.int64],
    points: int,
) -> NDArray[np.float32]:
    """The mean of the values at the last `points` grid points of the entity, the present one among them.

    Args:
        values: `(N,)` or `(N, K)`; where one of a row is NaN the row counts as missing.
        entity: `(N,)` codes.
        slot: `(N,)` number of the grid point, rising within an entity. Points that are missing do not count.
        points: how many grid points a mean goes back; 1 leaves the values as they are.

    Returns:
        the means, float32, of the shape of `values`; NaN where the row itself holds a NaN.

    Raises:
        InputError: shapes that differ, slots that do not rise, or fewer than one point.
    """
    _check_order(values, entity, slot)
    if points < 1:
        msg = f"points must be at least 1 (no smoothing), got {points}"
        raise InputError(msg)
    if points == 1 or values.shape[0] == 0:
        return np.asarray(values, dtype=np.float32)
    table = values.reshape(values.shape[0], -1).astype(np.float64)
    missing = np.asarray(np.isnan(table).any(axis=1))
    table[missing] = 0.0
    first = _first_within(entity, slot, points - 1)
    counted = _window_sums((~missing).astype(np.float64)[:, np.newaxis], first)
    mean = _window_sums(table, first) / np.maximum(counted, 1.0)
    mean[missing] = np.nan
    return np.asarray(mean, dtype=np.float32).reshape(values.shape)


def at_two_scales(
    point: NDArray[np.floating[Any]],
    point_parts: NDArray[np.floating[Any]],
    mean: NDArray[np.floating[Any]],
    mean_parts: NDArray[np.floating[Any]],
    point_weight: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores of points and their means, fused: `point ** w * mean ** (1 - w)`.

    The geometric mean asks for no common unit: a score of few values fluctuates more than its mean does, and an
    arithmetic one would be that of the louder.

    Args:
        point: `(N,)` not negative; NaN counts as missing.
        point_parts: `(N, K)` that sum to it.
        mean: `(N,)` such as `trailing_mean` gives.
        mean_parts: `(N, K)` that sum to it.
        point_weight: w, 0..1.

    Returns:
        the fused scores `(N,)`, float32; and their parts `(N, K)`, float32: those of either scale by its weight.
    """
    scores = np.column_stack([point, mean]).astype(np.float64)
    weights = np.array([point_weight, 1 - point_weight])
    fused = np.prod(scores**weights, axis=1)
    # Where nothing came of one scale, nothing comes of both.
    share = weights * np.where(scores > 0, fused[:, np.newaxis] / np.where(scores > 0, scores, 1.0), 0.0)
    parts = share[:, :1] * point_parts + share[:, 1:] * mean_parts
    parts[np.isnan(fused)] = np.nan
    return fused.astype(np.float32), parts.astype(np.float32)


def moving_baseline(
    scores: NDArray[np.floating[Any]],
    entity: NDArray[np.integer[Any]],
    slot: NDArray[np.int64],
    usual: NDArray[np.floating[Any]],
    *,
    points: int,
    quantile: float,
) -> NDArray[np.float32]:
    """The level that scores of an entity had of late, `(N,)` float32, positive.

    The grid is cut into blocks of `points / BLOCKS` points. The baseline of a block is the `quantile` of the
    scores at the `points` grid points before it; so the last few points never count, and a block costs one sort.
    As far as scores are missing there (the entity is new, a gap, the first night) the usual level stands in:
    of n scores among L points the baseline is `n / L` their quantile and `1 - n / L` the usual level.

    Args:
        scores: `(N,)`, not negative; NaN counts as missing.
        entity: `(N,)` codes.
        slot: `(N,)` number of the grid point, rising within an entity.
        usual: `(N,)` positive: what that quantile was on the held-out part of the history.
        points: L, at least `BLOCKS`.
        quantile: between 0 and 1.

    Raises:
        InputError: shapes that differ, slots that do not rise, or a parameter outside its range.
    """
    _check_order(scores, entity, slot)
    expect_shape("usual", usual, scores.shape)
    if points < BLOCKS or not 0 < quantile < 1:
        msg = f"expected at least {BLOCKS} points and a quantile between 0 and 1, got {points} and {quantile}"
        raise InputError(msg)
    level = usual.astype(np.float64)
    if scores.size == 0:
        return level.astype(np.float32)
    block = points // BLOCKS
    number = slot // block
    begins = np.ones(scores.size, dtype=bool)
    begins[1:] = (number[1:] != number[:-1]) | (entity[1:] != entity[:-1])
    heads = np.flatnonzero(begins)
    place = _places(entity, slot, points + block)
    start = place[heads] - slot[heads] + number[heads] * block  # of the block, in the same count
    low, high = np.searchsorted(place, start - points), np.searchsorted(place, start)
    found, count = _quantiles(scores.astype(np.float64), low, high, quantile)
    share = count / points
    of_block = np.where(count > 0, share * found, 0.0) + (1 - share) * level[heads]
    of_block = np.maximum(of_block, _LEAST_SHARE * level[heads])
    return np.asarray(np.repeat(of_block, np.diff(np.append(heads, scores.size))), dtype=np.float32)


def fit_usual_level(
    scores: NDArray[np.floating[Any]], entity: NDArray[np.integer[Any]], n_entities: int, quantile: float
) -> NDArray[np.float32]:
    """The `quantile` of held-out scores of each entity, `(E + 1,)` float32, positive; the last is of all
    together, for new entities and those without a score, and a tenth of it is the least of any.

    Args:
        scores: `(N,)`, not negative; NaN counts as missing.
        entity: `(N,)` codes 0 .. n_entities - 1.
        n_entities: E.
        quantile: 0..1.

    Raises:
        InputError: shapes that differ.
    """
    expect_shape("scores", scores, (None,))
    expect_shape("entity", entity, scores.shape)
    known = ~np.isnan(scores)
    if not known.any():
        return np.ones(n_entities + 1, dtype=np.float32)
    tiny = float(np.finfo(np.float32).tiny)
    pooled = max(float(np.quantile(scores[known].astype(np.float64), quantile)), tiny)
    found = np.full(n_entities + 1, pooled)
    for code in np.unique(entity[known]).tolist():
        own = scores[known & (entity == code)].astype(np.float64)
        found[code] = max(float(np.quantile(own, quantile)), _LEAST_SHARE * pooled)
    return found.astype(np.float32)


def look_back_points(smooth_points: int, baseline_points: int) -> int:
    """How many grid points before a point bear on its score by the functions above; 0 of both: none."""
    return max(smooth_points - 1, 0) + baseline_points + baseline_points // BLOCKS


def _check_order(
    values: NDArray[np.floating[Any]], entity: NDArray[np.integer[Any]], slot: NDArray[np.int64]
) -> None:
    expect_shape("entity", entity, values.shape[:1])
    expect_shape("slot", slot, values.shape[:1])
    if ((slot[1:] <= slot[:-1]) & (entity[1:] == entity[:-1])).any():
        msg = "slots must rise within an entity"
        raise InputError(msg)


def _places(entity: NDArray[np.integer[Any]], slot: NDArray[np.int64], apart: int) -> NDArray[np.int64]:
    """A number for each point that rises over all of them, by as much as slots do within an entity, and by
    more than `apart` from one entity to the next."""
    step = np.diff(slot, prepend=slot[:1])
    step[1:][entity[1:] != entity[:-1]] = apart + 1
    return np.cumsum(step)


def _first_within(entity: NDArray[np.integer[Any]], slot: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """The first point of the entity at most `reach` grid points before each."""
    place = _places(entity, slot, reach)
    return np.searchsorted(place, place - reach)


def _window_sums(table: NDArray[np.float64], first: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums of the rows `first .. i` for each row i, `(N, K)`: of the sums over 1, 2, 4, ... rows those that the
    length is made of. A running total would carry the rounding of one huge value on to all that follow."""
    index = np.arange(table.shape[0])
    length, end = index - first + 1, index.copy()
    total = np.zeros_like(table)
    doubled, width = table, 1
    while True:
        wanted = (length & width) > 0
        total[wanted] += doubled[end[wanted]]
        end -= np.where(wanted, width, 0)
        if int(length.max()) < 2 * width:
            return total
        doubled = doubled.copy()
        doubled[width:] += doubled[:-width].copy()
        width *= 2


def _quantiles(
    scores: NDArray[np.float64], low: NDArray[np.int64], high: NDArray[np.int64], quantile: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The linearly interpolated quantile of the scores `low .. high - 1` of each block, NaN left out, and how
    many those are."""
    widest = max(int((high - low).max(initial=0)), 1)
    found, count = np.zeros(low.size), np.zeros(low.size, dtype=np.int64)
    portion = max(1, _CELLS_AT_ONCE // widest)
    for begin in range(0, low.size, portion):
        here = slice(begin, begin + portion)
        at = low[here, np.newaxis] + np.arange(widest)
        inside = at < high[here, np.newaxis]
        window = np.where(inside, scores[np.minimum(at, scores.size - 1)], np.nan)
        window.sort(axis=1)  # NaN go last
        n = np.isfinite(window).sum(axis=1)
        place = quantile * np.maximum(n - 1, 0)
        below = place.astype(np.int64)
        above = np.minimum(below + 1, np.maximum(n - 1, 0))
        rows = np.arange(n.size)
        lower = window[rows, below]
        found[here] = lower + (place - below) * (window[rows, above] - lower)
        count[here] = n
    return found, count
