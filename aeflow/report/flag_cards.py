"""What the page shows of each flag: plain values, already in words where a person reads words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from markupsafe import Markup

from aeflow.exceptions import IntegrityError
from aeflow.report.pictures import Picture, heat_overlay, shrunk
from aeflow.report.plots import series_plot
from aeflow.report.traces import read_traces
from aeflow.report.wording import chance, counted, expectation, figure, lasting, moment, percent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from aeflow.report.traces import Trace

_PAGE_BYTES = 2_500_000
"""For all flags of a page together, so that it stays under 3 MB."""
_LARGEST_PICTURES_BYTES = 240_000  # of one flag: more detail than a page needs
_ROWS_WITH_PICTURES = 16
_BARS = 6
_PANELS = 3
_ENOUGH = 0.75  # of the score: so much of it the plotted channels should explain
_FINE_POINTS, _COARSE_POINTS = 420, 160
_FINE_FLAGS = 40


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
    """One flag. `when`, `span` and `plot` are of series; pictures, regions and size of images."""

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
    fine = {row["flag_id"]: _plotted(row) for row in rows[:_FINE_FLAGS]}
    coarse = {row["flag_id"]: _plotted(row) for row in rows[_FINE_FLAGS:]}
    traces: dict[str, Trace] = {}
    for shown, points in ((fine, _FINE_POINTS), (coarse, _COARSE_POINTS)):
        if shown:
            traces |= read_traces(scores, shown, channels, context_points=context_points, max_points=points)
    _expect_scored(traces.keys(), [row["flag_id"] for row in rows], scores)
    return [_series_card(n, row, traces[row["flag_id"]], zone) for n, row in enumerate(rows, start=1)]


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
        bars=_bars(shares) if len(shares) > 1 else (),
        more_channels=_more(shares),
        width_px=size[0],
        height_px=size[1],
        regions=regions,
        pictures=pictures,
    )


def _series_card(number: int, row: Mapping[str, Any], trace: Trace, zone: str) -> Card:
    shares = row["channels"] or []
    name = row["entity"] or row["pipeline"]
    peak = moment(row["peak"], zone)
    points = row["points"] or 1
    worst = shares[0] if shares else None
    label = f"{', '.join(trace.channels)} of {name} around {peak}, observed and expected"
    if worst is not None:
        label += f"; at the peak {worst['channel']} was {expectation(worst['observed'], worst['expected'])}"
    return Card(
        **_common(number, row, name),
        bars=_bars(shares),
        more_channels=_more(shares),
        when=_span(row["start"], row["end"], zone),
        start_iso=row["start"].isoformat(),
        span=counted(points, "point")
        if points == 1
        else f"{lasting(row['end'] - row['start'])}, {points:,} points",
        peak=peak,
        plot=Markup(series_plot(trace, _microseconds(row["peak"]), zone=zone, label=label)),  # noqa: S704 - plots escape
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


def _bars(shares: list[Mapping[str, Any]]) -> tuple[Bar, ...]:
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


def _barred(shares: list[Mapping[str, Any]]) -> int:
    """How many channels, largest first, are worth a bar: the first two, and what is above one per cent."""
    large = [part for part in shares[:_BARS] if part["share"] >= 0.01]
    return max(min(2, len(shares)), len(large))


def _more(shares: list[Mapping[str, Any]]) -> str:
    rest = shares[_barred(shares) :]
    if not rest:
        return ""
    return f"{counted(len(rest), 'other channel')} together {percent(sum(max(p['share'], 0) for p in rest))}"


def _plotted(row: Mapping[str, Any]) -> tuple[str, ...]:
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
