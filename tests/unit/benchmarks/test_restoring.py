from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.restoring import TASKS, mean_psnr


@pytest.fixture
def clean():
    return torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_psnr_is_that_of_its_formula_image_by_image(clean):
    restored = clean.clone()
    restored[0] = (clean[0] - 0.1).abs()
    restored[1:] = 0
    errors = [((restored[i] - clean[i]) ** 2).mean().item() for i in range(3)]
    expected = np.mean([-10 * np.log10(error) for error in errors])
    assert mean_psnr(restored, clean) == pytest.approx(expected, rel=1e-5)


def test_values_beyond_black_and_white_are_no_error():
    white = torch.ones(1, 1, 4, 4)
    assert mean_psnr(white + 3, white) == mean_psnr(white, white)


def test_bicubic_enlarges_the_means_of_two_by_two(clean):
    spoiled = torch.nn.functional.avg_pool2d(clean, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    found = TASKS["2 x super-resolution"].plain["bicubic"](spoiled, clean.mean(dim=0))
    flat = torch.full((1, 1, 8, 8), 0.3)
    assert found.shape == clean.shape
    assert torch.allclose(TASKS["2 x super-resolution"].plain["bicubic"](flat, flat[0]), flat)


def test_a_single_wrong_pixel_is_nothing_to_the_median_filter():
    flat = torch.full((2, 1, 8, 8), 0.4)
    spoiled = flat.clone()
    spoiled[1, 0, 3, 3] = 0
    found = TASKS["20 % masking noise"].plain["median filter"](spoiled, flat[0])
    assert torch.equal(found, flat)
