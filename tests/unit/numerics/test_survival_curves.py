from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.survival_curves import OWN_SCORES, fit_survival_curves, rarity, score_of_rarity


def drawn(count=5_000, seed=0):
    return np.random.default_rng(seed).exponential(size=count)


def of_one(scores):
    return fit_survival_curves(scores, np.zeros(scores.size, dtype=np.int64), 1)


def rarity_of(scores, curves, row=0):
    at = np.atleast_1d(np.asarray(scores, dtype=np.float64))
    return rarity(at, curves, np.full(at.size, row))


def test_exponential_scores_are_their_own_rarity_also_far_beyond_what_was_seen():
    curves = of_one(drawn())
    at = np.array([0.05, 0.3, 1.0, 2.0, 4.0])
    np.testing.assert_allclose(rarity_of(at, curves), at, rtol=0.1, atol=0.02)
    assert 12 < rarity_of(20.0, curves)[0] < 24


@pytest.mark.parametrize(
    "scores",
    [drawn(), drawn(40), np.random.default_rng(0).uniform(size=3_000), drawn() ** 3, np.ones(600)],
    ids=["exponential", "few", "that end", "heavy", "all the same"],
)
def test_of_two_scores_beyond_the_tail_the_higher_is_the_rarer(scores):
    at = np.geomspace(scores.max() * 1.001, 1e12, 60)
    found = rarity_of(at, of_one(scores))
    assert (np.diff(found) > 0).all()
    assert np.isfinite(found).all()


def test_it_never_falls_with_the_score_and_begins_at_nothing():
    curves = of_one(np.round(drawn(), 1))  # with ties, many of them at 0
    at = np.linspace(0, 30, 2_000)
    found = rarity_of(at, curves)
    assert found[0] == 0
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("scores", [drawn(), drawn(30), 1 + drawn() ** 2])
def test_a_score_is_found_again_by_its_rarity(scores):
    curves = of_one(scores)
    for at in (*np.quantile(scores, [0.1, 0.5, 0.95]), 5 * scores.max()):
        (rare,) = rarity_of(at, curves)
        assert score_of_rarity(rare, curves[0]) == pytest.approx(at, rel=1e-6)
    assert np.isnan(score_of_rarity(np.nan, curves[0]))


def test_an_entity_with_few_scores_takes_those_of_all_and_others_their_own():
    scores = np.concatenate(
        [drawn(OWN_SCORES), 100 * drawn(OWN_SCORES, seed=1), drawn(OWN_SCORES - 1, seed=2)]
    )
    entity = np.repeat([0, 1, 2], [OWN_SCORES, OWN_SCORES, OWN_SCORES - 1])
    curves = fit_survival_curves(scores, entity, 4)
    np.testing.assert_array_equal(curves[2], curves[-1])
    np.testing.assert_array_equal(curves[3], curves[-1])
    rare, common = (rarity_of(10.0, curves, row)[0] for row in (0, 1))
    assert rare > 5
    assert common < 0.5
    np.testing.assert_array_equal(rarity_of(10.0, curves, -1), rarity_of(10.0, curves, 4))


def test_an_entity_whose_scores_hardly_differ_does_not_find_the_next_one_infinitely_rare():
    still = 1 + 1e-6 * np.random.default_rng(0).uniform(size=OWN_SCORES)
    scores, entity = np.concatenate([drawn(), still]), np.repeat([0, 1], [5_000, OWN_SCORES])
    curves = fit_survival_curves(scores, entity, 2)
    assert 5 < rarity_of(1.1, curves, 1)[0] < 20


def test_missing_scores_do_not_count_and_have_no_rarity():
    scores = drawn(800)
    with_gaps = np.concatenate([scores, np.full(50, np.nan)])
    np.testing.assert_array_equal(of_one(with_gaps), of_one(scores))
    assert np.isnan(rarity_of(np.nan, of_one(scores))).all()


@pytest.mark.parametrize("scores", [np.empty(0), np.zeros(700), np.full(5, np.nan)])
def test_without_scores_that_tell_anything_any_is_rare(scores):
    found = rarity_of([0.0, 1.0, 2.0], of_one(scores))
    assert found[0] == 0
    assert found[2] > found[1] > 10


def test_codes_and_scores_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="entity must have the shape"):
        fit_survival_curves(drawn(5), np.zeros(4, dtype=np.int64), 1)
    with pytest.raises(InputError, match="entity codes must lie in"):
        fit_survival_curves(drawn(5), np.full(5, 3), 1)
