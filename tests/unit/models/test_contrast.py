"""What networks are shown in place of pixels: the formula written out, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aeflow.config import ImagePrepare
from aeflow.models.contrast import LocalContrast, contrast_of, look_at

SHAPE = (3, 2, 11, 14)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def images(shape=SHAPE):
    """Textures of a contrast that differs from place to place."""
    random = np.random.default_rng(0)
    strength = np.linspace(0.02, 0.3, shape[-1])
    return torch.from_numpy(0.5 + strength * (random.random(shape) - 0.5)).float()


def around(values, size):
    """The mean over the square around each pixel, of what lies inside the image `(H, W)`."""
    half = size // 2
    found = np.empty_like(values)
    for row, column in np.ndindex(values.shape):
        square = values[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1]
        found[row, column] = square.mean()
    return found


@pytest.mark.parametrize("size", [3, 5, 21])
def test_a_pixel_is_seen_in_units_of_the_deviation_around_it(size):
    x = images().double()
    seen = LocalContrast(size).look(x).seen
    for image, found in zip(x.numpy(), seen.numpy(), strict=True):
        away = np.stack([band - around(band, size) for band in image])
        deviation = np.sqrt(around((away**2).mean(axis=0), size))
        unit = np.maximum(deviation, deviation.mean())
        np.testing.assert_allclose(found, np.clip(0.5 + away / (8 * unit), 0, 1), atol=1e-9)


def test_brightness_contrast_and_slow_changes_of_light_count_for_nothing():
    x = images((2, 1, 32, 32)).double()
    light = torch.linspace(0.3, 0.5, 32).double()[:, None]
    plain = LocalContrast(5).look(x).seen
    torch.testing.assert_close(LocalContrast(5).look(0.4 * x + 0.2).seen, plain, rtol=0, atol=1e-9)
    inside = (..., slice(4, -4), slice(4, -4))  # at the border the square has no middle
    torch.testing.assert_close(
        LocalContrast(5).look(x + light).seen[inside], plain[inside], rtol=0, atol=0.03
    )


def test_what_is_made_of_an_image_is_shown_at_its_own_brightness_and_contrast():
    x = images()
    look = LocalContrast(5).look(x)
    torch.testing.assert_close(look.pixels(look.seen), x, rtol=0, atol=1e-5)
    flat = look.pixels(torch.full_like(x, 0.5))
    np.testing.assert_allclose(flat[0, 1], around(x[0, 1].numpy(), 5), atol=1e-5)


def test_an_image_that_is_the_same_all_over_is_like_its_surroundings():
    for value in (0.0, 0.3, 1.0):
        x = torch.full((1, 1, 9, 9), value)
        torch.testing.assert_close(LocalContrast(3).look(x).seen, torch.full_like(x, 0.5), rtol=0, atol=1e-4)


def test_noise_where_hardly_anything_is_is_not_made_loud():
    x = torch.zeros(1, 1, 20, 20)
    x[..., 10:] = torch.rand(20, 10, generator=torch.Generator().manual_seed(0))
    x[0, 0, 4, 3] = 1 / 255
    away = (LocalContrast(5).look(x).seen - 0.5).abs()
    assert away[..., 4, 3] < 0.02
    assert away[..., 13:].max() > 0.2


def test_what_is_seen_lies_in_0_to_1_and_of_each_image_alone():
    x = images()
    x[0, 0, 5, 5] = 1.0
    seen = LocalContrast(9).look(x).seen
    assert seen.min() >= 0
    assert seen.max() <= 1
    for number in range(len(x)):
        torch.testing.assert_close(LocalContrast(9).look(x[[number]]).seen, seen[[number]], rtol=0, atol=1e-6)


def test_without_a_contrast_pixels_are_what_is_seen():
    x = images()
    look = look_at(x, contrast_of(ImagePrepare()))
    assert look.seen is x
    assert look.pixels(x) is x
    assert contrast_of(ImagePrepare(contrast="local", contrast_px=7)) == LocalContrast(7)
