"""One pass over `scores.parquet`: everything the summary and the overview need, in fixed memory."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aeflow import schemas
from aeflow.exceptions import IntegrityError
from aeflow.report.quantiles import ScoreCounts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SEVERITY_BINS = 50
"""Bins of two units each: the cut, 50, lies on an edge."""
_ROWS_AT_ONCE = 65_536
_QUANTILES = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True, eq=False)
class Survey:
    """What the scores of a batch say together.

    kind and channels: from the file's metadata.
    scored: rows with a score; not_scorable: reason code -> rows without one, sorted.
    flagged: scored rows that belong to a flag.
    entities: distinct entities of all rows; 0 for images.
    quantiles: of the scores: min, p50, p90, p99, p99.9, max; empty without any score.
    severities: `(50,)` int64, scored rows with a severity of 0..2, 2..4, ..., 98..100.
    cut_p_value: the p-value whose severity is 50, as the rows tell; None where none does.
    """

    kind: Literal["images", "series"]
    channels: tuple[str, ...]
    scored: int
    not_scorable: Mapping[str, int]
    flagged: int
    entities: int
    quantiles: Mapping[str, float]
    severities: NDArray[np.int64]
    cut_p_value: float | None


def described_by(path: Path) -> tuple[Literal["images", "series"], tuple[str, ...]]:
    """Kind and names of the channels of a scores or flags file.

    Raises:
        IntegrityError: the file does not say it.
    """
    metadata = pq.read_schema(path).metadata or {}
    kind = metadata.get(b"aeflow.kind", b"").decode()
    channels = metadata.get(b"aeflow.channels")
    if kind not in {"images", "series"} or channels is None:
        msg = (
            f"{path} does not say its kind and channels (aeflow.kind, aeflow.channels); score the batch again"
        )
        raise IntegrityError(msg)
    return cast("Literal['images', 'series']", kind), tuple(json.loads(channels))


def survey_scores(path: Path) -> Survey:
    """Look through the scores of a batch once.

    Raises:
        IntegrityError: a row is neither scored nor not scorable, or the file is not described.
    """
    kind, channels = described_by(path)
    columns = ["state", "reason", "score", "p_value", "severity", "flag"]
    columns += ["entity"] if kind == "series" else []
    scores = ScoreCounts()
    reasons: Counter[str] = Counter()
    entities: set[str] = set()
    severities = np.zeros(SEVERITY_BINS, dtype=np.int64)
    flagged = 0
    cut = _Cut()
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
            has_score = pc.equal(batch.column("state"), schemas.SCORED)
            with_score = batch.filter(has_score)
            reasons.update(_reasons(batch.filter(pc.invert(has_score)), path))
            scores.feed(_numbers(with_score, "score"))
            severity = _numbers(with_score, "severity")
            severities += _binned(severity)
            cut.feed(severity, _numbers(with_score, "p_value"))
            flagged += pc.sum(with_score.column("flag"), min_count=0).as_py()
            if kind == "series":
                entities.update(batch.column("entity").unique().to_pylist())
    return Survey(
        kind=kind,
        channels=channels,
        scored=scores.n,
        not_scorable=dict(sorted(reasons.items())),
        flagged=flagged,
        entities=len(entities),
        quantiles=_quantiles(scores),
        severities=severities,
        cut_p_value=cut.p_value,
    )


def _reasons(rows: pa.RecordBatch, path: Path) -> list[str]:
    other = set(rows.column("state").unique().to_pylist()) - {schemas.NOT_SCORABLE}
    if other:
        msg = f"{path} has rows in the states {sorted(map(str, other))}, which are neither scored nor not_scorable"
        raise IntegrityError(msg)
    return [str(reason) for reason in rows.column("reason").to_pylist()]


def _numbers(rows: pa.RecordBatch, column: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = rows.column(column).to_numpy(zero_copy_only=False)
    return values


def _binned(severity: NDArray[np.float64]) -> NDArray[np.int64]:
    known = severity[~np.isnan(severity)]
    place = np.clip(np.floor(known / (100 / SEVERITY_BINS)), 0, SEVERITY_BINS - 1).astype(np.int64)
    return np.bincount(place, minlength=SEVERITY_BINS).astype(np.int64)


def _quantiles(scores: ScoreCounts) -> dict[str, float]:
    if scores.n == 0:
        return {}
    between = {f"p{100 * q:g}": scores.quantile(q) for q in _QUANTILES}
    return {"min": scores.minimum, **between, "max": scores.maximum}


class _Cut:
    """The p-value at the cut, by `severity = 50 log(p) / log(cut)`: taken from the row with the highest
    severity that was not limited to 100."""

    def __init__(self) -> None:
        self._severity = 0.0
        self.p_value: float | None = None

    def feed(self, severity: NDArray[np.float64], p_value: NDArray[np.float64]) -> None:
        usable = np.where((severity < 100) & (p_value < 1), severity, 0.0)
        if usable.size and (highest := float(np.max(usable))) > max(self._severity, 1.0):
            self._severity = highest
            row = int(np.argmax(usable))
            self.p_value = float(np.exp(np.log(p_value[row]) * 50 / severity[row]))
