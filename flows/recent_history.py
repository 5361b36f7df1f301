"""What a retraining learns from: the most recent batches, in place of those that the config names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aeflow import detector as detectors
from aeflow import registry
from aeflow.config import History, SeriesPrepare
from aeflow.data.history import select_history
from aeflow.data.take_in import list_batches
from aeflow.report.night import night_of
from aeflow.report.summary import read_summary
from aeflow.retraining import Outcome, judge_nights
from aeflow.retraining.window import choose_window, shares_since, stretches_of
from aeflow.store.ledger import open_ledger
from aeflow.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aeflow.config import PipelineConfig, Split
    from aeflow.store.paths import Paths

_FEWEST_WINDOWS, _FEWEST_IMAGES = 10, 40  # of an entity; of which four parts each still say something


@dataclass(frozen=True)
class RecentHistory:
    """config: the pipeline's, its history the recent batches. notes: what was chosen, in sentences."""

    config: PipelineConfig
    notes: tuple[str, ...]


def recent_history(
    config: PipelineConfig, paths: Paths, *, new_normal_since: str | None = None
) -> RecentHistory:
    """The pipeline with its history moved up to the last published batch that the source still holds. A history
    that is a part of each batch, or the whole source, stays as it is configured. new_normal_since: only what came
    from that batch on is learnt from, where it is enough for that.

    Raises:
        BatchNotFound: the config chooses no history.
        SourceError: the source cannot be read.
    """
    chosen = config.history
    if chosen.first_rows is not None or chosen.first_share is not None or config.batch.by == "source":
        return RecentHistory(config, ("It learns from the configured history.",))
    ids = list_batches(config)
    configured = select_history(config, ids)
    still_there = set(ids)
    published = [
        (b.batch, b.facts.rows_in or 0)
        for b in open_ledger(paths).all()
        if b.batch in still_there and paths.report(b.batch).is_dir()
    ]
    unfit = [
        batch
        for batch, _ in published
        if judge_nights([night_of(read_summary(paths.report(batch)))], config.retraining).outcome
        == Outcome.SENSOR_FAULT
    ]
    learnt, entities = _learnt(paths)
    each = max(1, learnt // len(configured))
    window = choose_window(
        [(batch, each) for batch in configured], published, unfit, wanted=config.retraining.history_batches
    )
    known = dict(published)
    rows = {batch: known.get(batch, each) for batch in window.batches}
    parted = _since_change(config, rows, entities, new_normal_since)
    learnt_from = list(parted.rows)
    notes = [f"It learns from {counted(len(learnt_from), 'batch')}, {learnt_from[0]} to {learnt_from[-1]}."]
    if window.unfit:
        notes.append(f"Left out, since a sensor was at fault: {', '.join(window.unfit)}.")
    if parted.note:
        notes.append(parted.note)
    moved_up = config.model_copy(
        update={"history": History(batches=tuple(learnt_from)), "split": parted.split}
    )
    return RecentHistory(moved_up.at(config.folder), tuple(notes))


@dataclass(frozen=True)
class _Parted:
    """Batches with their rows, oldest first, how they are shared out, and what is to be said of that."""

    rows: Mapping[str, int]
    split: Split
    note: str = ""


def _since_change(
    config: PipelineConfig, rows: Mapping[str, int], entities: int, since: str | None
) -> _Parted:
    """Of batches with so many `rows` each those from `since` on, if there are such."""
    late = {batch: count for batch, count in rows.items() if since is not None and batch >= since}
    split, note = config.split, ""
    if late and sum(late.values()) / entities < _fewest(config):
        note, late = f"What came since {since} is too little to be learnt from alone.", {}
    elif late:
        note = f"The data changed for good with {since}: what came before is not learnt from."
        split = shares_since(split, rows=sum(rows.values()), since=sum(late.values()))
    chosen = late or rows
    if isinstance(config.prepare, SeriesPrepare):
        number = stretches_of(len(chosen), sum(chosen.values()) / entities, config.prepare.window_points)
        split = split.model_copy(update={"stretches": number})
    return _Parted(chosen, split, note)


def _fewest(config: PipelineConfig) -> int:
    """Rows of an entity, or images, that can be learnt from alone."""
    if isinstance(config.prepare, SeriesPrepare):
        return _FEWEST_WINDOWS * config.prepare.window_points
    return _FEWEST_IMAGES


def _learnt(paths: Paths) -> tuple[int, int]:
    """Rows that the champion was fitted to, and of how many entities; without one 0 and 1."""
    champion = registry.resolve(paths)
    if champion is None:
        return 0, 1
    fitted = detectors.load(registry.fetch(paths, champion.version, digest=champion.digest)).fitted_on
    return fitted.rows, max(1, len(fitted.until_us))
