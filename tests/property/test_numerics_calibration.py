from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aeflow.numerics.calibration import Calibration, fit_calibration

RULES = ("conformal", "quantile", "peaks_over_threshold")
finite = st.floats(-1e6, 1e6, width=32)
samples = arrays(np.float64, st.integers(2, 60), elements=finite | st.sampled_from([0.0, 1.0]))
rules = st.sampled_from(RULES)


def fit(scores, rule, false_flags=1.0, items=20.0):
    return fit_calibration(scores, rule=rule, false_flags_per_batch=false_flags, items_per_batch=items)


@settings(max_examples=60, deadline=None)
@given(samples, samples, rules)
def test_p_values_lie_in_0_to_1_and_never_rise_with_the_score(normal, scores, rule):
    p = fit(normal, rule).p_values(np.sort(np.concatenate([normal, scores])))
    assert (p > 0).all()
    assert (p <= 1).all()
    assert (np.diff(p) <= 1e-15).all()


@settings(max_examples=40, deadline=None)
@given(samples, rules, st.randoms(use_true_random=False))
def test_the_order_of_the_calibration_scores_does_not_matter(normal, rule, random):
    shuffled = normal.copy()
    random.shuffle(shuffled)
    one, other = fit(normal, rule), fit(shuffled, rule)
    assert one.to_json() == other.to_json()
    np.testing.assert_array_equal(one.p_values(normal), other.p_values(normal))


@settings(max_examples=40, deadline=None)
@given(samples, samples, rules)
def test_a_score_is_judged_the_same_whatever_is_judged_beside_it(normal, scores, rule):
    calibration = fit(normal, rule)
    together = calibration.p_values(scores)
    alone = np.concatenate([calibration.p_values(scores[i : i + 1]) for i in range(scores.size)])
    np.testing.assert_array_equal(together, alone)


@settings(max_examples=40, deadline=None)
@given(samples, samples, rules)
def test_severity_reaches_50_exactly_where_an_item_is_flagged(normal, scores, rule):
    calibration = fit(normal, rule)
    p = calibration.p_values(np.concatenate([normal, scores]))
    severity, flags = calibration.severity(p), calibration.flags(p)
    assert (severity[flags] >= 50).all()
    assert (severity[~flags] <= 50).all()


@settings(max_examples=40, deadline=None)
@given(samples, samples, rules)
def test_what_is_stored_judges_as_what_was_fitted(normal, scores, rule):
    calibration = fit(normal, rule)
    described = json.loads(json.dumps(calibration.to_json()))
    stored = {name: array.copy() for name, array in calibration.to_arrays().items()}
    again = Calibration.from_parts(described, stored)
    np.testing.assert_array_equal(again.p_values(scores), calibration.p_values(scores))
    assert again.alpha == calibration.alpha


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(1e-6, 1.0)), st.floats(0.01, 0.5))
def test_the_false_discovery_cut_is_that_of_the_definition(p, rate):
    calibration = fit_calibration(
        np.arange(10.0), rule="conformal", false_discovery_rate=rate, items_per_batch=10
    )
    ordered = np.sort(p)
    passing = [k for k in range(1, p.size + 1) if ordered[k - 1] <= rate * k / p.size]
    expected = p <= ordered[max(passing) - 1] if passing else np.zeros(p.size, bool)
    np.testing.assert_array_equal(calibration.flags(p), expected)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("n", "promised", "items"), [(1000, 3.0, 100.0), (1000, 2.0, 1000.0)])
def test_the_promise_is_kept_on_average(rule, n, promised, items):
    rng = np.random.default_rng(0)
    came = []
    for _ in range(150):
        calibration = fit(rng.standard_normal(n), rule, promised, items)
        flags = calibration.flags(calibration.p_values(rng.standard_normal(5000)))
        came.append(flags.mean() * items)
    # Three standard errors of the average: the cut itself varies with the calibration scores.
    slack = 3 * np.std(came) / np.sqrt(len(came))
    assert promised * 0.4 < np.mean(came) < promised + slack


@pytest.mark.parametrize("normal_share", [0.9, 0.4])
@pytest.mark.parametrize("storey", [False, True])
def test_the_false_discovery_rate_is_kept_on_average(storey, normal_share):
    rng = np.random.default_rng(1)
    false_share, n_normal = [], int(200 * normal_share)
    for _ in range(200):
        calibration = fit_calibration(
            rng.standard_normal(2000),
            rule="conformal",
            false_discovery_rate=0.2,
            items_per_batch=200,
            storey=storey,
        )
        batch = np.concatenate([rng.standard_normal(n_normal), rng.standard_normal(200 - n_normal) + 4])
        flags = calibration.flags(calibration.p_values(batch))
        false_share.append(flags[:n_normal].sum() / max(flags.sum(), 1))
    slack = 3 * np.std(false_share) / len(false_share) ** 0.5
    assert 0.5 * 0.2 * (1.0 if storey else normal_share) < np.mean(false_share) < 0.2 + slack


def test_p_values_of_exchangeable_scores_are_spread_evenly():
    rng = np.random.default_rng(2)
    below = {rule: [] for rule in RULES}
    for _ in range(100):
        scores = rng.gamma(2, size=700)
        for rule in RULES:
            p = fit(scores[:500], rule).p_values(scores[500:])
            below[rule].append([(p <= share).mean() for share in (0.01, 0.05, 0.1, 0.5, 0.9)])
    for rule in RULES:
        # A tail is taken a little heavier than estimated, so that the promise is kept on average.
        slack = 0.005 if rule == "peaks_over_threshold" else 0.003
        np.testing.assert_allclose(np.mean(below[rule], axis=0), (0.01, 0.05, 0.1, 0.5, 0.9), atol=3 * slack)
        assert np.mean(below[rule], axis=0)[0] < 0.013
