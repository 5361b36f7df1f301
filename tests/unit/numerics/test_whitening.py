from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.whitening import fit_whitening, shrunk_covariance, whiten


def correlated(rows, rng, size=3):
    mixing = np.eye(size) + 0.8
    return rng.standard_normal((rows, size)) @ mixing.T, mixing @ mixing.T


def test_the_covariance_is_that_of_scikit_learn():
    from sklearn.covariance import ledoit_wolf

    values, _ = correlated(60, np.random.default_rng(0), 5)
    np.testing.assert_allclose(
        shrunk_covariance(values), ledoit_wolf(values, assume_centered=True)[0], rtol=1e-9
    )


def test_squares_of_whitened_residuals_sum_to_the_mahalanobis_distance():
    rng = np.random.default_rng(1)
    values, _ = correlated(4000, rng)
    entity = np.zeros(4000, dtype=np.int64)
    matrices = fit_whitening(values, np.ones(values.shape, bool), entity, 1)
    inverse = np.linalg.inv(shrunk_covariance(values))
    expected = np.einsum("ij,jk,ik->i", values, inverse, values)
    np.testing.assert_allclose((whiten(values, matrices, entity) ** 2).sum(axis=1), expected, rtol=1e-3)


def test_a_channel_that_leaves_the_others_is_found_where_each_alone_looks_normal():
    rng = np.random.default_rng(2)
    values, _ = correlated(4000, rng)
    entity = np.zeros(4000, dtype=np.int64)
    matrices = fit_whitening(values, np.ones(values.shape, bool), entity, 1)
    together, apart = np.array([[2.0, 2.0, 2.0]]), np.array([[2.0, 2.0, -2.0]])
    first = np.zeros(1, dtype=np.int64)
    near, far = ((whiten(v, matrices, first) ** 2)[0] for v in (together, apart))
    assert far.sum() > 10 * near.sum()
    assert far.argmax() == 2


def test_entities_have_covariances_of_their_own_and_new_ones_that_of_all():
    rng = np.random.default_rng(3)
    one, other = rng.standard_normal((500, 2)), 3 * rng.standard_normal((500, 2))
    few = rng.standard_normal((4, 2))
    entity = np.repeat([0, 1, 2], [500, 500, 4])
    matrices = fit_whitening(np.vstack([one, other, few]), np.ones((1004, 2), bool), entity, 3)
    assert matrices[0, 0, 0] == pytest.approx(1, abs=0.1)
    assert matrices[1, 0, 0] == pytest.approx(1 / 3, abs=0.05)
    np.testing.assert_array_equal(matrices[2], matrices[-1])
    same = np.ones((2, 2))
    np.testing.assert_array_equal(
        whiten(same, matrices, np.array([-1, 2]))[0], whiten(same, matrices, np.array([2, 0]))[0]
    )


def test_a_row_is_whitened_alike_whatever_comes_with_it():
    rng = np.random.default_rng(4)
    values, _ = correlated(300, rng, 7)
    entity = rng.integers(0, 2, 300)
    matrices = fit_whitening(values, np.ones(values.shape, bool), entity, 2)
    whole = whiten(values, matrices, entity)
    alone = np.vstack([whiten(values[i : i + 1], matrices, entity[i : i + 1]) for i in range(300)])
    np.testing.assert_allclose(alone, whole, rtol=1e-5, atol=1e-6)


def test_channels_that_say_the_same_leave_finite_matrices():
    values = np.repeat(np.random.default_rng(5).standard_normal((50, 1)), 2, axis=1)
    matrices = fit_whitening(values, np.ones(values.shape, bool), np.zeros(50, dtype=np.int64), 1)
    assert np.isfinite(matrices).all()


def test_nothing_and_what_is_not_finite_is_refused():
    with pytest.raises(InputError, match="finite residuals"):
        shrunk_covariance(np.empty((0, 2)))
    with pytest.raises(InputError, match="finite residuals"):
        shrunk_covariance(np.array([[1.0, np.nan]]))
