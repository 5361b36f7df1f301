"""The nightly run: score whatever has no report yet, note that the night ran, and tell people what came.

After an outage the first run makes good all that was missed. Run again, it finds nothing to do. Whatever came up on
the way is one message when the run ends.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aeflow.backlog import Pending, find_pending, paths_of
from aeflow.config import load_config
from aeflow.exceptions import AeflowError, AlreadyRunning, IntegrityError, NightFailed
from aeflow.report.flag_rows import flag_rows
from aeflow.retraining import Outcome
from aeflow.scoring import FLAGS_FILE
from aeflow.settings import home_for
from aeflow.store.claims import claim
from aeflow.store.digests import sha256_bytes
from aeflow.store.marks import open_marks
from aeflow.store.nightly_runs import NIGHTLY, open_nightly_runs
from aeflow.store.paths import Paths
from aeflow.wording import counted
from flows.notifications import Notice, deliver, note, settle, settle_others, tell
from flows.retrain_if_needed import request_retraining
from flows.score_batches import Attempt, score_batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.retrain_if_needed import Retrained
    from flows.score_batch import ScoredBatch
    from flows.score_batches import Progress

_LOG = logging.getLogger("aeflow.nightly")
_TOLD_FLAGS = 5
SOURCE = "source"
"""The key of the incident that the source could not be read."""
FILES = "files:"
"""What the key of the incident begins with that some of its files could not."""
DECISION = "decision"
"""The key of the incident that it could not be decided whether to retrain."""


@dataclass(frozen=True)
class Night:
    """What a nightly run did."""

    pipeline: str
    attempts: tuple[Attempt, ...]
    unreadable: dict[str, str] = field(default_factory=dict)
    """File of the source that could not be read to its end -> why."""

    @property
    def failed(self) -> tuple[Attempt, ...]:
        """What could not be scored. A batch that another process is at work on has not failed."""
        return tuple(a for a in self.attempts if a.error and not isinstance(a.error, AlreadyRunning))

    def sentence(self) -> str:
        """What happened, for a person."""
        if not self.attempts:
            return f"{self.pipeline}: nothing to do, every batch has its report{self._set_aside()}."
        scored = [a.scored for a in self.attempts if a.scored]
        flags = sum(s.facts.flags or 0 for s in scored if s.changed)
        failed = (
            f", {len(self.failed)} failed: {', '.join(a.batch for a in self.failed)}" if self.failed else ""
        )
        return f"{self.pipeline}: {counted(len(scored), 'batch')} scored, {counted(flags, 'flag')}{failed}{self._set_aside()}."

    def _set_aside(self) -> str:
        return (
            f"; files that cannot be read are set aside: {', '.join(self.unreadable)}"
            if self.unreadable
            else ""
        )

    def raise_if_failed(self) -> None:
        """Raises:
        NightFailed: at least one batch could not be scored, or one file of the source not be read; says
            which, and why.
        """
        if self.failed or self.unreadable:
            reasons = "\n".join(
                [
                    *(a.complaint for a in self.failed),
                    *(f"file {name}: {why}" for name, why in self.unreadable.items()),
                ]
            )
            raise NightFailed(
                reasons, where=self.pipeline, remedy=f"Then: aeflow score {self.pipeline} --pending"
            )


def score_pending(
    config: Path,
    *,
    jobs: int = 1,
    version: int | None = None,
    force: bool = False,
    ended: Callable[[Attempt], None] | None = None,
    progress: Callable[[str], AbstractContextManager[Progress]] | None = None,
) -> Night:
    """Score every batch that has no report, or whose data have changed since: another detector or config
    since then is no reason.

    Args:
        config: the pipeline's YAML file.
        jobs: so many processes.
        version: of the detector; None: the champion.
        force: passed on to each batch.
        ended: told of each batch as it ends.
        progress: as in `score_batches`.

    Raises:
        AlreadyRunning: another process is at the nightly run of this pipeline.
        UserError: the source cannot be read. What single batches come to is in the result.
    """
    pipeline = load_config(config)
    paths = Paths(home_for(config), pipeline.name)
    runs = open_nightly_runs(paths)
    what = f"the nightly run of {pipeline.name}"
    with claim(paths.task_claim(NIGHTLY), what, now=datetime.now(UTC)):
        mine = runs.begin(now=datetime.now(UTC))
        try:
            pending = find_pending(config)
            settle(config, "run_failed", SOURCE)
            _note_unreadable(config, pending.unreadable)
            attempts = score_batches(
                config,
                pending.batches,
                jobs=jobs,
                version=version,
                force=force,
                # One that was scored by name has no mark yet, and is none the less done.
                other_data_only=True,
                ended=lambda attempt: _ended(config, attempt, pending, ended),
                progress=progress,
            )
        except Exception as error:
            runs.end(mine, "failed", f"{type(error).__name__}: {error}", now=datetime.now(UTC))
            tell(config, Notice("run_failed", f"{what} failed", str(error), key=SOURCE))
            raise
        night = Night(pipeline.name, tuple(attempts), pending.unreadable)
        runs.end(mine, "failed" if night.failed else "done", night.sentence(), now=datetime.now(UTC))
    try:
        if any(attempt.scored for attempt in attempts):
            _decide(config)
    finally:
        deliver(config)
    return night


def _ended(config: Path, attempt: Attempt, pending: Pending, ended: Callable[[Attempt], None] | None) -> None:
    if ended is not None:
        ended(attempt)
    if attempt.scored is not None and attempt.batch in pending.marks:
        # As the data were before they were taken in: what came meanwhile is found the next time.
        open_marks(paths_of(config)).keep(attempt.batch, pending.marks[attempt.batch])
    note_attempt(config, attempt)


def note_attempt(config: Path, attempt: Attempt) -> None:
    """What came of a batch, for the next message: its new flags, or why it could not be scored."""
    if attempt.scored is not None:
        settle(config, "run_failed", attempt.batch)
        if attempt.scored.changed:
            _note_flags(config, attempt.scored)
    elif not isinstance(attempt.error, AlreadyRunning):
        title = f"Batch {attempt.batch} could not be scored"
        note(config, Notice("run_failed", title, str(attempt.error), key=attempt.batch))


def _note_unreadable(config: Path, files: dict[str, str]) -> None:
    """Told as long as the same ones cannot be read once; another one that breaks meanwhile is news."""
    key = f"{FILES} {sha256_bytes(repr(sorted(files)).encode())[:12]}" if files else ""
    settle_others(config, "run_failed", FILES, key)
    if not files:
        return
    title = f"{counted(len(files), 'file')} of the source cannot be read"
    lines = [f"{name}: {why}" for name, why in files.items()]
    note(config, Notice("run_failed", title, "\n".join(lines), key=key))


def _decide(config: Path) -> None:
    """What the last nights say of the detector; a retraining that is due is asked for. The night is scored:
    where this fails, people are told of it, and that is all."""
    try:
        done = request_retraining(config)
    except AeflowError as error:
        _LOG.warning("Every batch is scored, but the decision after the night failed: %s", error)
        note(config, Notice("run_failed", "The decision after the night failed", str(error), key=DECISION))
        return
    decision = done.decision
    settle(config, "run_failed", DECISION)
    note_promotion(config, done)
    for outcome in Outcome:
        if outcome != decision.outcome:
            settle(config, "drift", str(outcome))
    if decision.outcome not in {Outcome.OK, Outcome.HOLD} or decision.waits_for:
        title = f"Decision after the night: {decision.outcome}"
        note(config, Notice("drift", title, "\n".join(decision.reasons), key=str(decision.outcome)))


def note_promotion(config: Path, done: Retrained) -> None:
    """What came of a training or of a recalibration, if there was one, for the next message."""
    new = done.trained or done.recalibrated
    if new is None:
        return
    made = "trained" if done.trained else "recalibrated"
    title = f"Detector {new.version} {'went live' if new.live else f'was {made} and does not go live'}"
    note(config, Notice("promotion", title, "\n".join(new.decision.reasons), key=str(new.version)))


def _note_flags(config: Path, scored: ScoredBatch) -> None:
    """The flags that count and that the report before, if there was one, did not have or had suppressed."""
    known = set()
    revision = scored.facts.revision or 1
    if revision > 1:
        before = Paths(home_for(config), scored.pipeline).revisions(scored.batch) / f"rev={revision - 1}"
        with suppress(IntegrityError):  # it may have been made anew because it was damaged
            known = {flag["flag_id"] for flag in flag_rows(before / FLAGS_FILE, ["flag_id"])}
    columns = ["flag_id", "severity", "entity", "item", "start", "end"]
    new = [f for f in flag_rows(scored.folder / FLAGS_FILE, columns) if f["flag_id"] not in known]
    if not new:
        return
    worst = max(flag["severity"] for flag in new)
    lines = [_flag_line(flag) for flag in new[:_TOLD_FLAGS]]
    if len(new) > _TOLD_FLAGS:
        lines.append(f"and {len(new) - _TOLD_FLAGS} more")
    title = f"{len(new)} new {'flag' if len(new) == 1 else 'flags'} in batch {scored.batch}, the worst of severity {worst:.0f}"
    body = "\n".join([*lines, str(scored.folder / "report.html")])
    key = f"{scored.batch} revision {revision}"
    note(config, Notice("flags", title, body, severity=worst, key=key))


def _flag_line(flag: dict[str, object]) -> str:
    start, end = flag["start"], flag["end"]
    when = (
        f" {start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S %Z}"
        if isinstance(start, datetime) and isinstance(end, datetime)
        else ""
    )
    return f"{flag['severity']:.0f}  {flag['item'] or flag['entity'] or 'the series'}{when}"
