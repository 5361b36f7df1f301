"""Wavelet scattering tells direction, width and strength of what is at a place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aeflow.models.scattering import Scattering

DIRECTIONS = 4


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def waves(angle, period, side=64, contrast=0.2, level=0.5):
    """Stripes that go on along `angle` in radians, 0 to the right."""
    place = torch.arange(side, dtype=torch.float32)
    along = place[None, :] * np.cos(angle) + place[:, None] * np.sin(angle)
    return (level + contrast * torch.sin(along * 2 * np.pi / period))[None, None]


def seen(x, scales=2):
    return Scattering(tuple(x.shape[1:]), scales).eval()(x)


@pytest.mark.parametrize("shape", [(1, 9, 7), (3, 33, 40), (1, 2, 1), (3, 64, 64)])
def test_there_are_as_many_features_as_it_says_at_each_scale(shape):
    encoder = Scattering(shape, 3)
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    found = encoder(x)
    assert [one.shape[1] for one in found] == encoder.channels
    assert [tuple(one.shape[2:]) for one in found] == encoder.sizes
    # A band: each octave by itself, each with the wider ones, and its brightness.
    assert encoder.channels[:2] == [shape[0] * (2 * 4 + 16 + 1), shape[0] * (3 * 4 + 3 * 16 + 1)]
    assert all(torch.isfinite(one).all() for one in found)
    for first, again in zip(encoder(x, 2), found[:2], strict=True):
        torch.testing.assert_close(first, again)


@pytest.mark.parametrize("direction", range(DIRECTIONS))
def test_stripes_are_seen_by_the_wavelet_of_their_direction(direction):
    (features,) = seen(waves(direction * np.pi / DIRECTIONS, period=3), scales=1)
    finest = features[0, :DIRECTIONS, 4:12, 4:12].mean(dim=(1, 2))
    assert int(finest.argmax()) == direction


def test_fine_stripes_are_seen_by_the_first_octave_and_wide_ones_by_the_second():
    strength = {}
    for period in (3, 6):
        (features,) = seen(waves(0, period), scales=1)
        # Octave 0, octave 0 with 1, octave 1.
        strength[period] = features[0, [0, DIRECTIONS + DIRECTIONS**2], 4:12, 4:12].mean(dim=(1, 2))
    assert strength[3][0] > strength[3][1]
    assert strength[6][0] < strength[6][1]


def test_contrast_is_a_summand_and_brightness_a_feature_of_its_own():
    plain, bold, bright = (
        seen(waves(0.4, 5, contrast=contrast, level=level), scales=1)[0]
        for contrast, level in ((0.2, 0.4), (0.4, 0.4), (0.2, 0.6))
    )
    strong = plain[:, :-1] > np.log(0.02)
    assert strong.float().mean() > 0.1
    torch.testing.assert_close(
        (bold - plain)[:, :-1][strong], torch.full((int(strong.sum()),), np.log(2)), rtol=0, atol=0.05
    )
    torch.testing.assert_close(bright[:, :-1], plain[:, :-1], rtol=0, atol=0.02)
    torch.testing.assert_close(bright[:, -1], plain[:, -1] + 0.2, rtol=0, atol=1e-4)


def test_a_grey_surface_has_no_edges():
    (features,) = seen(torch.full((1, 1, 32, 32), 0.7), scales=1)
    assert features[:, :-1].max() < np.log(1.1e-3)
    torch.testing.assert_close(features[:, -1], torch.full_like(features[:, -1], 0.7))


def test_each_image_is_seen_by_itself():
    x = torch.rand(5, 3, 24, 17, generator=torch.Generator().manual_seed(1))
    for together, alone in zip(seen(x), seen(x[[3]]), strict=True):
        torch.testing.assert_close(together[[3]], alone, rtol=1e-5, atol=1e-6)
