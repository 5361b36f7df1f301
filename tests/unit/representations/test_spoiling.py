"""Items spoiled on purpose, and the plainest way back."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from aeflow.config import CutOut, Downsampling, GaussianNoise, MaskingNoise, SaltAndPepper, TimeMasking
from aeflow.exceptions import InputError
from aeflow.representations.spoiling import parse_corruption, spoil


def images(count: int = 3, side: int = 9) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


def test_the_same_seed_spoils_alike_and_the_items_stay_as_they_are():
    x = images()
    before = x.clone()
    one, two = (spoil(x, None, [GaussianNoise(), MaskingNoise()], "seed") for _ in range(2))
    assert torch.equal(one.seen, two.seen)
    assert not torch.equal(one.seen, spoil(x, None, [GaussianNoise(), MaskingNoise()], "other").seen)
    assert torch.equal(x, before)


@pytest.mark.parametrize("corruption", [MaskingNoise(share=0.4), CutOut(side_share=0.5)])
def test_what_is_hidden_is_filled_with_the_mean_of_the_rest_and_only_that(corruption):
    x = images()
    found = spoil(x, None, [corruption], "seed")
    hidden = found.seen != x
    for item, seen, filled, places in zip(x, found.seen, found.trivial, hidden, strict=True):
        assert places.any()
        assert torch.allclose(filled[places], item[~places].mean())
        assert torch.equal(filled[~places], seen[~places])


def test_a_hidden_value_that_was_0_anyway_is_filled_too():
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, :4] = 1
    found = spoil(x, None, [MaskingNoise(share=0.5)], "seed")
    assert torch.equal(found.seen[0, 0, 4:], x[0, 0, 4:])
    assert (found.trivial[0, 0, 4:] > 0).any()


def test_what_was_made_small_is_enlarged_between_its_cells():
    x = images(side=8)
    found = spoil(x, None, [Downsampling(factor=2)], "seed")
    cells = functional.avg_pool2d(x, 2)
    assert torch.allclose(found.trivial, functional.interpolate(cells, scale_factor=2, mode="bicubic"))


@pytest.mark.parametrize("shape", [(2, 1, 9, 7), (2, 13, 3)])
def test_odd_sizes_come_back_in_their_own(shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    found = spoil(x, None, [Downsampling(factor=2), GaussianNoise()], "seed")
    assert found.seen.shape == found.trivial.shape == x.shape


def test_noise_is_smoothed_by_the_median_of_neighbours():
    x = torch.full((1, 1, 20, 20), 0.5)
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 0, 1  # what salt and pepper take
    found = spoil(x, None, [SaltAndPepper(share=0.05)], "seed")
    assert (found.seen[0, 0, 4:, 4:] != 0.5).any()
    wrong = [((y - 0.5).abs() > 0.01).sum() for y in (found.seen, found.trivial)]
    assert wrong[1] < wrong[0] / 2


def test_of_windows_the_last_point_is_smoothed_by_those_before_it():
    x = torch.tensor([0.0, 1.0, 5.0, 2.0, 9.0]).reshape(1, 5, 1)
    found = spoil(x, None, [GaussianNoise(deviation=0.0)], "seed")
    assert found.trivial[0, :, 0].tolist() == [0, 0, 1, 2, 5]


def test_what_was_not_observed_stays_hidden():
    x = torch.rand(2, 12, 3, generator=torch.Generator().manual_seed(0))
    observed = torch.ones(2, 12, 3, dtype=torch.bool)
    observed[:, 4:6] = False
    found = spoil(x * observed, observed, [TimeMasking(share=0.25), GaussianNoise()], "seed")
    assert found.told is not None
    assert not found.told[:, 4:6].any()
    assert (found.seen[:, 4:6] == 0).all()


def test_a_corruption_is_parsed_by_its_number():
    assert parse_corruption("masking_noise=0.5", "images") == MaskingNoise(share=0.5)
    assert parse_corruption("cut_out=0.25", "images") == CutOut(side_share=0.25)
    assert parse_corruption("downsampling=4", "series") == Downsampling(factor=4)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("masking=0.5", "images", "did you mean 'masking_noise'"),
        ("cut_out=0.5", "series", "got 'cut_out'"),
        ("masking_noise=2", "images", "less than or equal to 1, got '2'"),
        ("masking_noise", "images", "got ''"),
        ("downsampling=1.5", "images", "got '1.5'"),
    ],
)
def test_a_corruption_that_cannot_be_is_refused(text, kind, message):
    with pytest.raises(InputError, match=message):
        parse_corruption(text, kind)
