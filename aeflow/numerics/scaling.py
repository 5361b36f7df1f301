"""Channels of different units on one scale, per entity, unmoved by outliers in the history.

Legend: L grid points, C channels, E entities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_entities, expect_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_NORMAL_IQR = 1.349
"""The interquartile range of a normal distribution in standard deviations."""


@dataclass(frozen=True, eq=False)
class RobustScale:
    """Where each channel of each entity lies, and how far it moves, in the channel's unit.

    center: `(E + 1, C)` float32, the median. The last row is over all entities together: the entity
        code -1, an entity never seen before, takes it.
    scale: `(E + 1, C)` float32, always positive.
    """

    center: NDArray[np.float32]
    scale: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit and scales that cannot divide."""
        expect_shape("center", self.center, (None, None))
        expect_shape("scale", self.scale, self.center.shape)
        if not (np.isfinite(self.center).all() and np.isfinite(self.scale).all() and (self.scale > 0).all()):
            msg = "center must be finite and scale finite and positive"
            raise InputError(msg)

    @property
    def n_entities(self) -> int:
        """E: the entities known by name, the pooled row not counted."""
        return int(self.center.shape[0]) - 1

    def apply(
        self, values: NDArray[np.floating[Any]], entity: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """`values` in scales from the center, float32, NaN where NaN.

        Args:
            values: `(N, ..., C)` in the channels' units: points `(L, C)` or windows `(N, T, C)`.
            entity: `(N,)` codes, -1 for an entity that the scale does not know.
        """
        center, scale = self._rows(values, entity)
        return np.asarray((values - center) / scale, dtype=np.float32)

    def invert(
        self, scaled: NDArray[np.floating[Any]], entity: NDArray[np.integer[Any]]
    ) -> NDArray[np.float32]:
        """The values of which `apply` gave `scaled` `(N, ..., C)`, in the channels' units, float32 of the same
        shape; `entity` as there."""
        center, scale = self._rows(scaled, entity)
        return np.asarray(scaled * scale + center, dtype=np.float32)

    def _rows(
        self, values: NDArray[np.floating[Any]], entity: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The center and scale of each item, shaped to broadcast over `values`."""
        if values.ndim < 2 or values.shape[-1] != self.center.shape[1]:
            msg = f"values must have the shape (items, ..., {self.center.shape[1]}), got {values.shape}"
            raise InputError(msg)
        expect_shape("entity", entity, values.shape[:1])
        expect_entities(entity, self.n_entities, lowest=-1)
        between = (1,) * (values.ndim - 2)
        shape = (entity.size, *between, self.center.shape[1])
        return self.center[entity].reshape(shape), self.scale[entity].reshape(shape)


def fit_robust_scale(
    values: NDArray[np.floating[Any]], entity: NDArray[np.integer[Any]], n_entities: int
) -> RobustScale:
    """The median and the interquartile range / 1.349 (a standard deviation, were the data normal).

    A channel of an entity without any value takes the pooled center. A range of zero (more than half
    of the values are equal) gives way to the standard deviation; if that is zero as well, to the
    channel's pooled scale; and where the channel never moved anywhere, to 1.0 in its own unit.
    What is below the float32 resolution of the center counts as zero.

    Args:
        values: `(L, C)`, NaN where missing.
        entity: `(L,)` codes 0 .. n_entities - 1, in any order.
        n_entities: E.

    Raises:
        InputError: wrong shapes or codes, no rows at all, or an infinite value.
    """
    return _fit_scale(values, entity, n_entities, _center_and_scale)


def fit_deviation_scale(
    values: NDArray[np.floating[Any]], entity: NDArray[np.integer[Any]], n_entities: int
) -> RobustScale:
    """As `fit_robust_scale`, but mean and standard deviation: a channel that stands still most of the time and
    leaps at others keeps leaps of a few units. Outliers in the history widen it.

    Raises:
        InputError: as there.
    """
    return _fit_scale(values, entity, n_entities, _mean_and_deviation)


def fit_common_scale(
    values: NDArray[np.floating[Any]], entity: NDArray[np.integer[Any]], n_entities: int
) -> RobustScale:
    """As `fit_deviation_scale`, but every channel of an entity in the root mean square of the deviations of all: for
    channels of one unit, of which one that moves more is to count for more.

    Raises:
        InputError: as there.
    """
    return _fit_scale(values, entity, n_entities, _mean_and_common_deviation)


def _fit_scale(
    values: NDArray[np.floating[Any]],
    entity: NDArray[np.integer[Any]],
    n_entities: int,
    measure: Callable[[NDArray[np.floating[Any]]], tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> RobustScale:
    expect_shape("values", values, (None, None))
    expect_shape("entity", entity, values.shape[:1])
    expect_entities(entity, n_entities)
    if values.shape[0] == 0 or n_entities < 1:
        msg = f"a scale needs rows and entities to learn from, got {values.shape[0]} rows, {n_entities} entities"
        raise InputError(msg)
    if np.isinf(values).any():
        msg = f"values must be finite or NaN, got {int(np.isinf(values).sum())} infinities"
        raise InputError(msg)

    pooled_center, pooled_scale = measure(values)
    pooled_center = np.where(np.isnan(pooled_center), 0.0, pooled_center)
    pooled_scale = np.where(pooled_scale > 0, pooled_scale, 1.0)

    n_channels = values.shape[1]
    center = np.tile(pooled_center, (n_entities + 1, 1))
    scale = np.tile(pooled_scale, (n_entities + 1, 1))
    order = np.argsort(entity, kind="stable")
    bounds = np.searchsorted(entity[order], np.arange(n_entities + 1))
    for code in range(n_entities):
        rows = values[order[bounds[code] : bounds[code + 1]]]
        if rows.shape[0] == 0:
            continue
        own_center, own_scale = measure(rows)
        center[code] = np.where(np.isnan(own_center), pooled_center, own_center)
        scale[code] = np.where(own_scale > 0, own_scale, pooled_scale)
    expect_shape("scale", scale, (n_entities + 1, n_channels))
    return RobustScale(center.astype(np.float32), scale.astype(np.float32))


def _center_and_scale(values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and scale of each channel, `(C,)` each; a scale of 0 where it did not move, a center of
    NaN where it holds no value."""
    ordered = np.sort(values.astype(np.float64), axis=0)  # NaN go last
    count = np.isfinite(ordered).sum(axis=0)
    low, center, high = (_quantile_of_sorted(ordered, count, share) for share in (0.25, 0.5, 0.75))
    still = np.maximum(np.finfo(np.float32).eps * np.abs(center), np.finfo(np.float32).tiny)
    scale = (high - low) / _NORMAL_IQR
    narrow = ~(scale > still)
    if narrow.any():
        valid = np.isfinite(ordered[:, narrow])
        deviation = np.where(valid, ordered[:, narrow] - center[narrow], 0.0)
        n = np.maximum(count[narrow], 1)
        mean = deviation.sum(axis=0) / n
        scale[narrow] = np.sqrt((np.where(valid, deviation - mean, 0.0) ** 2).sum(axis=0) / n)
    return center, np.where(scale > still, scale, 0.0)


def _mean_and_deviation(
    values: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel, as `_center_and_scale` gives median and scale."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    n = np.maximum(count, 1)
    # Around a value of the channel, lest the squares of a far center drown a small spread.
    around = np.where(known.any(axis=0), values[np.argmax(known, axis=0), np.arange(values.shape[1])], 0.0)
    away = np.where(known, values - around, 0.0).astype(np.float64)
    mean = away.sum(axis=0) / n
    scale = np.sqrt((np.where(known, away - mean, 0.0) ** 2).sum(axis=0) / n)
    center = np.where(count > 0, around + mean, np.nan)
    still = np.maximum(np.finfo(np.float32).eps * np.abs(center), np.finfo(np.float32).tiny)
    return center, np.where(scale > still, scale, 0.0)


def _mean_and_common_deviation(
    values: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As `_mean_and_deviation`, with one deviation for all channels, of those that moved."""
    center, scale = _mean_and_deviation(values)
    moved = scale > 0
    common = np.sqrt((scale[moved] ** 2).mean()) if moved.any() else 0.0
    return center, np.full(scale.shape, common)


def _quantile_of_sorted(
    ordered: NDArray[np.float64], count: NDArray[np.int64], share: float
) -> NDArray[np.float64]:
    """The linearly interpolated quantile of the first `count` rows of each column, `(C,)`.

    numpy's nanquantile gives the same, but loops in Python over columns that hold a NaN.
    """
    place = share * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    columns = np.arange(ordered.shape[1])
    lower = ordered[below, columns]
    return np.asarray(lower + (place - below) * (ordered[above, columns] - lower))
