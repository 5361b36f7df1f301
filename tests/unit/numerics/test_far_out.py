"""What lies far outside the bulk of some scores."""

from __future__ import annotations

import numpy as np

from aeflow.numerics.far_out import outer_fence


def test_of_normal_scores_next_to_none_lie_beyond_wherever_their_bulk_is():
    scores = np.random.default_rng(0).normal(3, 1, 10_000)
    for moved in (scores, scores + 100, 50 * scores):
        assert (moved > outer_fence(moved)).mean() < 1e-3


def test_a_fifth_of_faults_does_not_hide_itself():
    scores = np.random.default_rng(0).normal(100, 5, 1000)
    scores[::5] = 300
    assert (scores > outer_fence(scores)).tolist() == (scores == 300).tolist()


def test_what_is_not_scored_is_left_out_and_nothing_lies_beyond_nothing():
    assert outer_fence(np.array([1.0, np.nan, 2.0, 3.0])) == outer_fence(np.array([1.0, 2.0, 3.0]))
    assert outer_fence(np.array([np.nan])) == np.inf
