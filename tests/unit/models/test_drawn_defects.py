"""Defects lie in places of their own, and leave the rest of an image alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from aeflow.models.drawn_defects import draw_defects


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def surfaces(count=400, side=48):
    return 0.5 + 0.1 * torch.randn(count, 1, side, side, generator=drawn(9))


def changed_by(count):
    x = surfaces()
    return (draw_defects(x, count, drawn()) != x).flatten(1)


def test_a_defect_covers_a_small_part_and_more_of_them_more():
    one, three = (changed_by(count).float().mean(dim=1) for count in (1, 3))
    assert 0.01 < one.mean() < 0.08
    assert one.max() < 0.4
    assert 2 * one.mean() < three.mean() < 4 * one.mean()
    assert (one > 0).float().mean() > 0.9  # some lie at the border, and hardly in the image


def test_a_defect_is_one_piece_and_some_are_long_and_thin():
    thin = 0
    for changed in changed_by(1).reshape(-1, 48, 48).numpy():
        pieces, found = ndimage.label(changed, structure=np.ones((3, 3)))
        largest = max(np.bincount(pieces.ravel())[1:], default=0)
        assert largest >= 0.7 * changed.sum() or found <= 3  # what was pasted may be what was there
        rows, columns = np.nonzero(changed)
        if rows.size > 5:
            spread = np.linalg.eigvalsh(np.cov(np.stack([rows, columns])))
            thin += spread[0] < 0.05 * spread[1]
    assert 80 < thin < 320


def test_a_defect_differs_as_much_as_the_image_itself_does():
    x = surfaces()
    for scale in (1.0, 0.1):
        flat = 0.5 + scale * (x - 0.5)
        away = (draw_defects(flat, 2, drawn()) - flat).abs()
        mean = float(away[away > 0].mean())
        assert 0.5 * 0.1 * scale < mean < 4 * 0.1 * scale


def test_an_image_that_is_the_same_all_over_stays_so():
    x = torch.full((4, 3, 10, 12), 0.3)
    torch.testing.assert_close(draw_defects(x, 3, drawn()), x)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 9), (1, 40, 7)])
def test_images_of_any_size_and_colour_are_taken(shape):
    x = torch.rand(5, *shape, generator=drawn(1))
    before = x.clone()
    spoiled = draw_defects(x, 2, drawn(2))
    assert torch.equal(x, before)
    assert spoiled.shape == x.shape
    assert torch.isfinite(spoiled).all()
