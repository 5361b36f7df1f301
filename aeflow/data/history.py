"""Which batches the history is made of."""

from __future__ import annotations

import difflib
import fnmatch
from typing import TYPE_CHECKING

from aeflow.data import periods
from aeflow.exceptions import BatchNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aeflow.config import BatchRule, PipelineConfig

_SHOWN_BATCHES = 10


def select_history(config: PipelineConfig, ids: Sequence[str]) -> list[str]:
    """Those of `ids` (sorted), in their order, that `config.history` chooses.

    Raises:
        BatchNotFound: an id or glob of `history.batches` fits no batch, a bound is no id of a period, or none
            is left.
    """
    for pattern in config.history.batches:
        if not any(_fits(batch, pattern) for batch in ids):
            raise batch_not_found(pattern, ids, where="history.batches")
    chosen = still_in_history(config, ids)
    if not chosen:
        msg = f"history chooses none of the {len(ids)} batches of the source"
        raise BatchNotFound(msg, where="history", remedy=f"Widen the section. {_listing(ids)}")
    return chosen


def still_in_history(config: PipelineConfig, ids: Sequence[str]) -> list[str]:
    """As `select_history`, of a source that may have rotated some or all of the history away.

    Raises:
        BatchNotFound: a bound is no id of a period.
    """
    history = config.history
    if config.batch.by == "period":
        for key in ("first", "last"):
            _expect_period(getattr(history, key), config.batch, f"history.{key}")
    return [
        batch
        for batch in ids
        if (not history.batches or any(_fits(batch, pattern) for pattern in history.batches))
        and (history.first is None or batch >= history.first)
        and (history.last is None or batch <= history.last)
    ]


def _expect_period(batch: str | None, rule: BatchRule, where: str) -> None:
    """Ids are compared as text: 2026-2-18 would come after every February."""
    if batch is None:
        return
    try:
        periods.bounds(batch, rule)
    except BatchNotFound as error:
        raise BatchNotFound(f"{error.problem}, got {batch!r}", where=where) from error


def batch_not_found(batch: str, ids: Sequence[str], *, where: str) -> BatchNotFound:
    """The error for an id that no batch has; names the nearest and the first few of those known."""
    close = difflib.get_close_matches(batch, ids, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return BatchNotFound(f"there is no batch {batch!r}", where=where, remedy=hint + _listing(ids))


def _fits(batch: str, pattern: str) -> bool:
    return batch == pattern or fnmatch.fnmatchcase(batch, pattern)  # an id may hold [ or *


def _listing(ids: Sequence[str]) -> str:
    if not ids:
        return "There is no batch at all."
    more = f", ... ({len(ids)} in all)" if len(ids) > _SHOWN_BATCHES else ""
    return f"Batches: {', '.join(ids[:_SHOWN_BATCHES])}{more}."
