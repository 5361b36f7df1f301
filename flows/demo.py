"""The main job on real data that ships inside packages, as a user would run it: train, score, report,
evaluate, for images and for a series."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from aeflow.demonstration import write_images, write_series
from aeflow.report.summary import read_summary
from aeflow.wording import counted
from flows.evaluate_detector import evaluate_detector
from flows.io_tasks import run
from flows.score_batch import score_batch
from flows.train_detector import train_detector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from aeflow.demonstration import Demonstration
    from aeflow.report.summary import Summary

_SHOWN_FLAGS = 5


def run_demo(folder: Path, *, tell: Callable[[str], None]) -> None:
    """Write data and configs into `folder`, run both pipelines there, and tell what came of it.

    Raises:
        StorageError: `folder` cannot be written.
    """
    begun = time.monotonic()
    tell("Images: handwritten digits (scikit-learn). The history shows some classes; tonight's batch also")
    tell("holds others, damaged ones, and two files that are no images.")
    _run(write_images(folder), tell)
    tell("")
    tell("Series: a water-flow meter, hourly (river), with stretches that its documentation calls abnormal.")
    _run(write_series(folder), tell)
    tell("")
    tell(
        f"Done in {time.monotonic() - begun:.0f} s. Open a report in a browser, or go on by hand in {folder}:"
    )
    tell(f"  cd {folder}; aeflow status digits; aeflow report water; aeflow models digits")


def _run(demo: Demonstration, tell: Callable[[str], None]) -> None:
    trained = run(train_detector, demo.config)
    how = counted(trained.epochs, "epoch") if trained.epochs else "in one go"
    tell(
        f"  trained: version {trained.version} on {counted(trained.rows, 'item')}, {how}, "
        f"AUROC of planted faults {_number(trained.challenger.planted_auroc)} "
        f"(linear baseline {_number(trained.baseline.planted_auroc)})"
    )
    summaries = []
    for batch in demo.batches:
        done = run(score_batch, demo.config, batch)
        summaries.append((read_summary(done.folder), done.folder))
    _tell_batches(summaries, tell)
    truth = evaluate_detector(demo.config, demo.labels)
    for row in truth.rows:
        found = row.metrics
        tell(
            f"  against the labels, {row.detector}: AUROC {_number(found.get('auroc'))}, "
            f"recall {_number(found.get('recall'))}, precision {_number(found.get('precision'))}, "
            f"false-alarm rate {_number(found.get('false_alarm_rate'))}"
        )


def _tell_batches(summaries: Sequence[tuple[Summary, Path]], tell: Callable[[str], None]) -> None:
    flagged = [(s, folder) for s, folder in summaries if s.flags]
    total = sum(s.rows_in for s, _ in summaries)
    aside = sum(s.quarantined_rows for s, _ in summaries)
    tell(
        f"  scored: {counted(len(summaries), 'batch')}, {counted(total, 'item')} in, {sum(s.scored for s, _ in summaries)} scored, "
        f"{sum(s.not_scorable for s, _ in summaries)} not scorable, {aside} set aside, "
        f"{counted(sum(s.flags for s, _ in summaries), 'flag')} in {counted(len(flagged), 'batch')}"
    )
    for summary, folder in sorted(flagged, key=lambda pair: -pair[0].top_flags[0].severity)[:_SHOWN_FLAGS]:
        worst = pq.read_table(folder / "flags.parquet").slice(0, 1).to_pylist()[0]
        what = worst["item"] or f"{worst['start']:%Y-%m-%d %H:%M} to {worst['end']:%Y-%m-%d %H:%M}"
        tell(
            f"    batch {summary.batch}: {summary.flags} flagged, worst {what}, severity {worst['severity']:.0f}"
        )
        tell(f"      {folder / 'report.html'}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
