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
from aeflow.retraining.window import choose_window, stretches_of
from aeflow.store.ledger import open_ledger
from aeflow.wording import counted

if TYPE_CHECKING:
    from aeflow.config import PipelineConfig
    from aeflow.store.paths import Paths


@dataclass(frozen=True)
class RecentHistory:
    """config: the pipeline's, its history the recent batches. notes: what was chosen, in sentences."""

    config: PipelineConfig
    notes: tuple[str, ...]


def recent_history(config: PipelineConfig, paths: Paths) -> RecentHistory:
    """The pipeline with its history moved up to the last published batch that the source still holds. A history that is a part of each
    batch, or the whole source, stays as it is configured.

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
    notes = [
        f"It learns from {counted(len(window.batches), 'batch')}, {window.batches[0]} to {window.batches[-1]}."
    ]
    if window.unfit:
        notes.append(f"Left out, since a sensor was at fault: {', '.join(window.unfit)}.")
    update: dict[str, object] = {"history": History(batches=window.batches)}
    if isinstance(config.prepare, SeriesPrepare):
        rows = sum(dict(published).get(batch, each) for batch in window.batches)
        stretches = stretches_of(len(window.batches), rows / entities, config.prepare.window_points)
        update["split"] = config.split.model_copy(update={"stretches": stretches})
    return RecentHistory(config.model_copy(update=update).at(config.folder), tuple(notes))


def _learnt(paths: Paths) -> tuple[int, int]:
    """Rows that the champion was fitted to, and of how many entities; without one 0 and 1."""
    champion = registry.resolve(paths)
    if champion is None:
        return 0, 1
    fitted = detectors.load(registry.fetch(paths, champion.version, digest=champion.digest)).fitted_on
    return fitted.rows, max(1, len(fitted.until_us))
