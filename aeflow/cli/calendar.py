"""The ledger as a calendar: what became of each night, one sign a night."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aeflow.backlog import BatchStatus

_ROWS = 20
"""So many lines of the calendar are shown, the latest."""
_SIGNS = {
    "missing": "?",
    "late": "L",
    "failed": "x",
    "refused": "r",
    "interrupted": "i",
    "running": ">",
    "history": "h",
    "none": "-",
}
_LEGEND = (
    ". scored, nothing flagged",
    "3 scored, so many flags",
    "* re-scored",
    "? missing: not scored yet",
    "L late: due, no data",
    "x failed",
    "r refused",
    "i interrupted",
    "> running",
    "h learnt from",
    "- no data",
)
_WEEKDAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")


def calendar_lines(
    statuses: Sequence[BatchStatus],
    period: Literal["hour", "day", "week"],
    *,
    late: frozenset[str] = frozenset(),
) -> list[str]:
    """The lines of the calendar, with what the signs in it mean.

    Args:
        statuses: of all batches, whose ids are periods.
        period: hours: a line a day; days: a line a week; weeks: a line a quarter of 13 weeks.
        late: batches that are due and of which the source holds nothing.
    """
    signs = {s.batch: sign_of(s) for s in statuses}
    signs |= dict.fromkeys(late - signs.keys(), _SIGNS["late"])
    if not signs:
        return ["There is no batch yet."]
    head, rows = {"hour": _of_hours, "day": _of_days, "week": _of_weeks}[period](signs)
    rows = [(name, line) for name, line in rows if not {*line} <= {"", _SIGNS["none"]}]
    shown = rows[-_ROWS:]
    cells = [cell for _, line in shown for cell in line]
    width = max(2, *(len(c) for c in cells), *(len(h) for h in head))
    first = max(len(name) for name, _ in shown)
    lines = [" " * first + "".join(f"  {h:>{width}}" for h in head)]
    lines += [name.ljust(first) + "".join(f"  {c:>{width}}" for c in line) for name, line in shown]
    if len(rows) > len(shown):
        lines.append(f"... and {len(rows) - len(shown)} lines before: --table shows every batch.")
    used = "".join(cells)
    legend = [text for text in _LEGEND if text[0] in used or (text[0] == "3" and any(map(str.isdigit, used)))]
    return [line.rstrip() for line in [*lines, "", *_wrapped(legend)]]


def sign_of(status: BatchStatus) -> str:
    """One batch as a sign: its state, or how many flags it has; `*` where it was scored more than once."""
    again = "*" if (status.revision or 1) > 1 else ""
    if status.state == "published":
        return f"{status.flags or '.'}{again}"
    return _SIGNS.get(status.state, "?") + again


def _of_days(signs: Mapping[str, str]) -> tuple[Sequence[str], list[tuple[str, list[str]]]]:
    days = {date.fromisoformat(batch): sign for batch, sign in signs.items()}
    monday = min(days) - timedelta(days=min(days).weekday())
    rows, last = [], max(days)
    while monday <= last:
        week = [monday + timedelta(days=n) for n in range(7)]
        inside = [min(days) <= day <= last for day in week]
        line = [days.get(d, _SIGNS["none"] if i else "") for d, i in zip(week, inside, strict=True)]
        rows.append((monday.isoformat(), line))
        monday += timedelta(days=7)
    return _WEEKDAYS, rows


def _of_weeks(signs: Mapping[str, str]) -> tuple[Sequence[str], list[tuple[str, list[str]]]]:
    first, last = min(signs), max(signs)
    rows = []
    for year in range(int(first[:4]), int(last[:4]) + 1):
        for begin in range(1, 54, 13):
            ids = [f"{year:04d}-W{week:02d}" for week in range(begin, min(begin + 13, 54))]
            line = [signs.get(i, _SIGNS["none"] if first <= i <= last else "") for i in ids]
            rows.append((ids[0], line))
    return [f"+{n}" for n in range(13)], rows


def _of_hours(signs: Mapping[str, str]) -> tuple[Sequence[str], list[tuple[str, list[str]]]]:
    first, last = min(signs), max(signs)
    day, end = (datetime.fromisoformat(i[:10]).date() for i in (first, last))
    rows = []
    while day <= end:
        ids = [f"{day.isoformat()}T{hour:02d}Z" for hour in range(24)]
        line = [signs.get(i, _SIGNS["none"] if first <= i <= last else "") for i in ids]
        rows.append((day.isoformat(), line))
        day += timedelta(days=1)
    return [f"{hour:02d}" for hour in range(24)], rows


def _wrapped(parts: Sequence[str], width: int = 100) -> list[str]:
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part if not lines[-1] else f"    {part}"
    return lines
