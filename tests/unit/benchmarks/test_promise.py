from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import normal_data, promise, promise_trials
from benchmarks.promise import row_of, table
from benchmarks.promise_trials import (
    BATCHES,
    FLAGGED_SHARE,
    FLAGS_PER_BATCH,
    Judged,
    Repetition,
    network_repetition,
    series_repetition,
    shipped_tile_repetition,
    tile_repetition,
)


def judged(came=2, *, beyond=False, moved=False):
    return Judged(100, 2.0, 2.0, 1, 5, came, came / 100, beyond, moved)


@pytest.mark.parametrize(
    ("one", "outcome"),
    [
        (judged(2), "kept"),
        (judged(2, moved=True), "kept"),
        (judged(0), "below"),
        (judged(3, beyond=True), "kept"),
        (judged(9, beyond=True), "silent"),
        (judged(9, beyond=True, moved=True), "told"),
    ],
)
def test_an_outcome_tells_what_the_report_would_have_said(one, outcome):
    assert one.outcome == outcome


def test_a_row_counts_repetitions_by_outcome():
    found = [
        Repetition(one, (one,))
        for one in (judged(2), judged(0), judged(9, beyond=True), judged(5, moved=True))
    ]
    row = row_of("tiles", "conformal", found)
    assert (row.kept, row.below, row.silent, row.told, row.doubted) == (0.5, 0.25, 0.25, 0.0, 0.25)
    assert row.held == 0.5
    assert row.came_low < row.came == 4 < row.came_high
    assert "| tiles | conformal | 2.00 of 100 | 4.00" in table([row])


def test_a_repetition_judges_later_time_as_a_pipeline_would_and_the_same_by_its_seed():
    one = series_repetition(3, data="water flow", rule="peaks_over_threshold")
    assert one == series_repetition(3, data="water flow", rule="peaks_over_threshold")
    assert len(one.batches) == BATCHES
    assert one.whole.items == sum(batch.items for batch in one.batches)
    assert one.whole.promised == pytest.approx(BATCHES * FLAGS_PER_BATCH)
    assert one.whole.low <= one.whole.expected <= one.whole.high


def test_a_repetition_of_images_judges_whole_groups_that_nothing_was_learnt_of(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 255, (200, 1, 8, 8), dtype=np.uint8)
    groups = tuple(str(number // 5) for number in range(200))
    monkeypatch.setattr(normal_data, "tiles", lambda _: (pixels, groups))
    one = tile_repetition(1, rule="conformal").whole
    assert one.items == 50
    assert one.promised == pytest.approx(FLAGGED_SHARE * 50)
    assert one.outcome in {"kept", "below"}


def test_a_shipped_pipeline_is_judged_with_its_own_scores():
    one = series_repetition(3, data="water flow", rule="peaks_over_threshold", shipped="smd")
    other = series_repetition(3, data="water flow", rule="peaks_over_threshold")
    assert one.whole.items == other.whole.items
    assert one.whole.promised == other.whole.promised
    assert one != other


def test_of_a_detector_fitted_once_each_repetition_draws_other_tiles_that_calibrate(monkeypatch):
    score = np.random.default_rng(0).exponential(size=300).astype(np.float32)
    groups = np.repeat([str(number) for number in range(60)], 5)
    monkeypatch.setattr(promise_trials, "_tile_scores", lambda: (score, groups))
    found = [shipped_tile_repetition(seed, rule="peaks_over_threshold").whole for seed in range(20)]
    assert {one.items for one in found} == {150}
    assert found[0].promised == pytest.approx(FLAGGED_SHARE * 150)
    assert len({one.came for one in found}) > 3
    assert np.mean([one.outcome == "kept" for one in found]) > 0.8


def test_of_a_network_trained_once_later_time_is_judged_in_batches(monkeypatch):
    score = np.random.default_rng(0).exponential(size=6000).astype(np.float32)
    monkeypatch.setattr(promise_trials, "_network_scores", lambda: (score, np.arange(6000)))
    found = [network_repetition(seed, rule="peaks_over_threshold") for seed in range(10)]
    for one in found:
        assert len(one.batches) == BATCHES
        assert one.whole.items == sum(batch.items for batch in one.batches) == 1200
        assert one.whole.promised == pytest.approx(BATCHES * FLAGS_PER_BATCH)
    assert np.mean([one.whole.outcome == "kept" for one in found]) > 0.7


def test_rows_of_other_trials_stay_where_some_are_measured_anew(monkeypatch, tmp_path):
    monkeypatch.setattr(promise, "RESULTS", tmp_path / "promise.json")
    many, few = ([Repetition(judged(came), ())] * 2 for came in (3, 2))
    promise._keep([row_of("SMD", "conformal", many), row_of("magnetic tiles", "conformal", many)])
    promise._keep([row_of("SMD", "conformal", few)])
    stored = json.loads((tmp_path / "promise.json").read_text(encoding="utf-8"))
    assert [(row["trial"], row["came"]) for row in stored] == [("magnetic tiles", 3.0), ("SMD", 2.0)]
