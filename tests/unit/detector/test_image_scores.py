"""What image detectors make of contrast and of the usual error of each pixel."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from aeflow.config import PipelineConfig
from aeflow.data.splits import split_groups
from aeflow.detector.codes import encode_arrays
from aeflow.detector.image_fitting import ImageHistory, fit_images
from aeflow.detector.image_scores import as_unit, map_errors, score_images
from aeflow.numerics.reconstruction_error import image_scores, smooth_error_map

CPU = torch.device("cpu")
SIDE = 16


def config(prepare=None, scoring=None):
    return PipelineConfig.model_validate(
        {
            "name": "parts",
            "source": {"kind": "images", "root": "."},
            "batch": {"by": "source"},
            "prepare": {"kind": "images", "height_px": SIDE, "width_px": SIDE, **(prepare or {})},
            "model": {"family": "pca", "max_components": 4},
            "scoring": scoring or {},
            "calibration": {"rule": "conformal", "false_discovery_rate": 0.1},
        }
    )


def pictures(count, seed=0):
    """Stripes, and noise that is loud on the left; brightness and contrast differ from image to image."""
    random = np.random.default_rng(seed)
    stripes = np.sin(np.arange(SIDE) * 0.9)[:, None] + random.normal(0, 0.1, (count, 1, SIDE, SIDE))
    stripes[..., :6] += random.normal(0, 0.6, (count, 1, SIDE, 6))
    gain, level = random.uniform(15, 30, (count, 1, 1, 1)), random.uniform(90, 160, (count, 1, 1, 1))
    return (level + gain * stripes).clip(0, 255).astype(np.uint8)


def fitted(config):
    pixels = pictures(80)
    names = tuple(f"{n}.png" for n in range(len(pixels)))
    contents = tuple(f"{n:064x}" for n in range(len(pixels)))
    part = split_groups((None,) * len(pixels), contents, config.split, config.seed)
    item = np.arange(len(pixels))
    history = ImageHistory(
        pixels, item, part, contents, (None,) * len(pixels), names, np.full(len(pixels), "good"), Counter()
    )
    return fit_images(config, config.model, history, items_per_batch=10, device=CPU)


@pytest.fixture(scope="module")
def plain():
    return fitted(config())


@pytest.fixture(scope="module")
def contrasted():
    return fitted(config({"contrast": "local", "contrast_px": 5}))


@pytest.fixture(scope="module")
def by_pixel():
    return fitted(config(scoring={"spread": "pixel"}))


def scores(fit, pixels, chunk_items=64):
    return score_images(fit.normal, fit.network, pixels, "mse", device=CPU, chunk_items=chunk_items).score


def test_with_local_contrast_light_changes_no_score(plain, contrasted):
    x = as_unit(pictures(6, seed=1))
    darker = (0.6 * x + 0.05).astype(np.float32)
    np.testing.assert_allclose(scores(contrasted, darker), scores(contrasted, x), rtol=1e-3)
    assert not np.allclose(scores(plain, darker), scores(plain, x), rtol=0.1)


def test_with_local_contrast_a_defect_is_found_and_people_see_pixels(contrasted):
    x = as_unit(pictures(4, seed=1))
    broken = x.copy()
    broken[:, :, 7:10, 9:13] = x[:, :, 4:7, 9:13]  # stripes out of step, of the same brightness
    assert scores(contrasted, broken).min() > scores(contrasted, x).max()
    _, maps = map_errors(contrasted.normal, contrasted.network, broken, "mse", device=CPU, chunk_items=2)
    where = np.zeros((SIDE, SIDE), dtype=bool)
    where[7:10, 9:13] = True
    for error in maps.error_map[:, :, 7:]:  # the left is loud anyway
        assert error[where[:, 7:]].mean() > 2 * error[~where[:, 7:]].mean()
    # What was expected is told at the brightness of the image: not around one half, as the network sees it.
    away = maps.reconstruction - x
    assert np.abs(away.mean(axis=(1, 2, 3))).max() < 0.02
    assert np.abs(away).mean() < 0.06


def test_with_local_contrast_codes_and_scores_hang_on_their_image_alone(contrasted):
    pixels = pictures(9, seed=2)
    whole = scores(contrasted, pixels)
    np.testing.assert_allclose(scores(contrasted, pixels, chunk_items=2), whole, rtol=1e-5)
    np.testing.assert_allclose(scores(contrasted, pixels[::-1])[::-1], whole, rtol=1e-5)
    given = {"device": CPU, "chunk_items": 4}
    codes = encode_arrays(contrasted.normal, contrasted.network, pixels, **given)
    darker = (0.6 * as_unit(pixels) + 0.05).astype(np.float32)
    np.testing.assert_allclose(
        encode_arrays(contrasted.normal, contrasted.network, darker, **given), codes, atol=2e-3
    )
    raw = encode_arrays(replace(contrasted.normal, contrast=None), contrasted.network, pixels, **given)
    assert not np.allclose(raw, codes, atol=0.1)


def test_in_units_of_each_pixel_loud_places_count_for_less(plain, by_pixel):
    assert by_pixel.normal.spread.shape == (1, 1, SIDE, SIDE)
    assert by_pixel.normal.spread[..., :6].min() > by_pixel.normal.spread[..., 7:].max()
    x = as_unit(pictures(8, seed=3))
    quiet, loud = x.copy(), x.copy()
    quiet[:, :, 6:10, 10:14] += 0.1
    loud[:, :, 6:10, 1:5] += 0.1
    gain = {
        name: (scores(fit, quiet) / scores(fit, x)).mean() / (scores(fit, loud) / scores(fit, x)).mean()
        for name, fit in (("plain", plain), ("by pixel", by_pixel))
    }
    assert gain["by pixel"] > 1.5 * gain["plain"]


def test_of_several_sizes_score_and_map_are_of_their_mean(plain):
    pixels = pictures(3, seed=4)
    several = replace(plain.normal, smooth_px=(1, 5))
    given = {"device": CPU, "chunk_items": 2}
    raw = map_errors(replace(plain.normal, smooth_px=(1,)), plain.network, pixels, "mse", **given)[1]
    found, maps = map_errors(several, plain.network, pixels, "mse", **given)
    mean = smooth_error_map(raw.error_map[:, np.newaxis], (1, 5))
    np.testing.assert_allclose(maps.error_map, mean[:, 0], rtol=1e-4)
    np.testing.assert_allclose(found.score, image_scores(mean, [1], 0.02)[0], rtol=1e-4)


def test_the_sizes_of_the_config_are_those_of_the_scores():
    fit = fitted(config(scoring={"smooth_px": [1, 3, 7]}))
    assert fit.normal.smooth_px == (1, 3, 7)
