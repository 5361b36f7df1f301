"""Many images, or many windows, on one sheet, in rows and columns that say what they are.

Legend: A rows, B columns, C bands or channels, H x W pixels, T points, P windows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from aeflow.report.canvas import BLUE, COLOURS, GREY, RED, as_png, new_figure, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_CELL_INCH, _LEAST_INCH = 0.85, 3.6
_GAP_SHARE = 0.08  # between images, of their smaller side
# Observed, what was seen of it, and what was made of that: told apart by their form too.
_LINES = (
    {"color": BLUE, "linewidth": 1.3},
    {"color": GREY, "linestyle": "none", "marker": "o", "markersize": 3.5},
    {"color": RED, "linewidth": 1.3, "linestyle": "--"},
)

_FORMS = ("-", "--", ":", "-.")


def image_sheet(
    images: NDArray[np.float32],
    *,
    title: str,
    note: str = "",
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> bytes:
    """A PNG of images `(A, B, C, H, W)` in 0..1, each pixel a sharp square. `rows` and `columns` name them,
    or are empty."""
    down, across, bands, height, width = images.shape
    gap = max(1, round(_GAP_SHARE * min(height, width)))
    sheet = np.ones((down * (height + gap) - gap, across * (width + gap) - gap, bands), dtype=np.float32)
    for i in range(down):
        for j in range(across):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = np.moveaxis(images[i, j], 0, -1)
    cell = _CELL_INCH * max(1.0, 6 / max(down, across))
    cell = min(cell, 1.6)
    scale = cell / max(height, width)
    wide, high = scale * sheet.shape[1], scale * sheet.shape[0]
    figure = new_figure(max(wide + (1.3 if rows else 0.3), _LEAST_INCH), high + 0.75 + 0.25 * bool(columns))
    axes = figure.subplots()
    shown = np.clip(sheet, 0, 1)
    axes.imshow(shown[..., 0] if bands == 1 else shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_yticks(
        [i * (height + gap) + height / 2 - 0.5 for i in range(len(rows))], [plain(r) for r in rows]
    )
    axes.set_xticks(
        [j * (width + gap) + width / 2 - 0.5 for j in range(len(columns))], [plain(c) for c in columns]
    )
    axes.tick_params(length=0, labelsize=8.5)
    _entitle(figure, title, note)
    return as_png(figure)


def overlaid_windows(
    lines: Sequence[tuple[str, NDArray[np.float32]]],
    *,
    channels: Sequence[str],
    columns: Sequence[str],
    title: str,
    note: str = "",
) -> bytes:
    """A PNG of two or three lines a window, each with its name and values `(P, T, C)`, NaN a gap: a row a
    channel, a column a window."""
    looks = _LINES if len(lines) == len(_LINES) else (_LINES[0], _LINES[-1])
    count, _, width = lines[0][1].shape
    figure = new_figure(max(2.6 * count + 0.6, _LEAST_INCH), 1.5 * width + 1.3)
    grid = figure.subplots(width, count, squeeze=False, sharex=True, sharey="row")
    for channel, name in enumerate(channels):
        for window in range(count):
            axes = grid[channel][window]
            for (_, values), look in zip(lines, looks, strict=True):
                axes.plot(values[window, :, channel], **look)
            axes.tick_params(labelsize=7)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
            if channel == width - 1:
                axes.set_xlabel("point of the window", fontsize=7.5)
            if channel == 0:
                axes.set_title(plain(columns[window]), fontsize=8.5)
        grid[channel][0].set_ylabel(plain(name), fontsize=8)
    figure.legend(
        [name for name, _ in lines], loc="outside lower center", ncols=3, frameon=False, fontsize=8.5
    )
    _entitle(figure, title, note)
    return as_png(figure)


def window_sheet(
    windows: NDArray[np.float32],
    *,
    channels: Sequence[str],
    title: str,
    note: str = "",
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> bytes:
    """A PNG of windows `(A, B, T, C)`, a small plot each with a line a channel. One channel has its unit;
    several, whose units have nothing in common, go each from their least to their greatest value on the
    sheet, which the legend names."""
    down, across, _, width = windows.shape
    names = [plain(name) for name in channels]
    if width > 1:
        least, greatest = (of(windows, axis=(0, 1, 2)) for of in (np.nanmin, np.nanmax))
        windows = (windows - least) / np.where(greatest > least, greatest - least, 1)
        names = [f"{n}: {a:.4g} to {b:.4g}" for n, a, b in zip(names, least, greatest, strict=True)]
    wide = max(1.15 * across + 0.9, _LEAST_INCH)
    side_by_side = min(len(names), max(1, int(wide / (0.5 + 0.075 * max(map(len, names))))))
    figure = new_figure(wide, 0.9 * down + 0.9 + 0.2 * math.ceil(len(names) / side_by_side))
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for i in range(down):
        for j in range(across):
            axes = grid[i][j]
            for channel in range(width):
                colour, form = COLOURS[channel % len(COLOURS)], _FORMS[channel // len(COLOURS) % len(_FORMS)]
                axes.plot(windows[i, j, :, channel], color=colour, linestyle=form, linewidth=1.1)
            axes.tick_params(labelsize=7, length=2)
            if width > 1:
                axes.set_yticks([])
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
            if i == 0 and columns:
                axes.set_title(plain(columns[j]), fontsize=8.5)
        if rows:
            grid[i][0].set_ylabel(plain(rows[i]), fontsize=8.5)
    grid[-1][0].set_xlabel("point of the window", fontsize=7.5)
    figure.legend(names, loc="outside lower center", ncols=side_by_side, frameon=False, fontsize=8.5)
    _entitle(figure, title, note)
    return as_png(figure)


def _entitle(figure: Figure, title: str, note: str) -> None:
    figure.suptitle(plain(title) + (f"\n{plain(note)}" if note else ""), x=0.01, ha="left", fontsize=9.5)
