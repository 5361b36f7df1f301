"""The files that a report adds to the scores: summary, receipt, page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aeflow.report.html import PageOptions, write_page
from aeflow.report.receipt import RECEIPT_FILE, make_receipt
from aeflow.report.stored import FLAGS_FILE, PRECEDENTS_FILE, SCORES_FILE
from aeflow.report.summary import SUMMARY_FILE, build_summary
from aeflow.report.survey import survey_scores

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow as pa

    from aeflow.report.receipt import Provenance
    from aeflow.report.summary import BatchFacts, Summary


def build_report(
    folder: Path,
    facts: BatchFacts,
    provenance: Provenance,
    *,
    quarantine: Iterable[pa.RecordBatch] = (),
    options: PageOptions | None = None,
) -> Summary:
    """Write `summary.json`, `receipt.json` and `report.html` into `folder`; return the summary.

    The same input gives the same bytes: nothing of it depends on the clock, the host, the folder or on
    how the work was divided.

    Args:
        folder: where the scoring stage left `scores.parquet` and `flags.parquet`.
        facts: what else is known of the batch.
        provenance: what the run was made of.
        quarantine: rows of `schemas.QUARANTINE`, for examples; only as many are read as are shown.
        options: how the page shows it; None: in UTC with pictures of 200 flags.

    Raises:
        AccountingError: rows in != scored + not scorable + quarantined.
        IntegrityError: a stored file is not what it should be.
        StorageError: a file cannot be written.
    """
    survey = survey_scores(folder / SCORES_FILE)
    summary = build_summary(facts, survey, folder / FLAGS_FILE)
    summary.write(folder / SUMMARY_FILE)
    proven = [SCORES_FILE, FLAGS_FILE, SUMMARY_FILE]
    proven += [PRECEDENTS_FILE] if (folder / PRECEDENTS_FILE).is_file() else []
    receipt = make_receipt(folder, summary, provenance, tuple(proven))
    receipt.write(folder / RECEIPT_FILE)
    write_page(folder, summary, receipt, survey, quarantine=quarantine, options=options or PageOptions())
    return summary
