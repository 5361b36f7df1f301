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
_LEVEL_STEP = 1.02


def merge_flagged(
    position: NDArray[np.integer[Any]],
    entity: NDArray[np.integer[Any]],
    *,
    merge_gap: int,
    min_points: int,
    rest_points: int = 0,
) -> NDArray[np.int64]:
    """The event number of each flagged row, `(F,)` int64; -1 where its event is too short, or in a rest.

    Rows of one entity belong together when at most `merge_gap` grid points lie between neighbours.
    Events are numbered from 0 in the order of the rows. In the `rest_points` grid points after the last row
    of an event nothing of its entity is flagged; what goes on beyond them is a new event.

    Args:
        position: `(F,)` grid index of each flagged row; duplicates are allowed.
        entity: `(F,)` codes; rows are sorted by entity, then position.
        merge_gap: grid points.
        min_points: an event of fewer flagged rows is none, and no rest follows it.
        rest_points: grid points.

    Raises:
        InputError: rows out of order, or a parameter outside its range.
    """
    expect_shape("position", position, (None,))
    expect_shape("entity", entity, position.shape)
    _expect_rule(merge_gap, min_points, rest_points)
    if position.size == 0:
        return np.empty(0, dtype=np.int64)
    step = np.diff(position.astype(np.int64))
    other_entity = np.diff(entity.astype(np.int64))
    if (other_entity < 0).any() or (step[other_entity == 0] < 0).any():
        msg = "flagged rows must be sorted by entity, then position, and they are not"
        raise InputError(msg, remedy="Sort them with np.lexsort((position, entity)).")
    begins = np.concatenate([[True], (other_entity != 0) | (step > merge_gap + 1)])
    group = np.cumsum(begins) - 1
    awake = _awake(position, entity, group, min_points, rest_points) if rest_points > merge_gap else None
    long_enough = np.bincount(group, weights=awake) >= min_points
    number = np.where(long_enough, np.cumsum(long_enough) - 1, NO_EVENT)[group]
    return np.asarray(number if awake is None else np.where(awake, number, NO_EVENT), dtype=np.int64)


def _awake(
    position: NDArray[np.integer[Any]],
    entity: NDArray[np.integer[Any]],
    group: NDArray[np.int64],
    min_points: int,
    rest_points: int,
) -> NDArray[np.bool_]:
    """Which flagged rows `(F,)` do not lie in the rest after an event."""
    awake = np.ones(position.shape, dtype=bool)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.append(starts[1:], group.size)
    resting: tuple[int, int] | None = None  # entity, last grid point of its rest
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        first = start
        if resting is not None and resting[0] == entity[start]:
            first += int(np.searchsorted(position[start:end], resting[1], side="right"))
            awake[start:first] = False
        if end - first >= min_points:
            resting = int(entity[start]), int(position[end - 1]) + rest_points
    return awake


def find_events(
    flagged: NDArray[np.bool_],
    position: NDArray[np.integer[Any]],
    entity: NDArray[np.integer[Any]],
    *,
    merge_gap: int,
    min_points: int,
    rest_points: int = 0,
) -> NDArray[np.int64]:
    """The event number of each row, `(R,)` int64, -1 for none; `merge_flagged` over whole arrays.

    Rows that are not flagged belong to no event, even between two that do.

    Args:
        flagged: `(R,)`.
        position: `(R,)` grid index; rows are sorted by entity, then position.
        entity: `(R,)` codes.
        merge_gap: as in `merge_flagged`.
        min_points: as in `merge_flagged`.
        rest_points: as in `merge_flagged`.

    Raises:
        InputError: shapes that differ, rows out of order, or a parameter outside its range.
    """
    expect_shape("flagged", flagged, (None,))
    expect_shape("position", position, flagged.shape)
    expect_shape("entity", entity, flagged.shape)
    event = np.full(flagged.shape, NO_EVENT, dtype=np.int64)
    event[flagged] = merge_flagged(
        position[flagged],
        entity[flagged],
        merge_gap=merge_gap,
        min_points=min_points,
        rest_points=rest_points,
    )
    return event


def iter_event_counts(
    scores: NDArray[np.floating[Any]],
    position: NDArray[np.integer[Any]],
    entity: NDArray[np.integer[Any]],
    *,
    merge_gap: int,
    min_points: int,
    rest_points: int = 0,
) -> Iterator[tuple[float, int, int]]:
    """For each distinct score from the highest down: (score, rows at or above it, their events).

    One pass: each row joins or links the events beside it, so that all levels together cost little
    more than one. The number of events rises and falls on the way down, as events grow together.
    A rest hangs on all events before it, so with one they are counted anew, at levels that are a fiftieth
    of the rows above them apart.

    Args:
        scores: `(R,)`, no NaN.
        position: `(R,)` grid index.
        entity: `(R,)` codes; rows may stand in any order.
        merge_gap: as in `merge_flagged`.
        min_points: as in `merge_flagged`.
        rest_points: as in `merge_flagged`.

    Raises:
        InputError: shapes that differ, or a parameter outside its range.
    """
    expect_shape("scores", scores, (None,))
    expect_shape("position", position, scores.shape)
    expect_shape("entity", entity, scores.shape)
    _expect_rule(merge_gap, min_points, rest_points)
    if scores.size == 0:
        return
    if rest_points > merge_gap:
        yield from _counts_with_rest(scores, position, entity, merge_gap, min_points, rest_points)
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


def _counts_with_rest(
    scores: NDArray[np.floating[Any]],
    position: NDArray[np.integer[Any]],
    entity: NDArray[np.integer[Any]],
    merge_gap: int,
    min_points: int,
    rest_points: int,
) -> Iterator[tuple[float, int, int]]:
    in_time = np.lexsort((position, entity))
    scores, position, entity = scores[in_time], position[in_time], entity[in_time]
    level, count = np.unique(-scores, return_counts=True)
    last = 0
    for value, at_or_above in zip((-level).tolist(), np.cumsum(count).tolist(), strict=True):
        if at_or_above < last * _LEVEL_STEP:
            continue
        last = at_or_above
        above = scores >= value
        event = merge_flagged(
            position[above],
            entity[above],
            merge_gap=merge_gap,
            min_points=min_points,
            rest_points=rest_points,
        )
        yield value, at_or_above, int(event.max(initial=NO_EVENT)) + 1


def _expect_rule(merge_gap: int, min_points: int, rest_points: int = 0) -> None:
    if merge_gap < 0 or min_points < 1 or rest_points < 0:
        msg = (
            f"merge_gap and rest_points must be at least 0 and min_points at least 1, "
            f"got {merge_gap}, {rest_points} and {min_points}"
        )
        raise InputError(msg)
