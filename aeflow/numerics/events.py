"""Flagged time points that belong together.

Only flagged rows are needed, and they are few: a batch of any size is judged in portions, the flagged
rows of all portions are put together, and `merge_flagged` numbers their events.

Legend: R rows, F flagged rows.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

NO_EVENT = -1


def merge_flagged(
    position: NDArray[np.integer[Any]],
    entity: NDArray[np.integer[Any]],
    *,
    merge_gap: int,
    min_points: int,
) -> NDArray[np.int64]:
    """The event number of each flagged row, `(F,)` int64; -1 where its event is too short.

    Rows of one entity belong together when at most `merge_gap` grid points lie between neighbours.
    Events are numbered from 0 in the order of the rows.

    Args:
        position: `(F,)` grid index of each flagged row; duplicates are allowed.
        entity: `(F,)` codes; rows are sorted by entity, then position.
        merge_gap: grid points.
        min_points: an event of fewer flagged rows is none.

    Raises:
        InputError: rows out of order, or a parameter outside its range.
    """
    expect_shape("position", position, (None,))
    expect_shape("entity", entity, position.shape)
    _expect_rule(merge_gap, min_points)
    if position.size == 0:
        return np.empty(0, dtype=np.int64)
    step = np.diff(position.astype(np.int64))
    other_entity = np.diff(entity.astype(np.int64))
    if (other_entity < 0).any() or (step[other_entity == 0] < 0).any():
        msg = "flagged rows must be sorted by entity, then position, and they are not"
        raise InputError(msg, remedy="Sort them with np.lexsort((position, entity)).")
    begins = np.concatenate([[True], (other_entity != 0) | (step > merge_gap + 1)])
    group = np.cumsum(begins) - 1
    long_enough = np.bincount(group) >= min_points
    number = np.where(long_enough, np.cumsum(long_enough) - 1, NO_EVENT)
    return np.asarray(number[group], dtype=np.int64)


def find_events(
    flagged: NDArray[np.bool_],
    position: NDArray[np.integer[Any]],
    entity: NDArray[np.integer[Any]],
    *,
    merge_gap: int,
    min_points: int,
) -> NDArray[np.int64]:
    """The event number of each row, `(R,)` int64, -1 for none; `merge_flagged` over whole arrays.

    Rows that are not flagged belong to no event, even between two that do.
    """
    expect_shape("flagged", flagged, (None,))
    expect_shape("position", position, flagged.shape)
    expect_shape("entity", entity, flagged.shape)
    event = np.full(flagged.shape, NO_EVENT, dtype=np.int64)
    event[flagged] = merge_flagged(
        position[flagged], entity[flagged], merge_gap=merge_gap, min_points=min_points
    )
    return event


def iter_event_counts(
    scores: NDArray[np.floating[Any]],
    position: NDArray[np.integer[Any]],
    entity: NDArray[np.integer[Any]],
    *,
    merge_gap: int,
    min_points: int,
) -> Iterator[tuple[float, int, int]]:
    """For each distinct score from the highest down: (score, rows at or above it, their events).

    One pass: each row joins or links the events beside it, so that all levels together cost little
    more than one. The number of events rises and falls on the way down, as events grow together.

    Args:
        scores: `(R,)`, no NaN.
        position: `(R,)` grid index.
        entity: `(R,)` codes; rows may stand in any order.
        merge_gap: as in `merge_flagged`.
        min_points: as in `merge_flagged`.
    """
    expect_shape("scores", scores, (None,))
    expect_shape("position", position, scores.shape)
    expect_shape("entity", entity, scores.shape)
    _expect_rule(merge_gap, min_points)
    if scores.size == 0:
        return
    # One axis for all entities, so far apart that no gap bridges them.
    low = int(position.min())
    apart = int(position.max()) - low + merge_gap + 2
    place = (position.astype(np.int64) - low + entity.astype(np.int64) * apart).tolist()
    order = np.argsort(-scores, kind="stable").tolist()
    taken: list[tuple[int, int]] = []  # (place, row) in order of place
    parent: dict[int, int] = {}
    size: dict[int, int] = {}
    events = 0

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for rank, row in enumerate(order):
        parent[row], size[row] = row, 1
        events += min_points == 1
        at = bisect_left(taken, (place[row], row))
        beside = taken[max(at - 1, 0) : at + 1]
        for its_place, its_row in beside:
            if abs(its_place - place[row]) > merge_gap + 1:
                continue
            one, other = root(its_row), root(row)
            if one == other:  # both neighbours were in one event already
                continue
            joined = size[one] + size[other]
            events += (joined >= min_points) - (size[one] >= min_points) - (size[other] >= min_points)
            parent[other], size[one] = one, joined
        insort(taken, (place[row], row))
        if rank + 1 == len(order) or scores[order[rank + 1]] != scores[row]:
            yield float(scores[row]), rank + 1, events


def _expect_rule(merge_gap: int, min_points: int) -> None:
    if merge_gap < 0 or min_points < 1:
        msg = f"merge_gap must be at least 0 and min_points at least 1, got {merge_gap} and {min_points}"
        raise InputError(msg)
