"""Batch ids of periods, and the instants between which each lies.

    hour   2026-11-20T06Z    counted in UTC
    day    2026-11-20        from local midnight to the next: 23, 24 or 25 hours
    week   2026-W47          ISO week, from local midnight of its Monday

Every instant belongs to exactly one period. Nothing here reads a clock.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

import numpy as np

from aeflow.exceptions import BatchNotFound

if TYPE_CHECKING:
    from aeflow.config import BatchRule

_FORMS = {
    "hour": (re.compile(r"(\d{4}-\d{2}-\d{2})T(\d{2})Z"), "an hour in UTC such as 2026-11-20T06Z"),
    "day": (re.compile(r"(\d{4}-\d{2}-\d{2})"), "a day such as 2026-11-20"),
    "week": (re.compile(r"(\d{4})-W(\d{2})"), "an ISO week such as 2026-W47"),
}
_HOUR_US = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS: dict[Literal["hour", "day", "week"], int] = {"day": 1, "week": 7}


def bounds(batch: str, rule: BatchRule) -> tuple[datetime, datetime]:
    """The first instant of the period and the first one after it, both in UTC.

    Raises:
        BatchNotFound: `batch` is no id of such a period, or the zone left that day out.
    """
    if rule.period == "hour":
        start = _parse(batch, rule)
        return start, start + timedelta(hours=1)
    first = _parse(batch, rule).date()
    zone = ZoneInfo(rule.time_zone)
    start, end = _midnight(first, zone), _midnight(first + timedelta(days=_DAYS[rule.period]), zone)
    if start >= end:
        msg = f"expected a {rule.period} of {rule.time_zone}, but the clocks there skipped it"
        raise BatchNotFound(msg, where=f"batch {batch}")
    return start, end


def id_at(time: datetime, rule: BatchRule) -> str:
    """The id of the period that holds `time` (aware)."""
    if rule.period == "hour":
        return time.astimezone(UTC).strftime("%Y-%m-%dT%HZ")
    zone = ZoneInfo(rule.time_zone)
    day = time.astimezone(zone).date()
    # Where a change of the clocks straddles midnight, the calendar runs back and forth for an hour;
    # the midnights decide.
    while time < _midnight(day, zone):
        day -= timedelta(days=1)
    while time >= _midnight(day + timedelta(days=1), zone):
        day += timedelta(days=1)
    if rule.period == "day":
        return day.isoformat()
    year, week, _ = day.isocalendar()
    return f"{year:04d}-W{week:02d}"


def ids_between(first: str, last: str, rule: BatchRule) -> list[str]:
    """The ids from `first` to `last`, both included, in the order of time; empty if `last` is earlier.

    Raises:
        BatchNotFound: one of them is no id of such a period.
    """
    (at, _), (stop, _) = bounds(first, rule), bounds(last, rule)
    ids = []
    while at <= stop:
        ids.append(id_at(at, rule))
        at = bounds(ids[-1], rule)[1]
    return ids


def ids_of(times_us: np.ndarray, rule: BatchRule) -> set[str]:
    """The ids of the periods that hold at least one of the times.

    Args:
        times_us: (R,) int64, microseconds since 1970 in UTC, in any order.
        rule: what a period is.
    """
    times = np.sort(times_us)
    if not times.size:
        return set()
    # No period is shorter than an hour, so the first and the last time of each hour name all of them.
    starts = np.flatnonzero(np.diff(times // _HOUR_US, prepend=times[0] // _HOUR_US - 1))
    ends = np.append(starts[1:], times.size) - 1
    edges = np.unique(np.concatenate([times[starts], times[ends]]))
    return {id_at(from_us(int(t)), rule) for t in edges}


def to_us(time: datetime) -> int:
    """Microseconds since 1970 of an aware time, exactly."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_us(time_us: int) -> datetime:
    """The UTC time of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=time_us)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """First instant of a local day. Python reads a midnight that the clocks skip with the offset
    before the change, which is the instant of the change; one that comes twice, as the first."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _parse(batch: str, rule: BatchRule) -> datetime:
    form, example = _FORMS[rule.period]
    match = form.fullmatch(batch)
    msg = f"expected {example} (batch.period is {rule.period})"
    if match is None:
        raise BatchNotFound(msg, where=f"batch {batch}")
    try:
        if rule.period == "week":
            monday = date.fromisocalendar(int(match[1]), int(match[2]), 1)
            return datetime(monday.year, monday.month, monday.day, tzinfo=UTC)
        day = date.fromisoformat(match[1])
        hour = int(match[2]) if rule.period == "hour" else 0
        return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
    except ValueError as error:
        raise BatchNotFound(msg, where=f"batch {batch}") from error
