"""Where flags lie among normal items, in the two directions in which those differ most: a map as SVG text.

Legend: N normal items, F flags.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from aeflow.report.svg import WIDTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_HEIGHT, _EDGE = 420, 22
_FAR = 1.5
"""Flags that lie farther out than this many times the extent of the normal items are drawn at the border."""
_NUMBERED = 40
_MARK, _RINGS = 23, 5  # between the middles of two marks; how far a mark may be moved, in these


@dataclass(frozen=True)
class Mark:
    """A flag on the map: its number on the page, 0 where it has no card; in words; its place `(2,)`."""

    number: int
    label: str
    place: NDArray[np.float64]


def code_map(normal: NDArray[np.float64], flags: Sequence[Mark], *, label: str) -> str:
    """Normal items `(N, 2)` as dots, flags as numbered marks that lead to their cards.

    Args:
        normal: at least one item.
        flags: the most severe first; these are drawn on top.
        label: the map in words.
    """
    low, high = normal.min(axis=0), normal.max(axis=0)
    middle, reach = (low + high) / 2, (high - low) / 2
    places = np.array([mark.place for mark in flags]).reshape(-1, 2)
    limit = np.where(reach > 0, reach, reach.max() or 1.0) * (1 + _FAR)
    shown = np.clip(places, middle - limit, middle + limit)
    beyond = (np.abs(places - middle) > limit).any(axis=1)
    both = np.concatenate([normal, shown])
    # One scale for both directions: distances count.
    low, high = both.min(axis=0), both.max(axis=0)
    room = np.array([WIDTH - 2 * _EDGE, _HEIGHT - 2 * _EDGE])
    span = np.where(high > low, high - low, 1.0)
    scale = float((room / span).min())
    centre = np.array([WIDTH / 2, _HEIGHT / 2])

    def at(points: NDArray[np.float64]) -> list[tuple[int, int]]:
        placed = (points - (low + high) / 2) * scale * [1, -1] + centre
        return [(round(x), round(y)) for x, y in placed.tolist()]

    parts = [f'<circle class="dot" cx="{x}" cy="{y}" r="5"/>' for x, y in at(normal)]
    free = _aside(at(shown))
    drawn = [_mark(*three) for three in zip(flags, free, beyond.tolist(), strict=True)]
    parts += reversed(drawn)
    return (
        f'<svg class="plot map" viewBox="0 0 {WIDTH} {_HEIGHT}" role="group" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _aside(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The first places, moved aside where they would hide an earlier one, as near as there is room."""
    taken: list[tuple[int, int]] = []

    def room(x: float, y: float) -> bool:
        inside = _EDGE / 2 <= x <= WIDTH - _EDGE / 2 and _EDGE / 2 <= y <= _HEIGHT - _EDGE / 2
        return inside and all((x - a) ** 2 + (y - b) ** 2 >= _MARK**2 for a, b in taken)

    for x, y in places[:_NUMBERED]:
        ring = (
            (x + _MARK * r * math.cos(turn * math.pi / 6), y + _MARK * r * math.sin(turn * math.pi / 6))
            for r in range(_RINGS)
            for turn in range(12)
        )
        near = next((place for place in ring if room(*place)), (x, y))
        taken.append((round(near[0]), round(near[1])))
    return taken + places[_NUMBERED:]


def _mark(flag: Mark, place: tuple[int, int], beyond: bool) -> str:
    x, y = place
    where = ", farther out than the map reaches" if beyond else ""
    shape = (
        f'<path class="mark" d="M{x} {y - 13}l12 23h-24z"/>'
        if beyond
        else f'<circle class="mark" cx="{x}" cy="{y}" r="11"/>'
    )
    title = f"<title>{escape(flag.label)}{where}</title>"
    if not 0 < flag.number <= _NUMBERED:
        return f"<g>{title}{shape}</g>"
    text = f'<text x="{x}" y="{y + 6}" text-anchor="middle">{flag.number}</text>'
    return f'<a href="#f{flag.number}" aria-label="{escape(flag.label)}{where}">{title}{shape}{text}</a>'
