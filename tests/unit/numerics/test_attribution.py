"""What a score is put down to, where it is known what caused it."""

from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.attribution import causal_shares, held_variants, level_of

PARTS = np.array([3.0, 1.0, 0.0], dtype=np.float32)


def shares_of(score, values, level, first=0):
    """The shares in `score(variant)` of a stretch."""
    variants, moved = held_variants(values, level, first)
    return causal_shares(np.array([score(v) for v in variants]), moved, np.ones(values.shape[1]))


def test_the_level_is_the_median_of_what_was_observed():
    values = np.array([[1, 5], [2, np.nan], [900, np.nan], [3, np.nan]], dtype=np.float32)
    observed = np.array([[True, False], [True, False], [False, False], [True, False]])
    assert level_of(values, observed, np.array([0.0, 7.0])).tolist() == [2.0, 7.0]
    assert level_of(values[:0], observed[:0], np.array([4.0, 7.0])).tolist() == [4.0, 7.0]


def test_variants_hold_one_channel_all_or_all_but_one():
    values = np.array([[0, 0, 5], [1, 2, 5], [3, 4, 5]], dtype=np.float32)
    variants, moved = held_variants(values, np.array([0.0, 0.0, 5.0]), first=1)
    assert moved.tolist() == [0, 1]  # the third stood at its level
    last = variants[:, -1].tolist()
    assert last == [[3, 4, 5], [0, 0, 5], [0, 4, 5], [3, 0, 5], [3, 0, 5], [0, 4, 5]]
    np.testing.assert_array_equal(variants[:, 0], np.repeat(values[:1], 6, axis=0))


def test_what_is_missing_stays_missing():
    values = np.array([[1, np.nan], [1, np.nan]], dtype=np.float32)
    variants, moved = held_variants(values, np.array([0.0, 0.0]), first=0)
    assert moved.tolist() == [0]
    assert np.isnan(variants[:, :, 1]).all()


def test_of_parts_that_add_up_each_channel_has_its_own():
    weight = np.array([1.0, 4.0, 0.5])
    values = np.array([[1.0, 1.0, 2.0]], dtype=np.float32)
    found = shares_of(lambda v: float(weight @ v[-1] ** 2), values, np.zeros(3))
    np.testing.assert_allclose(found, [1 / 7, 4 / 7, 2 / 7])


def test_a_channel_that_leaves_those_it_goes_with_is_named_though_the_error_lies_in_them_too():
    """The score is how far each is from the mean of the others, so that the error of one lies in all."""

    def score(variant):
        last = variant[-1].astype(float)
        return float(np.square(last - (last.sum() - last) / (last.size - 1)).sum())

    values = np.array([[0, 0, 0, 0], [1, 1, 1, 9]], dtype=np.float32)
    found = shares_of(score, values, np.zeros(4))
    assert found.argmax() == 3
    assert found[3] > 0.8
    assert found.sum() == pytest.approx(1)


def test_channels_that_are_off_together_share_what_holding_any_one_would_make_worse():
    def score(variant):
        one, other, third = variant[-1].astype(float)
        return (one + other) ** 2 + 10 * (one - other) ** 2 + third**2

    found = shares_of(score, np.array([[2, 2, 1]], dtype=np.float32), np.zeros(3))
    assert found[0] == pytest.approx(found[1])
    assert min(found[:2]) > 0.2


@pytest.mark.parametrize("scores", [[5.0, 5.0], [np.nan, np.nan]])
def test_where_nothing_moved_the_parts_of_the_error_decide(scores):
    found = causal_shares(np.array(scores), np.empty(0, dtype=np.int64), PARTS)
    np.testing.assert_allclose(found, [0.75, 0.25, 0])


def test_where_holding_changes_nothing_the_parts_of_the_error_decide():
    moved = np.array([0, 2])
    np.testing.assert_allclose(causal_shares(np.full(6, 2.0), moved, PARTS), [0.75, 0.25, 0])
    np.testing.assert_allclose(causal_shares(np.full(6, np.nan), moved, PARTS), [0.75, 0.25, 0])
    np.testing.assert_allclose(causal_shares(np.full(6, 2.0), moved, 0 * PARTS), np.full(3, 1 / 3))


def test_refuses_what_does_not_fit():
    values = np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(InputError, match="first must be a point of the stretch of 3, got 3"):
        held_variants(values, np.zeros(2), first=3)
    with pytest.raises(InputError, match="level must have the shape"):
        held_variants(values, np.zeros(3), first=0)
    with pytest.raises(InputError, match="scores must have the shape"):
        causal_shares(np.zeros(5), np.array([0, 1]), PARTS)
    with pytest.raises(InputError, match="observed must have the shape"):
        level_of(values, np.ones((2, 2), dtype=bool), np.zeros(2))
