"""What became of promises: what people found true and false of the flags that are published.

It is read as verdicts stand at the moment, and kept in no report: what a batch's files hold never changes by
what is said of them later.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from aeflow.numerics.proportion import wilson_interval
from aeflow.report.reviewed import bound_verdicts
from aeflow.report.stored import FLAGS_FILE, reading
from aeflow.store.verdicts import Standing, open_verdicts, standing
from aeflow.wording import about, counted, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aeflow.report.summary import Summary
    from aeflow.store.paths import Paths


@dataclass(frozen=True)
class Realised:
    """Of the flags of a batch that count: how many are called true, and how many false."""

    flags: int
    true: int
    false: int

    @property
    def decided(self) -> int:
        """Those called either."""
        return self.true + self.false

    @property
    def false_share(self) -> tuple[float, float, float] | None:
        """The share of false ones among the decided, and its 95 % interval (Wilson); None where none is."""
        if not self.decided:
            return None
        return (self.false / self.decided, *wilson_interval(self.false, self.decided))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = ("false_share", "false_share_low", "false_share_high")
        return asdict(self) | dict(zip(names, self.false_share or (None, None, None), strict=True))


def realised(paths: Paths, summaries: Sequence[Summary]) -> dict[str, Realised]:
    """Of each of these published batches, by its id.

    Raises:
        StorageError, IntegrityError: a report or the database cannot be read.
    """
    wanted = {summary.batch for summary in summaries}
    said = [verdict for verdict in open_verdicts(paths).all() if verdict.batch in wanted]
    bound = bound_verdicts(paths, said)
    of_flag = {verdict.flag_id: verdict.batch for verdict in bound}
    holds = standing(bound)
    spoken_of = {batch: _flags_that_count(paths, batch) for batch in set(of_flag.values())}
    found = {}
    for summary in summaries:
        here = [
            holds[flag]
            for flag, batch in of_flag.items()
            if batch == summary.batch and flag in holds and flag in spoken_of[batch]
        ]
        found[summary.batch] = Realised(summary.flags, here.count(Standing.TRUE), here.count(Standing.FALSE))
    return found


def _flags_that_count(paths: Paths, batch: str) -> set[str]:
    """Ids of the flags of a report that are not suppressed."""
    path = paths.report(batch) / FLAGS_FILE
    if not path.is_file():
        return set()
    with reading(path):
        known = pq.read_schema(path).names
        table = pq.read_table(path, columns=[name for name in ("flag_id", "suppressed") if name in known])
    if "suppressed" in table.column_names:
        table = table.filter(pc.invert(pc.fill_null(table["suppressed"], fill_value=False)))
    return set(table["flag_id"].to_pylist())


def promised_and_found(summary: Summary, found: Realised) -> str:
    """Both as one sentence; empty where nothing is decided."""
    if found.false_share is None:
        return ""
    promise = summary.promise
    reviewed = (
        f"Of {counted(found.flags, 'flag')} people called {found.true:,} true and {found.false:,} false"
    )
    if promise.kind == "false_discovery_rate":
        share, low, high = found.false_share
        return (
            f"{reviewed}: {percent(share)} false ({100 * low:.0f} to {100 * high:.0f} %), where at most "
            f"{100 * promise.value:g} % were promised."
        )
    least = "at least " if found.decided < found.flags else ""
    expected = _expected(summary)
    were = "was" if about(expected) == "1" else "were"
    beyond = promise.flags_by_chance is not None and found.false > promise.flags_by_chance[1]
    more = ", and more than chance explains" if beyond else ""
    return f"{reviewed}: {least}{found.false:,} false, where about {about(expected)} {were} promised{more}."


def over_nights(nights: Sequence[Summary], found: Mapping[str, Realised]) -> str:
    """What was promised and found over those nights of which anything is decided; empty where nothing is."""
    decided = [night for night in nights if found[night.batch].decided]
    if not decided:
        return ""
    true, false = (sum(getattr(found[n.batch], name) for n in decided) for name in ("true", "false"))
    low, high = wilson_interval(true, true + false)
    of = f"In {counted(len(decided), 'night')} with verdicts"
    precision = (
        f"{percent(true / (true + false))} of the {true + false:,} flags that were decided are true "
        f"({100 * low:.0f} to {100 * high:.0f} %)"
    )
    counts = [n for n in decided if n.promise.kind == "false_flags_per_batch"]
    if len(counts) < len(decided):
        return f"{of} {precision}."
    open_ones = any(found[n.batch].decided < found[n.batch].flags for n in decided)
    a_night = about(false / len(decided))
    promised = about(sum(_expected(n) for n in decided) / len(decided))
    were = "was" if promised == "1" else "were"
    least = "at least " if open_ones else ""
    return f"{of} {precision}: {least}{a_night} false a night, where about {promised} {were} promised."


def _expected(summary: Summary) -> float:
    expected = summary.promise.expected_false_flags_per_batch
    return summary.promise.value if expected is None else expected
