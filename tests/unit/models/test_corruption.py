"""Spoiled items: how much is spoiled, what stays, and what the network is told."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from aeflow.config import (
    ChannelMasking,
    Corruption,
    CutOut,
    Downsampling,
    DrawnDefects,
    GaussianNoise,
    MaskingNoise,
    SaltAndPepper,
    TimeMasking,
)
from aeflow.models.corruption import corrupt

SHAPES = {"images": (50, 2, 13, 10), "series": (50, 12, 5)}
NONE = [
    GaussianNoise(deviation=0),
    SaltAndPepper(share=0),
    MaskingNoise(share=0),
    CutOut(count=0),
    DrawnDefects(count=0),
    ChannelMasking(share=0),
    TimeMasking(share=0),
    Downsampling(factor=1),
]
EVERY = get_args(get_args(Corruption)[0])


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def items(kind):
    return 0.1 + 0.8 * torch.rand(SHAPES[kind], generator=drawn(9))


def test_each_corruption_has_a_setting_that_does_nothing():
    assert {type(c) for c in NONE} == set(EVERY)
    for none in NONE:
        for kind in none.kinds:
            x = items(kind)
            spoiled, told = corrupt(x, None, [none], drawn())
            assert torch.equal(spoiled, x)
            assert told is None


@pytest.mark.parametrize("made", EVERY)
def test_a_corruption_spoils_each_item_by_itself_and_repeats_by_its_seed(made):
    for kind in made.kinds:
        x = items(kind)
        before = x.clone()
        spoiled, told = corrupt(x, None, [made()], drawn(1))
        again, _ = corrupt(x, None, [made()], drawn(1))
        assert torch.equal(x, before)
        assert torch.equal(spoiled, again)
        assert spoiled.shape == x.shape
        assert not torch.equal(spoiled, x)
        if told is not None:
            assert torch.equal(spoiled[told], x[told])
            assert (spoiled[~told] == 0).all()
        if made is not Downsampling:
            changed = (spoiled != x).flatten(1).float()
            assert not torch.equal(changed[0], changed[1]) or made is GaussianNoise
            other, _ = corrupt(x, None, [made()], drawn(2))
            assert not torch.equal(spoiled, other)


@pytest.mark.parametrize("made", [made for made in EVERY if "series" in made.kinds])
def test_what_was_not_observed_stays_nought_and_unknown(made):
    x = items("series")
    observed = torch.rand(x.shape, generator=drawn(3)) < 0.7
    spoiled, told = corrupt(x * observed, observed, [made()], drawn(1))
    assert (spoiled[~observed] == 0).all()
    assert not told[~observed].any()


@pytest.mark.parametrize("share", [0.2, 0.3, 0.5])
def test_masking_noise_sets_its_share_of_the_values_to_nought(share):
    spoiled, told = corrupt(torch.ones(200, 1, 20, 20), None, [MaskingNoise(share=share)], drawn())
    assert abs(float((spoiled == 0).float().mean()) - share) < 0.01
    assert told is None


def test_salt_and_pepper_are_the_ends_of_the_item():
    x = items("images")
    spoiled, _ = corrupt(x, None, [SaltAndPepper(share=0.4)], drawn())
    changed = spoiled != x
    assert abs(float(changed.float().mean()) - 0.4) < 0.03
    ends = torch.stack([x.amin((1, 2, 3)), x.amax((1, 2, 3))], dim=1)
    for item, where, pair in zip(spoiled, changed, ends, strict=True):
        assert torch.isin(item[where], pair).all()


def test_gaussian_noise_has_its_deviation():
    spoiled, _ = corrupt(torch.zeros(200, 30, 4), None, [GaussianNoise(deviation=0.25)], drawn())
    assert abs(float(spoiled.std()) - 0.25) < 0.01


def test_a_cut_out_is_one_rectangle_of_the_item_s_mean():
    x = items("images")
    spoiled, _ = corrupt(x, None, [CutOut(side_share=0.5)], drawn())
    for item, clean in zip(spoiled, x, strict=True):
        changed = (item != clean).all(dim=0)
        rows, columns = changed.any(dim=1), changed.any(dim=0)
        assert (int(rows.sum()), int(columns.sum())) == (round(13 * 0.5), 5)
        assert torch.equal(changed, rows[:, None] & columns[None, :])
        torch.testing.assert_close(item[:, changed], clean.mean().expand(2, int(changed.sum())))


def test_a_masked_channel_is_hidden_wholly_and_told():
    x = items("series")
    spoiled, told = corrupt(x, None, [ChannelMasking(share=0.5)], drawn())
    assert torch.equal(told.all(dim=1), told.any(dim=1))
    assert 0.3 < float(told.float().mean()) < 0.7
    assert torch.equal(spoiled, x * told)


def test_a_masked_stretch_of_time_is_one_and_told():
    _, told = corrupt(items("series"), None, [TimeMasking(share=0.25)], drawn())
    hidden = ~told
    assert (hidden.sum(dim=1) == 3).all()
    assert torch.equal(hidden.all(dim=2), hidden.any(dim=2))
    edges = hidden[:, 1:, 0].int() - hidden[:, :-1, 0].int()
    assert (edges.abs().sum(dim=1) <= 2).all()


@pytest.mark.parametrize(("size", "cells"), [((4, 6), [(0, 2), (2, 4)]), ((5, 3), [(0, 2), (4, 5)])])
def test_downsampling_keeps_the_means_of_cells_and_the_size(size, cells):
    x = torch.rand(3, 1, *size, generator=drawn())
    spoiled, _ = corrupt(x, None, [Downsampling(factor=2)], drawn())
    for first, end in cells:
        mean = x[:, :, first:end, 0:2].mean(dim=(2, 3))
        torch.testing.assert_close(spoiled[:, :, first, 0], mean)
        assert torch.equal(spoiled[:, :, first, 0], spoiled[:, :, end - 1, 1])


def test_windows_are_downsampled_in_time():
    x = torch.arange(10.0).reshape(1, 5, 2)
    spoiled, _ = corrupt(x, None, [Downsampling(factor=2)], drawn())
    assert spoiled[0, :, 0].tolist() == [1, 1, 5, 5, 8]


def test_corruptions_follow_one_another():
    x = items("images")
    both, _ = corrupt(x, None, [MaskingNoise(), GaussianNoise()], drawn(4))
    generator = drawn(4)
    one, _ = corrupt(x, None, [MaskingNoise()], generator)
    two, _ = corrupt(one, None, [GaussianNoise()], generator)
    assert torch.equal(both, two)
