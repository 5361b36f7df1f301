"""The page over all nights of a pipeline: flags of the last thirty, each with its report.

It lies beside the reports and not in one: what other nights brought depends on when a batch is scored, and a
report on its own batch alone.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from markupsafe import Markup

from aeflow.exceptions import AeflowError
from aeflow.report.axes import number_ticks
from aeflow.report.html import REPORT_FILE, page_environment
from aeflow.report.summary import read_summary
from aeflow.report.svg import LEFT, RIGHT, Scale, svg, tick
from aeflow.store.claims import exclusive
from aeflow.store.files import atomic_file
from aeflow.wording import counted, figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aeflow.report.summary import Summary
    from aeflow.store.paths import Paths

NIGHTS_FILE = "index.html"
SHOWN_NIGHTS = 30
_TOP, _BOTTOM = 14, 170
_NAMED, _LETTERS = 8, 11


@dataclass(frozen=True)
class NightRow:
    """A night in the table; address: of its report, from the page."""

    summary: Summary
    address: str


def last_nights(paths: Paths, count: int = SHOWN_NIGHTS, *, until: str | None = None) -> list[Summary]:
    """The summaries of the last published batches, in the order of their ids, up to `until` if that is given. One
    that cannot be read is passed over: it may be in the middle of being replaced, and a damaged one must not keep
    the others."""
    published = [batch for batch in paths.published() if until is None or batch <= until]
    found = []
    for batch in published[-count:]:
        with suppress(AeflowError):
            found.append(read_summary(paths.report(batch)))
    return found


def write_nights(paths: Paths) -> Path:
    """Write the page beside the reports, in place of the one that was there. Returns where it lies.

    Raises:
        StorageError: it cannot be written.
    """
    path = paths.reports / NIGHTS_FILE
    # Of two that score at once, the one that looked first must not write last.
    with exclusive(paths.nights_lock):
        page = _page(paths)
        with atomic_file(path) as file:
            file.write(page.encode())
    return path


def _page(paths: Paths) -> str:
    nights = last_nights(paths)
    rows = [
        NightRow(night, f"{quote(paths.report(night.batch).name)}/{REPORT_FILE}")
        for night in reversed(nights)
    ]
    template = page_environment().get_template("nights.html.j2")
    return template.render(
        pipeline=paths.pipeline,
        rows=rows,
        plot=Markup(flags_by_night(nights)) if nights else None,  # noqa: S704 - the plot escapes
    )


def flags_by_night(nights: Sequence[Summary]) -> str:
    """A bar for each night as high as its flags, and across it how many the calibration expects by chance."""
    most = max(*(night.flags for night in nights), *(_expected(night) or 0 for night in nights), 1)
    y = Scale(0, most, _BOTTOM, _TOP)
    step = (RIGHT - LEFT) / len(nights)
    width = max(round(min(step * 0.7, 60)), 2)
    parts = []
    for value in number_ticks(0, most):
        parts.append(f'<path class="gr" d="M{LEFT} {y(value)}H{RIGHT}"/>')
        parts.append(tick(LEFT - 10, y(value) + 6, figure(value), "end"))
    every = -(-len(nights) // _NAMED)
    for number, night in enumerate(nights):
        middle = round(LEFT + (number + 0.5) * step)
        told = f"<title>{escape(night.batch)}: {escape(night.sentence)}</title>"
        name = "hi" if night.promise.kept is False else "lo"
        bar = f'x="{middle - width // 2}" y="{y(night.flags)}" width="{width}" height="{_BOTTOM - y(night.flags)}"'
        parts.append(f'<g>{told}<rect class="{name}" {bar}/></g>')
        expected = _expected(night)
        if expected is not None:
            half = width // 2 + 4
            parts.append(f'<path class="cut" d="M{middle - half} {y(expected)}h{2 * half}"/>')
        if number % every == 0:
            parts.append(tick(middle, _BOTTOM + 24, _short(night.batch), "middle"))
    parts.append(f'<path class="ax" d="M{LEFT} {_BOTTOM}H{RIGHT}"/>')
    label = f"Flags of {counted(len(nights), 'night')}: " + "; ".join(
        f"{night.batch} {night.flags}" for night in nights
    )
    return svg("plot nights", _BOTTOM + 34, label, parts)


def _short(batch: str) -> str:
    """As much of the end of an id as there is room for."""
    return batch if len(batch) <= _LETTERS else f"…{batch[1 - _LETTERS :]}"


def _expected(night: Summary) -> float | None:
    return night.promise.expected_false_flags_per_batch
