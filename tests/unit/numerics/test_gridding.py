"""Rows on a regular grid: what is observed, what is bridged, where a segment ends."""

from __future__ import annotations

import numpy as np
import pytest

from aeflow.numerics.gridding import Cadence, learn_cadence, place_on_grid

SECOND = 1_000_000


def column(*values):
    return np.array(values, dtype=np.float64)[:, None]


def test_a_row_goes_to_the_nearest_point_of_its_own_phase():
    cadence = Cadence(60 * SECOND, 30 * SECOND)
    times = np.array([30, 89, 91, 150], dtype=np.int64) * SECOND
    assert cadence.slots(times, "nearest").tolist() == [0, 1, 1, 2]


def test_nearest_turns_over_half_way_between_two_points():
    times = np.array([4, 5, 14, 15], dtype=np.int64)
    assert Cadence(10).slots(times, "nearest").tolist() == [0, 1, 1, 2]


def test_the_mean_takes_the_step_that_holds_the_row():
    cadence = Cadence(60 * SECOND, 30 * SECOND)
    times = np.array([0, 59, 60, 119], dtype=np.int64) * SECOND
    assert cadence.slots(times, "mean").tolist() == [0, 0, 1, 1]


def test_cadence_and_phase_are_learnt_through_jitter():
    rng = np.random.default_rng(0)
    times = (np.arange(500) * 60 + 59.5 + rng.normal(0, 0.5, 500)) * SECOND
    cadence = learn_cadence(times.astype(np.int64))
    assert cadence is not None
    assert abs(cadence.step_us - 60 * SECOND) < SECOND
    slots = Cadence(60 * SECOND, learn_cadence(times.astype(np.int64), step_us=60 * SECOND).phase_us).slots(
        times.astype(np.int64), "nearest"
    )
    assert np.diff(slots).tolist() == [1] * 499


def test_one_row_has_no_cadence():
    assert learn_cadence(np.array([5], dtype=np.int64)) is None


def test_a_short_gap_is_bridged_by_the_last_value_and_marked_unobserved():
    grid = place_on_grid(np.array([0, 1, 4]), column(1, 2, 5), max_gap=2, resample="nearest")
    assert grid.values[:, 0].tolist() == [1, 2, 2, 2, 5]
    assert grid.observed[:, 0].tolist() == [True, True, False, False, True]
    assert grid.slot.tolist() == [0, 1, 2, 3, 4]
    assert grid.segment_start.tolist() == [0] * 5


def test_a_long_gap_ends_the_segment_and_no_window_crosses_it():
    grid = place_on_grid(np.array([0, 1, 2, 6, 7, 8]), column(*range(6)), max_gap=2, resample="nearest")
    assert grid.slot.tolist() == [0, 1, 2, 6, 7, 8]
    assert grid.segment_start.tolist() == [0, 0, 0, 3, 3, 3]
    assert grid.has_window(3).tolist() == [False, False, True, False, False, True]


def test_a_value_is_never_held_beyond_the_gap_or_into_another_segment():
    values = np.array([[1.0, 7.0], [np.nan, 7.0], [np.nan, 7.0], [np.nan, 7.0]])
    grid = place_on_grid(np.arange(4), values, max_gap=2, resample="nearest")
    np.testing.assert_array_equal(grid.values[:, 0], [1, 1, 1, np.nan])
    apart = place_on_grid(np.array([0, 9]), np.array([[1.0], [np.nan]]), max_gap=2, resample="nearest")
    assert np.isnan(apart.values[1, 0])


@pytest.mark.parametrize(("resample", "expected"), [("nearest", [1, 3]), ("mean", [1.5, 4])])
def test_several_rows_of_a_point_are_first_or_mean(resample, expected):
    grid = place_on_grid(np.array([0, 0, 1, 1]), column(1, 2, 3, 5), max_gap=0, resample=resample)
    assert grid.values[:, 0].tolist() == expected
    assert grid.point_of_row.tolist() == [0, 0, 1, 1]


def test_a_mean_leaves_missing_values_out():
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [4.0, 2.0]])
    grid = place_on_grid(np.array([0, 0, 1]), values, max_gap=0, resample="mean")
    np.testing.assert_array_equal(grid.observed, [[True, False], [True, True]])
    assert grid.values[0, 0] == 1


def test_no_rows_give_an_empty_grid():
    grid = place_on_grid(np.empty(0, np.int64), np.empty((0, 3)), max_gap=1, resample="nearest")
    assert grid.values.shape == (0, 3)


def test_points_before_1970_keep_their_numbers_across_gaps():
    """Their numbers are negative."""
    grid = place_on_grid(np.array([-20, -9, -7, -1, 1]), column(*range(5)), max_gap=2, resample="nearest")
    assert grid.slot.tolist() == [-20, -9, -8, -7, -1, 0, 1]
    assert grid.segment_start.tolist() == [0, 1, 1, 1, 4, 4, 4]
