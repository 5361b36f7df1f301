"""PSNR against its formula."""

from __future__ import annotations

import numpy as np
import pytest

from aeflow.numerics.image_quality import psnr


def test_psnr_is_that_of_the_formula():
    error = np.array([0.01, 0.0025, 1.0])
    assert psnr(error) == pytest.approx([20.0, -10 * np.log10(0.0025), 0.0])
    assert psnr(error * 255**2, peak=255) == pytest.approx(psnr(error))


def test_equal_images_are_not_infinitely_good_and_what_is_unknown_stays_so():
    found = psnr(np.array([0.0, np.nan]))
    assert found[0] == 88
    assert np.isnan(found[1])
