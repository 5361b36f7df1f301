from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.reconstruction_error import (
    common_spread,
    fit_pixel_spread,
    fit_spread,
    image_scores,
    series_scores,
    smooth_error_map,
    worst_boxes,
)


def test_the_score_is_the_mean_squared_ratio_over_observed_channels():
    residual = np.array([[2.0, np.nan, 3.0]], np.float32)
    observed = np.array([[True, False, True]])
    spread = np.array([[1.0, 1.0, 2.0]], np.float32)
    scores, parts = series_scores(residual, observed, spread)
    assert scores[0] == pytest.approx((4 + 2.25) / 2)
    np.testing.assert_allclose(parts, [[2.0, 0.0, 1.125]])


def test_extra_parts_add_to_the_score_where_observed():
    ones = np.ones((1, 2), np.float32)
    scores, parts = series_scores(ones, np.array([[True, False]]), ones, np.array([[0.5, 9.0]], np.float32))
    assert scores[0] == pytest.approx(1.5)
    assert parts[0].tolist() == [1.5, 0.0]


def test_nothing_observed_has_no_score():
    ones = np.ones((2, 2), np.float32)
    scores, parts = series_scores(ones, np.array([[False, False], [True, True]]), ones)
    assert np.isnan(scores).tolist() == [True, False]
    assert parts[0].tolist() == [0.0, 0.0]


def test_an_overflowing_residual_still_has_a_finite_score_and_shares():
    residual = np.array([[np.inf, 1.0], [3e38, -3e38]], np.float32)
    scores, parts = series_scores(residual, np.ones((2, 2), bool), np.full((2, 2), 0.01, np.float32))
    assert np.isfinite(scores).all()
    assert np.isfinite(parts).all()


def test_a_spread_that_is_not_positive_is_refused():
    ones = np.ones((1, 1), np.float32)
    with pytest.raises(InputError, match="spread must be positive"):
        series_scores(ones, ones > 0, ones * 0)


def test_spread_is_the_root_mean_square_per_entity_and_channel():
    residual = np.array([[3.0], [4.0], [1.0], [np.nan]], np.float32)
    observed = np.array([[True], [True], [True], [False]])
    spread = fit_spread(residual, observed, np.array([0, 0, 1, 1]), 3)
    pooled = np.sqrt(26 / 3)
    np.testing.assert_allclose(spread[:, 0], [np.sqrt(12.5), 1.0, pooled, pooled], rtol=1e-6)


def test_spread_has_a_pooled_and_an_absolute_floor():
    residual = np.array([[0.0, 0.0], [2.0, 0.0]], np.float32)
    spread = fit_spread(residual, np.ones((2, 2), bool), np.array([0, 1]), 2, pooled_share=0.1, least=0.01)
    assert spread[0, 0] == pytest.approx(0.1 * np.sqrt(2))
    assert spread[:, 1].tolist() == pytest.approx([0.01] * 3)


def test_spread_refuses_residuals_that_are_not_finite():
    with pytest.raises(InputError, match="finite"):
        fit_spread(np.array([[np.nan]]), np.array([[True]]), np.array([0]), 1)


def test_an_image_scores_the_mean_of_its_worst_pixels():
    error = np.zeros((1, 2, 4, 4), np.float32)
    error[0, 0, 1, 1], error[0, 1, 1, 1], error[0, 1, 2, 2] = 3.0, 1.0, 2.0
    scores, parts = image_scores(error, [1], top_share=2 / 16)
    assert scores[0] == pytest.approx(3.0)
    assert parts[0].tolist() == [1.5, 1.5]


def test_smoothing_makes_a_patch_count_more_than_a_pixel():
    error = np.zeros((2, 1, 8, 8), np.float32)
    error[0, 0, 4, 4] = 9.0
    error[1, 0, 3:6, 3:6] = 2.0
    scores, _ = image_scores(error, [3], top_share=0.001)
    assert scores.tolist() == pytest.approx([1.0, 2.0])


