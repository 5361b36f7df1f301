from __future__ import annotations

import numpy as np
import pytest

from aeflow.numerics.p_values import fit_normal_scores

SCORES = np.random.default_rng(0).standard_exponential(1000)


def test_a_chance_in_the_tail_rests_on_the_independent_scores_beyond_its_start():
    normal = fit_normal_scores(SCORES, "peaks_over_threshold", group=np.arange(1000) // 2)
    excesses = (normal.tail.start <= SCORES).sum() / normal.unit
    for p in (normal.tail.share, 0.01, 1e-4):
        assert normal.independent_flags(p) == pytest.approx(normal.tail.relative_error(p, excesses) ** -2)


def test_a_chance_without_a_tail_rests_on_the_independent_scores_that_are_as_rare():
    normal = fit_normal_scores(SCORES, "conformal")
    assert normal.independent_flags(0.05) == pytest.approx(50)
    assert normal.independent_flags(1e-9) == 1.0


@pytest.mark.parametrize("rule", ["conformal", "quantile"])
def test_a_calibration_score_is_judged_as_if_it_had_not_been_among_them(rule):
    """Of 4 scores the highest has beaten 3 others: (1 + 0) / (3 + 1)."""
    scores = np.array([3.0, 1.0, 4.0, 2.0])
    normal = fit_normal_scores(scores, rule)
    found = normal.held_out_p_values(scores)
    if rule == "conformal":
        np.testing.assert_allclose(found, [0.5, 1.0, 0.25, 0.75])
    else:
        np.testing.assert_allclose(found, normal.p_values(scores))
