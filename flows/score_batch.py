"""Score one batch: take in, check, score and judge, report, publish.

Safe to run again at any time: a batch whose data, detector and config are unchanged is left alone, a
killed run starts over, and the same input always gives the same report, byte for byte.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow

from aeflow import detector as detectors
from aeflow import registry, report
from aeflow.config import Compute, dump_json, load_config
from aeflow.data.checks import check_batch
from aeflow.data.take_in import take_in
from aeflow.exceptions import BatchRefused, DetectorError
from aeflow.scoring import FLAGS_FILE, LATE_QUARANTINE_FILE
from aeflow.scoring import score_batch as score_staged
from aeflow.settings import home_for
from aeflow.store.claims import claim
from aeflow.store.digests import sha256_bytes
from aeflow.store.ledger import Facts, open_ledger
from aeflow.store.paths import Paths
from aeflow.store.publish import publish, recover
from aeflow.store.quarantine import iter_quarantine, write_quarantine
from aeflow.training.devices import choose_device
from flows.artifacts import progress_shown, show_flags, show_summary
from flows.io_tasks import io_step, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from aeflow.config import PipelineConfig
    from aeflow.data.checks import CheckResult
    from aeflow.data.intake import Intake
    from aeflow.detector import Detector
    from aeflow.registry import DetectorRef
    from aeflow.scoring import BatchScores, ScoringProgress
    from aeflow.store.publish import Published


@dataclass(frozen=True)
class ScoredBatch:
    """What became of a batch. `changed` is False where the report had been published just so before."""

    pipeline: str
    batch: str
    folder: Path
    facts: Facts
    changed: bool

    def sentence(self) -> str:
        """What happened, for a person."""
        facts = self.facts
        return (
            f"{self.pipeline}, batch {self.batch}: {facts.scored} scored, {facts.not_scorable} not scorable, "
            f"{facts.quarantined} set aside, {facts.flags} flagged by detector {facts.detector_version}."
        )


@flow(name="score-batch", flow_run_name="{batch}", persist_result=False)
def score_batch(
    config: Path,
    batch: str,
    *,
    version: int | None = None,
    force: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> ScoredBatch:
    """Score a batch with the champion (or a given version) and publish its report.

    Args:
        config: the pipeline's YAML file.
        batch: which batch.
        version: of the detector; None: the champion.
        force: score again although nothing changed.
        progress: told how far the scoring is.

    Raises:
        UserError: see `aeflow.exceptions`: what has to be mended is in the message.
    """
    pipeline = load_config(config)
    paths = Paths(home_for(config), pipeline.name)
    ledger = open_ledger(paths)
    ref, detector = fetch_detector(paths, version)
    now = datetime.now(UTC)
    with claim(paths.claim(batch), f"batch {batch} of {pipeline.name}", now=now) as mine:
        recover(paths.report(batch), paths.revisions(batch))
        known = ledger.get(batch)
        ledger.begin(batch, mine, now=now)
        facts = Facts(detector_version=ref.version, config_digest=config_digest(pipeline))
        try:
            staged = take_in_batch(pipeline, batch, paths, detector)
            facts = replace(facts, input_digest=staged.digest, rows_in=staged.rows_in)
            if not force and known is not None and _still_holds(known.facts, facts, staged, paths):
                facts, changed = known.facts, False
            else:
                checks = check(pipeline, staged, detector, paths)
                checks.raise_if_refused()
                scores = score_and_judge(detector, pipeline, staged, paths, progress)
                build_report(pipeline, staged, checks, scores, ref, detector, paths)
                published = publish_report(batch, paths)
                facts, changed = _published(facts, staged, scores, published), published.changed
        except BatchRefused as refusal:
            ledger.refuse(batch, mine, str(refusal), now=datetime.now(UTC), facts=facts)
            raise
        except BaseException as error:
            ledger.fail(batch, mine, f"{type(error).__name__}: {error}", now=datetime.now(UTC), facts=facts)
            raise
        ledger.finish(batch, mine, facts, now=datetime.now(UTC))
        shutil.rmtree(paths.work(batch))
    outcome = ScoredBatch(pipeline.name, batch, paths.report(batch), facts, changed)
    if changed:
        show_summary(f"score-{pipeline.name}", outcome.sentence())
        show_flags(f"flags-{pipeline.name}", outcome.folder / FLAGS_FILE)
    return outcome


def config_digest(config: PipelineConfig) -> str:
    """SHA-256 of everything in the config that can change a report."""
    return sha256_bytes(dump_json(config.model_copy(update={"compute": Compute()})).encode())


def _still_holds(known: Facts, now: Facts, staged: Intake, paths: Paths) -> bool:
    """Whether the published report was made of just this: data, detector, config."""
    same = ("input_digest", "config_digest", "detector_version", "rows_in")
    aside = sum(staged.quarantined.values())
    return (
        paths.report(staged.batch).is_dir()
        and all(getattr(known, key) == getattr(now, key) for key in same)
        and known.quarantined is not None
        and known.quarantined >= aside
    )


def _published(facts: Facts, staged: Intake, scores: BatchScores, published: Published) -> Facts:
    return replace(
        facts,
        revision=published.revision,
        report_digest=published.digest,
        scored=scores.scored,
        not_scorable=sum(scores.not_scorable.values()),
        quarantined=sum(staged.quarantined.values()) + sum(scores.quarantined.values()),
        flags=scores.flags,
    )


@io_step
def fetch_detector(paths: Paths, version: int | None) -> tuple[DetectorRef, Detector]:
    """The detector of a version, or the champion, and which one that is.

    Raises:
        DetectorError: there is none.
    """
    ref = registry.resolve(paths) if version is None else registry.find(paths, version)
    if ref is None:
        raise DetectorError(
            "expected a champion to score with, and no detector is live",
            where=f"pipeline {paths.pipeline}",
            remedy=f"Train one: aeflow train {paths.pipeline}",
        )
    return ref, detectors.load(registry.fetch(paths, ref.version, digest=ref.digest))


@io_step
def take_in_batch(config: PipelineConfig, batch: str, paths: Paths, detector: Detector) -> Intake:
    """A snapshot of the batch, with what is not fit to score set aside.

    Raises:
        BatchNotFound: the source holds no such batch.
        SourceError: it cannot be read as the config says.
    """
    staging = paths.work(batch) / "intake"
    shutil.rmtree(paths.work(batch), ignore_errors=True)
    return take_in(config, batch, staging, context=detector.context)


@step
def check(config: PipelineConfig, staged: Intake, detector: Detector, paths: Paths) -> CheckResult:
    """Great Expectations over the batch, grades of its channels; the findings are kept with the run.
    What was set aside is recorded before anything can be refused."""
    write_quarantine(paths.quarantine(staged.batch), iter_quarantine(staged.quarantine_path))
    return check_batch(config, staged, detector.reference, paths.validation(staged.batch))


@step
def score_and_judge(
    detector: Detector,
    config: PipelineConfig,
    staged: Intake,
    paths: Paths,
    progress: Callable[[float, str], None] | None,
) -> BatchScores:
    """Scores of every item, flags and their evidence, into the build folder."""
    build = paths.work(staged.batch) / "build"
    build.mkdir(parents=True)
    in_ui = progress_shown(f"progress-{config.name}")

    def tell(p: ScoringProgress) -> None:
        share = p.done / max(p.total, 1)
        in_ui(share)
        if progress is not None:
            progress(share, f"{p.done:,} of {p.total:,}")

    device = choose_device(config.compute.device)
    scores = score_staged(detector, config, staged, build, device=device, progress=tell)
    late = paths.work(staged.batch) / LATE_QUARANTINE_FILE
    rows = chain(iter_quarantine(staged.quarantine_path), iter_quarantine(late))
    write_quarantine(paths.quarantine(staged.batch), rows)
    return scores


@step
def build_report(
    config: PipelineConfig,
    staged: Intake,
    checks: CheckResult,
    scores: BatchScores,
    ref: DetectorRef,
    detector: Detector,
    paths: Paths,
) -> None:
    """Summary, receipt and the page that people read, beside the scores."""
    report.write(
        paths.work(staged.batch) / "build",
        config=config,
        intake=staged,
        checks=checks,
        scores=scores,
        detector=detector,
        detector_ref=ref,
    )


@io_step
def publish_report(batch: str, paths: Paths) -> Published:
    """The build folder in the place of the report, whole or not at all; before it, what was set aside."""
    return publish(paths.work(batch) / "build", paths.report(batch), paths.revisions(batch))
