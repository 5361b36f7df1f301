"""Plots of a whole batch as SVG text: pure functions, the same data gives the same characters.

Colours come from the classes that the page's style sheet defines, so a plot follows light and dark.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from aeflow.report.svg import LEFT, RIGHT, Scale, svg, tick

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    y = Scale(math.log10(0.5), decades, bottom, top)
    x = Scale(0, 100, LEFT, RIGHT)
    parts: list[str] = []
    for power in range(decades + 1):
        parts.append(f'<path class="gr" d="M{LEFT} {y(power)}H{RIGHT}"/>')
        parts.append(tick(LEFT - 10, y(power) + 6, f"{10**power:,}", "end"))
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
    parts.append(tick(x(50) + 8, top - 2, "cut", "start"))
    parts.append(f'<path class="ax" d="M{LEFT} {bottom}H{RIGHT}"/>')
    parts += [tick(x(severity), bottom + 24, str(severity), "middle") for severity in range(0, 101, 10)]
    return svg("plot histogram", bottom + 34, label, parts)


def _normal_line(total: int, bins: int, cut_p_value: float, x: Scale, y: Scale) -> str:
    """What normal data would give: a p-value is uniform there, so severity is exponential."""
    edges = np.linspace(0, 100, bins + 1)
    share = cut_p_value ** (edges / 50)
    expected = total * (share[:-1] - share[1:])
    middle = (edges[:-1] + edges[1:]) / 2
    seen = [(m, e) for m, e in zip(middle.tolist(), expected.tolist(), strict=True) if e >= 0.5]
    points = [f"{x(m)} {y(math.log10(e))}" for m, e in seen]
    return f'<path class="ex" d="M{"L".join(points)}"/>' if len(points) > 1 else ""
