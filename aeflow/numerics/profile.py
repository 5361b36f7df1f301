"""What the channels of each entity look like, learnt in one pass over rows that come in portions.

Legend: R rows of a portion, C channels, E entities seen so far.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_entities, expect_shape

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ProfileTable:
    """Statistics of each channel of each entity, `(E, C)` each.

    rows: int64, rows of the entity, the same for all its channels.
    missing: int64, of them without a value.
    minimum, maximum, mean: float64 in the channel's unit; NaN without any value.
    std: float64, divided by the number of values; NaN without any value.
    changes: int64, how often a value differed from the one before it; 0 is flat.
    longest_run: int64, most equal values in a row; 0 without any value. A missing value neither ends
        a run nor lengthens it.
    """

    rows: NDArray[np.int64]
    missing: NDArray[np.int64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    changes: NDArray[np.int64]
    longest_run: NDArray[np.int64]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The statistics by name, `(E, C)` each."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """The table of which `to_arrays` gave `arrays`.

        Raises:
            InputError: one is missing or too many.
        """
        expected = {field.name for field in fields(cls)}
        if set(arrays) != expected:
            msg = f"a profile has {sorted(expected)}, got {sorted(arrays)}"
            raise InputError(msg)
        return cls(**arrays)


class ChannelProfile:
    """Gathers a `ProfileTable` from portions of any size; memory grows with E x C only.

    Rows of one entity must come in time order, within a portion and from one to the next; entities may
    be mixed. Portioning changes nothing but the last digits of mean and std (they are merged after Chan
    et al. 1979, never taken as a difference of sums).
    """

    def __init__(self, n_channels: int) -> None:
        """`n_channels`: C."""
        self._n_channels = n_channels
        self._rows = np.zeros(0, dtype=np.int64)
        self._count = np.zeros((0, n_channels), dtype=np.int64)
        self._minimum = np.zeros((0, n_channels))
        self._maximum = np.zeros((0, n_channels))
        self._mean = np.zeros((0, n_channels))
        self._squares = np.zeros((0, n_channels))  # sum of squared deviations from the mean
        self._changes = np.zeros((0, n_channels), dtype=np.int64)
        self._last = np.zeros((0, n_channels))
        self._run = np.zeros((0, n_channels), dtype=np.int64)  # length of the run that has not ended
        self._longest = np.zeros((0, n_channels), dtype=np.int64)

    def feed(self, values: NDArray[np.floating[Any]], entity: NDArray[np.integer[Any]]) -> None:
        """Take in `values` `(R, C)`, NaN where missing, of the entities `entity` `(R,)`, codes from 0.

        Raises:
            InputError: wrong shapes or codes, or an infinite value.
        """
        expect_shape("values", values, (None, self._n_channels))
        expect_shape("entity", entity, values.shape[:1])
        if values.shape[0] == 0:
            return
        n_entities = int(entity.max()) + 1
        expect_entities(entity, n_entities)
        if np.isinf(values).any():
            msg = f"values must be finite or NaN, got {int(np.isinf(values).sum())} infinities"
            raise InputError(msg)
        self._grow(n_entities)
        if (np.diff(entity) < 0).any():
            order = np.argsort(entity, kind="stable")
            values, entity = values[order], entity[order]
        self._rows += np.bincount(entity, minlength=self._rows.size)
        by_channel = np.ascontiguousarray(values.T, dtype=np.float64)
        for channel, column in enumerate(by_channel):
            valid = ~np.isnan(column)
            if valid.all():
                self._feed_channel(channel, column, entity)
            elif valid.any():
                self._feed_channel(channel, column[valid], entity[valid])

    def result(self) -> ProfileTable:
        """The statistics of everything fed so far; later portions do not change the table."""
        empty = self._count == 0
        spread = np.sqrt(self._squares / np.maximum(self._count, 1))
        return ProfileTable(
            rows=np.repeat(self._rows[:, np.newaxis], self._n_channels, axis=1),
            missing=self._rows[:, np.newaxis] - self._count,
            minimum=np.where(empty, np.nan, self._minimum),
            maximum=np.where(empty, np.nan, self._maximum),
            mean=np.where(empty, np.nan, self._mean),
            std=np.where(empty, np.nan, spread),
            changes=self._changes.copy(),
            longest_run=np.maximum(self._longest, self._run),
        )

    def _grow(self, n_entities: int) -> None:
        more = n_entities - self._rows.size
        if more <= 0:
            return
        self._rows = np.concatenate([self._rows, np.zeros(more, dtype=np.int64)])
        for name in ("_count", "_mean", "_squares", "_changes", "_last", "_run", "_longest"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros((more, self._n_channels), dtype=old.dtype)]))
        never = np.full((more, self._n_channels), np.inf)
        self._minimum = np.concatenate([self._minimum, never])
        self._maximum = np.concatenate([self._maximum, -never])

    def _feed_channel(
        self, channel: int, column: NDArray[np.float64], entity: NDArray[np.integer[Any]]
    ) -> None:
        """Merge one channel's values, none missing, sorted by entity."""
        begins = np.append(True, entity[1:] != entity[:-1])
        first = np.flatnonzero(begins)
        who = entity[first]
        at = (who, channel)
        count = np.diff(np.append(first, column.size))
        self._merge_moments(at, column, first, count)
        self._merge_runs(at, column, begins, first)
        self._minimum[at] = np.minimum(self._minimum[at], np.minimum.reduceat(column, first))
        self._maximum[at] = np.maximum(self._maximum[at], np.maximum.reduceat(column, first))
        self._count[at] += count  # last: the merges need the count before

    def _merge_moments(
        self,
        at: tuple[NDArray[np.integer[Any]], int],
        column: NDArray[np.float64],
        first: NDArray[np.int64],
        count: NDArray[np.int64],
    ) -> None:
        mean = np.add.reduceat(column, first) / count
        squares = np.add.reduceat((column - np.repeat(mean, count)) ** 2, first)
        before = self._count[at]
        total = before + count
        shift = mean - self._mean[at]
        self._squares[at] += squares + shift**2 * before * count / total
        self._mean[at] += shift * count / total

    def _merge_runs(
        self,
        at: tuple[NDArray[np.integer[Any]], int],
        column: NDArray[np.float64],
        begins: NDArray[np.bool_],
        first: NDArray[np.int64],
    ) -> None:
        differs = np.append(True, column[1:] != column[:-1])
        runs = np.flatnonzero(differs | begins)
        length = np.diff(np.append(runs, column.size))
        first_run = np.searchsorted(runs, first)  # the first run of each entity, within `runs`
        last_run = np.append(first_run[1:], runs.size) - 1
        known = self._count[at] > 0
        goes_on = known & (self._last[at] == column[first])
        # A run that goes on from the portion before is as long as both parts; one that does not ends.
        length[first_run] += np.where(goes_on, self._run[at], 0)
        ended = np.maximum(self._longest[at], self._run[at])
        self._longest[at] = np.maximum(ended, np.maximum.reduceat(length, first_run))
        self._run[at] = length[last_run]
        self._last[at] = column[runs[last_run]]
        self._changes[at] += last_run - first_run + (known & ~goes_on)
