from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.dependence import SHARES, design_effects, fit_design_effects, largest_design_effect


def autocorrelated(n, rho, seed):
    noise = np.random.default_rng(seed).standard_normal(n)
    for i in range(1, n):
        noise[i] += rho * noise[i - 1]
    return noise


def test_independent_scores_count_in_full():
    scores = np.random.default_rng(0).standard_normal(2000)
    assert fit_design_effects(scores).tolist() == [1.0] * len(SHARES)
    assert fit_design_effects(scores, group=np.arange(2000)).max() == pytest.approx(1.0, abs=1e-3)
    assert fit_design_effects(scores, position=np.arange(2000)).max() < 2


def test_copies_of_one_score_count_as_one():
    scores = np.repeat(np.random.default_rng(1).standard_normal(200), 7)
    effects = fit_design_effects(scores, group=np.arange(1400) // 7)
    np.testing.assert_allclose(effects, 7, rtol=0.01)


def test_the_effect_is_the_variance_of_a_share_over_that_of_independent_items():
    """Measured on 400 other draws of the same groups."""
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(60), 5)

    def draw():
        return rng.standard_normal(60)[group] + rng.standard_normal(300)

    level = 0.9
    shares = [np.mean(draw() > level) for _ in range(400)]
    expected = np.var(shares) / (np.mean(shares) * (1 - np.mean(shares)) / 300)
    found = np.mean([design_effects((draw() > level)[np.newaxis], group) for _ in range(100)])
    assert found == pytest.approx(expected, rel=0.2)


def test_slow_scores_count_for_less_and_nothing_hangs_on_where_time_begins():
    effects = [
        fit_design_effects(autocorrelated(4000, rho, 3), position=np.arange(4000))[0] for rho in (0, 0.9)
    ]
    assert effects[1] > 5 * effects[0]
    moved = fit_design_effects(autocorrelated(4000, 0.9, 3), position=np.arange(4000) + 10**9)
    assert moved[0] == effects[1]


def test_entities_that_move_together_count_as_one():
    together = np.tile(np.random.default_rng(4).standard_normal(500), 6)
    position = np.tile(np.arange(500), 6)
    assert fit_design_effects(together, position=position).min() > 5


def test_one_block_or_nothing_above_tells_nothing():
    assert design_effects(np.zeros((1, 5), bool), np.arange(5)).tolist() == [1.0]
    assert design_effects(np.array([[True, False]]), np.zeros(2, int)).tolist() == [1.0]
    assert largest_design_effect(np.array([True, False]), np.array([5, 6])) == 1.0


def test_groups_of_another_number_are_refused():
    with pytest.raises(InputError, match="group"):
        fit_design_effects(np.ones(3), group=np.ones(2, int))