@pytest.mark.parametrize(
    ("smooth", "share", "named"),
    [
        ([0], 0.1, "sizes_px must be one or more of at least 1"),
        ([3, 0], 0.1, "sizes_px must be"),
        ([], 0.1, "sizes_px must be"),
        ([1], 0.0, "top_share must be"),
        ([1], 1.5, "top_share must be"),
    ],
)
def test_image_scores_refuse_parameters_out_of_range(smooth, share, named):
    with pytest.raises(InputError, match=named):
        image_scores(np.zeros((1, 1, 4, 4)), smooth, share)


def test_boxes_lie_around_the_regions_with_the_most_error_first():
    heatmap = np.zeros((10, 12))
    heatmap[1:3, 2:5] = 4.0
    heatmap[7, 9] = 5.0
    boxes, shares = worst_boxes(heatmap, 5)
    assert boxes.tolist() == [[2, 1, 3, 2], [9, 7, 1, 1]]
    assert shares.tolist() == pytest.approx([24 / 29, 5 / 29])
    assert len(worst_boxes(heatmap, 1)[0]) == 1


def test_a_flat_map_has_no_boxes():
    boxes, shares = worst_boxes(np.ones((4, 4)), 3)
    assert boxes.shape == (0, 4)
    assert shares.shape == (0,)


def test_boxes_refuse_nan():
    with pytest.raises(InputError, match="finite"):
        worst_boxes(np.full((2, 2), np.nan), 1)


def test_a_common_spread_is_one_for_all_channels_of_a_kind_of_views():
    spread = np.array([[3, 4, 1, 1], [0.5, 0.5, 2, 2]], dtype=np.float32)
    both = np.sqrt(12.5)
    np.testing.assert_allclose(common_spread(spread, 2), [[both, both, 1, 1], [0.5, 0.5, 2, 2]], rtol=1e-6)


def test_the_spread_of_a_pixel_is_drawn_towards_its_band_by_ten_images():
    total = np.array([[[0.0, 40.0]], [[20.0, 20.0]]])  # of 10 images: means 0 and 4, and 2 and 2
    spread = fit_pixel_spread(total, 10, least=0.1)
    np.testing.assert_allclose(spread, np.sqrt([[[1.0, 3.0]], [[2.0, 2.0]]]), rtol=1e-6)
    assert spread.dtype == np.float32
    many = fit_pixel_spread(total * 1000, 10_000, least=0.1)
    np.testing.assert_allclose(many, np.sqrt([[[0.01, 4.0]], [[2.0, 2.0]]]), rtol=0.1)


def test_a_pixel_that_is_always_rebuilt_has_the_least_spread():
    assert (fit_pixel_spread(np.zeros((1, 2, 2)), 5, least=0.25) == 0.25).all()


@pytest.mark.parametrize(
    ("total", "items", "named"),
    [
        (np.zeros((2, 2)), 3, "total"),
        (np.full((1, 2, 2), np.nan), 3, "finite"),
        (np.zeros((1, 2, 2)), 0, "at least one image"),
    ],
)
def test_the_spread_of_pixels_refuses_what_it_cannot_learn_from(total, items, named):
    with pytest.raises(InputError, match=named):
        fit_pixel_spread(total, items, least=0.1)


def test_of_several_sizes_the_mean_of_the_averages_counts():
    error = np.random.default_rng(0).random((2, 1, 12, 12)).astype(np.float32)
    each = [smooth_error_map(error, [size]) for size in (1, 3, 7)]
    np.testing.assert_allclose(smooth_error_map(error, [1, 3, 7]), np.mean(each, axis=0), rtol=1e-5)
    np.testing.assert_array_equal(each[0], error)


def test_large_squares_gather_what_is_faint():
    error = np.zeros((2, 1, 30, 30), np.float32)
    error[0, 0, 4, 4] = 1.0
    error[1, 0, 5:20, 5:20] = 0.2
    small, several = (image_scores(error, sizes, top_share=0.01)[0] for sizes in ([1], [1, 9]))
    assert small[1] / small[0] < several[1] / several[0]
