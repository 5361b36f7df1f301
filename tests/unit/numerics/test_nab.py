"""The score of the Numenta Anomaly Benchmark, on cases that are reckoned by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.nab import NabProfile, nab_curve

# Ten rows, one window of four: rows 3 to 6.
LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0, 0])
ONE = np.zeros(10, dtype=np.int64)


def s(y):
    return 2 / (1 + math.exp(5 * y)) - 1


def flagging(*rows, labels=LABELS, series=ONE, **options):
    """The score of flagging these rows alone."""
    scores = np.zeros(len(labels))
    scores[list(rows)] = 1.0
    return nab_curve(labels, scores, series, **options).at(1.0)


def test_the_first_row_of_a_window_is_perfect_and_no_flag_at_all_is_nothing():
    assert flagging(3) == pytest.approx(100)
    assert nab_curve(LABELS, np.zeros(10), ONE).at(1.0) == 0


def test_a_later_flag_is_worth_less_by_the_sigmoid_of_its_place():
    # Rows 4, 5 and 6 lie 3/4, 2/4 and 1/4 of the window before its end; a window that was missed costs 1.
    for row, place in ((4, -0.75), (5, -0.5), (6, -0.25)):
        assert flagging(row) == pytest.approx(100 * (s(place) / s(-1) + 1) / 2)


def test_of_a_window_the_earliest_flag_alone_counts():
    assert flagging(4, 5, 6) == pytest.approx(flagging(4))


def test_a_false_flag_before_the_window_costs_its_whole_weight():
    assert flagging(1, 3) == pytest.approx(100 - 100 * 0.11 / 2)
    assert flagging(0, 1, 3) == pytest.approx(100 - 2 * 100 * 0.11 / 2)


def test_a_false_flag_costs_more_the_farther_it_lies_behind_a_window():
    # Outside a window of four rows is three steps wide.
    assert flagging(3, 7) == pytest.approx(100 + 100 * 0.11 * s(1 / 3) / 2)
    assert flagging(3, 9) == pytest.approx(100 + 100 * 0.11 * s(3 / 3) / 2)
    long = np.concatenate([LABELS, np.zeros(30, dtype=np.int64)])
    far = flagging(3, 6 + 9, labels=long, series=np.zeros(40, dtype=np.int64))
    assert far == pytest.approx(100 - 100 * 0.11 / 2)


def test_the_window_of_another_series_excuses_no_false_flag():
    labels = np.concatenate([LABELS[:7], np.zeros(5, dtype=np.int64)])
    series = np.repeat([0, 1], [7, 5])
    assert flagging(3, 7, labels=labels, series=series) == pytest.approx(100 - 100 * 0.11 / 2)


def test_windows_that_touch_across_two_series_are_two():
    labels = np.array([0, 1, 1, 1, 1, 0])
    assert flagging(1, labels=labels, series=np.repeat([0, 1], 3)) == pytest.approx(50)
    assert flagging(1, 3, labels=labels, series=np.repeat([0, 1], 3)) == pytest.approx(100)


def test_weights_of_another_profile_count():
    low = NabProfile(true_flag=1.0, false_flag=0.22, missed=1.0)
    assert flagging(0, 3, profile=low) == pytest.approx(100 - 100 * 0.22 / 2)
    assert flagging(0, profile=NabProfile(missed=2.0)) == pytest.approx(-100 * 0.11 / 3)


def test_every_threshold_of_the_curve_is_what_flagging_by_it_alone_comes_to():
    rng = np.random.default_rng(0)
    labels = (rng.random(300) < 0.02).cumsum() % 2
    series = np.repeat([0, 1, 2], 100)
    scores = np.round(rng.standard_normal(300) + labels, 1)
    curve = nab_curve(labels, scores, series)
    assert (np.diff(curve.threshold) < 0).all()
    for threshold, score in zip(curve.threshold[::7], curve.score[::7], strict=True):
        alone = nab_curve(labels, (scores >= threshold) * 1.0, series)
        assert alone.at(1.0) == pytest.approx(score, abs=1e-9)
        assert curve.at(threshold) == pytest.approx(score)
        assert curve.at(threshold - 1e-6) == pytest.approx(score)


def test_the_best_threshold_is_the_highest_of_the_best_and_infinite_where_flags_only_cost():
    scores = np.array([0, 0, 0, 9.0, 5, 5, 5, 0, 0, 0])
    assert nab_curve(LABELS, scores, ONE).best_threshold == 9
    nothing = nab_curve(
        LABELS, np.array([5.0, 5, 5, 1, 1, 1, 1, 5, 5, 5]) * [1, 1, 1, 0, 0, 0, 0, 1, 1, 1], ONE
    )
    assert nothing.score[0] < 0
    assert (
        nab_curve(np.array([0] * 40 + [1]), np.repeat([2.0, 1.0], [40, 1]), np.zeros(41, int)).best_threshold
        == math.inf
    )


def test_what_was_not_scored_is_never_flagged():
    scores = np.array([0, 0, 0, np.nan, 1, 0, 0, 0, 0, 0])
    curve = nab_curve(LABELS, scores, ONE)
    assert curve.at(1.0) == pytest.approx(flagging(4))
    assert nab_curve(LABELS, np.full(10, np.nan), ONE).best_threshold == math.inf
    assert nab_curve(LABELS, np.full(10, np.nan), ONE).at(-math.inf) == 0


def test_no_window_other_labels_and_series_out_of_order_are_refused():
    with pytest.raises(InputError, match="window"):
        nab_curve(np.zeros(10), np.zeros(10), ONE)
    with pytest.raises(InputError, match="0 \\(normal\\) or 1"):
        nab_curve(LABELS * 2, np.zeros(10), ONE)
    with pytest.raises(InputError, match="rising codes"):
        nab_curve(LABELS, np.zeros(10), ONE[::-1] + np.repeat([1, 0], 5))
    with pytest.raises(InputError, match="scores"):
        nab_curve(LABELS, np.zeros(9), ONE)


def test_of_a_score_that_lasts_only_the_alert_counts_until_the_rest_is_over():
    scores = np.array([0, 9, 9, 9, 9, 9, 9, 9, 9, 0.0])
    false = 100 * 0.11 / 2
    # Alerts at rows 1, 4 and 7: a false one, the second row of the window, and a false one right behind it.
    expected = 100 * (s(-0.75) / s(-1) + 1) / 2 - false + false * s(1 / 3)
    assert nab_curve(LABELS, scores, ONE, rest_rows=2).at(9.0) == pytest.approx(expected)
    # With a longer rest at row 1 alone, and the window is missed.
    assert nab_curve(LABELS, scores, ONE, rest_rows=9).at(9.0) == pytest.approx(-false)


def test_the_rest_of_one_series_silences_no_other():
    labels, scores = np.array([0, 1, 1, 1, 1, 0]), np.array([0, 9, 9, 9, 9, 0.0])
    curve = nab_curve(labels, scores, np.repeat([0, 1], 3), rest_rows=5)
    assert curve.at(9.0) == pytest.approx(100)


def test_with_a_rest_thresholds_are_those_of_scores_and_a_negative_one_is_refused():
    rng = np.random.default_rng(1)
    labels = (np.arange(5000) % 500 < 50).astype(int)
    scores = rng.standard_normal(5000)
    curve = nab_curve(labels, scores, np.repeat(np.arange(5), 1000), rest_rows=20)
    assert 100 < curve.threshold.size <= 200
    assert (np.diff(curve.threshold) < 0).all()
    assert np.isin(curve.threshold, scores).all()
    assert (
        nab_curve(labels, np.full(5000, np.nan), np.zeros(5000, int), rest_rows=2).best_threshold == math.inf
    )
    with pytest.raises(InputError, match="rest_rows"):
        nab_curve(LABELS, np.zeros(10), ONE, rest_rows=-1)
