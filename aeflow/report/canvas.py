"""Figures to draw on, and as PNG: same data, same bytes."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 110
BLUE, GREY, RED = "#1f4e86", "#8a94a0", "#b3261e"
# Okabe and Ito, "Color universal design", 2008, without its yellow, which is lost on white: the colour-blind
# tell them apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


def new_figure(width_inch: float, height_inch: float) -> Figure:
    """An empty figure whose parts make room for each other."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - a third of a second that no report needs

    return Figure(figsize=(width_inch, height_inch), dpi=_DPI, layout="constrained")


def as_png(figure: Figure) -> bytes:
    """The figure's PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415

    file = BytesIO()
    # No canvas but Agg, whatever the environment names; no name or version of the software inside.
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()


def plain(text: str) -> str:
    """Text as it is: a dollar sign would begin mathematics."""
    return text.replace("$", r"\$")
