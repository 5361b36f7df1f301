"""Which detector is live: promote a version by hand, or go back to the one before."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from aeflow import registry
from aeflow.backlog import paths_of
from aeflow.exceptions import DetectorError, UserError
from aeflow.report.receipt import read_receipt
from aeflow.scoring import SCORES_FILE
from aeflow.store.digests import sha256_file
from aeflow.store.ledger import open_ledger
from flows.io_tasks import io_step, run
from flows.score_batch import score_batch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aeflow.store.paths import Paths
    from flows.score_batch import ScoredBatch


@dataclass(frozen=True)
class Rollback:
    """The champion that was taken back, the one that is live again, and the batches whose reports the former had
    made. rescored: those that were scored again; restored: those of them whose scores are, to the byte, what
    they were before the one that was taken back."""

    before: int
    now: int
    scored: tuple[str, ...]
    rescored: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@io_step
def crown(paths: Paths, version: int) -> None:
    """The version is the champion; the one before is remembered, to go back to."""
    before = registry.resolve(paths)
    if before is not None and before.version != version:
        registry.set_alias(paths, registry.PREVIOUS, before.version)
    registry.set_alias(paths, registry.CHAMPION, version)


def promote_version(config: Path, version: int) -> int | None:
    """Let a registered version go live; returns the one that was live before.

    Raises:
        DetectorError: there is no such version.
    """
    paths = paths_of(config)
    registry.find(paths, version)
    before = registry.resolve(paths)
    crown(paths, version)
    return before.version if before else None


def roll_back(
    config: Path, *, rescore: bool = False, ended: Callable[[ScoredBatch], None] | None = None
) -> Rollback:
    """Let the champion before the present one go live again.

    Args:
        config: the pipeline's YAML file.
        rescore: score the batches again that the one taken back had scored. A batch that cannot be scored
            keeps its report, and does not keep the others.
        ended: told of each of them.

    Raises:
        DetectorError: there was none before.
    """
    paths = paths_of(config)
    present, previous = registry.resolve(paths), registry.resolve(paths, registry.PREVIOUS)
    if present is None or previous is None or previous.version == present.version:
        raise DetectorError(
            "expected a champion before the present one, and there is none",
            where=f"pipeline {paths.pipeline}",
            remedy="aeflow models CONFIG lists the versions; aeflow promote CONFIG VERSION lets one go live.",
        )
    registry.set_alias(paths, registry.CHAMPION, previous.version)
    registry.set_alias(paths, registry.PREVIOUS, present.version)
    scored = tuple(b.batch for b in open_ledger(paths).all() if b.facts.detector_version == present.version)
    change = Rollback(present.version, previous.version, scored)
    return _rescored(config, paths, change, ended) if rescore else change


def _rescored(
    config: Path, paths: Paths, change: Rollback, ended: Callable[[ScoredBatch], None] | None
) -> Rollback:
    rescored, restored, failed = [], [], []
    for batch in change.scored:
        before = _scores_by(paths, batch, change.now)
        try:
            done = run(score_batch, config, batch, version=change.now)
        except UserError as error:
            failed.append(f"{batch}: {error}")
            continue
        rescored.append(batch)
        if before is not None and sha256_file(paths.report(batch) / SCORES_FILE) == before:
            restored.append(batch)
        if ended is not None:
            ended(done)
    return replace(change, rescored=tuple(rescored), restored=tuple(restored), failed=tuple(failed))


def _scores_by(paths: Paths, batch: str, version: int) -> str | None:
    """The digest of the scores in the last replaced report that this version made; None where there is none."""
    kept = sorted(paths.revisions(batch).glob("rev=*"), key=lambda p: int(p.name.removeprefix("rev=")))
    of_version = [p for p in kept if read_receipt(p).detector_version == version]
    return sha256_file(of_version[-1] / SCORES_FILE) if of_version else None
