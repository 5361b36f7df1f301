"""How many flags came, and how many of them people found right.

Legend: N flags, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.numerics.proportion import wilson_interval
from aeflow.review.board import STATES, SUPPRESSED
from aeflow.store.verdicts import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aeflow.review.board import Snapshot

_TRUE, _FALSE = STATES.index(Standing.TRUE), STATES.index(Standing.FALSE)
_SUPPRESSED = STATES.index(SUPPRESSED)


@dataclass(frozen=True)
class Tally:
    """The flags of one group. counts: how many are in each of `STATES`; items: how many were scored, 0 where
    that says nothing."""

    name: str
    counts: tuple[int, ...]
    items: int = 0

    @property
    def flags(self) -> int:
        """All of them, but those that are suppressed."""
        return sum(self.counts) - self.counts[_SUPPRESSED]

    @property
    def judged(self) -> int:
        """Those that hold for true or false."""
        return self.counts[_TRUE] + self.counts[_FALSE]

    @property
    def precision(self) -> float | None:
        """The share of true ones among the judged; None where none is."""
        return self.counts[_TRUE] / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %, Wilson's, of the precision."""
        return wilson_interval(self.counts[_TRUE], self.judged) if self.judged else None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        low, high = self.interval or (None, None)
        counts = dict(zip(STATES, self.counts, strict=True))
        shares = {"precision": self.precision, "precision_low": low, "precision_high": high}
        return {"name": self.name, "flags": self.flags, **counts, **shares, "items": self.items}


def by_night(
    snapshot: Snapshot, *, mask: NDArray[np.bool_] | None = None, most: int | None = None
) -> list[Tally]:
    """A tally for each night that has a report, in their order, without flags too; of the last `most`.

    Args:
        snapshot: of which.
        mask: `(N,)` only these flags; the items are then those of the whole night all the same.
        most: how many nights at most; None: all.
    """
    nights = snapshot.catalogue.nights
    counts = _counts(snapshot, snapshot.catalogue.night, len(nights), mask)
    tallies = [
        Tally(night.batch, tuple(row), night.scored)
        for night, row in zip(nights, counts.tolist(), strict=True)
    ]
    return tallies if most is None else tallies[-most:]


def by_version(snapshot: Snapshot) -> list[Tally]:
    """A tally for each detector version, the newest first."""
    versions, codes = np.unique(snapshot.catalogue.version, return_inverse=True)
    counts = _counts(snapshot, codes, len(versions), None)
    tallies = [Tally(str(v), tuple(row)) for v, row in zip(versions.tolist(), counts.tolist(), strict=True)]
    return tallies[::-1]


def by_entity(snapshot: Snapshot) -> list[Tally]:
    """A tally for each entity, those with most flags first."""
    names, codes = snapshot.catalogue.entities
    counts = _counts(snapshot, codes, len(names), None)
    tallies = [Tally(name, tuple(row)) for name, row in zip(names, counts.tolist(), strict=True)]
    return sorted(tallies, key=lambda tally: (-tally.flags, tally.name))


def gathered(tallies: Sequence[Tally], most: int) -> list[Tally]:
    """At most so many tallies: neighbours are added up, evenly, and named by the first and the last."""
    if len(tallies) <= most:
        return list(tallies)
    edges = np.linspace(0, len(tallies), most + 1).round().astype(int).tolist()
    found = []
    for first, end in pairwise(edges):
        group = tallies[first:end]
        counts = tuple(sum(column) for column in zip(*(tally.counts for tally in group), strict=True))
        name = group[0].name if len(group) == 1 else f"{group[0].name} to {group[-1].name}"
        found.append(Tally(name, counts, sum(tally.items for tally in group)))
    return found


def total(name: str, tallies: Sequence[Tally]) -> Tally:
    """All of them together."""
    counts = tuple(sum(tally.counts[state] for tally in tallies) for state in range(len(STATES)))
    return Tally(name, counts, sum(tally.items for tally in tallies))


def _counts(
    snapshot: Snapshot, group: NDArray[np.integer], groups: int, mask: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """`(G, states)`."""
    cell = group.astype(np.int64) * len(STATES) + snapshot.state
    chosen = cell if mask is None else cell[mask]
    return np.bincount(chosen, minlength=groups * len(STATES)).reshape(groups, len(STATES))
