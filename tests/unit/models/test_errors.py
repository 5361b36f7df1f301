"""Errors against formulas written out another way."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from scipy import ndimage

from aeflow.config import ErrorKind
from aeflow.models.errors import error_map, mean_error, multi_scale_ssim_map, ssim_map


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def pair(shape, seed=0):
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", get_args(ErrorKind))
@pytest.mark.parametrize("shape", [(2, 1, 9, 7), (3, 3, 40, 33)])
def test_an_error_is_nought_where_both_are_alike_and_never_negative(kind, shape):
    expected, x = pair(shape)
    assert error_map(kind, x, x).abs().max() < 1e-5
    errors = error_map(kind, expected, x)
    assert errors.shape == x.shape
    assert (errors >= 0).all()
    assert errors.mean() > 0.01


# Of gradients alone brightness does not follow.
@pytest.mark.parametrize("kind", [kind for kind in get_args(ErrorKind) if "gms" not in kind])
def test_descending_an_error_brings_what_is_expected_to_what_came(kind):
    start, x = pair((2, 1, 16, 16))
    expected = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([expected], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        mean_error(kind, expected, x).backward()
        optimizer.step()
    assert torch.isfinite(expected).all()
    assert (expected - x).abs().mean() < 0.3 * (start - x).abs().mean()


def similarity_by_scipy(a, b):
    def blurred(image):
        return ndimage.gaussian_filter(image, 1.5, mode="mirror", truncate=5 / 1.5)

    means = blurred(a), blurred(b)
    variances = blurred(a * a) - means[0] ** 2, blurred(b * b) - means[1] ** 2
    covariance = blurred(a * b) - means[0] * means[1]
    return ((2 * means[0] * means[1] + 1e-4) * (2 * covariance + 9e-4)) / (
        (means[0] ** 2 + means[1] ** 2 + 1e-4) * (variances[0] + variances[1] + 9e-4)
    )


def test_structural_similarity_is_that_of_its_formula():
    expected, x = pair((2, 3, 24, 31)).double()
    found = ssim_map(expected, x)
    for image, band in np.ndindex(2, 3):
        wanted = similarity_by_scipy(expected[image, band].numpy(), x[image, band].numpy())
        np.testing.assert_allclose(found[image, band], wanted, atol=1e-10)


def gradient_similarity_by_scipy(a, b):
    def magnitude(image):
        sides = (ndimage.prewitt(image, axis=axis, mode="nearest") / 3 for axis in (0, 1))
        return np.sqrt(sum(side**2 for side in sides))

    one, other = magnitude(a), magnitude(b)
    return (2 * one * other + 170 / 255**2) / (one**2 + other**2 + 170 / 255**2)


def test_gradient_similarity_is_that_of_its_formula_at_one_scale_and_at_several():
    expected, x = pair((2, 3, 33, 40)).double()
    found = error_map("gms", expected, x)
    for image, band in np.ndindex(2, 3):
        wanted = 1 - gradient_similarity_by_scipy(expected[image, band].numpy(), x[image, band].numpy())
        np.testing.assert_allclose(found[image, band], wanted, atol=1e-6)
    several, scales = error_map("ms_gms", expected, x), [found]
    for _ in range(2):  # 33 pixels a side: 8 are left twice
        expected, x = (torch.nn.functional.avg_pool2d(one, 2) for one in (expected, x))
        small = error_map("gms", expected, x)
        scales.append(torch.nn.functional.interpolate(small, size=(33, 40), mode="bilinear"))
    torch.testing.assert_close(several, torch.stack(scales).mean(dim=0))


@pytest.mark.parametrize("kind", ["gms", "ms_gms"])
def test_gradient_similarity_knows_edges_and_not_brightness(kind):
    x = pair((1, 1, 32, 32))[0]
    assert error_map(kind, 0.5 + x, x).max() < 1e-6
    blurred = torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, 2, 2)))
    assert error_map(kind, blurred, x).mean() > 0.2


def test_a_blurred_image_is_less_alike_at_fine_scales_than_a_darker_one():
    x = torch.from_numpy(np.random.default_rng(0).random((1, 1, 64, 64)))
    blurred = torch.from_numpy(ndimage.gaussian_filter(x[0, 0].numpy(), 2.0))[None, None]
    darker = x * 0.9
    for similarity in (ssim_map, multi_scale_ssim_map):
        assert similarity(blurred, x).mean() < similarity(darker, x).mean()


def test_small_images_have_one_scale():
    expected, x = pair((1, 1, 12, 12))
    torch.testing.assert_close(
        multi_scale_ssim_map(expected, x), ssim_map(expected, x).clamp_min(1e-4), rtol=1e-5, atol=1e-6
    )


def test_cross_entropy_is_what_lies_beyond_that_of_the_value_itself():
    expected, x = pair((2, 1, 5, 5)).double()
    whole = -(x * expected.log() + (1 - x) * (1 - expected).log())
    least = -(x * x.log() + (1 - x) * (1 - x).log())
    torch.testing.assert_close(error_map("bce", expected, x), whole - least, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["bce", "ssim", "ms_ssim", "gms", "ms_gms"])
def test_what_lies_outside_its_range_gives_finite_errors(kind):
    expected, x = torch.tensor([-1.0, 0.0, 1.0, 2.0]).reshape(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert torch.isfinite(error_map(kind, expected, x)).all()


def test_huber_is_half_a_square_and_then_a_line():
    errors = error_map("huber", torch.tensor([0.5, 3.0]), torch.zeros(2))
    torch.testing.assert_close(errors, torch.tensor([0.125, 2.5]))


@pytest.mark.parametrize("kind", get_args(ErrorKind))
def test_only_what_counts_is_in_the_mean(kind):
    expected, x = pair((2, 1, 12, 12))
    seen = torch.zeros_like(x, dtype=torch.bool)
    seen[:, :, :6] = True
    errors = error_map(kind, expected, x)
    torch.testing.assert_close(mean_error(kind, expected, x, seen), errors[:, :, :6].mean())
    assert mean_error(kind, expected, x, seen & False) == 0


def test_a_weight_weighs():
    expected, x = pair((2, 4, 1))
    weight = torch.tensor([3.0, 1.0, 0.0, 0.0])[:, None]
    errors = error_map("mae", expected, x)
    torch.testing.assert_close(
        mean_error("mae", expected, x, weight), (3 * errors[:, 0] + errors[:, 1]).sum() / 8
    )
