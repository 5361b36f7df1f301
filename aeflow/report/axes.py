"""Round places for the ticks of an axis."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

NO_SPAN = 1e-300
"""A span of values up to this is none: nothing can be divided by it."""
_STEPS_SECONDS = (
    *(1, 2, 5, 10, 15, 30),
    *(60 * m for m in (1, 2, 5, 10, 15, 30)),
    *(3_600 * h for h in (1, 2, 3, 6, 12)),
    *(86_400 * d for d in (1, 2, 7, 14, 28, 91, 182, 364)),
)
_MICROSECONDS = 1_000_000


def number_ticks(low: float, high: float, about: int = 3) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within `low..high`, roughly `about` of them."""
    if not high - low > NO_SPAN:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    # Where the span is near the rounding of its ends, a multiple may come to lie beyond them.
    return [min(max(place * step, low), high) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def time_ticks(first_us: int, last_us: int, zone: str, about: int = 6) -> list[tuple[int, str]]:
    """Round local times within a span, with what to write there: the date at the first tick and
    where a day begins, the time of day elsewhere."""
    span_s = (last_us - first_us) / _MICROSECONDS
    step = next((s for s in _STEPS_SECONDS if span_s / s <= about), _STEPS_SECONDS[-1])
    tz = ZoneInfo(zone)
    # Ticks are round on the local clock: counted from a local midnight, never in UTC.
    first = _local(first_us, tz)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    count = math.floor((first.replace(tzinfo=None) - midnight).total_seconds() / step)
    ticks: list[tuple[int, str]] = []
    while len(ticks) < 4 * about:
        wall = midnight + timedelta(seconds=step * count)
        count += 1
        at = _microseconds(wall.replace(tzinfo=tz))
        if at > last_us:
            break
        if at < first_us or (ticks and at <= ticks[-1][0]):
            continue
        if step >= 86_400 or not ticks or wall.time() == datetime.min.time():
            date = wall.strftime("%Y-%m-%d" if step >= 86_400 else "%m-%d %H:%M")
            ticks.append((at, date if step >= 60 or wall.second == 0 else wall.strftime("%m-%d %H:%M:%S")))
        else:
            ticks.append((at, wall.strftime("%H:%M:%S" if step < 60 else "%H:%M")))
    return ticks


def _local(time_us: int, zone: ZoneInfo) -> datetime:
    return (datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(microseconds=time_us)).astimezone(
        zone
    )


def _microseconds(time: datetime) -> int:
    since = time - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return since // timedelta(microseconds=1)
