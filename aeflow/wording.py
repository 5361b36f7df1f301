"""Numbers, times and sentences as people read them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from datetime import datetime, timedelta

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 flag`, `1,440 points`, `2 batches`, `37 entities`; `plural` where more than the noun changes."""
    return f"{number:,} {noun if number == 1 else plural or _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    hisses = noun.endswith(("s", "x", "ch", "sh")) and noun != "epoch"
    return f"{noun}es" if hisses else f"{noun}s"


def figure(value: float) -> str:
    """Four significant digits, no exponent where people need none: `0.0123`, `1,234`, `1.2 × 10⁻⁷`."""
    if math.isnan(value):
        return "no value"
    if value < 0:
        return f"−{figure(-value)}"
    if math.isinf(value):
        return "∞"
    if value != 0 and not 1e-4 <= value < 1e9:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    if value >= 1e4:
        return f"{value:,.0f}"
    return f"{float(f'{value:.4g}'):,.10g}"


def percent(share: float) -> str:
    """`61 %`; a share that is small but not nothing is `< 1 %`."""
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def chance(p_value: float) -> str:
    """A p-value as people say it: `1 in 2,000`; rarer than one in a million is not told apart."""
    if p_value < 1e-6:
        return "rarer than 1 in 1,000,000"
    return f"1 in {float(f'{1 / p_value:.2g}'):,.10g}"


def about(number: float) -> str:
    """A number that is an estimate: `3`, `1.5`, `0.2`."""
    if number >= 10:
        return f"{number:,.0f}"
    return f"{float(f'{number:.2g}' if number >= 1 else f'{number:.1g}'):g}"


def moment(time: datetime, zone: str) -> str:
    """A time in a zone: `2026-11-20 02:30`, with seconds only where it has some."""
    local = time.astimezone(ZoneInfo(zone))
    return local.strftime("%Y-%m-%d %H:%M:%S" if local.second or local.microsecond else "%Y-%m-%d %H:%M")


def lasting(span: timedelta) -> str:
    """A duration by its two largest units: `2 h 5 min`; `one moment` for none."""
    rest = round(span.total_seconds())
    parts = []
    for seconds, unit in _UNITS:
        count, rest = divmod(rest, seconds)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "one moment"


def expectation(observed: float | None, expected: float | None) -> str:
    """What came against what was expected: `81.2, expected 64 (+17.2)`."""
    if observed is None or math.isnan(observed):
        came = "missing"
        return came if expected is None else f"{came}, expected {figure(expected)}"
    if expected is None or math.isnan(expected):
        return figure(observed)
    difference = observed - expected
    sign = "+" if difference > 0 else "−" if difference < 0 else "±"
    return f"{figure(observed)}, expected {figure(expected)} ({sign}{figure(abs(difference))})"
