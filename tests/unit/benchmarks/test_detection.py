from __future__ import annotations

import csv
import json

import pandas as pd
import pytest

from benchmarks.cells import Cell, Found
from benchmarks.detection import PARTS, summarise
from benchmarks.goals import Goal, judged
from benchmarks.nab_score import nab_figures
from benchmarks.pipelines import labels_where, shipped


def found(seed, **figures):
    return Found(Cell("series", "SKAB", "", "", "", seed, 1.0, ""), figures, 1.0)


def test_a_row_tells_mean_and_deviation_of_a_method_and_whether_its_goal_is_met():
    rows = summarise(
        [
            found(0, **{"rest: detector: f1": 0.8, "rest: baseline: f1": 0.7, "seconds": 3.0}),
            found(1, **{"rest: detector: f1": 0.9, "rest: baseline: f1": 0.7, "seconds": 5.0}),
        ]
    )
    mine = {(row["task"], row["method"], row["figure"]): row for row in rows}
    detector = mine["rest", "detector", "f1"]
    assert detector["mean"] == pytest.approx(0.85)
    assert detector["deviation"] == pytest.approx(0.0707, abs=1e-4)
    assert (detector["goal"], detector["met"]) == ("0.84 or more", True)
    assert mine["rest", "baseline", "f1"]["met"] is None
    assert mine["", "detector", "seconds"]["mean"] == 4


def test_a_value_that_misses_its_goal_says_so():
    assert judged(0.2, Goal(at_most=0.18)) == {"goal": "0.18 or less", "met": False}
    assert judged(0.2, Goal(at_least=0.18))["met"] is True


def test_no_cell_is_there_twice():
    cells = [cell for part in PARTS.values() for seed in range(2) for cell in part.cells(seed)]
    assert len(cells) == len(set(cells))


def test_a_changed_pipeline_is_another_cell(monkeypatch):
    before = next(iter(PARTS["series"].cells(0)))
    other = shipped("skab", seed=0, calibration={"merge_gap_points": 9})
    monkeypatch.setattr("benchmarks.detection_series.shipped", lambda *_, **__: other)
    assert next(iter(PARTS["series"].cells(0))).setting != before.setting


def test_the_seed_is_not_part_of_a_setting():
    settings = [next(iter(PARTS["series"].cells(seed))).setting for seed in range(2)]
    assert settings[0] == settings[1]
    assert "seed" not in json.loads(settings[0])


def test_labels_are_kept_where_a_column_is_wanted(tmp_path):
    (tmp_path / "all.csv").write_text("entity,label\na,1\nb,0\na,0\n", encoding="utf-8")
    path = labels_where(tmp_path / "all.csv", "entity", "a".__eq__, tmp_path / "some.csv")
    with path.open(encoding="utf-8", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["1", "0"]


def test_the_nab_score_of_a_half_is_by_the_threshold_of_the_other(tmp_path):
    times = [f"2026-01-01 00:0{minute}:00" for minute in range(6)]
    labels, scores = {}, {}
    for part, of_window in (("chosen on", 5.0), ("rest", 3.0)):
        labels[part] = tmp_path / f"{part}.csv"
        rows = [f"{time},m,{int(minute in (3, 4))}" for minute, time in enumerate(times)]
        labels[part].write_text("\n".join(["timestamp,entity,label", *rows]) + "\n", encoding="utf-8")
        scores[part] = tmp_path / f"{part}.parquet"
        found = [1.0, 1.0, 1.0, of_window, of_window, None]
        table = {
            "detector": ["detector 1 (pca)"] * 6 + ["linear baseline"] * 6,
            "entity": ["m"] * 12,
            "timestamp": pd.to_datetime(times * 2, utc=True),
            "score": found + [0.0] * 6,
        }
        pd.DataFrame(table).to_parquet(scores[part])
    figures = nab_figures(labels, scores, rest_rows=2)
    assert figures["chosen on: detector: nab_score"] == pytest.approx(100)
    # The threshold of 5 flags nothing there.
    assert figures["rest: detector: nab_score"] == 0
    # Where all score alike flagging everything is best, and the same for both.
    assert figures["rest: baseline: nab_score"] == figures["chosen on: baseline: nab_score"] > 0
