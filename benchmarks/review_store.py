"""A store of made-up reports, as large as one likes: what the review app is measured and tested on.

Every entity has the same rhythm; its flags are spikes in one channel, the same few kinds again and again, as
machines do. Nothing is trained or scored.

Legend: E entities, P points of a night, C channels, F flags of a night.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow import schemas
from aeflow.report.promise import make_promise
from aeflow.report.receipt import RECEIPT_FILE, Receipt, installed_versions
from aeflow.report.stored import FLAGS_FILE, SCORES_FILE
from aeflow.report.summary import SUMMARY_FILE, Summary
from aeflow.scoring.judged import described
from aeflow.store.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_FIRST_NIGHT = datetime(2024, 1, 1, tzinfo=UTC)
_POINTS = 240  # P: every six minutes
_STEP = timedelta(minutes=6)
_NIGHTS_A_VERSION = 90
_CONFIG = """\
name: {name}
source: {{kind: table, path: data/*.csv, time_column: time, entity_column: machine, channels: {channels}}}
batch: {{by: period, period: day}}
prepare: {{kind: series, cadence_seconds: 360, window_points: 8}}
model: {{family: pca}}
calibration: {{false_flags_per_batch: 3.0, items_per_batch: 4800.0}}
"""


@dataclass(frozen=True)
class MadeUp:
    """What is written. Names may be anything: they come from other people's data."""

    nights: int
    flags_a_night: int
    entities: tuple[str, ...] = tuple(f"pump-{n:02d}" for n in range(20))
    channels: tuple[str, ...] = (
        "pressure",
        "flow",
        "current",
        "vibration",
        "oil",
        "inlet",
        "outlet",
        "speed",
    )
    name: str = "pumps"
    seed: int = 0


def write_store(folder: Path, what: MadeUp) -> Path:
    """Write `folder/configs/<name>.yaml` and the reports under `folder/.aeflow`; returns the config's path."""
    config = folder / "configs" / f"{what.name}.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(_CONFIG.format(name=what.name, channels=json.dumps(what.channels)), encoding="utf-8")
    paths = Paths(folder / ".aeflow", what.name)
    for night in range(what.nights):
        write_night(paths, what, night)
    return config


def write_night(paths: Paths, what: MadeUp, night: int) -> Path:
    """Write one report; returns its folder."""
    begin = _FIRST_NIGHT + timedelta(days=night)
    batch = begin.date().isoformat()
    version = 1 + night // _NIGHTS_A_VERSION
    random = np.random.default_rng([what.seed, night])
    folder = paths.report(batch)
    folder.mkdir(parents=True)
    E, C = len(what.entities), len(what.channels)
    phase = np.arange(_POINTS) * 2 * np.pi / _POINTS
    expected = 20 + 5 * np.sin(phase[None, :, None] + np.arange(C)) + np.arange(E)[:, None, None]
    observed = expected + random.normal(0, 0.4, (E, _POINTS, C))
    spikes = _spikes(random, what, E, C)
    observed[tuple(spikes[:3])] += spikes[3]
    contributions = (observed - expected) ** 2 / C
    score = contributions.sum(axis=2)
    flags = _flags(paths.pipeline, batch, what, begin, spikes, observed, expected, contributions)
    _write_scores(folder, what, begin, observed, expected, contributions, score, flags)
    schema = described(schemas.FLAGS, "series", what.channels)
    ordered = sorted(flags, key=lambda flag: (-flag["severity"], flag["p_value"]))
    pq.write_table(pa.Table.from_pylist(ordered, schema=schema), folder / FLAGS_FILE)
    rows = E * _POINTS
    Summary(
        pipeline=paths.pipeline,
        kind="series",
        batch=batch,
        start=begin,
        end=begin + timedelta(days=1),
        detector_version=version,
        sentence=f"{len(flags)} events among {rows:,} points look abnormal.",
        rows_in=rows,
        scored=rows,
        not_scorable=0,
        quarantined={},
        not_scorable_by_reason={},
        flags=len(flags),
        flagged_rows=len(flags),
        entities=E,
        flagged_entities=len({flag["entity"] for flag in flags}),
        promise=make_promise("false_flags_per_batch", 3.0),
        score_quantiles={},
    ).write(folder / SUMMARY_FILE)
    Receipt(
        pipeline=paths.pipeline,
        batch=batch,
        detector_version=version,
        seed=what.seed,
        device="cpu",
        input_digest="",
        config_digest="",
        detector_digest="",
        calibration_digest="",
        files={},
        versions=installed_versions(),
    ).write(folder / RECEIPT_FILE)
    return folder


def _spikes(
    random: np.random.Generator, what: MadeUp, E: int, C: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Entity, point and channel of each spike `(F,)`, no two at one place, and its height."""
    most = E * (_POINTS // 4)
    at = np.sort(random.choice(most, size=min(what.flags_a_night, most), replace=False))
    entity, point = at // (_POINTS // 4), at % (_POINTS // 4) * 4 + 1
    # A machine has its own weak channel most of the time.
    channel = np.where(random.random(at.size) < 0.7, entity % C, random.integers(0, C, at.size))
    return entity, point, channel, random.choice([-1, 1], at.size) * random.uniform(3, 12, at.size)


def _flags(
    pipeline: str,
    batch: str,
    what: MadeUp,
    begin: datetime,
    spikes: Sequence[NDArray[np.int64]],
    observed: NDArray[np.float64],
    expected: NDArray[np.float64],
    contributions: NDArray[np.float64],
) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for e, p, height in zip(spikes[0].tolist(), spikes[1].tolist(), spikes[3].tolist(), strict=True):
        time = begin + p * _STEP
        parts = contributions[e, p]
        severity = min(45 + 5 * abs(height), 100.0)
        shares = [
            {
                "channel": what.channels[c],
                "share": parts[c] / parts.sum(),
                "contribution": parts[c],
                "observed": observed[e, p, c],
                "expected": expected[e, p, c],
            }
            for c in np.argsort(-parts).tolist()
        ]
        name = f"{pipeline}\n{batch}\n{what.entities[e]}\n{time.isoformat()}"
        found.append(
            {
                "flag_id": hashlib.sha256(name.encode()).hexdigest()[:16],
                "pipeline": pipeline,
                "batch": batch,
                "entity": what.entities[e],
                "start": time,
                "peak": time,
                "end": time,
                "points": 1,
                "score": parts.sum(),
                "p_value": float(10 ** (-3 * severity / 50)),
                "severity": severity,
                "channels": shares,
            }
        )
    return found


def _write_scores(
    folder: Path,
    what: MadeUp,
    begin: datetime,
    observed: NDArray[np.float64],
    expected: NDArray[np.float64],
    contributions: NDArray[np.float64],
    score: NDArray[np.float64],
    flags: list[dict[str, object]],
) -> None:
    E, P, C = observed.shape
    flag_of = {(flag["entity"], flag["start"]): (flag["flag_id"], flag["severity"]) for flag in flags}
    times = [begin + p * _STEP for p in range(P)]
    found = [flag_of.get((entity, time), (None, 0)) for entity in what.entities for time in times]
    names = [name for name, _ in found]
    severity = np.maximum(np.minimum(score.ravel() * 5, 45), [height for _, height in found])

    def lists(values: NDArray[np.float64]) -> pa.Array:
        flat = pa.array(values.astype(np.float32).ravel())
        return pa.ListArray.from_arrays(pa.array(np.arange(0, E * P * C + 1, C, dtype=np.int32)), flat)

    top = contributions.argmax(axis=2).ravel()
    columns = {
        "entity": pa.array([entity for entity in what.entities for _ in range(P)]),
        "timestamp": pa.array(times * E, schemas.TIME),
        "state": pa.array(["scored"] * (E * P)),
        "reason": pa.nulls(E * P, pa.string()),
        "score": pa.array(score.ravel().astype(np.float32)),
        "p_value": pa.array(np.exp(-score.ravel())),
        "severity": pa.array(severity.astype(np.float32)),
        "flag": pa.array([name is not None for name in names]),
        "flag_id": pa.array(names, pa.string()),
        "channel": pa.array([what.channels[c] for c in top.tolist()]),
        "contributions": lists(contributions),
        "observed": lists(observed),
        "expected": lists(expected),
    }
    schema = described(schemas.SERIES_SCORES, "series", what.channels)
    pq.write_table(pa.table([columns[n] for n in schema.names], schema=schema), folder / SCORES_FILE)
