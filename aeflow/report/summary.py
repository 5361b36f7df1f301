"""What came of a batch, in figures and one sentence: `summary.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - pydantic reads the annotations
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from aeflow.exceptions import AccountingError
from aeflow.report.promise import Promise, by_chance
from aeflow.report.stored import Stored
from aeflow.retraining.measurements import Drift  # noqa: TC001 - pydantic reads the annotations
from aeflow.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aeflow.report.survey import Survey

SUMMARY_FILE = "summary.json"
SCHEMA_VERSION = "1"
_TOP_FLAGS = 20
_TOP_CHANNELS = 3
_NAMED = 5


class Grade(Stored):
    """The health of a channel in this batch."""

    channel: str
    grade: Literal["HIGH", "MEDIUM", "LOW"]
    cause: str = ""
    entities: tuple[str, ...] = ()
    """Those it holds for; empty: all."""


class FailedCheck(Stored):
    """A check of the batch that did not hold."""

    name: str
    expected: str = ""
    came: str = ""


class ChecksOutcome(Stored):
    """How the checks of the batch went."""

    passed: int = 0
    failed: tuple[FailedCheck, ...] = ()


class TopFlag(Stored):
    """One of the most severe flags."""

    flag_id: str
    entity: str = ""
    item: str = ""
    start: datetime | None = None
    peak: datetime | None = None
    end: datetime | None = None
    severity: float
    p_value: float
    channels: tuple[str, ...] = ()
    """The channels with the largest shares, at most three."""


class SuppressedFlag(Stored):
    """A flag that counts as none, since it is like one that was called false."""

    flag_id: str
    entity: str = ""
    item: str = ""
    start: datetime | None = None
    severity: float
    by: str
    """The flag that it is like."""
    reason: str


class Summary(Stored):
    """See the module. Times are UTC; `end` is exclusive. Nothing here depends on when, where or how fast
    the batch was scored."""

    schema_version: str = SCHEMA_VERSION
    pipeline: str
    kind: Literal["images", "series"]
    batch: str
    start: datetime | None = None
    end: datetime | None = None
    detector_version: int
    sentence: str
    """What happened, for a person."""
    rows_in: int
    scored: int
    not_scorable: int
    quarantined: dict[str, int]
    """Reason code -> rows set aside."""
    not_scorable_by_reason: dict[str, int]
    flags: int
    """Those that are not suppressed."""
    flagged_rows: int
    """Images: the same as `flags`; series: the points of all their events."""
    suppressed: int = 0
    """Flags that count as none, since they are like one that was called false."""
    suppressed_rows: int = 0
    """Images: the same as `suppressed`; series: the points of their events."""
    entities: int
    """0 for images."""
    flagged_entities: int
    new_entities: dict[str, str] = Field(default_factory=dict)
    """Entities that the history did not hold -> by what they were scaled and judged: cohort NAME, or all."""
    promise: Promise
    score_quantiles: dict[str, float]
    """min, p50, p90, p99, p99.9, max; those between are exact to 1/2048 of their value."""
    top_flags: tuple[TopFlag, ...] = ()
    suppressed_flags: tuple[SuppressedFlag, ...] = ()
    """The most severe of them, at most twenty."""
    drift: Drift | None = None
    """None where the detector has nothing to hold a batch against."""
    grades: tuple[Grade, ...] = ()
    checks: ChecksOutcome = ChecksOutcome()
    warnings: tuple[str, ...] = ()

    @property
    def quarantined_rows(self) -> int:
        """Rows set aside for any reason."""
        return sum(self.quarantined.values())

    @property
    def flood(self) -> str:
        """Why the promise is not kept though no more events came than by chance: they have too many points. Empty
        where that is not so."""
        likely, events = self.promise.flags_by_chance, self.flags + self.suppressed
        if self.promise.kept is not False or likely is None or events > likely[1]:
            return ""
        points = self.flagged_rows + self.suppressed_rows
        return (
            f"There are no more events than by chance, but {counted(points, 'point')} of {self.scored:,} are in "
            f"{'it' if events == 1 else 'them'}: more than chance explains."
        )


@dataclass(frozen=True)
class BatchFacts:
    """What a run knows of a batch beside its scores.

    quarantined: reason code -> rows, everything that was set aside, while decoding too.
    start, end: the batch's period, UTC, end exclusive; None where a batch is no period.
    """

    pipeline: str
    batch: str
    detector_version: int
    rows_in: int
    quarantined: Mapping[str, int]
    promise: Promise
    start: datetime | None = None
    end: datetime | None = None
    checks: ChecksOutcome = field(default_factory=ChecksOutcome)
    grades: tuple[Grade, ...] = ()
    warnings: tuple[str, ...] = ()
    drift: Drift | None = None
    new_entities: Mapping[str, str] = field(default_factory=dict)


def build_summary(facts: BatchFacts, survey: Survey, flags: Path) -> Summary:
    """The summary of a scored batch; `flags` is its `flags.parquet`, most severe first.

    Raises:
        AccountingError: rows would have been lost, or scores and flags tell different stories.
    """
    not_scorable = sum(survey.not_scorable.values())
    aside = sum(facts.quarantined.values())
    if facts.rows_in != survey.scored + not_scorable + aside:
        msg = (
            f"batch {facts.batch}: {facts.rows_in} rows came in, but {survey.scored} scored + {not_scorable} "
            f"not scorable + {aside} quarantined = {survey.scored + not_scorable + aside}"
        )
        raise AccountingError(msg)
    found = _count_flags(flags)
    if found.rows + found.suppressed_rows != survey.flagged:
        msg = (
            f"batch {facts.batch}: {survey.flagged} rows of the scores are flagged, but the "
            f"{found.flags + found.suppressed} flags account for {found.rows + found.suppressed_rows}"
        )
        raise AccountingError(msg)
    return Summary(
        pipeline=facts.pipeline,
        kind=survey.kind,
        batch=facts.batch,
        start=facts.start,
        end=facts.end,
        detector_version=facts.detector_version,
        sentence=_sentence(survey, found, facts.promise),
        rows_in=facts.rows_in,
        scored=survey.scored,
        not_scorable=not_scorable,
        quarantined=dict(sorted(facts.quarantined.items())),
        not_scorable_by_reason=dict(survey.not_scorable),
        flags=found.flags,
        flagged_rows=found.rows,
        suppressed=found.suppressed,
        suppressed_rows=found.suppressed_rows,
        entities=survey.entities,
        flagged_entities=found.entities if survey.kind == "series" else 0,
        new_entities=dict(facts.new_entities),
        promise=facts.promise,
        score_quantiles=dict(survey.quantiles),
        top_flags=found.top,
        suppressed_flags=found.top_suppressed,
        drift=facts.drift,
        grades=facts.grades,
        checks=facts.checks,
        warnings=(*facts.warnings, *_newcomers(facts.new_entities)),
    )


def _newcomers(new: Mapping[str, str]) -> list[str]:
    """A sentence for each cohort that new entities belong to."""
    by: dict[str, list[str]] = {}
    for entity, served in sorted(new.items()):
        by.setdefault(served, []).append(entity)
    sentences = []
    for served, entities in sorted(by.items()):
        more = f" and {len(entities) - _NAMED:,} more" if len(entities) > _NAMED else ""
        what = f"{', '.join(entities[:_NAMED])}{more}"
        are = f"{what} {'is' if len(entities) == 1 else 'are'} new to the detector"
        sentences.append(f"{are}: scaled and judged by {'all entities' if served == 'all' else served}.")
    return sentences


def read_summary(folder: Path) -> Summary:
    """The summary in a report folder.

    Raises:
        StorageError, IntegrityError: it cannot be read, or is none.
    """
    return Summary.read(folder / SUMMARY_FILE)


@dataclass(frozen=True)
class _FlagCount:
    flags: int
    rows: int
    entities: int
    top: tuple[TopFlag, ...]
    suppressed: int
    suppressed_rows: int
    top_suppressed: tuple[SuppressedFlag, ...]


_FACTS = ["flag_id", "entity", "item", "start", "peak", "end", "points", "p_value", "severity", "channels"]
_OF_SUPPRESSED = ["suppressed", "suppressed_by", "suppressed_reason"]


def _count_flags(path: Path) -> _FlagCount:
    counts = {True: [0, 0], False: [0, 0]}  # suppressed or not: flags, rows
    entities: set[str] = set()
    top: list[TopFlag] = []
    aside: list[SuppressedFlag] = []
    with pq.ParquetFile(path, pre_buffer=False) as file:
        known = [name for name in _OF_SUPPRESSED if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=[*_FACTS, *known]):
            is_aside = pc.fill_null(batch.column("suppressed"), fill_value=False) if known else None
            parts = {False: batch} if is_aside is None else _parted(batch, is_aside)
            for suppressed, part in parts.items():
                counts[suppressed][0] += len(part)
                # An image is one row of the scores; an event is as many as it has points.
                points = pc.fill_null(part.column("points"), pa.scalar(1, pa.int32()))
                counts[suppressed][1] += pc.sum(points, min_count=0).as_py()
            entities.update(parts[False].column("entity").unique().to_pylist())
            top += [_top_flag(row) for row in parts[False].slice(0, _TOP_FLAGS - len(top)).to_pylist()]
            if True in parts:
                listed = parts[True].slice(0, _TOP_FLAGS - len(aside)).to_pylist()
                aside += [_suppressed_flag(row) for row in listed]
    (flags, rows), (aside_flags, aside_rows) = counts[False], counts[True]
    return _FlagCount(flags, rows, len(entities), tuple(top), aside_flags, aside_rows, tuple(aside))


def _parted(batch: pa.RecordBatch, is_aside: pa.Array) -> dict[bool, pa.RecordBatch]:
    return {True: batch.filter(is_aside), False: batch.filter(pc.invert(is_aside))}


def _suppressed_flag(row: Mapping[str, Any]) -> SuppressedFlag:
    return SuppressedFlag(
        flag_id=row["flag_id"],
        entity=row["entity"] or "",
        item=row["item"] or "",
        start=row["start"],
        severity=row["severity"],
        by=row["suppressed_by"],
        reason=row["suppressed_reason"],
    )


def _top_flag(row: Mapping[str, Any]) -> TopFlag:
    channels = tuple(part["channel"] for part in (row["channels"] or [])[:_TOP_CHANNELS])
    named = {key: row[key] for key in ("flag_id", "start", "peak", "end", "severity", "p_value")}
    return TopFlag(**named, entity=row["entity"] or "", item=row["item"] or "", channels=channels)


def _sentence(survey: Survey, found: _FlagCount, promise: Promise) -> str:
    thing = "point" if survey.kind == "series" else "image"
    scored = counted(survey.scored, thing)
    if survey.scored == 0:
        return f"No {thing} could be scored."
    chance = by_chance(promise)
    are = "is" if found.suppressed == 1 else "are"
    aside = f" {found.suppressed:,} more {are} like what was called false." if found.suppressed else ""
    if promise.blunt_in_words:
        return f"Nothing of {scored} could be flagged: the calibration scored higher."
    if found.flags == 0:
        nothing = "Nothing else" if found.suppressed else "Nothing"
        return f"{nothing} among {scored} looks abnormal{chance}.{aside}"
    looks = "looks" if found.rows == 1 else "look"
    what = f"{found.rows:,} of {scored} {looks} abnormal"
    if survey.kind == "series":
        where = f" in {found.entities:,} of {counted(survey.entities, 'entity')}"
        what += f": {counted(found.flags, 'event')}{where if survey.entities > 1 else ''}"
    return f"{what}{chance}.{aside}"
