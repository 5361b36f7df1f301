"""What the page shows of each flag: plain values, already in words where a person reads words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from aeflow.report.flag_rows import expect_scored, flag_rows
from aeflow.report.series_plot import plot_numbers, series_plot
from aeflow.report.traces import read_traces
from aeflow.wording import chance, counted, expectation, figure, lasting, moment, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from aeflow.report.pictures import Picture
    from aeflow.report.traces import Trace

_COLUMNS = (
    *("flag_id", "pipeline", "entity", "start", "peak", "end", "points", "p_value", "severity", "channels"),
    *("suppressed_reason", "judged_by"),
)
_BARS = 6
_PANELS = 3
_ENOUGH = 0.75  # of the score: so much of it the plotted channels should explain
_MOST_POINTS = 420  # of a plot: more than it is wide on a page are not told apart
_LINES = 60_000  # points of all panels together, at about 40 bytes each with their numbers
_FINE_FLAGS = 40
_FINER = 2.5  # times the points of the flags after them


@dataclass(frozen=True)
class Bar:
    """A channel's part of a score: share 0..1, its text, and what came at the peak in words."""

    channel: str
    share: float
    text: str
    at_peak: str = ""


@dataclass(frozen=True)
class Region:
    """A box on an image in original pixels, with its part of the error."""

    x: int
    y: int
    width: int
    height: int
    text: str


@dataclass(frozen=True)
class Pictures:
    """An image, what was expected in its place, and where they differ, to lay over it."""

    original: Picture
    expected: Picture
    heat: Picture


@dataclass(frozen=True)
class Neighbour:
    """A normal image: its name, how far apart the codes lie in words, and its picture, which other flags
    refer to by `key`; None where an earlier flag brought it."""

    name: str
    distance: str
    key: str
    picture: Picture | None


@dataclass(frozen=True)
class Card:
    """One flag. `when`, `span`, `plot` and its numbers are of series; pictures, regions, size and neighbours
    of images. note: why it was downgraded, "" where it was not; judged_by: the cohort whose normal scores
    judged it, "" where those of its own or of all did."""

    number: int
    flag_id: str
    name: str
    severity: float
    severity_text: str
    p_value: float
    p_text: str
    bars: tuple[Bar, ...]
    more_channels: str
    when: str = ""
    start_iso: str = ""
    span: str = ""
    peak: str = ""
    plot: Markup | None = None
    plot_numbers: str = ""
    width_px: int = 0
    height_px: int = 0
    pictures: Pictures | None = None
    regions: tuple[Region, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    note: str = ""
    judged_by: str = ""


def series_cards(
    flags: Path,
    scores: Path,
    channels: tuple[str, ...],
    *,
    limit: int,
    context_points: int,
    zone: str,
) -> list[Card]:
    """Cards of the most severe events, at most `limit`, each with its plot.

    Raises:
        IntegrityError: the scores do not know a flag.
    """
    rows = list(flag_rows(flags, _COLUMNS, limit=limit))
    plotted = {row["flag_id"]: plotted_channels(row) for row in rows}
    fine_points, coarse_points = _points([len(channels) for channels in plotted.values()])
    names = list(plotted)
    traces: dict[str, Trace] = {}
    for some, points in ((names[:_FINE_FLAGS], fine_points), (names[_FINE_FLAGS:], coarse_points)):
        if some:
            shown = {name: plotted[name] for name in some}
            traces |= read_traces(scores, shown, channels, context_points=context_points, max_points=points)
    expect_scored(traces.keys(), [row["flag_id"] for row in rows], scores)
    return [series_card(n, row, traces[row["flag_id"]], zone) for n, row in enumerate(rows, start=1)]


def _points(panels: list[int]) -> tuple[int, int]:
    """How many points the plots of the most severe flags may have, and those of the others, with so many
    channels each."""
    fine, coarse = (sum(some) + len(some) for some in (panels[:_FINE_FLAGS], panels[_FINE_FLAGS:]))
    each = _LINES / max(_FINER * fine + coarse, 1)
    return min(int(_FINER * each), _MOST_POINTS), min(int(each), _MOST_POINTS)


def series_card(number: int, row: Mapping[str, Any], trace: Trace, zone: str) -> Card:
    """The card of one event: a row of `flags.parquet` without need of its pictures, and its trace."""
    shares = row["channels"] or []
    name = row["entity"] or row["pipeline"]
    peak = moment(row["peak"], zone)
    points = row["points"] or 1
    worst = shares[0] if shares else None
    label = f"{', '.join(trace.channels)} of {name} around {peak}, observed and expected"
    if worst is not None:
        label += f"; at the peak {worst['channel']} was {expectation(worst['observed'], worst['expected'])}"
    judged_by = row.get("judged_by") or ""
    widths = {part["channel"]: part.get("tolerance") for part in shares}
    tolerance = np.array([widths.get(name) for name in trace.channels], dtype=np.float64)
    return Card(
        **common_parts(number, row, name),
        bars=bars(shares),
        more_channels=more_channels(shares),
        when=_span(row["start"], row["end"], zone),
        start_iso=row["start"].isoformat(),
        span=counted(points, "point")
        if points == 1
        else f"{lasting(row['end'] - row['start'])}, {points:,} points",
        peak=peak,
        plot=Markup(  # noqa: S704 - plots escape
            series_plot(trace, _microseconds(row["peak"]), zone=zone, label=label, tolerance=tolerance)
        ),
        plot_numbers=plot_numbers(trace, zone=zone, tolerance=tolerance),
        judged_by=judged_by if judged_by.startswith("cohort ") else "",
    )


def common_parts(number: int, row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What cards of both kinds have."""
    severity = float(row["severity"])
    return {
        "number": number,
        "flag_id": row["flag_id"],
        "name": name,
        "severity": severity,
        "severity_text": f"{severity:.0f}",
        "p_value": row["p_value"],
        "p_text": f"{figure(row['p_value'])} ({chance(row['p_value'])})",
        "note": row.get("suppressed_reason") or "",
    }


def bars(shares: Sequence[Mapping[str, Any]]) -> tuple[Bar, ...]:
    """The channels of a flag that are worth a bar, largest share first."""
    return tuple(
        Bar(
            part["channel"],
            max(float(part["share"]), 0.0),
            percent(part["share"]),
            ""
            if part["observed"] is None and part["expected"] is None
            else expectation(part["observed"], part["expected"]),
        )
        for part in shares[: _barred(shares)]
    )


def _barred(shares: Sequence[Mapping[str, Any]]) -> int:
    """How many channels, largest first, are worth a bar: the first two, and what is above one per cent."""
    large = [part for part in shares[:_BARS] if part["share"] >= 0.01]
    return max(min(2, len(shares)), len(large))


def more_channels(shares: Sequence[Mapping[str, Any]]) -> str:
    """What the channels without a bar have together, "" where every one has a bar."""
    rest = shares[_barred(shares) :]
    if not rest:
        return ""
    return f"{counted(len(rest), 'other channel')} together {percent(sum(max(p['share'], 0) for p in rest))}"


def plotted_channels(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The channels that explain most of the score, one to three."""
    chosen: list[str] = []
    explained = 0.0
    for part in row["channels"][:_PANELS]:
        if chosen and explained >= _ENOUGH:
            break
        chosen.append(part["channel"])
        explained += part["share"]
    return tuple(chosen)


def _span(start: datetime, end: datetime, zone: str) -> str:
    first, last = moment(start, zone), moment(end, zone)
    if first == last:
        return first
    same_day = first[:10] == last[:10]
    return f"{first} to {last[11:] if same_day else last}"


def _microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
