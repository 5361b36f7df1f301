"""What a reviewer does with flags, as verdicts to be kept: say a word of one or of many, take the last back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from aeflow.store.verdicts import Verdict, Word, words_that_hold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from aeflow.review.board import Snapshot

MOST_NOTE = 2_000
"""Characters of a note that are kept."""


def say(
    snapshot: Snapshot, places: Iterable[int], word: Word, *, reviewer: str, note: str, now: datetime
) -> list[Verdict]:
    """The word on each of the flags, all at the same time, which makes them one act. Who says what they said
    already, says nothing new."""
    catalogue = snapshot.catalogue
    said = []
    for place in places:
        night, row = catalogue.within(place)
        flag = night.flag_id[row]
        before = words_that_hold(snapshot.said.get(flag, ())).get((flag, reviewer))
        if before is None or (before.word, before.note) != (word, note):
            said.append(Verdict(flag, night.batch, word, reviewer, now, note, night.version))
    return said


def take_back(said: Sequence[Verdict], *, now: datetime) -> list[Verdict]:
    """The retraction of a reviewer's last act that still holds: of one verdict, or of all that were said at
    once; none where nothing is left.

    Args:
        said: everything that this reviewer said, in the order it was kept.
        now: the time.
    """
    taken: Counter[str] = Counter()
    act: list[Verdict] = []
    for verdict in reversed(said):
        if verdict.word is Word.RETRACTED:
            taken[verdict.flag_id] += 1
        elif taken[verdict.flag_id]:
            taken[verdict.flag_id] -= 1
        elif not act or verdict.at == act[0].at:
            act.append(verdict)
        elif verdict.at < act[0].at:
            break
    return [
        Verdict(v.flag_id, v.batch, Word.RETRACTED, v.reviewer, now, "", v.detector_version)
        for v in reversed(act)
    ]


def cleaned(note: str) -> str:
    """A note as it is kept: without characters that cannot be shown, and not longer than is read."""
    lines = note.replace("\r\n", "\n").replace("\r", "\n").expandtabs(2)
    return "".join(c for c in lines if c.isprintable() or c == "\n").strip()[:MOST_NOTE]
