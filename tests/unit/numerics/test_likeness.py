from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.likeness import (
    ALIKE,
    SIGNATURE_SIZE,
    Bounds,
    direction,
    fit_code_space,
    likeness,
    overlap,
)


def normal_codes(size, seed=0, items=300):
    generator = np.random.default_rng(seed)
    return generator.normal(3.0, np.linspace(0.1, 50, size), (items, size)).astype(np.float32)


@pytest.mark.parametrize("size", [3, 64, 2000])
def test_of_pairs_of_normal_items_95_per_cent_lie_within_a_distance_of_one(size):
    signatures = fit_code_space(normal_codes(size)).signatures(normal_codes(size, seed=1))
    assert signatures.shape == (300, min(size, SIGNATURE_SIZE))
    apart = np.linalg.norm(signatures[:150] - signatures[150:], axis=1)
    assert 0.88 < (apart <= 1).mean() < 0.99


def test_the_unit_of_a_number_of_the_code_does_not_matter():
    codes = normal_codes(5)
    scaled = codes * np.array([1, 10, 100, 1e-3, 1], dtype=np.float32)
    one = fit_code_space(codes).signatures(codes)
    np.testing.assert_allclose(fit_code_space(scaled).signatures(scaled), one, rtol=1e-3, atol=1e-4)


def test_numbers_that_never_vary_count_for_nothing_and_nothing_is_infinite():
    codes = np.hstack([normal_codes(2), np.full((300, 1), 7.0, dtype=np.float32)])
    space = fit_code_space(codes)
    odd = codes[:2].copy()
    odd[0, 2] = 1e9
    assert np.array_equal(space.signatures(odd), space.signatures(codes[:2]))
    assert np.isfinite(space.signatures(np.array([[np.inf, np.nan, 0.0]], dtype=np.float32))).all()


def test_one_code_for_all_items_and_a_single_item_still_make_a_space():
    for codes in (np.ones((20, 3)), np.ones((1, 3))):
        space = fit_code_space(codes)
        assert space.radius == 1.0
        assert not space.signatures(codes).any()
    with pytest.raises(InputError, match="got none"):
        fit_code_space(np.empty((0, 3)))


def test_codes_of_another_length_are_refused():
    with pytest.raises(InputError, match="codes must have the shape"):
        fit_code_space(np.ones((4, 3))).signatures(np.ones((4, 2)))


def test_the_cosine_of_directions_weighs_channels_by_their_shares_and_knows_up_from_down():
    share = np.array([[0.9, 0.1, 0.0], [0.0, 0.0, 1.0], [0.9, 0.1, 0.0]])
    deviation = np.array([[1.0, 2.0, np.nan], [1, 1, 1], [-1.0, 2.0, np.nan]])
    one, other, down = direction(share * 40, deviation)
    assert one @ one == pytest.approx(1)
    assert one @ other == 0
    assert one @ down == pytest.approx(0.1 - 0.9)
    assert direction(share[0]) @ direction(share[2]) == pytest.approx(1)
    assert not direction(np.zeros(3)).any()


@pytest.mark.parametrize(
    ("other", "share"),
    [((0, 0, 10, 10), 1), ((5, 0, 10, 10), 0.5), ((2, 2, 4, 4), 1), ((10, 0, 4, 4), 0), ((0, 0, 0, 0), 0)],
)
def test_overlap_is_the_share_of_the_smaller_box(other, share):
    one, other = np.array([0.0, 0, 10, 10]), np.array(other, dtype=float)
    assert overlap(one, other) == overlap(other, one) == share


def test_overlap_of_what_has_no_box_is_not_known():
    pairs = overlap(np.full((2, 1, 4), np.nan), np.zeros((1, 3, 4)))
    assert pairs.shape == (2, 3)
    assert np.isnan(pairs).all()


@pytest.mark.parametrize("bounds", [Bounds(1, 0.8, 0.5), Bounds(2.5, 0, 0), Bounds(0.3, 1, 1)])
def test_likeness_is_half_at_each_bound_and_never_rises_as_flags_differ_more(bounds):
    at = np.array([bounds.least_agreement]), np.array([bounds.reach]), np.array([bounds.least_overlap])
    assert likeness(bounds, *at) >= ALIKE
    best = (np.array([1.0]), np.array([0.0]), np.array([1.0]))
    steps = np.linspace(0, 1, 101)
    for number, values in enumerate((2 * steps - 1, 5 * bounds.reach * (1 - steps), steps)):
        told = likeness(bounds, *(values if k == number else one for k, one in enumerate(best)))
        assert (np.diff(told) >= 0).all()
        past = values > at[number] if number == 1 else values < at[number]
        assert (told[past] < ALIKE).all()
        assert (told[~past] >= ALIKE).all()
    nothing = np.array([np.nan])
    assert likeness(bounds, np.array([1.0]), nothing, nothing) >= ALIKE
