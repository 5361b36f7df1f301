"""Which batches a retraining learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aeflow.config import Split

MOST_HELD_OUT = 0.6
"""A change that is a few nights old is learnt from, and held against, by parts of these few nights."""


@dataclass(frozen=True)
class Window:
    """batches: to learn from, oldest first. unfit: published ones that would be among them, and are not since a
    sensor was at fault."""

    batches: tuple[str, ...]
    unfit: tuple[str, ...]


def choose_window(
    history: Sequence[tuple[str, int]],
    nights: Sequence[tuple[str, int]],
    unfit: Sequence[str],
    *,
    wanted: int | None,
) -> Window:
    """The most recent batches of the history and of the published nights.

    Args:
        history: (batch, rows) of the batches of the configured history, oldest first.
        nights: the same of the published batches.
        unfit: of the nights, those on which a sensor was at fault.
        wanted: how many batches; None: as many as hold the rows of the configured history, so that a nightly
            batch that is much smaller than one of the history does not leave too little to learn from.
    """
    published = {batch for batch, _ in nights}
    known = [pair for pair in history if pair[0] not in published] + list(nights)
    needed = sum(rows for _, rows in history)
    chosen: list[str] = []
    passed: list[str] = []
    rows_so_far = 0
    for batch, rows in reversed(known):
        if (rows_so_far >= needed) if wanted is None else (len(chosen) >= wanted):
            break
        if batch in unfit:
            passed.insert(0, batch)
            continue
        chosen.insert(0, batch)
        rows_so_far += rows
    return Window(tuple(chosen), tuple(passed))


def stretches_of(batches: int, rows: float, window_points: int, *, least_windows: int = 30) -> int:
    """Into how many stretches the rows of an entity are cut, each to be shared out, so that a change on the way
    is in every part: one a batch, but none shorter than `least_windows` windows."""
    return max(1, min(batches, int(rows // (least_windows * window_points))))


def shares_since(shares: Split, *, rows: int, since: int) -> Split:
    """How the rows since a change are shared out: the parts that are held out get as many as they would have had of a
    whole history, up to `MOST_HELD_OUT` of those since.

    Args:
        shares: as configured.
        rows: of the history in all.
        since: of those, since the change; at least 1.
    """
    held_out = shares.validation + shares.calibration + shares.test
    larger = min(rows / since, MOST_HELD_OUT / held_out)
    if larger <= 1:
        return shares
    part = {name: larger * getattr(shares, name) for name in ("validation", "calibration", "test")}
    return shares.model_copy(update={**part, "train": 1 - sum(part.values())})
