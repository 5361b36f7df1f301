from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from aeflow.exceptions import InputError
from aeflow.numerics.region_overlap import au_pro, best_box_overlap, pixel_auroc, pixel_average_precision

MASK = np.zeros((10, 10), int)
MASK[0:1, 0:1] = 1
MASK[4:8, 4:8] = 1


def test_an_error_map_equal_to_the_mask_is_perfect():
    assert au_pro([MASK], [MASK * 1.0]) == pytest.approx(1)
    assert pixel_auroc([MASK], [MASK * 1.0]) == pytest.approx(1)


def test_a_small_region_counts_as_much_as_a_large_one():
    only_large = MASK * 1.0
    only_large[0, 0] = 0
    # Half of the regions at no false positives; the rest of the way is one step to (1, 1).
    expected = (0.5 + (0.5 + 0.5 * 0.3)) / 2
    assert au_pro([MASK], [only_large]) == pytest.approx(expected)
    assert pixel_auroc([MASK], [only_large]) > 0.95


def with_ties(seed, dtype):
    """Masks and rounded errors of three images: many pixels share an error, marked ones and others."""
    rng = np.random.default_rng(seed)
    masks = rng.random((3, 12, 12)) < 0.05
    return masks, np.round(rng.random((3, 12, 12)) + 0.3 * masks, 2).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1])
@pytest.mark.parametrize("seed", range(3))
def test_overlap_agrees_with_a_count_at_every_cut(seed, limit, dtype):
    masks, errors = with_ties(seed, dtype)
    regions = [
        (n, r == i)
        for n, m in enumerate(masks)
        for r, k in [ndimage.label(m, np.ones((3, 3)))]
        for i in range(1, k + 1)
    ]
    area, x, y = 0.0, 0.0, 0.0
    for cut in np.unique(errors)[::-1]:
        next_x = (errors[~masks] >= cut).mean()
        next_y = np.mean([(errors[n][where] >= cut).mean() for n, where in regions])
        if next_x > limit:
            next_y = y + (next_y - y) * (limit - x) / (next_x - x)
            next_x = limit
        area += (next_x - x) * (y + next_y) / 2
        x, y = next_x, next_y
        if x == limit:
            break
    assert au_pro(masks, errors, false_positive_limit=limit) == pytest.approx(area / limit, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_pixels_are_ranked_as_scikit_learn_ranks_them(seed):
    masks, errors = with_ties(seed, np.float32)
    assert pixel_auroc(masks, errors) == pytest.approx(
        roc_auc_score(masks.ravel(), errors.ravel()), rel=1e-12
    )


def test_images_may_differ_in_size_and_be_without_defect():
    masks = [MASK, np.zeros((5, 7), int)]
    assert au_pro(masks, [m * 1.0 for m in masks]) == pytest.approx(1)


def test_no_defect_at_all_is_not_defined():
    empty = np.zeros((1, 4, 4))
    assert np.isnan(au_pro(empty, empty))
    assert np.isnan(pixel_auroc(empty, empty))
    assert np.isnan(au_pro([], []))
    assert np.isnan(pixel_auroc([], []))


def test_maps_that_do_not_fit_their_masks_are_refused():
    with pytest.raises(InputError, match="one error map for each mask"):
        au_pro([MASK], [])
    with pytest.raises(InputError, match=r"error_maps\[0\]"):
        au_pro([MASK], [np.zeros((2, 2))])
    with pytest.raises(InputError, match="finite"):
        au_pro([MASK], [np.full((10, 10), np.nan)])
    with pytest.raises(InputError, match="false_positive_limit"):
        au_pro([MASK], [MASK * 1.0], false_positive_limit=0)


@pytest.mark.parametrize("seed", range(3))
def test_pixel_average_precision_is_that_of_all_pixels_together(seed):
    masks, errors = with_ties(seed, np.float32)
    expected = average_precision_score(masks.ravel(), errors.ravel())
    assert pixel_average_precision(list(masks), list(errors)) == pytest.approx(expected)
    assert np.isnan(pixel_average_precision([MASK * 0], [MASK * 1.0]))


def test_a_box_is_held_against_the_region_that_it_fits_best():
    boxes = np.array([[0, 0, 2, 2], [4, 4, 4, 8]])
    # The large region is 4 x 4, the second box twice as high.
    assert best_box_overlap(MASK, boxes) == pytest.approx(0.5)
    assert best_box_overlap(MASK, np.array([[0, 0, 1, 1]])) == 1.0
    assert best_box_overlap(MASK, np.array([[8, 0, 2, 2]])) == 0.0
    assert best_box_overlap(MASK, np.empty((0, 4), int)) == 0.0
    assert np.isnan(best_box_overlap(MASK * 0, boxes))
    with pytest.raises(InputError, match="boxes"):
        best_box_overlap(MASK, boxes[:, :3])
