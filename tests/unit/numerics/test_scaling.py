from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.scaling import RobustScale, fit_common_scale, fit_deviation_scale, fit_robust_scale


def fit_one(column):
    values = np.asarray(column, dtype=np.float64)[:, np.newaxis]
    return fit_robust_scale(values, np.zeros(len(values), dtype=int), 1)


def test_center_is_the_median_and_scale_the_interquartile_range_over_1_349():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((500, 3)) * [1, 10, 100] + [0, 5, -50]
    values[rng.random(values.shape) < 0.1] = np.nan
    scale = fit_robust_scale(values, np.zeros(500, dtype=int), 1)
    low, median, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0)
    np.testing.assert_allclose(scale.center[0], median, rtol=1e-5)
    np.testing.assert_allclose(scale.scale[0], (high - low) / 1.349, rtol=1e-5)


def test_a_range_of_zero_gives_way_to_the_standard_deviation():
    column = [0.0] * 90 + [10.0] * 10
    assert fit_one(column).scale[0, 0] == pytest.approx(np.std(column), rel=1e-6)


def test_an_entity_that_stands_still_takes_the_scale_of_all_entities():
    rng = np.random.default_rng(1)
    values = np.concatenate([np.full((100, 1), 0.1), rng.standard_normal((300, 1))])
    entity = np.repeat([0, 1, 1, 1], 100)
    scale = fit_robust_scale(values, entity, 2)
    assert scale.center[0, 0] == np.float32(0.1)
    assert scale.scale[0, 0] == scale.scale[-1, 0]


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_channel_that_never_moved_has_the_scale_one(value):
    assert fit_one([value] * 1001).scale.tolist() == [[1.0], [1.0]]


def test_an_entity_without_rows_or_values_takes_the_pooled_row():
    values = np.array([[1.0, 5.0], [2.0, 5.5], [3.0, 6.0], [np.nan, 7.0]])
    scale = fit_robust_scale(values, np.array([0, 0, 0, 1]), 3)
    assert scale.center[2].tolist() == scale.center[-1].tolist()
    assert scale.center[1, 0] == scale.center[-1, 0]
    assert scale.scale[1, 0] == scale.scale[-1, 0]


def test_a_channel_without_any_value_has_center_zero_and_scale_one():
    scale = fit_one([np.nan, np.nan])
    assert (scale.center[0, 0], scale.scale[0, 0]) == (0.0, 1.0)


def test_an_entity_never_seen_before_is_scaled_by_the_pooled_row():
    values = np.arange(40.0).reshape(20, 2)
    scale = fit_robust_scale(values, np.repeat([0, 1], 10), 2)
    expected = (values - scale.center[-1]) / scale.scale[-1]
    np.testing.assert_allclose(scale.apply(values, np.full(20, -1)), expected, rtol=1e-6)


def test_windows_are_scaled_by_the_entity_of_their_item():
    scale = RobustScale(
        np.array([[0.0], [10.0], [0.0]], np.float32), np.array([[1.0], [2.0], [1.0]], np.float32)
    )
    windows = np.full((2, 3, 1), 14.0, dtype=np.float32)
    assert scale.apply(windows, np.array([0, 1])).reshape(2, 3).tolist() == [[14.0] * 3, [2.0] * 3]


def test_missing_stays_missing_and_the_caller_keeps_his_array():
    values = np.array([[1.0], [np.nan], [3.0]])
    before = values.copy()
    scale = fit_one(values[:, 0])
    scaled = scale.apply(values, np.zeros(3, dtype=int))
    assert np.isnan(scaled[:, 0]).tolist() == [False, True, False]
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    ("values", "entity", "n_entities", "message"),
    [
        (np.zeros((3, 1)), np.zeros(2, dtype=int), 1, "entity must have the shape"),
        (np.zeros((3, 1)), np.array([0, 1, 2]), 2, r"codes must lie in 0 .. 1, got \[2\]"),
        (np.zeros((3, 1)), np.zeros(3), 1, "integer codes"),
        (np.zeros((0, 1)), np.zeros(0, dtype=int), 1, "rows"),
        (np.full((2, 1), np.inf), np.zeros(2, dtype=int), 1, "2 infinities"),
    ],
)
def test_fitting_refuses(values, entity, n_entities, message):
    with pytest.raises(InputError, match=message):
        fit_robust_scale(values, entity, n_entities)


def test_applying_refuses_other_channels_and_unknown_entities():
    scale = fit_one([1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="values must have the shape"):
        scale.apply(np.zeros((2, 2)), np.zeros(2, dtype=int))
    with pytest.raises(InputError, match=r"codes must lie in -1 .. 0"):
        scale.apply(np.zeros((2, 1)), np.array([0, 1]))


def test_a_scale_that_cannot_divide_is_refused():
    with pytest.raises(InputError, match="positive"):
        RobustScale(np.zeros((2, 1), np.float32), np.zeros((2, 1), np.float32))


def test_the_deviation_scale_is_mean_and_standard_deviation_of_what_is_there():
    rng = np.random.default_rng(2)
    values = rng.standard_normal((400, 3)) * [1, 10, 100] + [0, 5, -50]
    values[rng.random(values.shape) < 0.1] = np.nan
    entity = np.repeat([0, 1], 200)
    scale = fit_deviation_scale(values, entity, 2)
    for code, rows in ((0, values[:200]), (1, values[200:]), (-1, values)):
        np.testing.assert_allclose(scale.center[code], np.nanmean(rows, axis=0), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(scale.scale[code], np.nanstd(rows, axis=0), rtol=1e-4)


def test_a_small_deviation_survives_far_from_zero_and_none_gives_way_to_that_of_all():
    far = np.array([[1e6], [1e6 + 1], [1e6 + 2]])
    assert fit_deviation_scale(far, np.zeros(3, dtype=int), 1).scale[0, 0] == pytest.approx(np.std([0, 1, 2]))
    still = np.array([[1.0], [1.0], [2.0], [4.0]])
    scale = fit_deviation_scale(still, np.array([0, 0, 1, 1]), 2)
    assert scale.scale[0, 0] == scale.scale[-1, 0] == pytest.approx(np.std([1, 1, 2, 4]))


def test_a_common_scale_is_the_root_mean_square_of_the_deviations_of_what_moved():
    rng = np.random.default_rng(2)
    values = np.column_stack([rng.normal(5, 1, 400), rng.normal(0, 7, 400), np.full(400, 3.0)])
    scale = fit_common_scale(values, np.zeros(400, dtype=int), 1)
    expected = np.sqrt(values[:, :2].var(axis=0).mean())
    np.testing.assert_allclose(scale.scale, np.full((2, 3), expected), rtol=1e-6)
    np.testing.assert_allclose(scale.center[0], values.mean(axis=0), rtol=1e-6)


def test_where_nothing_moved_the_common_scale_is_one():
    assert fit_common_scale(np.full((10, 2), 4.0), np.zeros(10, dtype=int), 1).scale.tolist() == [
        [1, 1],
        [1, 1],
    ]
