from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest as Reference

from aeflow.exceptions import InputError
from aeflow.numerics.isolation_forest import IsolationForest, fit_isolation_forest

NORMAL = np.random.default_rng(0).standard_normal((600, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def forest():
    return fit_isolation_forest(NORMAL, seed=3)


@pytest.mark.parametrize("n", [2, 3, 40, 600])
def test_the_scores_are_those_of_scikit_learn(n):
    reference = Reference(n_estimators=100, max_samples=min(256, n), random_state=1).fit(NORMAL[:n])
    fresh = 2 * np.random.default_rng(1).standard_normal((300, 5)).astype(np.float32)
    found = fit_isolation_forest(NORMAL[:n], seed=1).scores(fresh)
    np.testing.assert_allclose(found, -reference.score_samples(fresh), rtol=1e-5)


def test_what_lies_far_from_the_others_scores_higher(forest):
    assert forest.scores(NORMAL + 8).min() > np.quantile(forest.scores(NORMAL), 0.99)


def test_a_score_does_not_depend_on_the_other_items(forest):
    alone = np.concatenate([forest.scores(NORMAL[i : i + 1]) for i in range(50)])
    np.testing.assert_array_equal(forest.scores(NORMAL)[:50], alone)
    assert forest.scores(NORMAL[:0]).shape == (0,)


def test_a_stored_forest_scores_the_same(forest):
    again = IsolationForest.from_arrays(forest.to_arrays())
    np.testing.assert_array_equal(again.scores(NORMAL), forest.scores(NORMAL))
    incomplete = forest.to_arrays()
    del incomplete["left"]
    with pytest.raises(InputError, match="lacks left"):
        IsolationForest.from_arrays(incomplete)


def test_items_that_are_no_items_are_refused(forest):
    with pytest.raises(InputError, match="two normal items"):
        fit_isolation_forest(NORMAL[:1], seed=0)
    with pytest.raises(InputError, match="finite"):
        fit_isolation_forest(np.array([[np.nan], [1.0]], dtype=np.float32), seed=0)
    with pytest.raises(InputError, match="items"):
        forest.scores(NORMAL[:, :2])
