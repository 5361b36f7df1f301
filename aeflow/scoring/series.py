"""Score a staged batch of series: every row, then the cut, then the events.

Legend: R rows, N windows, C channels, F rows that could be flagged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from aeflow import schemas
from aeflow.config import SeriesPrepare
from aeflow.data.ordered_map import one_ahead
from aeflow.data.series import iter_series
from aeflow.detector.series_scores import SeriesNormal
from aeflow.memory import PORTIONS, hand_back
from aeflow.numerics.events import merge_flagged
from aeflow.numerics.exchangeability import BulkCounts, check_exchangeability
from aeflow.numerics.expected_band import score_at
from aeflow.scoring.drift_meter import DriftMeter
from aeflow.scoring.event_channels import with_causes
from aeflow.scoring.event_windows import with_windows
from aeflow.scoring.judged import (
    SCORES_FILE,
    BatchScores,
    ScoringProgress,
    channel_shares,
    described,
    flag_id,
    lists_where,
    rows_at,
    table_writer,
    top_channel,
    write_judged_flags,
    write_verdicts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.data.intake import Intake
    from aeflow.data.series import SeriesInputs
    from aeflow.detector import Detector
    from aeflow.numerics.exchangeability import Exchangeability
    from aeflow.scoring.suppression import Precedent


@dataclass(frozen=True)
class RowScores:
    """The rows of one chunk, scored. Where `scorable` is False the numbers mean nothing.

    score `(R,)`, p_value `(R,)`, contributions, observed, expected `(R, C)`.
    """

    inputs: SeriesInputs
    scorable: NDArray[np.bool_]
    score: NDArray[np.float32]
    p_value: NDArray[np.float64]
    contributions: NDArray[np.float32]
    observed: NDArray[np.float32]
    expected: NDArray[np.float32]


@dataclass(frozen=True)
class _Found:
    """Rows that could be flagged: number, entity code, grid point, score and p-value, `(K,)` each."""

    row: NDArray[np.int64]
    entity: NDArray[np.int64]
    slot: NDArray[np.int64]
    score: NDArray[np.float32]
    p_value: NDArray[np.float64]


class _Candidates:
    """Collects the rows that could be flagged: 36 bytes a row, so that many false ones fit too."""

    def __init__(self) -> None:
        nothing = np.empty(0, dtype=np.int64)
        self._chunks: list[tuple[NDArray[Any], ...]] = [
            (nothing, nothing, nothing, np.empty(0, np.float32), np.empty(0))
        ]
        self._codes: dict[str, int] = {}

    def add(self, rows: RowScores, first_row: int, limit: float) -> None:
        """Keep the rows of a chunk whose p-value is at most `limit`."""
        inputs = rows.inputs
        near = np.flatnonzero(rows.scorable & (rows.p_value <= limit))
        of_batch = np.array([self._codes.setdefault(e, len(self._codes)) for e in inputs.entities], np.int64)
        self._chunks.append(
            (
                first_row + near,
                of_batch[inputs.row_entity[near]],
                inputs.row_slot[near],
                rows.score[near],
                rows.p_value[near],
            )
        )

    def found(self) -> _Found:
        """All of them, in the order of the rows."""
        return _Found(*(np.concatenate(column) for column in zip(*self._chunks, strict=True)))


class _Bulk:
    """Counts the p-values of all rows, and of each entity with a calibration of its own."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._whole = BulkCounts()
        self._entities: dict[str, BulkCounts] = {}

    def add(self, rows: RowScores) -> None:
        """Take in the rows of a chunk."""
        self._whole.add(rows.p_value[rows.scorable])
        for code, entity in enumerate(rows.inputs.entities):
            if entity in self._detector.entity_calibrations:
                mine = rows.scorable & (rows.inputs.row_entity == code)
                self._entities.setdefault(entity, BulkCounts()).add(rows.p_value[mine])

    @property
    def above_half(self) -> int:
        """Rows with a p-value above 1/2."""
        return self._whole.above_half

    def exchangeability(self) -> Exchangeability:
        """What they say of the calibration."""
        own = self._detector.entity_calibrations
        of_entities = {name: (counts, own[name].normal) for name, counts in self._entities.items()}
        return check_exchangeability(self._whole, self._detector.calibration.normal, of_entities)


