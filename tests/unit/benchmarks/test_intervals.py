from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from benchmarks.intervals import estimate


def test_one_group_has_the_plain_interval_of_student():
    values = [0.91, 0.94, 0.95]
    found = estimate({"": values})
    half = t.ppf(0.975, 2) * np.std(values, ddof=1) / 3**0.5
    assert found.mean == pytest.approx(np.mean(values))
    assert found.deviation == pytest.approx(np.std(values, ddof=1))
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))


def test_groups_of_equal_spread_have_their_degrees_of_freedom_together():
    values = {str(g): [g - 1.0, g, g + 1.0] for g in range(10)}
    found = estimate(values)
    half = t.ppf(0.975, 20) * (1 / 3 / 10) ** 0.5
    assert found.mean == 4.5
    assert found.high - found.mean == pytest.approx(half)


def test_the_spread_between_groups_makes_no_mean_less_sure():
    found = estimate({"0": [0.1, 0.1], "1": [0.9, 0.9]})
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)


def test_one_seed_has_no_interval():
    found = estimate({"0": [0.5, 0.6], "1": [0.7]})
    assert found.low is None
    assert found.high is None
    assert found.deviation is None


def test_the_interval_holds_the_true_mean_nineteen_times_in_twenty():
    random = np.random.default_rng(0)
    spread = np.linspace(0.5, 2, 10)
    inside = 0
    for _ in range(500):
        values = {str(g): list(random.normal(0, s, 3)) for g, s in enumerate(spread)}
        found = estimate(values)
        inside += found.low <= 0 <= found.high
    assert 0.92 < inside / 500 < 0.98
