from __future__ import annotations

import pytest

from aeflow.config.series_defaults import choose_series, choose_window


def chosen(channels=4, history_rows=600, **given):
    usual = {"cadence_seconds": 60.0, "timed": True, "by_period": False}
    return choose_series(channels, history_rows, int(0.6 * history_rows), **{**usual, **given})


@pytest.mark.parametrize(
    ("cadence", "rows", "points"),
    [
        (3600, 10_000, 24),
        (60, 10_000, 60),
        (1, 10_000, 60),
        (300, 10_000, 96),
        (None, 10_000, 96),
        (3600, 80, 10),
    ],
)
def test_a_window_is_a_cycle_that_fits_the_rows(cadence, rows, points):
    assert choose_window(cadence, rows)[0] == points


def test_several_channels_are_foretold_from_each_other():
    found = chosen()
    assert found.model.family == "autoregression"
    assert (found.scoring.distance, found.scoring.points) == ("mahalanobis", "last")
    assert found.prepare.window_points == 3


def test_one_channel_is_judged_by_the_shape_of_its_windows():
    found = chosen(channels=1, cadence_seconds=3600.0, history_rows=1000)
    assert found.model.family == "kernel_regression"
    assert (found.scoring.distance, found.scoring.points) == ("channels", "window")
    assert found.prepare.window_points == 24
    # A day in the cadence that was made up would be none.
    assert (
        chosen(channels=1, cadence_seconds=3600.0, timed=False, history_rows=1000).prepare.window_points == 75
    )


def test_a_short_history_is_helped_by_the_past_of_the_batch_and_a_long_one_needs_none():
    assert chosen(history_rows=600).scoring.baseline_points == 896
    assert chosen(history_rows=10).scoring.baseline_points == 96
    assert chosen(history_rows=4000).scoring.baseline_points == 0


def test_a_night_does_not_read_more_than_a_week_again():
    assert chosen(history_rows=3000, cadence_seconds=3600.0, by_period=True).scoring.baseline_points == 168
    assert chosen(history_rows=3000, cadence_seconds=3600.0).scoring.baseline_points == 1504


def test_few_rows_are_smoothed_over_fewer_points():
    assert chosen().scoring.smooth_points == 20
    assert chosen(history_rows=100).scoring.smooth_points == 7
    assert chosen(history_rows=3).scoring.smooth_points == 1


def test_faults_of_a_few_rows_count_where_scores_do_not_wander():
    assert chosen(history_rows=4000).scoring.point_weight == 0.33
    assert chosen(history_rows=600).scoring.point_weight == 0.0


def test_rows_that_are_items_are_neither_foretold_nor_smoothed():
    found = chosen(channels=140, items=True)
    assert found.model.family == "kernel_regression"
    assert found.prepare.window_points == 1
    assert (found.scoring.smooth_points, found.scoring.baseline_points) == (1, 0)


@pytest.mark.parametrize("channels", [1, 4])
def test_each_choice_has_its_reason(channels):
    found = chosen(channels=channels)
    sections = {"prepare": found.prepare, "model": found.model, "scoring": found.scoring}
    for key in found.reasons:
        section, name = key.split(".")
        assert hasattr(sections[section], name)
    assert {"model.family", "prepare.window_points", "scoring.baseline_points"} <= set(found.reasons)