def score_rows(
    detector: Detector,
    intake: Intake,
    *,
    device: torch.device,
    chunk_items: int,
    meter: DriftMeter | None = None,
) -> Iterator[RowScores]:
    """Every row of the batch with its score, in the order of the staged rows, chunk by chunk; `meter` is shown
    each chunk."""
    prepare = detector.config.prepare
    assert isinstance(prepare, SeriesPrepare)
    assert isinstance(detector.normal, SeriesNormal)
    chunks = iter_series(intake.rows_path, prepare, detector.normal.cadences, look_back=detector.look_back)
    for number, inputs in enumerate(one_ahead(chunks), start=1):
        found = detector.score_series(inputs, device=device, chunk_items=chunk_items)
        window = np.maximum(inputs.row_window, 0)
        channels = inputs.row_values.shape[1]
        if found.score.size == 0:
            nothing = np.full((window.size, channels), np.nan, dtype=np.float32)
            yield RowScores(
                inputs=inputs,
                scorable=np.zeros(window.size, bool),
                score=nothing[:, 0],
                p_value=np.full(window.size, np.nan),
                contributions=nothing,
                observed=inputs.row_values,
                expected=nothing,
            )
            continue
        score = found.score[window]
        p_value = np.empty(score.size)
        for code, entity in enumerate(inputs.entities):
            mine = inputs.row_entity == code
            p_value[mine] = detector.p_values(score[mine], entity)
        # A row whose grid point observed nothing has no score: its values were all missing.
        scorable = (inputs.row_window >= 0) & ~np.isnan(score)
        rows = RowScores(
            inputs=inputs,
            scorable=scorable,
            score=score,
            p_value=p_value,
            contributions=found.contributions[window],
            observed=inputs.row_values,
            expected=found.expected[window],
        )
        if meter is not None:
            # Here, where the network has just worked: from the thread that reads the scores it would run
            # beside the next chunk.
            meter.add_rows(rows)
        yield rows
        if number % PORTIONS == 0:
            hand_back()


def score_series_batch(
    detector: Detector,
    config: PipelineConfig,
    intake: Intake,
    folder: Path,
    *,
    device: torch.device,
    progress: Callable[[ScoringProgress], None] | None = None,
    precedents: Sequence[Precedent] = (),
) -> BatchScores:
    """Write `scores.parquet` and `flags.parquet` of the batch into `folder`."""
    schema = described(schemas.SERIES_SCORES, "series", config.channels)
    first_pass = folder / "first-pass.parquet"
    candidates = _Candidates()
    bulk = _Bulk(detector)
    done = scored = 0
    meter = DriftMeter(detector, rows=intake.valid, entities=len(intake.entities), device=device)
    scoring = score_rows(detector, intake, device=device, chunk_items=config.compute.chunk_items, meter=meter)
    with table_writer(first_pass, schema, passing=True) as writer:
        for rows in one_ahead(scoring):
            writer.write_table(_table(rows, detector, schema))
            candidates.add(rows, done, detector.calibration.alpha)
            bulk.add(rows)
            done += rows.scorable.size
            scored += int(rows.scorable.sum())
            if progress is not None:
                progress(ScoringProgress(done, intake.valid))

    found = candidates.found()
    cut = detector.calibration.cut(found.p_value, n_tested=scored, n_above=bulk.above_half)
    severity = partial(detector.calibration.severity, cut=cut)
    row, event, peak = _events(detector.config, found, found.p_value <= cut)
    first = row[np.searchsorted(event, np.arange(peak.size))]
    last = row[np.searchsorted(event, np.arange(peak.size), side="right") - 1]
    points = np.bincount(event, minlength=peak.size)
    facts = rows_at(first_pass, np.unique(np.concatenate([first, peak, last])))
    bands = _bands(detector, {str(facts[p]["entity"]) for p in peak.tolist()}, cut)
    flags = [
        _flag(config, intake.batch, facts[f], facts[p], facts[e], severity, bands)
        | {"points": n, "judged_by": detector.judged_by(facts[p]["entity"])}
        for f, p, e, n in zip(first.tolist(), peak.tolist(), last.tolist(), points.tolist(), strict=True)
    ]
    names = np.array([flag["flag_id"] for flag in flags], dtype=object)
    write_verdicts(first_pass, folder / SCORES_FILE, schema, rows=row, flags=names[event], severity=severity)
    shown = sorted(flags, key=lambda flag: (flag["p_value"], -flag["score"]))
    kept = [flag["flag_id"] for flag in shown[: config.report.max_evidence_flags]]
    chunk = config.compute.chunk_items
    flags = with_causes(flags, detector, intake.rows_path, set(kept), device=device, chunk_items=chunk)
    flags = with_windows(flags, detector, intake.rows_path, kept, device=device, chunk_items=chunk)
    counting, suppressed = write_judged_flags(flags, folder, "series", config, precedents)
    not_scorable = {"no_context": done - scored} if done > scored else {}
    calibration = detector.calibration
    return BatchScores(
        scored=scored,
        not_scorable=not_scorable,
        quarantined={},
        flags=counting,
        exchangeability=bulk.exchangeability(),
        false_flags_range=calibration.count_interval(scored),
        beyond_chance=calibration.beyond_chance(scored, len(flags), row.size),
        suppressed=suppressed,
        drift=meter.result(),
    )


