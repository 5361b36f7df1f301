"""An event of a series with its surroundings: the plot as SVG text, and its numbers for the page's script.

The plot says everything by itself, on paper and where scripts are off. With the numbers beside it the script
of the page reads values off it and zooms.

Legend: P points, C channels.
"""

from __future__ import annotations

import base64
import json
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.report.axes import NO_SPAN, number_ticks, time_ticks
from aeflow.report.svg import LEFT, RIGHT, Scale, area, line, runs, svg, tick
from aeflow.wording import figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aeflow.report.traces import Trace

_PANEL = 150
_SEVERITY_PANEL = 76
_GAP = 34  # between panels, for the channel's name
_FOOT = 30
_SPLIT = 1.5  # of the usual step: a longer one is a gap
_CUT = 50  # the severity at which flags begin
_NOTHING, _LEVELS, _INSTANTS = 65_535, 65_534, 4_294_967_295
"""What stands for no value, and how finely values and times are told apart."""


def series_plot(
    trace: Trace, peak_us: int | None, *, zone: str, label: str, tolerance: NDArray[np.float64] | None = None
) -> str:
    """An event with its surroundings, one panel a channel: observed as a line, what was filled in dotted,
    expected dashed within its band, the flagged stretch shaded, its points emphasised, gaps where nothing was
    observed; below the severity with its cut.

    Args:
        trace: what to draw, at least one point.
        peak_us: time of the highest score, microseconds since 1970 in UTC; None: nothing is marked.
        zone: IANA time zone of the time axis.
        label: the plot in words, for those who cannot see it.
        tolerance: `(C,)` half the width of each channel's band; NaN or None where there is none.
    """
    x = Scale(int(trace.time_us[0]), int(trace.time_us[-1]), LEFT, RIGHT)
    foot = len(trace.channels) * (_PANEL + _GAP)
    height = foot + _GAP + _SEVERITY_PANEL + _FOOT
    ticks = time_ticks(int(trace.time_us[0]), int(trace.time_us[-1]), zone)
    frame = _Frame(trace, x, [at for at, _ in ticks])
    width = np.full(len(trace.channels), np.nan) if tolerance is None else tolerance
    parts = [
        _panel(frame, channel, channel * (_PANEL + _GAP) + _GAP, float(width[channel]), peak_us=peak_us)
        for channel in range(len(trace.channels))
    ]
    parts.append(_severity_panel(frame, foot + _GAP))
    parts += [
        tick(x(at), height - 8, text, "middle") for at, text in ticks if LEFT + 30 <= x(at) <= RIGHT - 30
    ]
    return svg("plot series", height, label, parts)


def plot_numbers(trace: Trace, *, zone: str, tolerance: NDArray[np.float64] | None = None) -> str:
    """The numbers of a plot as JSON, for `plot.js`: values to one part in 65,534 of their span."""
    first, last = int(trace.time_us[0]), int(trace.time_us[-1])
    span = max(last - first, 1)
    times = np.rint((trace.time_us - first) / span * _INSTANTS).astype("<u4")
    whole = bool(np.array_equal(trace.low, trace.high, equal_nan=True))
    packed, channels = [times.tobytes()], []
    for channel, name in enumerate(trace.channels):
        columns = [c[:, channel] for c in (trace.low, trace.high, trace.expected)]
        low, high = _span(*columns)
        packed += [_packed(c, low, high) for c in (columns[::2] if whole else columns)]
        half = None if tolerance is None else tolerance[channel]
        channels.append([name, low, high, None if half is None or np.isnan(half) else float(half)])
    packed += [_packed(trace.severity, 0.0, 100.0), trace.flagged.astype(np.uint8).tobytes()]
    numbers: dict[str, Any] = {
        "n": trace.time_us.size,
        "t": [first / 1000, last / 1000],
        "z": zone,
        "h": int(not whole),
        "c": channels,
        "d": base64.b64encode(b"".join(packed)).decode("ascii"),
    }
    return json.dumps(numbers, separators=(",", ":"), allow_nan=False)


def _span(*columns: NDArray[np.float64]) -> tuple[float, float]:
    known = np.concatenate([column[~np.isnan(column)] for column in columns])
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def _packed(values: NDArray[np.float64], low: float, high: float) -> bytes:
    known = ~np.isnan(values)
    # Halved first: the span of the largest numbers is larger than any.
    span = high / 2 - low / 2
    share = (np.where(known, values, low) / 2 - low / 2) / (span if span > NO_SPAN else 1.0)
    return np.where(known, np.rint(share * _LEVELS), _NOTHING).astype("<u2").tobytes()


