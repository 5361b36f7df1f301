"""Plots as SVG text: pure functions, the same data gives the same characters.

Colours come from the classes that the page's style sheet defines, so a plot follows light and dark.
Coordinates are whole units of the viewBox; a unit is about 0.7 px on the page.

Legend: P points, C channels.
"""

from __future__ import annotations

import math
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from aeflow.report.axes import NO_SPAN, number_ticks, time_ticks
from aeflow.report.wording import figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aeflow.report.traces import Trace

_WIDTH = 1000
_LEFT = 96  # room for the numbers of the y axis
_RIGHT = 984
_PANEL = 150
_GAP = 34  # between panels, for the channel's name
_FOOT = 30
_SPLIT = 1.5  # of the usual step: a longer one is a gap


def series_plot(trace: Trace, peak_us: int, *, zone: str, label: str) -> str:
    """An event with its surroundings, one panel a channel: observed as a line, expected dashed, the
    flagged stretch shaded, its points emphasised, gaps where nothing was observed.

    Args:
        trace: what to draw, at least one point.
        peak_us: time of the highest score, microseconds since 1970 in UTC.
        zone: IANA time zone of the time axis.
        label: the plot in words, for those who cannot see it.
    """
    x = _Scale(int(trace.time_us[0]), int(trace.time_us[-1]), _LEFT, _RIGHT)
    height = len(trace.channels) * (_PANEL + _GAP) + _FOOT
    ticks = time_ticks(int(trace.time_us[0]), int(trace.time_us[-1]), zone)
    parts = [
        _panel(
            trace,
            channel,
            x,
            channel * (_PANEL + _GAP) + _GAP,
            peak_us=peak_us,
            grid_us=[t for t, _ in ticks],
        )
        for channel in range(len(trace.channels))
    ]
    parts += [
        _tick(x(at), height - 8, text, "middle") for at, text in ticks if _LEFT + 30 <= x(at) <= _RIGHT - 30
    ]
    return _svg("plot series", height, label, parts)


def severity_plot(counts: NDArray[np.int64], cut_p_value: float | None, *, label: str) -> str:
    """How many items have which severity, on a logarithmic scale, against what normal data give.

    Args:
        counts: `(B,)` items in B equal bins of 0..100.
        cut_p_value: of the severity 50; None: nothing is drawn for normal data.
        label: the plot in words.
    """
    top, bottom = 22, 212
    decades = max(math.ceil(math.log10(max(int(counts.max(initial=1)), 10))), 1)
    # Half an item is the floor: a single one must be seen.
    y = _Scale(math.log10(0.5), decades, bottom, top)
    x = _Scale(0, 100, _LEFT, _RIGHT)
    parts: list[str] = []
    for power in range(decades + 1):
        parts.append(f'<path class="gr" d="M{_LEFT} {y(power)}H{_RIGHT}"/>')
        parts.append(_tick(_LEFT - 10, y(power) + 6, f"{10**power:,}", "end"))
    for place, count in enumerate(counts.tolist()):
        if count:
            left, right = x(100 * place / counts.size), x(100 * (place + 1) / counts.size)
            at = y(math.log10(count))
            name = "hi" if 2 * place >= counts.size else "lo"
            parts.append(
                f'<rect class="{name}" x="{left}" y="{at}" width="{right - left - 2}" height="{bottom - at}"/>'
            )
    if cut_p_value is not None:
        parts.append(_normal_line(int(counts.sum()), counts.size, cut_p_value, x, y))
    parts.append(f'<path class="cut" d="M{x(50)} {top - 14}V{bottom}"/>')
    parts.append(_tick(x(50) + 8, top - 2, "cut", "start"))
    parts.append(f'<path class="ax" d="M{_LEFT} {bottom}H{_RIGHT}"/>')
    parts += [_tick(x(severity), bottom + 24, str(severity), "middle") for severity in range(0, 101, 10)]
    return _svg("plot histogram", bottom + 34, label, parts)


def _normal_line(total: int, bins: int, cut_p_value: float, x: _Scale, y: _Scale) -> str:
    """What normal data would give: a p-value is uniform there, so severity is exponential."""
    edges = np.linspace(0, 100, bins + 1)
    share = cut_p_value ** (edges / 50)
    expected = total * (share[:-1] - share[1:])
    middle = (edges[:-1] + edges[1:]) / 2
    seen = [(m, e) for m, e in zip(middle.tolist(), expected.tolist(), strict=True) if e >= 0.5]
    points = [f"{x(m)} {y(math.log10(e))}" for m, e in seen]
    return f'<path class="ex" d="M{"L".join(points)}"/>' if len(points) > 1 else ""