def _table(rows: RowScores, detector: Detector, schema: pa.Schema) -> pa.Table:
    inputs, scorable = rows.inputs, rows.scorable
    hidden = ~scorable
    names = pa.DictionaryArray.from_arrays(
        pa.array(inputs.row_entity), pa.array(inputs.entities, pa.string())
    )
    columns = {
        "entity": names.cast(pa.string()),
        "timestamp": pa.array(inputs.row_time_us).cast(pa.timestamp("us")).cast(schemas.TIME),
        "state": pa.array(np.where(scorable, schemas.SCORED, schemas.NOT_SCORABLE)),
        "reason": pa.array(["no_context"] * scorable.size, mask=scorable),
        "score": pa.array(rows.score, mask=hidden),
        "p_value": pa.array(rows.p_value, mask=hidden),
        "severity": pa.nulls(scorable.size, pa.float32()),
        "flag": pa.nulls(scorable.size, pa.bool_()),
        "flag_id": pa.nulls(scorable.size, pa.string()),
        "channel": pa.array(
            top_channel(rows.contributions, detector.config.channels), pa.string(), mask=hidden
        ),
        "contributions": lists_where(scorable, rows.contributions),
        "observed": lists_where(np.ones_like(scorable), rows.observed),
        "expected": lists_where(scorable, rows.expected),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _events(
    config: PipelineConfig, found: _Found, flagged: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The flagged rows `(F,)`, the event of each `(F,)`, and the row of each event's peak."""
    rule = config.calibration
    event = merge_flagged(
        found.slot[flagged],
        found.entity[flagged],
        merge_gap=rule.merge_gap_points,
        min_points=rule.min_event_points,
        rest_points=rule.rest_points,
    )
    kept = event >= 0
    row, score, event = found.row[flagged][kept], found.score[flagged][kept], event[kept]
    # The first of the highest: a stable sort by falling score within each event.
    order = np.lexsort((-score, event))
    _, first = np.unique(event[order], return_index=True)
    return row, event, row[order[first]]


def _bands(detector: Detector, entities: set[str], cut: float) -> dict[str, NDArray[np.float32]]:
    """Half the width of the expected band of each channel `(C,)`, by entity; NaN where no score is rare
    enough for a flag."""
    assert isinstance(detector.normal, SeriesNormal)
    return {
        entity: detector.normal.tolerance(
            entity, score_at(partial(detector.p_values, entity=entity), cut), detector.config.error
        )
        for entity in entities
    }


def _flag(
    config: PipelineConfig,
    batch: str,
    first: Mapping[str, Any],
    peak: Mapping[str, Any],
    last: Mapping[str, Any],
    severity: Callable[[NDArray[np.float64]], NDArray[np.float32]],
    bands: Mapping[str, NDArray[np.float32]],
) -> dict[str, Any]:
    """A row of `flags.parquet` from the scored rows at an event's beginning, peak and end."""
    contributions, observed, expected = (
        np.array(peak[key], dtype=np.float32) for key in ("contributions", "observed", "expected")
    )
    return {
        "flag_id": flag_id(config.name, batch, peak["entity"], first["timestamp"].isoformat()),
        "pipeline": config.name,
        "batch": batch,
        "entity": peak["entity"],
        "start": first["timestamp"],
        "peak": peak["timestamp"],
        "end": last["timestamp"],
        "score": peak["score"],
        "p_value": peak["p_value"],
        "severity": float(severity(np.array([peak["p_value"]]))[0]),
        "channels": channel_shares(config.channels, contributions, observed, expected, bands[peak["entity"]]),
    }
