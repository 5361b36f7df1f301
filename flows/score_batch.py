"""Score one batch: take in, check, score and judge, report, publish.

Safe to run again at any time: a batch whose data, detector and config are unchanged is left alone, a
killed run starts over, and the same input always gives the same report, byte for byte.
"""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from aeflow import detector as detectors
from aeflow import registry
from aeflow.config import Compute, dump_json, load_config
from aeflow.data.checks import check_batch, refusal
from aeflow.data.suite import load_engine
from aeflow.data.take_in import take_in
from aeflow.exceptions import BatchNotFound, BatchRefused, DetectorError
from aeflow.report.build import build_report as write_report
from aeflow.report.html import REPORT_FILE, PageOptions
from aeflow.report.nights import write_nights
from aeflow.report.promise import Promise, promise_of
from aeflow.report.receipt import Provenance
from aeflow.report.summary import BatchFacts, ChecksOutcome, FailedCheck, Grade, read_summary
from aeflow.review.precedents import precedents_in_force
from aeflow.review.reviewed_nights import cut_after_review, with_cut
from aeflow.scoring import FLAGS_FILE, LATE_QUARANTINE_FILE
from aeflow.scoring import score_batch as score_staged
from aeflow.settings import home_for
from aeflow.store.claims import Claim, claim
from aeflow.store.digests import sha256_bytes, sha256_folder
from aeflow.store.ledger import Facts, Ledger, open_ledger
from aeflow.store.paths import Paths
from aeflow.store.publish import publish, recover
from aeflow.store.quarantine import iter_quarantine, write_quarantine
from aeflow.store.verdicts import open_verdicts
from aeflow.training.devices import choose_device, device_kind
from flows.artifacts import progress_shown, show_flags, show_report, show_summary
from flows.io_tasks import beside, io_step, step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aeflow.config import PipelineConfig
    from aeflow.data.checks import CheckResult
    from aeflow.data.intake import Intake
    from aeflow.detector import Detector
    from aeflow.registry import DetectorRef
    from aeflow.report.receipt import MovedCut
    from aeflow.scoring import BatchScores, ScoringProgress
    from aeflow.scoring.suppression import Precedent
    from aeflow.store.publish import Published


_DATA = ("input_digest", "rows_in")
_ALL = (*_DATA, "config_digest", "detector_version")


@dataclass(frozen=True)
class ScoredBatch:
    """What became of a batch. `changed` is False where the report had been published just so before;
    `promise`: what it says of false flags."""

    pipeline: str
    batch: str
    folder: Path
    facts: Facts
    changed: bool
    promise: Promise
    unreadable: dict[str, str] = field(default_factory=dict)
    """File of the source that could not be read to its end -> why; some of its rows may belong to this batch."""

    def sentence(self) -> str:
        """What happened, for a person."""
        facts = self.facts
        return (
            f"{self.pipeline}, batch {self.batch}: {facts.scored or 0:,} scored, {facts.not_scorable or 0:,} not scorable, "
            f"{facts.quarantined or 0:,} set aside, {facts.flags or 0:,} flagged by detector {facts.detector_version}."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "pipeline": self.pipeline,
            "batch": self.batch,
            "folder": str(self.folder),
            "changed": self.changed,
            "promise": self.promise.model_dump(mode="json"),
            "unreadable": self.unreadable,
            **asdict(self.facts),
        }


