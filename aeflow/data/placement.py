"""Where rows belong in time: to which span, and in which order they came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from aeflow.exceptions import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aeflow.data.readings import Times


@dataclass(frozen=True)
class Span:
    """Rows of these times, microseconds since 1970 in UTC, end exclusive, are taken."""

    start_us: int
    end_us: int
    context: bool = False


@dataclass
class FileReading:
    """What has to be remembered from chunk to chunk of one file."""

    number: int
    name: str
    entity: str | None
    spans: tuple[Span, ...] | None
    first_time_us: Callable[[], int | None]
    locals: int = 0
    offsets: int = 0
    last_us: int | None = None
    last_row: int = 0
    latest_us: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def place(self, times: Times, where: str) -> np.ndarray:
        """The times, (R,) int64; that of the row before for a row whose own cannot be read, so that
        it belongs to one batch and only one."""
        nearest = np.maximum.accumulate(np.where(times.readable, np.arange(len(times.us)), -1))
        before = self.last_us
        if nearest[0] < 0 and before is None:
            before = self.first_time_us()
            if before is None and self.spans is not None:
                msg = "expected times such as 2026-11-20 06:00:00, but none can be read in the whole source"
                remedy = "Check source.time_column; times must be ISO 8601 text or timestamps."
                raise SourceError(msg, where=where, remedy=remedy)
        placed = np.where(nearest < 0, before or 0, times.us[np.maximum(nearest, 0)])
        if nearest[-1] >= 0 or before is not None:
            self.last_us = int(placed[-1])
        return placed

    def late(self, entity: np.ndarray, time_us: np.ndarray, fit: np.ndarray, entities: int) -> np.ndarray:
        """Whether each row, (R,) bool, comes after one of a later time of its entity in this file."""
        start = np.iinfo(np.int64).min
        self.latest_us = grown(self.latest_us, entities, fill=start)
        late = np.zeros(len(entity), bool)
        order = np.flatnonzero(fit)[np.argsort(entity[fit], kind="stable")]
        if not order.size:
            return late
        e, t = entity[order].astype(np.int64), np.maximum(time_us[order], self.latest_us[entity[order]])
        known, rank = np.unique(t, return_inverse=True)
        # One running maximum serves all entities: a later entity starts above every time of an earlier one.
        latest = known[np.maximum.accumulate(e * len(known) + rank) % len(known)]
        late[order] = time_us[order] < latest
        ends = np.append(np.flatnonzero(np.diff(e)), len(e) - 1)
        self.latest_us[e[ends]] = latest[ends]
        return late


def choose_rows(time_us: np.ndarray, spans: tuple[Span, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Whether each time lies in a span, and whether in one of context: both (R,) bool."""
    starts = np.array([span.start_us for span in spans])
    index = np.searchsorted(starts, time_us, side="right") - 1
    span = np.maximum(index, 0)
    taken = (index >= 0) & (time_us < np.array([s.end_us for s in spans])[span])
    return taken, taken & np.array([s.context for s in spans])[span]


def grown(counts: np.ndarray, size: int, *, fill: int = 0) -> np.ndarray:
    """The counts, (size,), with `fill` for the entities that came new."""
    return np.concatenate([counts, np.full(size - len(counts), fill, counts.dtype)])
