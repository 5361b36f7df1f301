"""Homes with reports, quarantines and verdicts of many small nights, and the same rows as pandas tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path  # noqa: TC003 - a field's type

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from aeflow import schemas
from aeflow.report.promise import make_promise
from aeflow.report.summary import ChecksOutcome, FailedCheck, Grade, Summary
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Verdict, Word, open_verdicts

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
CONFIG = {
    "name": "pumps",
    "source": {"kind": "table", "path": "rows.csv", "time_column": "time", "channels": ["flow", "heat"]},
    "batch": {"by": "period", "period": "day", "time_zone": "UTC"},
    "prepare": {"kind": "series", "window_points": 8},
    "model": {"family": "pca"},
    "calibration": {"false_flags_per_batch": 1},
}


@dataclass(frozen=True)
class Store:
    """The pipeline's file, its paths, and what lies there."""

    config: Path
    paths: Paths
    batches: pd.DataFrame
    flags: pd.DataFrame
    scores: pd.DataFrame
    quarantine: pd.DataFrame
    verdicts: list[Verdict]


def empty_store(folder, home):
    """A pipeline that has published nothing."""
    config = folder / "pumps.yaml"
    config.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    nothing = pd.DataFrame()
    return Store(config, Paths(home, "pumps"), nothing, nothing, nothing, nothing, [])


def write_store(folder, home, nights, *, seed=0):
    """`nights` days of a few rows each; every third flag has a verdict, some have two."""
    random = np.random.default_rng(seed)
    store = empty_store(folder, home)
    batches, flags, scores, aside, said = [], [], [], [], []
    for number in range(1, nights + 1):
        start = FIRST + timedelta(days=number - 1)
        batch = f"{start:%Y-%m-%d}"
        mine = [_flag(random, batch, start, k) for k in range(int(random.poisson(1.5)))]
        rows = _scores(random, start, mine)
        lost = _quarantine(random, batch)
        summary = _summary(random, batch, start, mine, rows, lost)
        _write(store.paths, batch, summary, mine, rows, lost)
        flags += mine
        scores += [row | {"batch": batch} for row in rows]
        aside += lost
        batches.append(summary.model_dump() | {"number": number})
        said += _verdicts(random, mine, start)
    open_verdicts(store.paths).append(said)
    frames = (pd.DataFrame(batches), pd.DataFrame(flags), pd.DataFrame(scores), pd.DataFrame(aside))
    return Store(store.config, store.paths, *frames, said)


def _flag(random, batch, start, number):
    entity = f"pump-{random.integers(0, 12):02d}"
    share = float(random.uniform(0.5, 1))
    first, other = random.permutation(["flow", "heat"]).tolist()
    begin = start + timedelta(minutes=int(random.integers(0, 1_000)))
    return {
        "flag_id": f"{batch}-{number}",
        "pipeline": "pumps",
        "batch": batch,
        "entity": entity,
        "start": begin,
        "peak": begin,
        "end": begin + timedelta(minutes=1),
        "points": 2,
        "score": float(random.gamma(2, 5)),
        "p_value": float(10 ** -random.uniform(3, 9)),
        "severity": float(np.float32(random.uniform(50, 100))),
        "suppressed": bool(random.random() < 0.1),
        "channels": [{"channel": first, "share": share}, {"channel": other, "share": 1 - share}],
    }


def _scores(random, start, flags):
    return [
        {
            "entity": f"pump-{number:02d}",
            "timestamp": start + timedelta(hours=number),
            "state": "scored",
            "score": float(np.float32(random.gamma(2, 1))),
            "p_value": 0.5,
            "severity": 10.0,
            "flag": bool(flags) and number == 0,
            "flag_id": flags[0]["flag_id"] if flags and number == 0 else None,
            "channel": "flow",
            "observed": [1.0, None],
        }
        for number in range(4)
    ]


def _quarantine(random, batch):
    reasons = ("bad_number", "duplicate_timestamp", "out_of_limits")
    return [
        {
            "batch": batch,
            "entity": "",
            "file": "rows.csv",
            "row": int(random.integers(1, 10_000)),
            "reason": str(random.choice(reasons)),
            "rule": "a rule",
            "detail": f"what came {k}",
        }
        for k in range(int(random.integers(0, 3)))
    ]


def _summary(random, batch, start, flags, rows, lost):
    counts = pd.Series([row["reason"] for row in lost], dtype=object).value_counts()
    scores = np.array([row["score"] for row in rows])
    counting = [flag for flag in flags if not flag["suppressed"]]
    version = 1 + (start - FIRST).days // 400
    return Summary(
        pipeline="pumps",
        kind="series",
        batch=batch,
        start=start,
        end=start + timedelta(days=1),
        detector_version=version,
        sentence=f"night {batch}",
        rows_in=len(rows) + len(lost),
        scored=len(rows),
        not_scorable=0,
        quarantined={str(k): int(v) for k, v in sorted(counts.items())},
        not_scorable_by_reason={},
        flags=len(counting),
        suppressed=len(flags) - len(counting),
        flagged_rows=2 * len(counting),
        entities=4,
        flagged_entities=len({flag["entity"] for flag in counting}),
        promise=make_promise(
            "false_flags_per_batch", 1.0, expected_false_flags_per_batch=0.9, kept=bool(random.random() < 0.9)
        ),
        score_quantiles={"min": 0.0, "p50": float(np.median(scores)), "p99": 9.0, "max": float(scores.max())},
        grades=(Grade(channel="flow", grade="HIGH"), Grade(channel="heat", grade="LOW")),
        checks=ChecksOutcome(passed=3, failed=(FailedCheck(name="null share"),)),
    )


def _write(paths, batch, summary, flags, rows, lost):
    folder = paths.report(batch)
    folder.mkdir(parents=True)
    summary.write(folder / "summary.json")
    pq.write_table(pa.Table.from_pylist(flags, schema=schemas.FLAGS), folder / "flags.parquet")
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.SERIES_SCORES), folder / "scores.parquet")
    paths.quarantine(batch).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(lost, schema=schemas.QUARANTINE), paths.quarantine(batch))


def _verdicts(random, flags, start):
    said = []
    for flag in flags:
        for reviewer in ("ann", "bob")[: int(random.integers(0, 3))]:
            word = Word(str(random.choice(["true", "false", "unsure", "true"])))
            at = start + timedelta(days=1, minutes=int(random.integers(0, 500)))
            said.append(Verdict(flag["flag_id"], flag["batch"], word, reviewer, at, "a note", 1))
    return said
