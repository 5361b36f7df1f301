"""What an entity does when nothing is flagged: a stretch to compare an event with.

Best is the same time of day a day before, or some days; where reports hold no such, a stretch of the same
report before the event, or else after it. A stretch with any flag of the entity is not taken.

Legend: P points, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aeflow.exceptions import IntegrityError
from aeflow.report.stored import SCORES_FILE
from aeflow.report.survey import described_by
from aeflow.report.traces import Trace
from aeflow.store.files import storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.review.catalogue import Catalogue, Night

_DAY = timedelta(days=1)
_DAYS_BACK = 14
_NIGHTS_BACK = 15
_MOST_POINTS, _FEWEST_POINTS = 900, 8
_COLUMNS = ["timestamp", "flag_id", "severity", "observed", "expected"]


@dataclass(frozen=True, eq=False)
class Normal:
    """A stretch without flags. days: how many days before the event; 0: of another time of its own report."""

    trace: Trace
    days: int


def normal_stretch(
    catalogue: Catalogue,
    place: int,
    start: datetime,
    end: datetime,
    channels: Sequence[str],
    *,
    context_points: int,
) -> Normal | None:
    """A stretch of the flag's entity as long as the event with its surroundings; None where there is none.

    Args:
        catalogue: where reports lie.
        place: of the flag.
        start: of its first point; end: of its last.
        end: see there.
        channels: C names to show.
        context_points: before and after the event.

    Raises:
        StorageError, IntegrityError: a report cannot be read.
    """
    night, row = catalogue.within(place)
    entity, number = night.entity[row], int(catalogue.night[place])
    known = {id(night): _read(night, entity)}
    rows = known[id(night)]
    first, last = _around(rows, start, end, context_points)
    times = rows.column("timestamp")
    begin, until = times[first].as_py(), times[last].as_py()
    earlier = catalogue.nights[max(number - _NIGHTS_BACK, 0) : number][::-1]
    for days in range(1, _DAYS_BACK + 1):
        span = begin - days * _DAY, until - days * _DAY
        for other in (night, *earlier):
            if not _may_hold(other, channels, *span):
                continue
            if id(other) not in known:
                known[id(other)] = _read(other, entity)
            found = _between(known[id(other)], *span)
            # As many points, but for some that are missing.
            if len(found) >= 0.8 * (last - first + 1) and not _flagged(found).any():
                return Normal(_trace(found, other, channels), days)
    run = _unflagged_run(_flagged(rows), first, last - first + 1)
    if run is None:
        return None
    return Normal(_trace(rows.slice(run[0], run[1] - run[0]), night, channels), 0)


def _read(night: Night, entity: str) -> pa.Table:
    """The rows of an entity, in the order of time."""
    scores = night.folder / SCORES_FILE
    with storage_errors(scores, "read the scores"):
        try:
            return pq.read_table(
                scores, columns=_COLUMNS, filters=pc.field("entity") == entity, partitioning=None
            ).combine_chunks()
        except pa.ArrowException as error:
            msg = f"{scores} cannot be read ({error}); score the batch again"
            raise IntegrityError(msg) from error


def _may_hold(night: Night, channels: Sequence[str], begin: datetime, until: datetime) -> bool:
    """Whether the report has the channels, and its times, by the file's statistics, touch the span."""
    path: Path = night.folder / SCORES_FILE
    if not set(channels) <= set(described_by(path)[1]):
        return False
    with storage_errors(path, "read the scores"):
        metadata = pq.read_metadata(path)
    place = metadata.schema.names.index("timestamp")
    known = [metadata.row_group(g).column(place).statistics for g in range(metadata.num_row_groups)]
    spans = [(s.min, s.max) for s in known if s is not None and s.has_min_max]
    return any(low <= until and begin <= high for low, high in spans)


def _around(rows: pa.Table, start: datetime, end: datetime, context: int) -> tuple[int, int]:
    """First and last row of the event with its surroundings, at most `_MOST_POINTS`."""
    times = np.asarray(rows.column("timestamp").cast(pa.int64()))
    low, high = (pa.scalar(t, pa.timestamp("us", "UTC")).cast(pa.int64()).as_py() for t in (start, end))
    first = max(int(np.searchsorted(times, low)) - context, 0)
    last = min(int(np.searchsorted(times, high, side="right")) - 1 + context, times.size - 1)
    return first, min(last, first + _MOST_POINTS - 1)


def _between(rows: pa.Table, begin: datetime, until: datetime) -> pa.Table:
    times = rows.column("timestamp")
    return rows.filter(pc.and_(pc.greater_equal(times, begin), pc.less_equal(times, until)))


def _flagged(rows: pa.Table) -> NDArray[np.bool_]:
    return np.asarray(rows.column("flag_id").is_valid())


def _unflagged_run(flagged: NDArray[np.bool_], first: int, length: int) -> tuple[int, int] | None:
    """First and end row of the longest run without flags before `first`, or else after, cut to `length`:
    the end of an earlier one, which is nearest, the beginning of a later one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[1], flagged.astype(np.int8), [1]])))
    runs = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    before = [(max(a, min(b, first) - length), min(b, first)) for a, b in runs if a < first]
    after = [(a, min(b, a + length)) for a, b in runs if a >= first]
    for some in (before, after):
        longest = max(some, key=lambda run: (min(run[1] - run[0], length), run[0]), default=(0, 0))
        if longest[1] - longest[0] >= min(_FEWEST_POINTS, length):
            return longest
    return None


def _trace(rows: pa.Table, night: Night, channels: Sequence[str]) -> Trace:
    every = described_by(night.folder / SCORES_FILE)[1]
    chosen = [every.index(name) for name in channels]
    observed, expected = (
        _matrix(rows.column(name), len(every))[:, chosen] for name in ("observed", "expected")
    )
    return Trace(
        channels=tuple(channels),
        time_us=np.asarray(rows.column("timestamp").cast(pa.int64())),
        low=observed,
        high=observed,
        expected=expected,
        severity=np.asarray(rows.column("severity").cast(pa.float64()).fill_null(np.nan)),
        flagged=np.zeros(len(rows), bool),
    )


def _matrix(lists: pa.ChunkedArray, width: int) -> NDArray[np.float64]:
    """`(P, width)`, NaN for what is missing."""
    whole = lists.combine_chunks()
    values = np.full((len(whole), width), np.nan)
    flat = pc.list_flatten(whole).to_numpy(zero_copy_only=False).astype(np.float64)
    values[np.asarray(whole.is_valid())] = flat.reshape(-1, width)
    return values
