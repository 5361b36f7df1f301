"""What the pages of the review app are made of: the flags of all reports and what people said of them, kept
up to date while reports are published and other people review.

A `Snapshot` never changes, so a page that is being made of one is of one moment. `Board.now` gives the
newest: it asks the verdicts' database each time, which is one indexed query, and looks at the report folders
every few seconds.

Legend: N flags.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aeflow.review.catalogue import EMPTY, Catalogue, read_catalogue
from aeflow.review.likeness import likeness
from aeflow.store.verdicts import Standing, open_verdicts, standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from aeflow.store.paths import Paths
    from aeflow.store.verdicts import Verdict

OPEN = "open"
STATES = (OPEN, *(str(s) for s in Standing))
"""What can hold of a flag; `Snapshot.state` holds places in this list."""
_LOOK_AGAIN_SECONDS = 2.0
_OVERLAP = 256  # verdicts that are asked for again: of two writers at once the later number may come first
_COMPARED = 2_048  # reviewed flags, the last ones, that others are compared with


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One moment. said: flag id -> everything that was said of it, in the order it was kept, taken-back words
    too. state: `(N,)` int8, places in `STATES`."""

    catalogue: Catalogue
    said: Mapping[str, tuple[Verdict, ...]]
    state: NDArray[np.int8]

    def state_of(self, place: int) -> str:
        """One of `STATES`."""
        return STATES[int(self.state[place])]


class Board:
    """The newest snapshot, for any number of threads.

    Raises (every method):
        StorageError: the reports' folder or the verdicts' database cannot be read or written.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        look_again_seconds: float = _LOOK_AGAIN_SECONDS,
        told: Callable[[int, int], None] | None = None,
    ) -> None:
        self._paths, self._look_again = paths, look_again_seconds
        self._verdicts = open_verdicts(paths)
        self._lock = threading.Lock()
        self._numbers: set[int] = set()
        self._said: dict[str, tuple[Verdict, ...]] = {}
        self._by_reviewer: dict[str, list[Verdict]] = {}
        self._snapshot = Snapshot(EMPTY, {}, np.zeros(0, np.int8))
        self._looked = -np.inf
        self._compared: tuple[Catalogue, frozenset[str], NDArray[np.float32]] | None = None
        self._refresh(told)

    def now(self) -> Snapshot:
        """The newest snapshot."""
        with self._lock:
            self._refresh()
            return self._snapshot

    def say(self, verdicts: Sequence[Verdict]) -> Snapshot:
        """Keep verdicts; returns the snapshot after them.

        Raises:
            InputError: a verdict has no reviewer.
        """
        self._verdicts.append(verdicts)
        return self.now()

    def said_by(self, reviewer: str) -> list[Verdict]:
        """Everything that this one said, in the order it was kept."""
        with self._lock:
            self._refresh()
            return list(self._by_reviewer.get(reviewer, ()))

    def nearest_reviewed(self, snapshot: Snapshot) -> NDArray[np.float32]:
        """`(N,)` how like each flag is to the most like one of which somebody said true or false; 1 while
        nobody said either: then no flag is less known than another."""
        flag_ids = snapshot.catalogue.flag_ids
        judged = frozenset(flag_ids[p] for p in np.flatnonzero(np.isin(snapshot.state, _JUDGED)).tolist())
        if not judged:
            return np.ones(snapshot.catalogue.size, np.float32)
        with self._lock:
            before = self._compared
        catalogue = snapshot.catalogue
        new, nearest = judged, np.zeros(catalogue.size, np.float32)
        if before is not None and before[0] is catalogue and before[1] <= judged:
            new, nearest = judged - before[1], before[2]
        latest = sorted(new, key=lambda flag: snapshot.said[flag][-1].at)[-_COMPARED:]
        if latest:
            with_what = catalogue.like[[catalogue.place[flag] for flag in latest]]
            nearest = np.maximum(nearest, likeness(catalogue.like, with_what))
        with self._lock:
            self._compared = catalogue, judged, nearest
        return nearest

    def _refresh(self, told: Callable[[int, int], None] | None = None) -> None:
        catalogue, now = self._snapshot.catalogue, time.monotonic()
        if now - self._looked >= self._look_again:
            catalogue = read_catalogue(self._paths, catalogue, told)
            self._looked = now
        changed = self._hear()
        if catalogue is not self._snapshot.catalogue:
            state, changed = np.zeros(catalogue.size, np.int8), set(self._said)
        elif changed:
            state = self._snapshot.state.copy()
        else:
            return
        for flag in changed:
            place = catalogue.place.get(flag)
            if place is not None:
                held = standing(self._said[flag]).get(flag)
                state[place] = 0 if held is None else STATES.index(held)
        self._snapshot = Snapshot(catalogue, dict(self._said), state)

    def _hear(self) -> set[str]:
        """Take in what was said since; returns the flags it was said of."""
        changed = set()
        for number, verdict in self._verdicts.since(max(self._numbers, default=0) - _OVERLAP):
            if number not in self._numbers:
                self._numbers.add(number)
                self._said[verdict.flag_id] = (*self._said.get(verdict.flag_id, ()), verdict)
                self._by_reviewer.setdefault(verdict.reviewer, []).append(verdict)
                changed.add(verdict.flag_id)
        return changed


_JUDGED = [STATES.index(Standing.TRUE), STATES.index(Standing.FALSE), STATES.index(Standing.DISPUTED)]
