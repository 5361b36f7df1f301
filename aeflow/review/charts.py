"""Charts of the review app as SVG text; colours come from the classes of its style sheet."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from markupsafe import Markup

from aeflow.review.board import STATES
from aeflow.wording import counted, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aeflow.review.trends import Tally

_WIDTH, _LEFT, _RIGHT = 1000, 40, 990
_WIDEST = 36.0  # a bar of few
_ORDER = ("false", "disputed", "unsure", "true", "open")  # from the axis up


def flags_chart(tallies: Sequence[Tally], *, label: str, height: int = 180) -> Markup:
    """A bar for each tally, in parts by what holds of its flags."""
    top, bottom = 12, height - 26
    most = max((tally.flags for tally in tallies), default=0) or 1
    parts = [_axis(bottom, most, top)]
    step = (_RIGHT - _LEFT) / max(len(tallies), 1)
    width = min(max(step * 0.8, 1.0), _WIDEST)
    for number, tally in enumerate(tallies):
        x, y = _LEFT + number * step + (step - width) / 2, float(bottom)
        drawn = []
        for state in _ORDER:
            count = tally.counts[STATES.index(state)]
            if count:
                tall = (bottom - top) * count / most
                y -= tall
                drawn.append(_rect(f"st-{state}", x, y, width, tall))
        title = f"<title>{escape(_told(tally))}</title>"
        # The whole column is to be pointed at, not the bar alone.
        parts.append(f"<g>{title}{_rect('hit', x, top, width, bottom - top)}{''.join(drawn)}</g>")
    return _svg(height, label, [*parts, *_names(tallies, step, height)])


def precision_chart(tallies: Sequence[Tally], *, label: str, height: int = 180) -> Markup:
    """For each tally with judged flags the share of true ones, with its interval."""
    top, bottom = 12, height - 26

    def y(share: float) -> float:
        return bottom - (bottom - top) * share

    parts = []
    for share in (0.0, 0.5, 1.0):
        parts.append(f'<path class="gr" d="M{_LEFT} {y(share):.1f}H{_RIGHT}"/>')
        parts.append(
            f'<text class="tk" x="{_LEFT - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        )
    step = (_RIGHT - _LEFT) / max(len(tallies), 1)
    for number, tally in enumerate(tallies):
        if tally.precision is None or tally.interval is None:
            continue
        x = _LEFT + (number + 0.5) * step
        low, high = tally.interval
        parts.append(
            f"<g><title>{escape(_told(tally))}</title>"
            f'<path class="iv" d="M{x:.1f} {y(low):.1f}V{y(high):.1f}"/>'
            f'<circle class="pt" cx="{x:.1f}" cy="{y(tally.precision):.1f}" r="4"/></g>'
        )
    return _svg(height, label, [*parts, *_names(tallies, step, height)])


def sentence_of_precision(tally: Tally) -> str:
    """`8 of 10 judged flags were true: 80 % (49 to 94 %)`."""
    if tally.precision is None or tally.interval is None:
        return "nothing judged yet"
    low, high = tally.interval
    true = tally.counts[STATES.index("true")]
    return (
        f"{true:,} of {counted(tally.judged, 'judged flag')} {'was' if true == 1 else 'were'} true: "
        f"{percent(tally.precision)} ({100 * low:.0f} to {100 * high:.0f} %)"
    )


def _told(tally: Tally) -> str:
    parts = [f"{count:,} {state}" for state, count in zip(STATES, tally.counts, strict=True) if count]
    said = f"{tally.name}: {counted(tally.flags, 'flag')}"
    if parts:
        said += f" ({', '.join(parts)})"
    return said if tally.precision is None else f"{said}; {sentence_of_precision(tally)}"


def _axis(bottom: int, most: int, top: int) -> str:
    return (
        f'<path class="gr" d="M{_LEFT} {top}H{_RIGHT}"/><path class="ax" d="M{_LEFT} {bottom}H{_RIGHT}"/>'
        f'<text class="tk" x="{_LEFT - 8}" y="{top + 4}" text-anchor="end">{most:,}</text>'
        f'<text class="tk" x="{_LEFT - 8}" y="{bottom + 4}" text-anchor="end">0</text>'
    )


def _names(tallies: Sequence[Tally], step: float, height: int) -> list[str]:
    """The names of the first, the middle and the last."""
    if not tallies:
        return []
    last = len(tallies) - 1
    chosen = {0: "start", last: "end"} if last else {0: "start"}
    if last >= 4:
        chosen[last // 2] = "middle"
    places = {"start": 0.0, "middle": 0.5, "end": 1.0}
    return [
        f'<text class="tk" x="{_LEFT + (number + places[anchor]) * step:.1f}" y="{height - 6}" '
        f'text-anchor="{anchor}">{escape(tallies[number].name.split(" to ")[0 if anchor == "start" else -1])}</text>'
        for number, anchor in sorted(chosen.items())
    ]


def _rect(name: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _svg(height: int, label: str, parts: list[str]) -> Markup:
    head = f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
    return Markup(f"{head}{''.join(parts)}</svg>")  # noqa: S704 - every text in it is escaped