def score_batch(
    config: Path,
    batch: str,
    *,
    version: int | None = None,
    force: bool = False,
    other_data_only: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> ScoredBatch:
    """Score a batch with the champion (or a given version) and publish its report.

    Args:
        config: the pipeline's YAML file.
        batch: which batch.
        version: of the detector; None: the champion.
        force: score again although nothing changed.
        other_data_only: a report that is there is made again for other data alone, whatever detector and
            config are now.
        progress: told how far the scoring is.

    Raises:
        UserError: see `aeflow.exceptions`: what has to be mended is in the message.
    """
    pipeline = load_config(config)
    paths = Paths(home_for(config), pipeline.name)
    ledger = open_ledger(paths)
    ref, detector = fetch_detector(paths, version)
    with claim(paths.claim(batch), f"batch {batch} of {pipeline.name}", now=datetime.now(UTC)) as mine:
        recover(paths.report(batch), paths.revisions(batch))
        known = ledger.get(batch)
        run = _Run(
            ledger, batch, mine, Facts(detector_version=ref.version, config_digest=config_digest(pipeline))
        )
        with run.recorded():
            place = Workplace(paths.work(batch), paths.quarantine(batch), paths.validation(batch))
            # Reading keeps one core busy, the import the other.
            Thread(target=load_engine, name="great-expectations", daemon=True).start()
            staged = take_in_batch(pipeline, batch, place, detector)
            run.learn(input_digest=staged.digest, rows_in=staged.rows_in)
            keys = _DATA if other_data_only and known is not None and known.state == "published" else _ALL
            if not force and known is not None and _still_holds(known.facts, run.facts, staged, paths, keys):
                facts, changed = known.facts, False
            else:
                moved, precedents = learn_from_verdicts(pipeline, paths, detector, ref, batch)
                scores = make_report(
                    pipeline,
                    staged,
                    detector,
                    ref,
                    place,
                    moved_cut=moved,
                    precedents=precedents,
                    progress=progress,
                )
                published = publish_report(batch, place, paths)
                facts, changed = _published(run.facts, staged, scores, published), published.changed
            run.finish(facts)
        shutil.rmtree(paths.work(batch))
    if changed:
        write_nights(paths)
    promise = read_summary(paths.report(batch)).promise
    outcome = ScoredBatch(
        pipeline.name, batch, paths.report(batch), facts, changed, promise, staged.unreadable
    )
    if changed:
        show_summary(f"score-{pipeline.name}", outcome.sentence())
        show_flags(f"flags-{pipeline.name}", outcome.folder / FLAGS_FILE)
        show_report(f"report-{pipeline.name}", outcome.folder / REPORT_FILE)
    return outcome


@dataclass(frozen=True)
class Workplace:
    """Where one run works: staging and build folder, and where what was set aside and what the checks
    found is kept."""

    work: Path
    quarantine: Path
    validation: Path

    @property
    def build(self) -> Path:
        """The report before it is published."""
        return self.work / "build"


def make_report(
    config: PipelineConfig,
    staged: Intake,
    detector: Detector,
    ref: DetectorRef,
    place: Workplace,
    *,
    moved_cut: MovedCut | None = None,
    precedents: Sequence[Precedent] = (),
    progress: Callable[[float, str], None] | None = None,
) -> BatchScores:
    """Check, score and judge a staged batch and write its whole report into `place.build`; at the cut that
    verdicts moved, where they did, and with flags like reviewed ones, `precedents`, treated as the config says.

    Raises:
        BatchRefused: too little of the batch is fit to score.
    """
    detector = with_cut(detector, moved_cut)
    # Before anything can be refused.
    write_quarantine(place.quarantine, iter_quarantine(staged.quarantine_path))
    # Here and not in the thread below: else the peak of memory would hang on which of the two is faster.
    load_engine()
    # The suite takes a second of one core, which passes while the network works.
    with beside(check, config, staged, detector, place) as checking:
        if refusal(config, staged, detector.reference) is not None:
            checking.result().raise_if_refused()
        scores = score_and_judge(detector, config, staged, place, precedents, progress)
        refuse_if_damaged(config, staged, scores)
        checks = checking.result()
    build_report(config, staged, checks, scores, ref, detector, place, moved_cut)
    return scores


class _Run:
    """What the ledger is told of one attempt at a batch."""

    def __init__(self, ledger: Ledger, batch: str, claimed: Claim, facts: Facts) -> None:
        self._ledger, self._batch, self._claimed = ledger, batch, claimed
        self.facts = facts

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """The block is one attempt; how it ends goes into the ledger. A batch that does not exist
        leaves no trace there: the id may have been a slip."""
        self._ledger.begin(self._batch, self._claimed, now=datetime.now(UTC))
        try:
            yield
        except BatchRefused as refusal:
            self._end(self._ledger.refuse, str(refusal))
            raise
        except BatchNotFound as error:
            self._ledger.withdraw(self._batch, self._claimed, str(error), now=datetime.now(UTC))
            raise
        except BaseException as error:
            self._end(self._ledger.fail, f"{type(error).__name__}: {error}")
            raise

    def learn(self, **known: str | int) -> None:
        """Keep facts for the ledger, however the attempt ends."""
        self.facts = replace(self.facts, **known)  # type: ignore[arg-type]

    def finish(self, facts: Facts) -> None:
        """The batch is published."""
        self._ledger.finish(self._batch, self._claimed, facts, now=datetime.now(UTC))

    def _end(self, write: Callable[..., object], message: str) -> None:
        write(self._batch, self._claimed, message, now=datetime.now(UTC), facts=self.facts)


def config_digest(config: PipelineConfig) -> str:
    """SHA-256 of everything in the config that can change a report."""
    computed = config.without_operation().model_copy(update={"compute": Compute()})
    return sha256_bytes(dump_json(computed).encode())


def _still_holds(known: Facts, now: Facts, staged: Intake, paths: Paths, keys: Sequence[str]) -> bool:
    """Whether the published report was made of just this: of what `keys` name."""
    aside = sum(staged.quarantined.values())
    report = paths.report(staged.batch)
    return (
        report.is_dir()
        and known.report_digest == sha256_folder(report)
        and all(getattr(known, key) == getattr(now, key) for key in keys)
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
def learn_from_verdicts(
    config: PipelineConfig, paths: Paths, detector: Detector, ref: DetectorRef, batch: str
) -> tuple[MovedCut | None, list[Precedent]]:
    """What was said of other nights' flags: what it makes of the cut, and the reviewed flags that bear on this
    night's, as the detector sees them."""
    said, now = open_verdicts(paths).all(), datetime.now(UTC)
    device = choose_device(config.compute.device)
    precedents = precedents_in_force(config, paths, said, detector, ref.version, now=now, device=device)
    return cut_after_review(config, paths, said, detector, ref.version, batch=batch, now=now), precedents


@io_step
def take_in_batch(config: PipelineConfig, batch: str, place: Workplace, detector: Detector) -> Intake:
    """A snapshot of the batch, with what is not fit to score set aside.

    Raises:
        DetectorError: the detector was trained on other channels or another preparation.
        BatchNotFound: the source holds no such batch.
        SourceError: it cannot be read as the config says.
    """
    detector.check_fits(config)
    shutil.rmtree(place.work, ignore_errors=True)
    return take_in(config, batch, place.work / "intake", context=detector.context)


@step
def check(config: PipelineConfig, staged: Intake, detector: Detector, place: Workplace) -> CheckResult:
    """Great Expectations over the batch, grades of its channels; the findings are kept with the run."""
    return check_batch(config, staged, detector.reference, place.validation)


@step
def score_and_judge(
    detector: Detector,
    config: PipelineConfig,
    staged: Intake,
    place: Workplace,
    precedents: Sequence[Precedent],
    progress: Callable[[float, str], None] | None,
) -> BatchScores:
    """Scores of every item, flags and their evidence, into the build folder."""
    place.build.mkdir(parents=True)
    in_ui = progress_shown(f"progress-{config.name}")

    def tell(p: ScoringProgress) -> None:
        share = p.done / max(p.total, 1)
        in_ui(share)
        if progress is not None:
            progress(share, f"{p.done:,} of {p.total:,}")

    device = choose_device(config.compute.device)
    scores = score_staged(
        detector, config, staged, place.build, device=device, progress=tell, precedents=precedents
    )
    late = place.work / LATE_QUARANTINE_FILE
    rows = chain(iter_quarantine(staged.quarantine_path), iter_quarantine(late))
    write_quarantine(place.quarantine, rows)
    return scores


@step
def refuse_if_damaged(config: PipelineConfig, staged: Intake, scores: BatchScores) -> None:
    """Images may turn out damaged only while they are decoded: hold the configured share again.

    Raises:
        BatchRefused: too much was set aside.
    """
    aside = sum(staged.quarantined.values()) + sum(scores.quarantined.values())
    limit = config.checks.max_quarantined_share
    if aside > limit * staged.rows_in:
        raise BatchRefused(
            f"{aside} of {staged.rows_in} images are set aside ({aside / staged.rows_in:.0%}), "
            f"more than checks.max_quarantined_share allows ({limit:.0%})",
            where=f"batch {staged.batch}",
            remedy=f"See why: aeflow quarantine {config.name} --batch {staged.batch}",
        )


@step
def build_report(
    config: PipelineConfig,
    staged: Intake,
    checks: CheckResult,
    scores: BatchScores,
    ref: DetectorRef,
    detector: Detector,
    place: Workplace,
    moved_cut: MovedCut | None,
) -> None:
    """Summary, receipt and the page that people read, beside the scores."""
    quarantined = Counter(staged.quarantined) + Counter(scores.quarantined)
    facts = BatchFacts(
        pipeline=config.name,
        batch=staged.batch,
        detector_version=ref.version,
        rows_in=staged.rows_in,
        quarantined=dict(sorted(quarantined.items())),
        promise=promise_of(
            detector.calibration,
            scores.exchangeability,
            scores.false_flags_range,
            beyond_chance=scores.beyond_chance,
            flags=scores.flags + scores.suppressed,
            moved_cut=moved_cut,
        ),
        start=staged.start,
        end=staged.end,
        checks=ChecksOutcome(
            passed=checks.passed,
            failed=tuple(
                FailedCheck(name=f"{f.expectation} {f.column}".strip(), expected=f.expected, came=f.observed)
                for f in checks.failed
            ),
        ),
        grades=tuple(
            Grade(channel=g.channel, grade=g.grade, cause=g.cause, entities=g.entities) for g in checks.grades
        ),
        warnings=checks.warnings,
        new_entities=detector.new_entities(staged.entities),
        drift=scores.drift,
    )
    provenance = Provenance(
        input_digest=staged.digest,
        config_digest=config_digest(config),
        detector_digest=ref.digest,
        calibration_digest=detectors.calibration_digest(detector),
        seed=detector.config.seed,
        device=device_kind(config.compute.device),
        moved_cut=moved_cut,
    )
    options = PageOptions(
        zone=config.batch.time_zone,
        pictured_flags=config.report.max_evidence_flags,
        context_points=config.report.context_points,
        exemplars=detector.exemplars,
        lag_points=detector.config.lag_points,
        cadence_seconds=getattr(detector.config.prepare, "cadence_seconds", None),
    )
    aside = iter_quarantine(place.quarantine)
    write_report(place.build, facts, provenance, quarantine=aside, options=options)


@io_step
def publish_report(batch: str, place: Workplace, paths: Paths) -> Published:
    """The build folder in the place of the report, whole or not at all."""
    return publish(place.build, paths.report(batch), paths.revisions(batch))
