from __future__ import annotations

import numpy as np
import pytest

from benchmarks import normal_data
from benchmarks.promise import row_of, table
from benchmarks.promise_trials import (
    BATCHES,
    FLAGGED_SHARE,
    FLAGS_PER_BATCH,
    Judged,
    Repetition,
    series_repetition,
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
