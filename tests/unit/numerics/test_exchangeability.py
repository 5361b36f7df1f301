"""The check of the promise: silent on clean data and on real anomalies, loud before a flood."""

from __future__ import annotations

import numpy as np
import pytest

from aeflow.numerics.exchangeability import ABNORMAL_SHARE, LEVEL, BulkCounts, check_exchangeability
from aeflow.numerics.p_values import fit_normal_scores
from tests.unit.numerics.test_dependence import autocorrelated


def checked(normal, scores):
    counts = BulkCounts()
    counts.add(normal.p_values(scores))
    return check_exchangeability(counts, normal, {})


def fit(n=2000, seed=0, rho=0.8):
    scores = autocorrelated(n, rho, seed)
    return fit_normal_scores(scores, "peaks_over_threshold", position=np.arange(n))


def test_portions_do_not_matter_and_nan_does_not_count():
    p = np.random.default_rng(0).random(1000)
    whole, parts = BulkCounts(), BulkCounts()
    whole.add(np.append(p, np.nan))
    for part in np.array_split(p, 7):
        parts.add(part)
    assert whole.n == parts.n == 1000
    assert whole.below.tolist() == parts.below.tolist() == [(p <= s).sum() for s in (0.5, 0.25, 0.1)]


@pytest.mark.parametrize("rule", ["conformal", "quantile", "peaks_over_threshold"])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_clean_batches_are_seldom_called_moved(rule, rho):
    """Other draws of the same process: at most one in a hundred, here of 200."""
    moved = 0
    for seed in range(200):
        scores = autocorrelated(1500 + 400, rho, seed)
        normal = fit_normal_scores(scores[:1500], rule, position=np.arange(1500))
        moved += not checked(normal, scores[1500:]).kept
    assert moved <= 4  # 99.5 % of binomial(200, 0.01)


def test_clean_groups_are_seldom_called_moved():
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(30), 4)
    moved = 0
    for _ in range(200):
        draw = [2 * rng.standard_normal(30)[group] + rng.standard_normal(120) for _ in range(2)]
        moved += not checked(fit_normal_scores(draw[0], "conformal", group=group), draw[1]).kept
    assert moved <= 4


def test_a_batch_with_a_tenth_of_faults_is_not_called_moved():
    normal = fit()
    batch = autocorrelated(1000, 0.8, 1)
    batch[400:500] += 50
    assert checked(normal, batch).kept


def test_a_shift_is_told_with_its_figures():
    found = checked(fit(), autocorrelated(1000, 0.8, 1) + 2.5)
    assert found.moved
    assert not found.kept
    assert found.whole.came > found.whole.expected + ABNORMAL_SHARE
    assert found.whole.p_value < LEVEL


def test_lower_scores_break_no_promise():
    assert checked(fit(), autocorrelated(1000, 0.8, 1) - 5).kept


def test_few_points_prove_nothing():
    assert checked(fit(), np.array([10.0, 11.0])).kept
    nothing = checked(fit(), np.array([np.nan]))
    assert nothing.whole is None
    assert nothing.kept


def test_an_entity_that_moved_by_itself_is_named():
    normal = {name: fit(seed=number) for number, name in enumerate("abcde")}
    counts = {}
    for number, name in enumerate("abcde"):
        counts[name] = BulkCounts()
        counts[name].add(normal[name].p_values(autocorrelated(1000, 0.8, 20 + number) + 4 * (name == "c")))
    found = check_exchangeability(
        BulkCounts(), normal["a"], {name: (counts[name], normal[name]) for name in counts}
    )
    assert list(found.entities) == ["c"]
    assert not found.moved
    assert not found.kept
