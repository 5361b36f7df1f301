"""The health of each channel of each entity in a batch: HIGH, MEDIUM or LOW, with the cause.

A grade judges the sensor, not the machine: it says how far the scores of a channel can be trusted. It
looks at every row of the batch, and changes no score.

| cause | MEDIUM | LOW |
|---|---|---|
| missing | share without a value above the configured one | ... and above half |
| flat | | never moved, for longer than ever in the history, where it did move |
| stuck | a constant run more than `STUCK_TIMES` as long as ever | ... which is more than half of the values |
| out_of_range | share of values outside the widened range above `OUTSIDE_SHARE` | ... and above half |

Half is where what is wrong is no longer the exception: of most rows the channel then tells nothing.

Legend: E entities of the batch, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from aeflow.numerics.shapes import expect_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aeflow.numerics.profile import ProfileTable

Level = Literal["HIGH", "MEDIUM", "LOW"]
LEVELS: tuple[Level, ...] = ("HIGH", "MEDIUM", "LOW")
"""By number, worse is higher."""

CAUSES = ("", "missing", "flat", "stuck", "out_of_range")
"""By number; of several causes of the worst level the first is named."""

MIN_RUN = 10
"""Fewer equal values in a row are no finding: a rounded reading repeats by chance."""
STUCK_TIMES = 3.0
"""Longest runs grow slowly (with the logarithm of the rows) while nothing is wrong, so a longer batch
alone brings no run three times as long."""
OUTSIDE_SHARE = 0.01
"""A few values outside may be what the scores are to find; a share above one in a hundred is a channel
that has moved. The suite asks for the same share."""
_HALF = 0.5
_MISSING, _FLAT, _STUCK, _OUTSIDE = 1, 2, 3, 4


@dataclass(frozen=True, eq=False)
class Grades:
    """level, cause: `(E, C)` int8 into `LEVELS` and `CAUSES`; cause 0 is level 0."""

    level: NDArray[np.int8]
    cause: NDArray[np.int8]


@dataclass(frozen=True)
class ChannelGrade:
    """The worst grade of a channel in the batch, and whom it concerns."""

    channel: str
    grade: Level
    cause: str
    """One of `CAUSES`; empty where the grade is HIGH."""
    entities: tuple[str, ...]
    """The first few, sorted, that have this grade for this cause; empty where the grade is HIGH."""
    n_entities: int
    """How many have it; with HIGH, all."""


def grade_channels(
    batch: ProfileTable,
    outside: NDArray[np.int64],
    history: ProfileTable | None,
    *,
    max_null_share: float,
) -> Grades:
    """Grades of all channels of all entities.

    Args:
        batch: statistics of the batch, `(E, C)`.
        outside: `(E, C)` values outside the range of the history, widened.
        history: what each entity is held against, `(E, C)`; None: only missing values are graded.
        max_null_share: above it a channel is graded down, 0..1.

    Raises:
        InputError: the shapes differ.
    """
    shape = batch.rows.shape
    expect_shape("outside", outside, shape)
    count = batch.rows - batch.missing
    null_share = batch.missing / np.maximum(batch.rows, 1)
    medium = {_MISSING: null_share > max_null_share}
    low = {_MISSING: null_share > max(max_null_share, _HALF)}
    if history is not None:
        expect_shape("history.rows", history.rows, shape)
        moves = history.changes > 0
        long = moves & (batch.longest_run >= MIN_RUN)
        # A channel that rests for days in the history may rest for all of a batch.
        low[_FLAT] = medium[_FLAT] = long & (batch.changes == 0) & (count > history.longest_run)
        medium[_STUCK] = long & (batch.changes > 0) & (batch.longest_run > STUCK_TIMES * history.longest_run)
        low[_STUCK] = medium[_STUCK] & (batch.longest_run > _HALF * count)
        outside_share = outside / np.maximum(count, 1)
        medium[_OUTSIDE] = outside_share > OUTSIDE_SHARE
        low[_OUTSIDE] = outside_share > _HALF
    level = np.zeros(shape, dtype=np.int8)
    cause = np.zeros(shape, dtype=np.int8)
    for number, at_least_medium in medium.items():
        found = at_least_medium.astype(np.int8) + low[number]
        worse = found > level
        level[worse], cause[worse] = found[worse], number
    return Grades(level, cause)


def summarise(
    grades: Grades, channels: Sequence[str], entities: Sequence[str], *, max_entities: int = 10
) -> tuple[ChannelGrade, ...]:
    """The worst grade of each channel, in the order of `channels` `(C,)`, with at most `max_entities`
    of the `entities` `(E,)` named. Of several causes of the worst grade the one of most entities counts.
    Empty where there is no entity.

    Raises:
        InputError: the names do not fit the grades.
    """
    expect_shape("grades", grades.level, (len(entities), len(channels)))
    if not entities:
        return ()
    return tuple(
        _worst(channel, grades.level[:, c], grades.cause[:, c], entities, max_entities)
        for c, channel in enumerate(channels)
    )


def _worst(
    channel: str,
    level: NDArray[np.int8],
    cause: NDArray[np.int8],
    entities: Sequence[str],
    max_entities: int,
) -> ChannelGrade:
    worst = int(level.max())
    if worst == 0:
        return ChannelGrade(channel, LEVELS[0], "", (), len(entities))
    number = int(np.bincount(cause[level == worst]).argmax())  # ties: the first of CAUSES
    concerned = np.flatnonzero((level == worst) & (cause == number))
    named = sorted(entities[i] for i in concerned.tolist())[:max_entities]
    return ChannelGrade(channel, LEVELS[worst], CAUSES[number], tuple(named), concerned.size)
