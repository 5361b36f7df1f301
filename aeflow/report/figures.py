"""Figures of a training run as PNG files, for the model registry. Same data, same bytes.

Legend: E epochs, N items, T points of a window, C channels, H x W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.report.canvas import BLUE, GREY, RED, as_png, new_figure, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_HISTOGRAM_BINS = 60


def learning_curves(
    epoch: Sequence[int], train_loss: Sequence[float], validation_loss: Sequence[float]
) -> bytes:
    """Both losses over the epochs, `(E,)` each, with the best epoch marked."""
    figure = new_figure(7.0, 4.0)
    axes = figure.subplots()
    axes.plot(epoch, train_loss, color=GREY, label="training")
    axes.plot(epoch, validation_loss, color=BLUE, label="validation")
    if len(validation_loss):
        best = int(np.argmin(validation_loss))
        axes.plot(epoch[best], validation_loss[best], "o", color=RED, label=f"best: epoch {epoch[best]}")
    if all(loss > 0 for loss in (*train_loss, *validation_loss)):
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    return as_png(figure)


def score_histogram(
    calibration: NDArray[np.floating[Any]],
    held_out: NDArray[np.floating[Any]] | None = None,
    *,
    cut: float | None = None,
    held_out_label: str = "held out",
) -> bytes:
    """Scores of the calibration part `(N,)`, of others `(M,)`, and where the cut lies; NaN are left out."""
    figure = new_figure(7.0, 4.0)
    axes = figure.subplots()
    given = [("calibration", calibration, BLUE)]
    given += [] if held_out is None else [(held_out_label, held_out, RED)]
    groups = [(label, values[np.isfinite(values)], color) for label, values, color in given]
    together = np.concatenate([values for _, values, _ in groups])
    if together.size:
        edges = _edges(together, axes)
        for label, values, color in groups:
            axes.hist(values, bins=edges.tolist(), color=color, alpha=0.6, label=f"{label} ({values.size:,})")
        axes.set_yscale("log")
        axes.legend(frameon=False)
    if cut is not None:
        axes.axvline(cut, color="black", linestyle=":")
        axes.set_title(f"cut at {cut:.4g}", fontsize=9, loc="right")
    axes.set_xlabel("score")
    axes.set_ylabel("items")
    return as_png(figure)


def image_samples(originals: NDArray[np.float32], reconstructions: NDArray[np.float32]) -> bytes:
    """Images `(N, C, H, W)` in 0..1 above their reconstructions, N of them side by side, at least one."""
    count = len(originals)
    figure = new_figure(1.5 * count + 0.4, 3.4)
    grid = figure.subplots(2, count, squeeze=False)
    for row, (title, images) in enumerate((("as it came", originals), ("reconstruction", reconstructions))):
        for axes, image in zip(grid[row], images, strict=True):
            shown = np.clip(np.moveaxis(image, 0, -1), 0, 1)
            axes.imshow(shown[..., 0] if shown.shape[-1] == 1 else shown, cmap="gray", vmin=0, vmax=1)
            axes.set_axis_off()
        grid[row][0].set_title(title, fontsize=9, loc="left")
    return as_png(figure)


def series_samples(
    observed: NDArray[np.float32], expected: NDArray[np.float32], channels: Sequence[str]
) -> bytes:
    """Windows `(N, T, C)` with their reconstructions: a row a channel, a column a window, at least one.
    NaN are gaps."""
    count, _, width = observed.shape
    figure = new_figure(2.6 * count + 0.6, 1.4 * width + 0.7)
    grid = figure.subplots(width, count, squeeze=False, sharex=True, sharey="row")
    for channel, name in enumerate(channels):
        for window in range(count):
            axes = grid[channel][window]
            axes.plot(observed[window, :, channel], color=BLUE, linewidth=1)
            axes.plot(expected[window, :, channel], color=RED, linewidth=1, linestyle="--")
            axes.tick_params(labelsize=7)
        grid[channel][0].set_title(plain(name), fontsize=9, loc="left")
    figure.legend(["observed", "reconstruction"], loc="lower right", ncols=2, frameon=False, fontsize=8)
    return as_png(figure)


def _edges(values: NDArray[np.floating[Any]], axes: Axes) -> NDArray[np.float64]:
    """Bins of equal width, of the logarithm where the values span more than two powers of ten."""
    low, high = float(values.min()), float(values.max())
    if low > 0 and high / low > 100:
        axes.set_xscale("log")
        return np.geomspace(low, high, _HISTOGRAM_BINS + 1)
    return np.linspace(low, high if high > low else low + 1, _HISTOGRAM_BINS + 1)
