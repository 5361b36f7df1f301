from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from scipy import stats

from aeflow.exceptions import InputError
from aeflow.numerics.fusion import FusionRule, common_rarity, fuse

RULES = get_args(FusionRule)


def chances(members, count=4_000, seed=0):
    return np.random.default_rng(seed).uniform(size=(members, count))


@pytest.mark.parametrize("rule", RULES)
def test_one_member_is_taken_as_it_is(rule):
    rarity = np.array([[0.02, 0.7, 3.0, 29.9, 30.1, 500.0, 1e20]])
    fused, parts = fuse(rarity, rule)
    np.testing.assert_allclose(fused, rarity[0], rtol=1e-9)
    np.testing.assert_array_equal(parts, 1)


@pytest.mark.parametrize("members", [2, 3, 5])
def test_every_rule_is_its_formula(members):
    p = chances(members, 200) * 0.98
    expected = {
        "fisher": [stats.combine_pvalues(column, "fisher").pvalue for column in p.T],
        "harmonic": members / (1 / p).sum(axis=0),
        "smallest": 1 - (1 - p.min(axis=0)) ** members,
        "cauchy": 0.5 - np.arctan(np.tan((0.5 - p) * np.pi).mean(axis=0)) / np.pi,
    }
    for rule in RULES:
        np.testing.assert_allclose(np.exp(-fuse(-np.log(p), rule)[0]), expected[rule], rtol=1e-7)


@pytest.mark.parametrize("rule", ["fisher", "smallest", "cauchy"])
def test_of_independent_members_the_fused_chance_is_one(rule):
    p = np.exp(-fuse(-np.log(chances(3)), rule)[0])
    assert stats.kstest(p[p < 0.9] / 0.9, "uniform").statistic < 0.03
    assert np.mean(p < 0.01) == pytest.approx(0.01, abs=0.005)


@pytest.mark.parametrize("rule", ["harmonic", "cauchy"])
def test_members_that_say_the_same_change_nothing(rule):
    rarity = np.tile(-np.log(chances(1, 500) * 0.98), (4, 1))
    np.testing.assert_allclose(fuse(rarity, rule)[0], rarity[0], rtol=1e-6, atol=1e-9)


def test_what_several_find_a_little_odd_is_odd_by_fisher_alone():
    each_a_little, one_alone = np.full((4, 1), 3.0), np.array([[5.0], [0.5], [0.5], [0.5]])
    fused = {rule: [fuse(x, rule)[0][0] for x in (each_a_little, one_alone)] for rule in RULES}
    assert fused["fisher"][0] > fused["fisher"][1]
    assert all(fused[rule][0] < fused[rule][1] for rule in ("harmonic", "smallest", "cauchy"))


@pytest.mark.parametrize("rule", RULES)
def test_it_rises_with_every_rarity_and_stays_finite_however_far(rule):
    steps = np.concatenate([np.linspace(0.05, 60, 500), np.geomspace(61, 1e12, 50)])
    other = np.full_like(steps, 2.0)
    fused, _ = fuse(np.stack([steps, other]), rule)
    assert np.isfinite(fused).all()
    above = steps > 2 if rule == "smallest" else np.ones(steps.size, dtype=bool)
    assert (np.diff(fused[above]) > 0).all()
    assert np.isfinite(fuse(np.array([[np.inf], [0.0]]), rule)[0]).all()


@pytest.mark.parametrize("rule", RULES)
def test_parts_sum_to_one_and_the_rarer_has_the_larger(rule):
    rarity = -np.log(chances(3, 300, seed=1))
    _, parts = fuse(rarity, rule)
    np.testing.assert_allclose(parts.sum(axis=0), 1, rtol=1e-9)
    clear = rarity.max(axis=0) > 1
    np.testing.assert_array_equal(parts.argmax(axis=0)[clear], rarity.argmax(axis=0)[clear])
    np.testing.assert_allclose(fuse(np.zeros((3, 1)), rule)[1], 1 / 3)


@pytest.mark.parametrize("rule", RULES)
def test_without_the_score_of_a_member_there_is_none(rule):
    fused, parts = fuse(np.array([[1.0, np.nan], [2.0, 3.0]]), rule)
    assert np.isnan(fused).tolist() == [False, True]
    assert np.isnan(parts).tolist() == [[False, True]] * 2


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("members", [1, 2, 8])
def test_where_members_agree_their_rarity_is_found_again(rule, members):
    for rare in (0.5, 4.0, 200.0):
        fused = fuse(np.full((members, 1), rare), rule)[0][0]
        assert common_rarity(fused, members, rule) == pytest.approx(rare, rel=1e-6)
    assert np.isnan(common_rarity(np.nan, members, rule))


def test_what_is_no_rarity_is_refused():
    with pytest.raises(InputError, match="rarity must have the shape"):
        fuse(np.ones(3), "fisher")
    with pytest.raises(InputError, match="at least one member"):
        fuse(np.ones((0, 3)), "fisher")
    with pytest.raises(InputError, match="rule must be one of fisher, harmonic"):
        fuse(np.ones((2, 3)), "loudest")
