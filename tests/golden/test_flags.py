"""Flags of a real series with their evidence, which no change may alter unnoticed.

`python -m tests.golden.test_flags` writes the file anew; say in the commit why the flags changed.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from aeflow.config import PipelineConfig
from aeflow.data.take_in import take_in, take_in_training
from aeflow.detector.fitting import fit, prepare
from aeflow.scoring import FLAGS_FILE, score_batch

GOLDEN = Path(__file__).with_name("flags_2022-W17.json")
CONFIG = {
    "name": "water",
    "source": {"kind": "table", "path": "flow.csv", "time_column": "time", "channels": ["flow", "change"]},
    "batch": {"by": "period", "period": "week", "time_zone": "Europe/Rome"},
    "history": {"first": "2022-W14", "last": "2022-W16"},
    "prepare": {"kind": "series", "cadence_seconds": 3600, "window_points": 3, "scale": "deviation"},
    "model": {"family": "autoregression"},
    "scoring": {"distance": "mahalanobis", "smooth_points": 6, "point_weight": 0.33},
    "calibration": {"false_flags_per_batch": 3},
}
_EXACT = ("flag_id", "entity", "start", "peak", "end", "points", "judged_by", "suppressed")
_NUMBERS = ("score", "p_value", "severity")
_OF_CHANNELS = ("share", "contribution", "observed", "expected", "tolerance")


def flags(folder: Path) -> list[dict]:
    """The flags of one week by a linear detector, which has no random part."""
    from river.datasets import WaterFlow

    rows = [(row["Time"], value) for row, value in WaterFlow()]
    change = np.gradient([value for _, value in rows])
    with (folder / "flow.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "flow", "change"])
        writer.writerows(
            (f"{at:%Y-%m-%dT%H:%M:%S}", v, f"{c:.6g}") for (at, v), c in zip(rows, change, strict=True)
        )
    config = PipelineConfig.model_validate(CONFIG).at(folder)
    intake = take_in_training(config, folder / "history")
    device = torch.device("cpu")
    learnt = prepare(config, intake, batches=["2022-W14"])
    detector = fit(config, config.model, learnt, device=device).detector
    staged = take_in(config, "2022-W17", folder / "week", context=detector.context)
    (folder / "report").mkdir()
    score_batch(detector, config, staged, folder / "report", device=device)
    return pq.read_table(folder / "report" / FLAGS_FILE).to_pylist()


def of_golden(flag: dict) -> dict:
    """What of a flag is kept."""
    exact = {name: str(flag[name]) for name in _EXACT}
    numbers = {name: float(f"{flag[name]:.6g}") for name in _NUMBERS}
    channels = [
        {"channel": part["channel"], **{name: float(f"{part[name]:.6g}") for name in _OF_CHANNELS}}
        for part in flag["channels"]
    ]
    return exact | numbers | {"channels": channels}


def test_the_flags_and_their_evidence_are_those_of_before(tmp_path):
    golden, now = json.loads(GOLDEN.read_text()), [of_golden(flag) for flag in flags(tmp_path)]
    assert len(now) == len(golden) >= 2
    for one, before in zip(now, golden, strict=True):
        assert {name: one[name] for name in _EXACT} == {name: before[name] for name in _EXACT}
        # Other processors round differently; a change of the arithmetic shows far above this.
        for name in _NUMBERS:
            assert one[name] == pytest.approx(before[name], rel=2e-3), name
        assert [part["channel"] for part in one["channels"]] == [p["channel"] for p in before["channels"]]
        for part, was in zip(one["channels"], before["channels"], strict=True):
            for name in _OF_CHANNELS:
                assert part[name] == pytest.approx(was[name], rel=2e-3, abs=1e-4), (part["channel"], name)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        kept = [of_golden(flag) for flag in flags(Path(temporary))]
        GOLDEN.write_text(json.dumps(kept, indent=1) + "\n")
    sys.exit(0)
