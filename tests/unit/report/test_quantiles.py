from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aeflow.exceptions import InputError
from aeflow.report.quantiles import ScoreCounts

scores_of_any_sign = arrays(
    np.float32, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
)


@settings(max_examples=25, deadline=None)
@given(scores_of_any_sign, st.floats(0, 1))
def test_a_quantile_is_the_sorted_score_to_one_part_in_two_thousand(scores, share):
    counts = ScoreCounts()
    counts.feed(scores)
    exact = float(np.sort(scores)[max(int(np.ceil(share * scores.size)), 1) - 1])
    assert counts.quantile(share) == pytest.approx(exact, rel=1 / 2048, abs=1e-30)
    assert (counts.minimum, counts.maximum, counts.n) == (scores.min(), scores.max(), scores.size)


def test_the_portions_in_which_scores_come_do_not_matter():
    scores = np.random.default_rng(0).gamma(2, size=1000).astype(np.float32)
    at_once, in_parts = ScoreCounts(), ScoreCounts()
    at_once.feed(scores)
    for part in np.array_split(scores[::-1], 7):
        in_parts.feed(part)
    assert [at_once.quantile(q) for q in (0, 0.5, 0.99, 1)] == [
        in_parts.quantile(q) for q in (0, 0.5, 0.99, 1)
    ]


def test_scores_that_are_missing_do_not_count():
    counts = ScoreCounts()
    counts.feed(np.array([np.nan, 2.0, np.nan]))
    assert (counts.n, counts.quantile(0.5)) == (1, 2.0)


def test_no_quantile_of_nothing_nor_beyond_all():
    counts = ScoreCounts()
    with pytest.raises(InputError, match="0 scores"):
        counts.quantile(0.5)
    counts.feed(np.ones(3))
    with pytest.raises(InputError, match=r"share of 1\.5"):
        counts.quantile(1.5)
