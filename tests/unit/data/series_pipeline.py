"""A small series pipeline for tests, and what an intake of it staged."""

from __future__ import annotations

import pyarrow.parquet as pq

from aeflow.config import PipelineConfig


def series_pipeline(
    folder, *, source=None, batch=None, prepare=None, limits=None, history=None, **table
) -> PipelineConfig:
    if source is None:
        source = {"kind": "table", "path": "data", "time_column": "time", "channels": ["a", "b"], **table}
    return PipelineConfig.model_validate(
        {
            "name": "readings",
            "source": source,
            "batch": batch or {"by": "source"},
            "prepare": {"kind": "series", **(prepare or {})},
            "checks": {"limits": limits or {}},
            "history": history or {},
            "model": {"family": "pca"},
            "calibration": {"false_flags_per_batch": 1},
        }
    ).at(folder)


def write(folder, name, text):
    path = folder / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(intake):
    return pq.read_table(intake.rows_path).to_pylist()


def quarantine(intake):
    return pq.read_table(intake.quarantine_path).to_pylist()
