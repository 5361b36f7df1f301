"""A small plant whose channels follow one load, for tests of drift, calibration and promotion."""

from __future__ import annotations

import numpy as np

from aeflow.config import PipelineConfig

CHANNELS = ("flow", "pressure", "heat", "load")
ROWS = 144
"""Of a day."""


def machine(generator, days):
    """Four channels that follow one load, `(days * ROWS, 4)`."""
    load = np.sin(np.arange(days * ROWS) * 2 * np.pi / ROWS) + generator.normal(0, 0.3, days * ROWS)
    return np.stack([load * s + generator.normal(0, 0.1, load.size) for s in (1, 2, 0.5, 3)], axis=1)


def write_rows(file, machines, skip=0):
    """Machines by name, `(L, 4)` each, ten minutes a row from 2026-01-01 on; the first `skip` days of a machine
    named "new" are left out."""
    lines = ["time,machine," + ",".join(CHANNELS)]
    for name, values in machines.items():
        for row, reading in enumerate(values):
            day, step = divmod(row, ROWS)
            if name == "new" and day < skip:
                continue
            minutes = step * 10
            time = f"2026-01-{day + 1:02d}T{minutes // 60:02d}:{minutes % 60:02d}:00"
            lines.append(f"{time},{name}," + ",".join(f"{v:.4f}" for v in reading))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def pipeline(folder, *, last, model=None, **sections):
    """The pipeline over the rows in `folder`, learning up to the day `last`."""
    return PipelineConfig.model_validate(
        {
            "name": "plant",
            "source": {
                "kind": "table",
                "path": "data.csv",
                "time_column": "time",
                "entity_column": "machine",
                "channels": CHANNELS,
            },
            "batch": {"by": "period"},
            "history": {"last": f"2026-01-{last:02d}"},
            "prepare": {"kind": "series", "cadence_seconds": 600, "window_points": 6},
            "model": model or {"family": "pca"},
            "calibration": {"false_flags_per_batch": 1},
            **sections,
        }
    ).at(folder)
