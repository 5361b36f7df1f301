"""Which batches there are, what became of each, and which are still to be done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aeflow.config import PipelineConfig, load_config
from aeflow.data.history import select_history
from aeflow.data.marks import batch_marks, following
from aeflow.data.take_in import list_batches
from aeflow.exceptions import InputError
from aeflow.settings import home_for
from aeflow.store.claims import holder
from aeflow.store.ledger import Batch, open_ledger
from aeflow.store.marks import keep_mark_cache, open_marks, read_mark_cache
from aeflow.store.paths import Paths
from aeflow.store.quarantine import iter_quarantine

if TYPE_CHECKING:
    from pathlib import Path

MISSING = "missing"


@dataclass(frozen=True)
class BatchStatus:
    """One line of the ledger: a batch of the source or one that was once scored."""

    batch: str
    state: str
    """published, refused, failed, running, interrupted, or missing: in the source, never scored."""
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


def read_status(config: Path) -> list[BatchStatus]:
    """Every batch of the source and of the ledger, by id.

    Raises:
        SourceError: the source cannot be read.
    """
    pipeline, paths = load_config(config), paths_of(config)
    known = {batch.batch: batch for batch in open_ledger(paths).all()}
    ids = sorted({*list_batches(pipeline), *known})
    return [_status(name, known.get(name), paths) for name in ids]


def learnt_from(config: Path, ids: list[str]) -> frozenset[str]:
    """Those of `ids` that the history is made of, and that nobody is asked to score."""
    return frozenset(_history_only(load_config(config), ids)) if ids else frozenset()


def choose_batches(
    config: Path, *, batch: str | None, first: str | None, last: str | None, pending: bool
) -> list[str]:
    """The batches that the options of `aeflow score` mean, in order.

    Raises:
        InputError: none or several ways to choose were given.
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
    return [i for i in ids if (first is None or i >= first) and (last is None or i <= last)]


@dataclass(frozen=True)
class Pending:
    """What there is to do. marks: batch -> the mark of its data as they were looked at
    (`aeflow.data.marks`)."""

    batches: tuple[str, ...]
    marks: dict[str, str]


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
    ids = list_batches(pipeline) if not cache.files else sorted(marks)
    known = {batch.batch: batch for batch in open_ledger(paths).all()}
    states = {name: _status(name, known.get(name), paths).state for name in ids}
    history = _history_only(pipeline, ids)
    new = [i for i in ids if states[i] not in {"published", "running"} and i not in history]
    kept = open_marks(paths).all()
    changed = {i for i in ids if states[i] == "published" and i in marks and marks[i] != kept.get(i)}
    looking_back = {i for i in following(pipeline, [*changed, *new], ids) if states[i] == "published"}
    return Pending(tuple(sorted({*new, *changed, *looking_back})), marks)


def read_quarantine(config: Path, batch: str | None) -> list[dict[str, Any]]:
    """What was set aside, of one batch or of all, as rows of `schemas.QUARANTINE`."""
    paths = paths_of(config)
    return [
        row
        for name in _known_or(batch, paths)
        for part in iter_quarantine(paths.quarantine(name))
        for row in part.to_pylist()
    ]


def batches_set_aside(config: Path, batch: str | None) -> list[str]:
    """The batches, of one or of all, from which anything was set aside, by id."""
    paths = paths_of(config)
    return [
        name
        for name in _known_or(batch, paths)
        if any(part.num_rows for part in iter_quarantine(paths.quarantine(name)))
    ]


def _known_or(batch: str | None, paths: Paths) -> list[str]:
    return [batch] if batch is not None else [b.batch for b in open_ledger(paths).all()]


def _history_only(config: PipelineConfig, ids: list[str]) -> set[str]:
    """Batches that were learnt from as a whole: what they hold was taken as normal, so that scoring
    them is asked for by name. Where the history is all there is, or a part of each batch, none."""
    if config.history.first_rows is not None or config.history.first_share is not None:
        return set()
    chosen = set(select_history(config, ids))
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
