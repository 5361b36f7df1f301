from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.planting import ImageFault, SeriesFault, plant_in_images, plant_in_series

SCALE = np.array([1.0, 10.0, 0.1])


def series():
    values = np.random.default_rng(0).standard_normal((400, 3)) * SCALE
    values[50:60, 1] = np.nan
    return values


def images():
    return np.random.default_rng(0).random((5, 2, 24, 20)).astype(np.float32)


def plant(fault, seed=1, **given):
    return plant_in_series(series(), fault, scale=SCALE, generator=np.random.default_rng(seed), **given)


@pytest.mark.parametrize("fault", get_args(SeriesFault))
def test_the_mask_says_exactly_which_values_changed(fault):
    values = series()
    before = values.copy()
    planted, mask = plant_in_series(values, fault, scale=SCALE, generator=np.random.default_rng(1), events=3)
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(mask, ~np.isnan(values) & (planted != values))
    np.testing.assert_array_equal(np.isnan(planted), np.isnan(values))
    assert mask.any()
    assert mask.sum() <= 3 * 20 * (2 if fault == "channel_swap" else 1)


@pytest.mark.parametrize("fault", get_args(SeriesFault))
def test_the_same_seed_plants_the_same_fault(fault):
    np.testing.assert_array_equal(plant(fault)[0], plant(fault)[0])


def test_a_spike_is_one_point_of_the_given_number_of_scales():
    planted, mask = plant("spike", magnitude=7.0)
    row, channel = np.argwhere(mask)[0]
    assert mask.sum() == 1
    assert abs(planted - series())[row, channel] == pytest.approx(7 * SCALE[channel])


def test_a_drift_grows_to_its_magnitude():
    planted, mask = plant("drift", length_points=10, magnitude=5.0)
    channel = np.flatnonzero(mask.any(axis=0))[0]
    moved = np.abs(planted - series())[mask[:, channel], channel] / SCALE[channel]
    np.testing.assert_allclose(moved, np.arange(1, 11) / 2)


def test_a_dropout_keeps_the_value_before_it():
    planted, mask = plant("dropout")
    rows, channels = np.nonzero(mask)
    assert set(planted[mask]) == {series()[rows.min() - 1, channels[0]]}


def test_swapped_channels_keep_their_range():
    planted, mask = plant("channel_swap")
    assert mask.any(axis=0).sum() == 2
    assert (np.nanstd(planted, axis=0) / np.nanstd(series(), axis=0)).tolist() == pytest.approx(
        [1] * 3, abs=0.1
    )


def test_planting_in_series_refuses():
    with pytest.raises(InputError, match="must be one of spike"):
        plant("explosion")
    with pytest.raises(InputError, match="need 420 points, got 400"):
        plant("drift", events=20)
    with pytest.raises(InputError, match="needs 2 channels with values, got 1"):
        plant_in_series(
            np.zeros((50, 1)), "channel_swap", scale=np.ones(1), generator=np.random.default_rng(0)
        )


@pytest.mark.parametrize("fault", get_args(ImageFault))
def test_each_image_gets_a_fault_and_its_mask(fault):
    clean = images()
    before = clean.copy()
    planted, mask = plant_in_images(clean, fault, generator=np.random.default_rng(2))
    np.testing.assert_array_equal(clean, before)
    assert planted.dtype == clean.dtype
    assert mask.shape == (5, 24, 20)
    assert mask.any(axis=(1, 2)).all()
    assert planted.min() >= 0
    assert planted.max() <= 1
    untouched = ~np.broadcast_to(mask[:, np.newaxis], clean.shape)
    np.testing.assert_allclose(planted[untouched], clean[untouched], atol=1e-3)
    assert mask.mean() < 0.1


def test_a_blur_takes_detail_away():
    planted, mask = plant_in_images(images(), "blur", generator=np.random.default_rng(2))
    where = np.broadcast_to(mask[:, np.newaxis], planted.shape)
    assert planted[where].std() < 0.6 * images()[where].std()


@pytest.mark.parametrize("fault", get_args(ImageFault))
def test_a_fault_fits_into_the_smallest_images_wherever_it_is_drawn(fault):
    tiny = np.random.default_rng(0).random((200, 1, 4, 5))
    planted, _ = plant_in_images(tiny, fault, generator=np.random.default_rng(3), size_share=0.5)
    assert planted.shape == tiny.shape


def test_planting_in_images_refuses():
    generator = np.random.default_rng(0)
    with pytest.raises(InputError, match="must be one of cut_paste"):
        plant_in_images(images(), "hole", generator=generator)
    with pytest.raises(InputError, match=r"must lie in 0..1"):
        plant_in_images(images() * 255, "blur", generator=generator)
    with pytest.raises(InputError, match="size_share"):
        plant_in_images(images(), "blur", generator=generator, size_share=0.9)
