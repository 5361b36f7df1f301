"""Which batches there are, what became of each, and which are still to be done."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from aeflow.config import PipelineConfig, load_config
from aeflow.data.history import batch_not_found, still_in_history
from aeflow.data.marks import batch_marks, following
from aeflow.data.take_in import list_batches, survey
from aeflow.exceptions import BatchNotFound, InputError, SourceError
from aeflow.settings import home_for
from aeflow.store.claims import holder
from aeflow.store.ledger import Batch, open_ledger
from aeflow.store.marks import keep_mark_cache, open_marks, read_mark_cache
from aeflow.store.paths import Paths
from aeflow.store.quarantine import iter_quarantine

if TYPE_CHECKING:
    from pathlib import Path

MISSING = "missing"
HISTORY = "history"


@dataclass(frozen=True)
class BatchStatus:
    """One line of the ledger: a batch of the source or one that was once scored."""

    batch: str
    state: str
    """published, refused, failed, running, interrupted; or never scored: history, where it is one of the
    batches that were learnt from as a whole, which nobody is asked to score, else missing."""
    scored: int | None = None
    not_scorable: int | None = None
    quarantined: int | None = None
    flags: int | None = None
    detector_version: int | None = None
    revision: int | None = None
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def cells(self) -> list[object]:
        """The values in the order of the table, the message shortened to its first line."""
        *values, message = asdict(self).values()
        return [*values, message.splitlines()[0][:60] if message else ""]


def paths_of(config: Path) -> Paths:
    """Where everything of the pipeline lies."""
    return Paths(home_for(config), load_config(config).name)


@dataclass(frozen=True)
class Status:
    """Every batch of the source and of the ledger, by id; unreadable: as in `Pending`."""

    batches: tuple[BatchStatus, ...]
    unreadable: dict[str, str]


def read_status(config: Path) -> Status:
    """What became of every batch.

    Raises:
        SourceError: the source cannot be read.
    """
    pipeline, paths = load_config(config), paths_of(config)
    known = {batch.batch: batch for batch in open_ledger(paths).all()}
    ids, unreadable = survey(pipeline)
    history = _history_only(pipeline, ids)
    found = [_status(name, known.get(name), paths) for name in sorted({*ids, *known})]
    learnt = {row.batch for row in found if row.state == MISSING and row.batch in history}
    return Status(
        tuple(replace(row, state=HISTORY) if row.batch in learnt else row for row in found), unreadable
    )


def choose_batches(
    config: Path, *, batch: str | None, first: str | None, last: str | None, pending: bool
) -> list[str]:
    """The batches that the options of `aeflow score` mean, in order.

    Raises:
        InputError: none or several ways to choose were given.
        BatchNotFound: no batch lies between --from and --to.
        SourceError: the source cannot be read.
    """
    ways = [batch is not None, first is not None or last is not None, pending]
    if sum(ways) != 1:
        raise InputError(
            f"expected one of --batch ID, --from ID --to ID, --pending; {'none' if not any(ways) else 'several'} given",
            where="aeflow score",
        )
    if batch is not None:
        return [batch]
    if pending:
        return list(find_pending(config).batches)
    ids = list_batches(load_config(config))
    chosen = [i for i in ids if (first is None or i >= first) and (last is None or i <= last)]
    if not chosen:
        bounds = " ".join(f"{word} {at}" for word, at in (("from", first), ("to", last)) if at is not None)
        said = f"its first is {ids[0]}, its last {ids[-1]}" if ids else "it holds none at all"
        raise BatchNotFound(f"the source has no batch {bounds}: {said}", where="aeflow score")
    return chosen


@dataclass(frozen=True)
class Pending:
    """What there is to do. marks: batch -> the mark of its data as they were looked at
    (`aeflow.data.marks`). unreadable: file that cannot be read to its end -> why, where the batches that
    its rows belong to are not known."""

    batches: tuple[str, ...]
    marks: dict[str, str]
    unreadable: dict[str, str]


def find_pending(config: Path) -> Pending:
    """The batches without a report, but for the history, and those whose data may have changed since it
    was made, with the batches after them that look back into them; in order.

    Raises:
        SourceError: the source cannot be read.
    """
    pipeline, paths = load_config(config), paths_of(config)
    cache = read_mark_cache(paths)
    marks = batch_marks(pipeline, cache)
    keep_mark_cache(paths, cache)
    ids, unreadable = (sorted(marks), {}) if cache.files else survey(pipeline)
    known = {batch.batch: batch for batch in open_ledger(paths).all()}
    states = {name: _status(name, known.get(name), paths).state for name in ids}
    history = _history_only(pipeline, ids)
    new = [i for i in ids if states[i] not in {"published", "running"} and i not in history]
    kept = open_marks(paths).all()
    changed = {i for i in ids if states[i] == "published" and i in marks and marks[i] != kept.get(i)}
    looking_back = {i for i in following(pipeline, [*changed, *new], ids) if states[i] == "published"}
    return Pending(tuple(sorted({*new, *changed, *looking_back})), marks, unreadable | cache.unreadable)


def read_quarantine(config: Path, batch: str | None) -> list[dict[str, Any]]:
    """What was set aside, of one batch or of all, as rows of `schemas.QUARANTINE`.

    Raises:
        BatchNotFound: the ledger knows no such batch.
    """
    paths = paths_of(config)
    return [
        row
        for name in _known_or(batch, paths)
        for part in iter_quarantine(paths.quarantine(name))
        for row in part.to_pylist()
    ]


def read_unassigned(config: Path) -> dict[str, str]:
    """As `Pending.unreadable`; nothing where the source itself cannot be read, of which other commands tell."""
    with suppress(SourceError):
        return survey(load_config(config))[1]
    return {}


def batches_set_aside(config: Path, batch: str | None) -> list[str]:
    """The batches, of one or of all, from which anything was set aside, by id; raises as `read_quarantine`."""
    paths = paths_of(config)
    return [
        name
        for name in _known_or(batch, paths)
        if any(part.num_rows for part in iter_quarantine(paths.quarantine(name)))
    ]


def _known_or(batch: str | None, paths: Paths) -> list[str]:
    known = [b.batch for b in open_ledger(paths).all()]
    if batch is None:
        return known
    if batch not in known:
        raise batch_not_found(batch, known, where=f"the ledger of {paths.pipeline}")
    return [batch]


def _history_only(config: PipelineConfig, ids: list[str]) -> set[str]:
    """Batches that were learnt from as a whole: what they hold was taken as normal, so that scoring
    them is asked for by name. Where the history is all there is, or a part of each batch, none."""
    if config.history.first_rows is not None or config.history.first_share is not None:
        return set()
    chosen = set(still_in_history(config, ids))
    return set() if chosen == set(ids) else chosen


def _status(batch: str, known: Batch | None, paths: Paths) -> BatchStatus:
    if known is None:
        return BatchStatus(batch, MISSING)
    # The claim is held as long as its process lives: without one, a running batch was killed.
    alive = known.state == "running" and holder(paths.claim(batch)) is not None
    facts = known.facts
    return BatchStatus(
        batch,
        "interrupted" if known.state == "running" and not alive else known.state,
        facts.scored,
        facts.not_scorable,
        facts.quarantined,
        facts.flags,
        facts.detector_version,
        facts.revision,
        known.message,
    )
