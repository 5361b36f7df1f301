"""Prove a published report: score its batch again from the receipt, and compare."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from aeflow import detector as detectors
from aeflow import registry
from aeflow.backlog import paths_of
from aeflow.config import load_config
from aeflow.exceptions import BatchNotFound
from aeflow.report.html import REPORT_FILE
from aeflow.report.receipt import differences, read_receipt
from aeflow.scoring.suppression import PRECEDENTS_FILE, read_precedents
from aeflow.store.digests import sha256_file
from flows.score_batch import Workplace, make_report, take_in_batch

if TYPE_CHECKING:
    from pathlib import Path


def verify_batch(config: Path, batch: str) -> list[str]:
    """What differs between the published report and the batch scored anew with the detector that the
    receipt names, one sentence each; empty if nothing does.

    The batch is read from its source again, so that changed data show too. Verdicts that came since do not:
    the report holds those that decided anything in it, and the cut that they moved.

    Raises:
        BatchNotFound: there is no report of the batch.
        IntegrityError: the detector of the receipt is no longer what it was.
        StorageError, SourceError: something cannot be read.
    """
    pipeline, paths = load_config(config), paths_of(config)
    published = paths.report(batch)
    if not published.is_dir():
        raise BatchNotFound(f"there is no report of batch {batch}", where=str(paths.reports))
    receipt = read_receipt(published)
    touched = [
        f"{name}: the file is not the one that was published"
        for name, digest in receipt.files.items()
        if not (published / name).is_file() or sha256_file(published / name) != digest
    ]
    ref = registry.DetectorRef(receipt.detector_version, receipt.detector_digest)
    detector = detectors.load(registry.fetch(paths, ref.version, digest=ref.digest))
    work = paths.home / "work" / pipeline.name / "verification"
    shutil.rmtree(work, ignore_errors=True)
    try:
        place = Workplace(work / "batch", work / "quarantine.parquet", work / "validation")
        staged = take_in_batch(pipeline, batch, place, detector)
        kept = published / PRECEDENTS_FILE
        precedents = read_precedents(kept) if kept.is_file() else []
        make_report(
            pipeline, staged, detector, ref, place, moved_cut=receipt.moved_cut, precedents=precedents
        )
        found = touched + differences(receipt, read_receipt(place.build))
        # The page shows the receipt, so the receipt cannot hold its digest: it is held against the one made now.
        if not found and not _same(published / REPORT_FILE, place.build / REPORT_FILE):
            found.append(f"{REPORT_FILE}: the page is not the one that is made of the rest")
        return found
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and sha256_file(one) == sha256_file(other)
