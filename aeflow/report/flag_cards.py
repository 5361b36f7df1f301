"""What the page shows of each flag: plain values, already in words where a person reads words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from markupsafe import Markup

from aeflow.exceptions import IntegrityError
from aeflow.report.pictures import Picture, heat_overlay, shrunk
from aeflow.report.series_plot import plot_numbers, series_plot
from aeflow.report.traces import read_traces
from aeflow.report.wording import chance, counted, expectation, figure, lasting, moment, percent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from aeflow.report.traces import Trace

_PAGE_BYTES = 2_500_000
"""For all flags of a page together, so that it stays under 3 MB."""
_LARGEST_PICTURES_BYTES = 240_000  # of one flag: more detail than a page needs
_ROWS_WITH_PICTURES = 16
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
class Card:
    """One flag. `when`, `span`, `plot` and its numbers are of series; pictures, regions and size of images."""

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


def image_cards(flags: Path, scores: Path, *, limit: int) -> list[Card]:
    """Cards of the most severe image flags, at most `limit`.

    Raises:
        IntegrityError: a stored picture cannot be read, or the scores do not know a flag.
    """
    items = [row["item"] for row in _first_rows(flags, limit, ["item"])]
    sizes = _sizes(scores, set(items))
    _expect_scored(sizes.keys(), items, scores)
    # Text of base64 is a third longer than the picture.
    budget = min(_PAGE_BYTES * 3 // 4 // max(len(items), 1), _LARGEST_PICTURES_BYTES)
    return [
        _image_card(number, row, sizes[row["item"]], budget)
        for number, row in enumerate(_first_rows(flags, limit), start=1)
    ]


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
    rows = list(_first_rows(flags, limit))
    plotted = {row["flag_id"]: plotted_channels(row) for row in rows}
    fine_points, coarse_points = _points([len(channels) for channels in plotted.values()])
    names = list(plotted)
    traces: dict[str, Trace] = {}
    for some, points in ((names[:_FINE_FLAGS], fine_points), (names[_FINE_FLAGS:], coarse_points)):
        if some:
            shown = {name: plotted[name] for name in some}
            traces |= read_traces(scores, shown, channels, context_points=context_points, max_points=points)
    _expect_scored(traces.keys(), [row["flag_id"] for row in rows], scores)
    return [series_card(n, row, traces[row["flag_id"]], zone) for n, row in enumerate(rows, start=1)]


def _points(panels: list[int]) -> tuple[int, int]:
    """How many points the plots of the most severe flags may have, and those of the others, with so many
    channels each."""
    fine, coarse = (sum(some) + len(some) for some in (panels[:_FINE_FLAGS], panels[_FINE_FLAGS:]))
    each = _LINES / max(_FINER * fine + coarse, 1)
    return min(int(_FINER * each), _MOST_POINTS), min(int(each), _MOST_POINTS)


def _first_rows(flags: Path, limit: int, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The first rows, a few at a time: their pictures are large."""
    with pq.ParquetFile(flags, pre_buffer=False) as file:
        batches = file.iter_batches(_ROWS_WITH_PICTURES, columns=columns)
        yield from islice((row for batch in batches for row in batch.to_pylist()), limit)


def _expect_scored(found: Collection[str], flagged: list[str], scores: Path) -> None:
    lost = [name for name in flagged if name not in found]
    if lost:
        msg = f"{scores} does not know {counted(len(lost), 'flag')}, {lost[:5]} first; score the batch again"
        raise IntegrityError(msg)


def _sizes(scores: Path, items: set[str]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    with pq.ParquetFile(scores, pre_buffer=False) as file:
        for batch in file.iter_batches(columns=["item", "width_px", "height_px", "flag"]):
            for row in batch.filter(pc.fill_null(batch.column("flag"), fill_value=False)).to_pylist():
                if row["item"] in items:
                    found[row["item"]] = (row["width_px"], row["height_px"])
    return found


def _image_card(number: int, row: Mapping[str, Any], size: tuple[int, int], budget: int) -> Card:
    pictures = None
    if row["image_png"] is not None:
        each, for_heat = 3 * budget // 8, budget // 4
        where = f"flag {row['flag_id']} ({row['item']})"
        pictures = Pictures(
            original=shrunk(row["image_png"], each, where=where),
            expected=shrunk(row["reconstruction_png"], each, where=where),
            heat=heat_overlay(row["heatmap_png"], for_heat, where=where),
        )
    regions = tuple(
        Region(box["x_px"], box["y_px"], box["width_px"], box["height_px"], percent(box["share"]))
        for box in row["boxes"] or []
    )
    shares = row["channels"] or []
    return Card(
        **_common(number, row, row["item"]),
        bars=bars(shares) if len(shares) > 1 else (),
        more_channels=more_channels(shares),
        width_px=size[0],
        height_px=size[1],
        regions=regions,
        pictures=pictures,
    )


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
    widths = {part["channel"]: part.get("tolerance") for part in shares}
    tolerance = np.array([widths.get(name) for name in trace.channels], dtype=np.float64)
    return Card(
        **_common(number, row, name),
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
    )


def _common(number: int, row: Mapping[str, Any], name: str) -> dict[str, Any]:
    severity = float(row["severity"])
    return {
        "number": number,
        "flag_id": row["flag_id"],
        "name": name,
        "severity": severity,
        "severity_text": f"{severity:.0f}",
        "p_value": row["p_value"],
        "p_text": f"{figure(row['p_value'])} ({chance(row['p_value'])})",
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
