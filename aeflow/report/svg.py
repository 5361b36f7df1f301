"""What plots are made of, as SVG text: scales, lines with gaps, ticks.

Coordinates are whole units of the viewBox; a unit is about 0.7 px on the page.

Legend: P points.
"""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from aeflow.report.axes import NO_SPAN

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 1000
LEFT = 96
"""Room for the numbers of the y axis."""
RIGHT = 984


class Scale:
    """A straight map from values to whole units; a span of nothing goes to the middle."""

    def __init__(self, low: float, high: float, to_low: int, to_high: int) -> None:
        self._low, self._to = low, to_low
        self._middle = (to_low + to_high) // 2
        self._factor = (to_high - to_low) / (high - low) if high - low > NO_SPAN else None

    def __call__(self, value: float) -> int:
        """The place of a value."""
        if self._factor is None:
            return self._middle
        return round(self._to + (float(value) - self._low) * self._factor)

    def all(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The place of each value `(P,)`, which must be finite."""
        if self._factor is None:
            return np.full(values.shape, self._middle, dtype=np.int64)
        return np.rint(self._to + (values - self._low) * self._factor).astype(np.int64)


def runs(mask: NDArray[np.bool_], begins: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each run of True that no beginning interrupts."""
    before = np.append(False, mask[:-1])
    first = np.flatnonzero(mask & (~before | begins))
    ends = np.flatnonzero(mask & np.append(~mask[1:] | begins[1:], True))
    return list(zip(first.tolist(), ends.tolist(), strict=True))


def line(
    at: NDArray[np.int64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    y: Scale,
    begins: NDArray[np.bool_],
) -> str:
    """The path of a line with gaps where `low` is NaN, which begins anew where `begins` `(P,)` says so; each
    point is a stroke from low to high where they differ."""
    path = []
    for first, last in runs(~np.isnan(low), begins):
        span = slice(first, last + 1)
        x_at, y_low, y_high = at[span].tolist(), y.all(low[span]).tolist(), y.all(high[span]).tolist()
        corners = [(x_at[0], y_low[0])]
        for px, a, b in zip(x_at, y_low, y_high, strict=True):
            nearest_first = (a, b) if abs(a - corners[-1][1]) <= abs(b - corners[-1][1]) else (b, a)
            corners += [(px, corner) for corner in dict.fromkeys(nearest_first)]
        path.append(_path(corners))
    return "".join(path).replace(" -", "-")


def area(
    at: NDArray[np.int64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    y: Scale,
    begins: NDArray[np.bool_],
) -> str:
    """The path around everything between low and high; gaps as in `line`."""
    path = []
    for first, last in runs(~np.isnan(low), begins):
        span = slice(first, last + 1)
        x_at = at[span].tolist()
        upper = list(zip(x_at, y.all(high[span]).tolist(), strict=True))
        lower = list(zip(x_at, y.all(low[span]).tolist(), strict=True))
        if first == last:  # a bar for a point on its own
            (px, _) = upper[0]
            upper, lower = ([(px - 2, p), (px + 2, p)] for p in (upper[0][1], lower[0][1]))
        path.append(f"{_path([*upper, *lower[::-1]])}z")
    return "".join(path).replace(" -", "-")


def tick(x: int, y: int, text: str, anchor: str) -> str:
    """A number or a time beside an axis."""
    return f'<text class="tk" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def svg(name: str, height: int, label: str, parts: list[str]) -> str:
    """The whole picture; `label` says it in words."""
    return (
        f'<svg class="{name}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _path(corners: list[tuple[int, int]]) -> str:
    # A point on its own is a line of no length, which round caps make a dot.
    moves = [(c[0] - p[0], c[1] - p[1]) for p, c in pairwise(corners)]
    moves = [move for move in moves if move != (0, 0)] or [(0, 0)]
    return f"M{corners[0][0]} {corners[0][1]}l" + " ".join(f"{dx} {dy}" for dx, dy in moves)