class _Scale:
    """A straight map from values to whole units; a span of nothing goes to the middle."""

    def __init__(self, low: float, high: float, to_low: int, to_high: int) -> None:
        self._low, self._to = low, to_low
        self._middle = (to_low + to_high) // 2
        self._factor = (to_high - to_low) / (high - low) if high - low > NO_SPAN else None

    def __call__(self, value: float) -> int:
        if self._factor is None:
            return self._middle
        return round(self._to + (float(value) - self._low) * self._factor)

    def all(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The map of each value `(P,)`, which must be finite."""
        if self._factor is None:
            return np.full(values.shape, self._middle, dtype=np.int64)
        return np.rint(self._to + (values - self._low) * self._factor).astype(np.int64)


def _panel(trace: Trace, channel: int, x: _Scale, top: int, *, peak_us: int, grid_us: list[int]) -> str:
    low, high, expected = trace.low[:, channel], trace.high[:, channel], trace.expected[:, channel]
    known = np.concatenate([low[~np.isnan(low)], high[~np.isnan(high)], expected[~np.isnan(expected)]])
    least, most = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    room = 0.06 * (most - least)
    y = _Scale(least - room, most + room, top + _PANEL, top)
    bottom = top + _PANEL
    at = x.all(trace.time_us.astype(np.float64))
    begins = _begins(trace.time_us)
    parts = [f'<text class="nm" x="{_LEFT}" y="{top - 10}">{escape(trace.channels[channel])}</text>']
    inside = np.flatnonzero(trace.flagged)
    if inside.size:
        left, right = int(at[inside[0]]) - 3, int(at[inside[-1]]) + 3
        parts.append(f'<rect class="ev" x="{left}" y="{top}" width="{right - left}" height="{_PANEL}"/>')
    parts += [f'<path class="gr" d="M{x(tick)} {top}V{bottom}"/>' for tick in grid_us]
    for tick in number_ticks(least, most):
        parts.append(f'<path class="gr" d="M{_LEFT} {y(tick)}H{_RIGHT}"/>')
        parts.append(_tick(_LEFT - 10, y(tick) + 6, figure(tick), "end"))
    parts.append(f'<path class="ex" d="{_line(at, expected, expected, y, begins)}"/>')
    parts.append(f'<path class="ob" d="{_line(at, low, high, y, begins)}"/>')
    marked = np.where(trace.flagged, low, np.nan), np.where(trace.flagged, high, np.nan)
    parts.append(f'<path class="fl" d="{_line(at, *marked, y, begins)}"/>')
    for first, last in _runs(np.isnan(low), np.zeros_like(begins)):
        width = max(int(at[last]) - int(at[first]), 4)
        parts.append(f'<rect class="ms" x="{int(at[first])}" y="{bottom - 6}" width="{width}" height="6"/>')
    nearest = int(np.argmin(np.abs(trace.time_us - peak_us)))
    if not np.isnan(high[nearest]):
        outer = max((high[nearest], low[nearest]), key=lambda v: abs(v - np.nan_to_num(expected[nearest])))
        parts.append(f'<circle class="pk" cx="{x(peak_us)}" cy="{y(outer)}" r="6"/>')
    return "".join(parts)


def _begins(time_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a line must begin anew, `(P,)`: after a step that is longer than usual."""
    steps = np.diff(time_us)
    if steps.size == 0:
        return np.ones(time_us.size, dtype=bool)
    return np.append(True, steps > _SPLIT * np.median(steps))


def _runs(mask: NDArray[np.bool_], begins: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each run of True that no beginning interrupts."""
    before = np.append(False, mask[:-1])
    first = np.flatnonzero(mask & (~before | begins))
    ends = np.flatnonzero(mask & np.append(~mask[1:] | begins[1:], True))
    return list(zip(first.tolist(), ends.tolist(), strict=True))


def _line(
    at: NDArray[np.int64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    y: _Scale,
    begins: NDArray[np.bool_],
) -> str:
    """The path of a line with gaps; each point is a stroke from low to high where they differ."""
    path = []
    for first, last in _runs(~np.isnan(low), begins):
        span = slice(first, last + 1)
        x_at, y_low, y_high = at[span].tolist(), y.all(low[span]).tolist(), y.all(high[span]).tolist()
        corners = [(x_at[0], y_low[0])]
        for px, a, b in zip(x_at, y_low, y_high, strict=True):
            nearest_first = (a, b) if abs(a - corners[-1][1]) <= abs(b - corners[-1][1]) else (b, a)
            corners += [(px, corner) for corner in dict.fromkeys(nearest_first)]
        # A point on its own is a line of no length, which round caps make a dot.
        moves = [(c[0] - p[0], c[1] - p[1]) for p, c in pairwise(corners)]
        moves = [move for move in moves if move != (0, 0)] or [(0, 0)]
        path.append(f"M{corners[0][0]} {corners[0][1]}l" + " ".join(f"{dx} {dy}" for dx, dy in moves))
    return "".join(path).replace(" -", "-")


def _tick(x: int, y: int, text: str, anchor: str) -> str:
    return f'<text class="tk" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(name: str, height: int, label: str, parts: list[str]) -> str:
    return (
        f'<svg class="{name}" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
