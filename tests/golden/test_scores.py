"""Scores of a real series that no change may alter unnoticed.

`python -m tests.golden.test_scores` writes the file anew; say in the commit why the scores changed.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from aeflow.config import BASELINE, PipelineConfig
from aeflow.data.take_in import take_in, take_in_training
from aeflow.detector.fitting import fit, prepare
from aeflow.scoring.series import score_rows

GOLDEN = Path(__file__).with_name("water_flow_2022-W17.json")
CONFIG = {
    "name": "water",
    "source": {"kind": "table", "path": "flow.csv", "time_column": "Time", "channels": ["Water flow [l/s]"]},
    "batch": {"by": "period", "period": "week", "time_zone": "Europe/Rome"},
    "history": {"first": "2022-W14", "last": "2022-W16"},
    "prepare": {"kind": "series", "cadence_seconds": 3600, "window_points": 24},
    "model": {"family": "pca"},
    "calibration": {"false_flags_per_batch": 1},
}


def scores(folder: Path) -> dict[str, list[float]]:
    """Every eighth row of one week: score, p-value and expectation by the linear detector, which has no
    random part."""
    from river.datasets import WaterFlow

    shutil.copyfile(WaterFlow().path, folder / "flow.csv")
    config = PipelineConfig.model_validate(CONFIG).at(folder)
    intake = take_in_training(config, folder / "history")
    detector = fit(
        config, BASELINE, prepare(config, intake, batches=["2022-W14"]), device=torch.device("cpu")
    ).detector
    staged = take_in(config, "2022-W17", folder / "week", context=detector.context)
    (rows,) = score_rows(detector, staged, device=torch.device("cpu"), chunk_items=512)
    some = slice(None, None, 8)
    return {
        "score": rows.score[some].tolist(),
        "p_value": rows.p_value[some].tolist(),
        "expected": rows.expected[some, 0].tolist(),
    }


def test_the_scores_are_those_of_before(tmp_path):
    golden = json.loads(GOLDEN.read_text())
    now = scores(tmp_path)
    for name, before in golden.items():
        # Other processors round differently; a change of the arithmetic shows far above this.
        np.testing.assert_allclose(now[name], before, rtol=2e-3, atol=1e-6, err_msg=name)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        rounded = {k: [float(f"{v:.6g}") for v in values] for k, values in scores(Path(temporary)).items()}
        GOLDEN.write_text(json.dumps(rounded, indent=1) + "\n")
    sys.exit(0)
