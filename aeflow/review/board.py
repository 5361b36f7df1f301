"""What the pages of the review app are made of: the flags of all reports and what people said of them, kept
up to date while reports are published and other people review.

A `Snapshot` never changes, so a page that is being made of one is of one moment. `Board.now` gives the
newest: it asks the verdicts' database each time, which is one indexed query. The report folders are looked at
every few seconds, by a thread while the app runs.

Legend: N flags.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from aeflow.config import Review
from aeflow.exceptions import AeflowError
from aeflow.report.reviewed import renamed_flags
from aeflow.review.catalogue import EMPTY, Catalogue, read_catalogue
from aeflow.review.nearest import Nearest
from aeflow.scoring.suppression import bounds_of
from aeflow.store.verdicts import Standing, open_verdicts, standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from aeflow.store.paths import Paths
    from aeflow.store.verdicts import Verdict

OPEN = "open"
SUPPRESSED = "suppressed"
STATES = (OPEN, *(str(s) for s in Standing), SUPPRESSED)
"""What can hold of a flag; `Snapshot.state` holds places in this list. What people say of one that is
suppressed holds of it, as of any other."""
_USUAL = Review()
_LOOK_AGAIN_SECONDS = 2.0
_OVERLAP = 256  # verdicts that are asked for again: of two writers at once the later number may come first


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One moment. said: flag id -> everything that was said of it, or of what it was in an earlier report, in
    the order it was kept, taken-back words too. state: `(N,)` int8, places in `STATES`. orders: of all places,
    by name, kept once one was asked for."""

    catalogue: Catalogue
    said: Mapping[str, tuple[Verdict, ...]]
    state: NDArray[np.int8]
    orders: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def state_of(self, place: int) -> str:
        """One of `STATES`."""
        return STATES[int(self.state[place])]


class Board:
    """The newest snapshot, for any number of threads.

    Attributes:
        bounds: up to where two flags show the same thing, by the pipeline's `review`.

    Raises (every method):
        StorageError: the reports' folder or the verdicts' database cannot be read or written.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        rule: Review = _USUAL,
        look_again_seconds: float = _LOOK_AGAIN_SECONDS,
        told: Callable[[int, int], None] | None = None,
    ) -> None:
        self._paths, self._look_again, self.bounds = paths, look_again_seconds, bounds_of(rule)
        self._verdicts = open_verdicts(paths)
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self._numbers: set[int] = set()
        self._last = 0
        self._said: dict[str, tuple[Verdict, ...]] = {}
        self._renamed: dict[str, str] = {}
        self._by_reviewer: dict[str, list[Verdict]] = {}
        self._snapshot = Snapshot(EMPTY, {}, np.zeros(0, np.int8))
        self._looked = -np.inf
        self._watched = False
        self._nearest = Nearest(self.bounds)
        self._look(told)
        self.nearest_judged(self.now())

    def now(self) -> Snapshot:
        """The newest snapshot."""
        if not self._watched and time.monotonic() - self._looked >= self._look_again:
            self._look()
        with self._lock:
            self._hear()
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
            self._hear()
            return list(self._by_reviewer.get(reviewer, ()))

    def nearest_judged(self, snapshot: Snapshot) -> NDArray[np.float32]:
        """`(N,)` how like each flag is to the most like one of its entity of which somebody said true or false; 1
        while nobody said either."""
        flags = snapshot.catalogue.flag_ids
        judged = [flags[p] for p in np.flatnonzero(np.isin(snapshot.state, _JUDGED)).tolist()]
        judged.sort(key=lambda flag: snapshot.said[flag][-1].at)
        with self._lock:
            return self._nearest.to_judged(snapshot.catalogue, judged)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Meanwhile a thread looks at the report folders, and no page waits for it."""
        ended = threading.Event()

        def look_on() -> None:
            while not ended.wait(self._look_again):
                # What cannot be read now may be again; pages go on with what is known.
                with suppress(AeflowError):
                    self._look()

        thread = threading.Thread(target=look_on, name="look at reports", daemon=True)
        self._watched = True
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._watched = False

    def _look(self, told: Callable[[int, int], None] | None = None) -> None:
        """Take in what was published since."""
        with self._looking:
            before = self._snapshot.catalogue
            catalogue = read_catalogue(self._paths, before, told)
            self._looked = time.monotonic()
            if catalogue is before:
                return
            catalogue.prepare()
            with self._lock:
                self._mark(catalogue, _unsaid(catalogue), set(self._said))

    def _hear(self) -> None:
        """Take in what was said since."""
        changed = set()
        for number, verdict in self._verdicts.since(self._last - _OVERLAP):
            if number not in self._numbers:
                self._numbers.add(number)
                self._last = max(self._last, number)
                self._said[verdict.flag_id] = (*self._said.get(verdict.flag_id, ()), verdict)
                self._by_reviewer.setdefault(verdict.reviewer, []).append(verdict)
                changed.add(verdict.flag_id)
        if changed:
            self._mark(self._snapshot.catalogue, self._snapshot.state.copy(), changed)

    def _mark(self, catalogue: Catalogue, state: NDArray[np.int8], flags: set[str]) -> None:
        """The snapshot anew, with what holds of the flags written into `state`. Where a batch was scored again,
        what was said of an event of before counts for the one that it is now."""
        if catalogue is not self._snapshot.catalogue or not flags <= catalogue.place.keys():
            gone = self._said.keys() - catalogue.place.keys()
            self._renamed = renamed_flags(self._paths, (v for flag in gone for v in self._said[flag]))
        said = dict(self._said)
        for old, new in self._renamed.items():
            said[new] = (*(replace(v, flag_id=new) for v in self._said[old]), *said.get(new, ()))
        unsaid = _unsaid(catalogue)
        for flag in {self._renamed.get(flag, flag) for flag in flags}:
            place = catalogue.place.get(flag)
            if place is not None:
                held = standing(said[flag]).get(flag)
                state[place] = unsaid[place] if held is None else STATES.index(held)
        self._snapshot = Snapshot(catalogue, said, state)


def _unsaid(catalogue: Catalogue) -> NDArray[np.int8]:
    """`(N,)` the state of each flag while nobody says anything of it."""
    return np.where(catalogue.suppressed, STATES.index(SUPPRESSED), 0).astype(np.int8)


_JUDGED = [STATES.index(Standing.TRUE), STATES.index(Standing.FALSE), STATES.index(Standing.DISPUTED)]