class _Frame:
    """What all panels of a plot share: the places of points and ticks in x, where rows are missing before a
    point, and where so many that the network did not bridge them: there lines begin anew."""

    def __init__(self, trace: Trace, x: Scale, grid_us: list[int]) -> None:
        self.trace, self.x = trace, x
        self.at = x.all(trace.time_us.astype(np.float64))
        self.gaps = _gaps(trace.time_us)
        self.begins = self.gaps & np.isnan(trace.expected).all(axis=1)
        self.begins[0] = True
        self.grid = [x(at) for at in grid_us]

    def shade(self, top: int, height: int) -> str:
        """The flagged stretch, and the ticks of time."""
        inside = np.flatnonzero(self.trace.flagged)
        drawn = ""
        if inside.size:
            left, right = int(self.at[inside[0]]) - 3, int(self.at[inside[-1]]) + 3
            drawn = f'<rect class="ev" x="{left}" y="{top}" width="{right - left}" height="{height}"/>'
        return drawn + "".join(f'<path class="gr" d="M{x} {top}V{top + height}"/>' for x in self.grid)

    def line(
        self,
        name: str,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        y: Scale,
        begins: NDArray[np.bool_] | None = None,
    ) -> str:
        """A line of a class; nothing where it would be empty. begins: anew; None: where nothing was bridged."""
        path = line(self.at, low, high, y, self.begins if begins is None else begins)
        return f'<path class="{name}" d="{path}"/>' if path else ""

    def filled_in(self, channel: int, y: Scale) -> str:
        """What the network saw in place of missing values and rows: the last value that came."""
        carried = _carried(self.trace.low[:, channel])
        missing = np.isnan(self.trace.low[:, channel])
        known = ~np.isnan(self.trace.expected[:, channel]) & ~np.isnan(carried)
        beside = missing | np.append(missing[1:], False)
        path = line(self.at, np.where(beside & known, carried, np.nan), carried, y, self.gaps)
        for place in np.flatnonzero(self.gaps[1:] & ~self.begins[1:] & ~np.isnan(carried[:-1])).tolist():
            path += f"M{self.at[place]} {y(carried[place])}h{self.at[place + 1] - self.at[place]}"
        return f'<path class="im" d="{path}"/>' if path else ""


def _panel(frame: _Frame, channel: int, top: int, tolerance: float, *, peak_us: int | None) -> str:
    trace, at = frame.trace, frame.at
    low, high, expected = trace.low[:, channel], trace.high[:, channel], trace.expected[:, channel]
    least, most = _with_band(*_span(low, high, expected), expected, tolerance)
    room = 0.06 * (most - least)
    y = Scale(least - room, most + room, top + _PANEL, top)
    bottom = top + _PANEL
    parts = [f'<text class="nm" x="{LEFT}" y="{top - 10}">{escape(trace.channels[channel])}</text>']
    parts.append(frame.shade(top, _PANEL))
    for value in number_ticks(least, most):
        parts.append(f'<path class="gr" d="M{LEFT} {y(value)}H{RIGHT}"/>')
        parts.append(tick(LEFT - 10, y(value) + 6, figure(value), "end"))
    if not np.isnan(tolerance):
        below, above = (np.clip(expected + s * tolerance, least - room, most + room) for s in (-1, 1))
        parts.append(f'<path class="bd" d="{area(at, below, above, y, frame.begins)}"/>')
    parts.append(frame.line("ex", expected, expected, y))
    parts.append(frame.line("ob", low, high, y, frame.gaps))
    marked = np.where(trace.flagged, low, np.nan), np.where(trace.flagged, high, np.nan)
    parts.append(frame.line("fl", *marked, y))
    parts.append(frame.filled_in(channel, y))
    for first, last in runs(np.isnan(low), np.zeros_like(frame.begins)):
        width = max(int(at[last]) - int(at[first]), 4)
        parts.append(f'<rect class="ms" x="{int(at[first])}" y="{bottom - 6}" width="{width}" height="6"/>')
    nearest = None if peak_us is None else int(np.argmin(np.abs(trace.time_us - peak_us)))
    if peak_us is not None and nearest is not None and not np.isnan(high[nearest]):
        usual = np.nan_to_num(expected[nearest])
        outer = max((high[nearest], low[nearest]), key=lambda v: abs(v - usual))
        parts.append(f'<circle class="pk" cx="{frame.x(peak_us)}" cy="{y(outer)}" r="6"/>')
    return f'<g class="pn" data-top="{top}" data-height="{_PANEL}">{"".join(parts)}</g>'


def _severity_panel(frame: _Frame, top: int) -> str:
    y = Scale(0, 100, top + _SEVERITY_PANEL, top)
    severity = frame.trace.severity
    parts = [f'<text class="nm" x="{LEFT}" y="{top - 10}">Severity</text>', frame.shade(top, _SEVERITY_PANEL)]
    for value in (0, 100):
        parts.append(f'<path class="gr" d="M{LEFT} {y(value)}H{RIGHT}"/>')
        parts.append(tick(LEFT - 10, y(value) + 6, str(value), "end"))
    parts.append(frame.line("sv", severity, severity, y))
    marked = np.where(frame.trace.flagged, severity, np.nan)
    parts.append(frame.line("fl", marked, marked, y))
    parts.append(f'<path class="cut" d="M{LEFT} {y(_CUT)}H{RIGHT}"/>')
    parts.append(tick(LEFT - 10, y(_CUT) + 6, "cut", "end"))
    return f'<g class="pn" data-top="{top}" data-height="{_SEVERITY_PANEL}">{"".join(parts)}</g>'


def _with_band(
    least: float, most: float, expected: NDArray[np.float64], tolerance: float
) -> tuple[float, float]:
    """The span to show: that of the values and of the band, which may take as much room again on each side."""
    if np.isnan(tolerance) or np.isnan(expected).all():
        return least, most
    room = most / 2 - least / 2
    room = 2 * room if room > NO_SPAN else tolerance
    low, high = float(np.nanmin(expected)) - tolerance, float(np.nanmax(expected)) + tolerance
    return min(least, max(low, least - room)), max(most, min(high, most + room))


def _carried(observed: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last value that came at or before each point, `(P,)`; NaN before the first."""
    last = np.maximum.accumulate(np.where(np.isnan(observed), -1, np.arange(observed.size)))
    return np.where(last >= 0, observed[last], np.nan)


def _gaps(time_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Before which points rows are missing, `(P,)`: after a step that is longer than usual, and the first."""
    steps = np.diff(time_us)
    if steps.size == 0:
        return np.ones(time_us.size, dtype=bool)
    return np.append(True, steps > _SPLIT * np.median(steps))
