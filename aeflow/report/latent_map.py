"""Codes on a plane as a picture, coloured by score, class or verdict, so that the colour-blind tell them apart.

Legend: N items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aeflow.report.axes import number_ticks
from aeflow.report.canvas import COLOURS, RED, as_png, new_figure, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

# With the shape of the marker there are 49 classes before one looks like another.
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_MOST_CLASSES = 20
_NOT_FLAGGED = "not flagged"
_VERDICTS = {  # colour and marker, the most telling on top
    "not reviewed": ("#56B4E9", "o"),
    "unsure": ("#E69F00", "D"),
    "disputed": ("#000000", "X"),
    "false": ("#0072B2", "s"),
    "true": ("#D55E00", "^"),
}
_OTHERS, _NO_CLASS = "others", "no class"
_PALE = "#b8bec6"


@dataclass(frozen=True)
class ByScore:
    """score `(N,)`, NaN where there is none; flagged `(N,)` bool."""

    score: NDArray[np.float32]
    flagged: NDArray[np.bool_]


@dataclass(frozen=True)
class ByClass:
    """The class of each item; None where it has none."""

    name: Sequence[str | None]


@dataclass(frozen=True)
class ByVerdict:
    """What holds of each item that belongs to a flag (true, false, unsure, disputed, not reviewed); None of
    the others."""

    held: Sequence[str | None]


def latent_map(
    places: NDArray[np.float64], colouring: ByScore | ByClass | ByVerdict, *, title: str, note: str
) -> bytes:
    """A PNG of items at places `(N, 2)`; `note`, below the title, says how they were chosen."""
    figure = new_figure(7.6, 5.6)
    axes = figure.subplots()
    size = float(np.clip(9_000 / max(len(places), 1), 5, 34))
    if isinstance(colouring, ByScore):
        _draw_scores(axes, places, colouring, size)
    elif isinstance(colouring, ByClass):
        _draw_classes(axes, places, colouring, size)
    else:
        _draw_verdicts(axes, places, colouring, size)
    # Distances count, places do not: no numbers on the axes.
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_color(_PALE)
    axes.set_title(f"{plain(title)}\n", loc="left", fontsize=11)
    axes.text(0, 1.015, plain(note), transform=axes.transAxes, fontsize=8.5, color="#4a525c")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9, markerscale=1.4)
    return as_png(figure)


def _draw_scores(axes: Axes, places: NDArray[np.float64], by: ByScore, size: float) -> None:
    known = ~np.isnan(by.score)
    shown = np.where(known & (by.score > 0), by.score, np.nan)
    # Scores spread over powers of ten; so do their colours.
    logs = np.log10(shown, out=np.full(shown.shape, np.nan), where=~np.isnan(shown))
    order = np.argsort(np.nan_to_num(logs, nan=-np.inf), kind="stable")  # the highest on top
    order = order[known[order]]
    if not known.all():
        unknown = places[~known]
        axes.scatter(unknown[:, 0], unknown[:, 1], s=size, c=_PALE, linewidths=0, label="no score")
    points = axes.scatter(
        places[order, 0], places[order, 1], s=size, c=np.nan_to_num(logs[order], nan=_least(logs)),
        cmap="cividis_r", linewidths=0,
    )  # fmt: skip
    bar = axes.figure.colorbar(points, ax=axes, shrink=0.7, pad=0.02, location="left")
    bar.outline.set_visible(False)
    bar.set_label("anomaly score", fontsize=9)
    ticks = _ticks(*(10**end for end in points.get_clim()))
    bar.set_ticks([math.log10(tick) for tick in ticks], labels=[f"{tick:g}" for tick in ticks])
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=8)
    if by.flagged.any():
        flagged = places[by.flagged]
        axes.scatter(
            flagged[:, 0], flagged[:, 1], s=size * 2.6, facecolors="none", edgecolors=RED, linewidths=1.1,
            label=f"flagged ({int(by.flagged.sum()):,})",
        )  # fmt: skip


def _ticks(low: float, high: float) -> list[float]:
    """Round scores in a span: 1, 2 and 5 of each power of ten; evenly where these are too few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    round_ones = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    inside = [tick for tick in round_ones if low <= tick <= high]
    if len(inside) > 9:
        inside = [tick for tick in inside if math.log10(tick).is_integer()]
    if len(inside) < 3:
        inside = [float(f"{tick:.6g}") for tick in number_ticks(low, high, 4)]
    return inside


def _least(values: NDArray[np.float64]) -> float:
    return float(np.nanmin(values)) if (~np.isnan(values)).any() else 0.0


def _draw_classes(axes: Axes, places: NDArray[np.float64], by: ByClass, size: float) -> None:
    names, counts = np.unique([name for name in by.name if name is not None], return_counts=True)
    largest = sorted(names[np.argsort(-counts, kind="stable")][:_MOST_CLASSES].tolist())
    of_item = np.array(
        [_NO_CLASS if name is None else name if name in largest else _OTHERS for name in by.name]
    )
    for name in (_NO_CLASS, _OTHERS):
        mine = of_item == name
        if mine.any() and name not in largest:
            label = f"{name} ({int(mine.sum()):,})"
            axes.scatter(places[mine, 0], places[mine, 1], s=size, c=_PALE, linewidths=0, label=label)
    for number, name in enumerate(largest):
        mine = of_item == name
        axes.scatter(
            places[mine, 0], places[mine, 1], s=size, alpha=0.85, linewidths=0,
            c=COLOURS[number % len(COLOURS)],
            marker=_MARKERS[(number + number // len(COLOURS)) % len(_MARKERS)],
            label=f"{plain(name)} ({int(mine.sum()):,})",
        )  # fmt: skip


def _draw_verdicts(axes: Axes, places: NDArray[np.float64], by: ByVerdict, size: float) -> None:
    of_item = np.array([_NOT_FLAGGED if held is None else held for held in by.held])
    for name, (colour, marker) in {_NOT_FLAGGED: (_PALE, "o"), **_VERDICTS}.items():
        mine = of_item == name
        if mine.any():
            axes.scatter(
                places[mine, 0], places[mine, 1], s=size if name == _NOT_FLAGGED else size * 2,
                c=colour, marker=marker, alpha=0.9, linewidths=0, label=f"{name} ({int(mine.sum()):,})",
            )  # fmt: skip
