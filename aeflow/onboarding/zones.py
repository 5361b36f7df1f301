"""In which zone days begin, as far as the times of a source say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Collection

_OFFSET = r"(?P<offset>[Zz]|[+-]\d\d:?\d\d)$"
_WEST, _EAST = -12, 14  # hours: what zones there are
_NAME_YOURS = "Name your own zone, such as Europe/Berlin, if its clocks change."


@dataclass(frozen=True)
class Zone:
    """`batch.time_zone`, and why it is so."""

    name: str
    reason: str


UNKNOWN = Zone("UTC", "Times without an offset were taken as UTC: name your zone if they are local.")


def zone_of(times: pa.Array) -> Zone:
    """The zone that times `(R,)` are of: that of their type, or the one offset that all of them carry. Where they
    carry several, UTC stays, and the reason says so."""
    if pa.types.is_timestamp(times.type):
        named = times.type.tz
        if named in available_timezones():
            return UNKNOWN if named == "UTC" else Zone(named, "The times are of that zone.")
        return _of_offsets({named} if named else set())
    if not (pa.types.is_string(times.type) or pa.types.is_large_string(times.type)):
        return UNKNOWN
    found = pc.extract_regex(pc.utf8_trim_whitespace(times.cast(pa.string())), _OFFSET)
    return _of_offsets({part["offset"] for part in found.to_pylist() if part is not None})


def _of_offsets(offsets: Collection[str]) -> Zone:
    minutes = {m for m in map(_minutes, offsets) if m is not None}
    if not minutes or minutes == {0}:
        return UNKNOWN
    said = " and ".join(
        f"{'-' if m < 0 else '+'}{abs(m) // 60:02d}:{abs(m) % 60:02d}" for m in sorted(minutes)
    )
    (one, *others) = minutes
    if others or one % 60:
        return Zone("UTC", f"The times carry {said}: NAME YOUR ZONE, or days begin at midnight of UTC.")
    # Of these names the sign is that of the way to UTC, not from it.
    return Zone(f"Etc/GMT{-one // 60:+d}", f"All times looked at carry {said}. {_NAME_YOURS}")


def _minutes(offset: str) -> int | None:
    """East of UTC; None for what is none, such as the year at the end of a date."""
    if offset in "Zz":
        return 0
    found = re.fullmatch(r"([+-])(\d\d):?(\d\d)", offset)
    assert found is not None, offset
    sign, hours, minutes = found.groups()
    east = (60 * int(hours) + int(minutes)) * (-1 if sign == "-" else 1)
    return east if 60 * _WEST <= east <= 60 * _EAST and int(minutes) < 60 else None
