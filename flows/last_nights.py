"""What is known of the last nights: read from ledger, reports, verdicts and registry; nothing is changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aeflow import registry
from aeflow.report.night import night_of
from aeflow.report.reviewed import bound_verdicts
from aeflow.report.summary import read_summary
from aeflow.retraining import Circumstances, Judgement, Night, judge_nights
from aeflow.review.learning import verdicts_since
from aeflow.store.ledger import open_ledger
from aeflow.store.retrainings import asked_since, last_training_at, open_retrainings, vetoed_at
from aeflow.store.verdicts import Standing, open_verdicts, standing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aeflow.config import Retraining
    from aeflow.registry import VersionInfo
    from aeflow.store.paths import Paths
    from aeflow.store.verdicts import Verdict

_LOOK_BACK = 14


@dataclass(frozen=True)
class LastNights:
    """The nights that the champion scored, oldest first, and what else bears on a retraining."""

    champion: int | None
    nights: tuple[Night, ...]
    known: Circumstances

    @property
    def last_batch(self) -> str | None:
        """The last one that was looked at."""
        return self.nights[-1].batch if self.nights else None

    def judge(self, rule: Retraining) -> Judgement:
        """What the nights say by themselves."""
        return judge_nights(self.nights, rule)


def read_last_nights(paths: Paths) -> LastNights:
    """The last nights of a pipeline.

    Raises:
        StorageError: ledger or registry cannot be read.
    """
    champion = registry.resolve(paths)
    steps = open_retrainings(paths).all()
    if champion is None:
        return LastNights(None, (), Circumstances(None))
    said = bound_verdicts(paths, open_verdicts(paths).all())
    trained_at = _trained_at(registry.versions(paths), champion.version)
    known = Circumstances(
        trained_at=trained_at,
        new_verdicts=verdicts_since(said, trained_at),
        last_retraining_at=last_training_at(steps),
        asked_at=asked_since(steps),
        vetoed_at=vetoed_at(steps),
    )
    return LastNights(champion.version, _nights(paths, champion.version, said), known)


def _trained_at(versions: Sequence[VersionInfo], version: int) -> datetime:
    """When the weights of a version were trained: a calibration fitted anew makes them no younger."""
    by_number = {v.version: v for v in versions}
    found = by_number[version]
    while int(found.tags.get("recalibrates", 0)) in by_number:
        found = by_number[int(found.tags["recalibrates"])]
    return found.created


def _nights(paths: Paths, version: int, said: Sequence[Verdict]) -> tuple[Night, ...]:
    batch_of = {verdict.flag_id: verdict.batch for verdict in said}
    stand = standing(said)
    words = Counter((batch_of[flag], holds) for flag, holds in stand.items())
    scored = [
        b.batch
        for b in open_ledger(paths).all()
        if b.facts.detector_version == version and paths.report(b.batch).is_dir()
    ]
    return tuple(
        night_of(
            read_summary(paths.report(batch)),
            true_flags=words[batch, Standing.TRUE],
            false_flags=words[batch, Standing.FALSE],
        )
        for batch in scored[-_LOOK_BACK:]
    )
