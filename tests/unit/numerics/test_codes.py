"""Moments, active numbers and neighbours of codes, against numpy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflow.numerics.codes import CodeMoments, Nearest, active_units


def codes(count: int = 200, size: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, (count, size)).astype(np.float32)


@given(cuts=st.lists(st.integers(0, 200), max_size=5))
@settings(max_examples=25, deadline=None)
def test_moments_do_not_depend_on_the_portions(cuts):
    every = codes()
    found = CodeMoments.none(4)
    for part in np.split(every, sorted(cuts)):
        found = found.with_codes(part)
    assert found.count == 200
    assert found.mean == pytest.approx(every.mean(axis=0), rel=1e-5)
    assert found.variance == pytest.approx(every.astype(np.float64).var(axis=0), rel=1e-9)


def test_standardised_codes_have_mean_0_and_variance_1_and_what_is_constant_is_0():
    every = np.column_stack([codes(), np.full(200, 7.5)])
    found = CodeMoments.none(5).with_codes(every).standardised(every)
    assert found[:, :4].mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-9)
    assert found[:, :4].std(axis=0) == pytest.approx(np.ones(4))
    assert (found[:, 4] == 0).all()


def test_a_number_is_active_by_its_share_of_the_largest_variance():
    assert active_units(np.array([5.0, 0.06, 0.04, 0.0]), variational=False) == 2


def test_a_number_of_a_variational_code_is_active_over_a_variance_of_a_hundredth():
    assert active_units(np.array([0.9, 0.02, 0.009, 0.0]), variational=True) == 2
    assert active_units(np.zeros(3), variational=False) == 0


def test_the_nearest_code_of_an_item_is_its_own_and_portions_change_nothing():
    every = codes().astype(np.float64)
    queries = every[[3, 150]]
    whole = Nearest.none(2, 5).with_codes(queries, every, np.arange(200))
    parted = Nearest.none(2, 5)
    for rows in np.array_split(np.arange(200), 7):
        parted = parted.with_codes(queries, every[rows], rows)
    assert whole.row[:, 0].tolist() == [3, 150]
    assert (whole.distance[:, 0] == 0).all()
    assert (parted.row == whole.row).all()
    away = np.linalg.norm(every - queries[0], axis=1)
    assert whole.distance[0] == pytest.approx(np.sort(away)[:5])


def test_of_equally_near_codes_the_first_comes_first():
    same = np.zeros((4, 2))
    found = Nearest.none(1, 6).with_codes(same[:1], same[2:], np.array([2, 3]))
    found = found.with_codes(same[:1], same[:2], np.array([0, 1]))
    assert found.row.tolist() == [[0, 1, 2, 3, -1, -1]]
