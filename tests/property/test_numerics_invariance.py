from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aeflow.numerics.events import iter_event_counts, merge_flagged
from aeflow.numerics.metrics import auroc
from aeflow.numerics.profile import ChannelProfile
from aeflow.numerics.reconstruction_error import image_scores, series_scores
from aeflow.numerics.scaling import fit_robust_scale

quick = settings(max_examples=50, deadline=None)
seeds = st.integers(0, 2**32 - 1)


@quick
@given(seeds, st.integers(1, 30), st.integers(1, 5))
def test_contributions_sum_to_the_score_and_each_row_scores_alone(seed, n, c):
    rng = np.random.default_rng(seed)
    residual = rng.standard_normal((n, c)).astype(np.float32)
    observed = rng.random((n, c)) < 0.8
    spread = rng.uniform(0.01, 2, (n, c)).astype(np.float32)
    scores, parts = series_scores(residual, observed, spread)
    scored = observed.any(axis=1)
    np.testing.assert_allclose(parts.sum(axis=1)[scored], scores[scored], rtol=1e-5)
    np.testing.assert_array_equal(np.isnan(scores), ~scored)
    assert (parts[~observed] == 0).all()
    order = rng.permutation(n)
    alone = [series_scores(residual[[i]], observed[[i]], spread[[i]])[0][0] for i in order]
    np.testing.assert_array_equal(alone, scores[order])


@quick
@given(
    seeds,
    st.integers(1, 6),
    st.integers(1, 3),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.floats(0.001, 1),
)
def test_an_image_scores_the_same_alone_and_its_bands_sum_to_the_score(seed, n, c, smooth, share):
    error = np.random.default_rng(seed).random((n, c, 9, 7)).astype(np.float32)
    scores, parts = image_scores(error, smooth, share)
    np.testing.assert_allclose(parts.sum(axis=1), scores, rtol=1e-5)
    for i in range(n):
        np.testing.assert_array_equal(image_scores(error[[i]], smooth, share)[0], scores[[i]])


@quick
@given(seeds, st.integers(1, 40), st.integers(1, 3))
def test_scaling_and_back_returns_the_values(seed, rows, entities):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, 2)) * 10 ** rng.uniform(-3, 3, 2)
    entity = rng.integers(0, entities, rows)
    scale = fit_robust_scale(values, entity, entities)
    back = scale.invert(scale.apply(values, entity), entity)
    spread = np.abs(values).max(axis=0)
    np.testing.assert_allclose(back, values, rtol=1e-4, atol=1e-5 * spread.max())


@quick
@given(seeds, st.integers(0, 50), st.lists(st.integers(0, 50), max_size=4))
def test_a_profile_does_not_depend_on_the_portions(seed, rows, cuts):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 3, (rows, 2)).astype(np.float64)
    values[rng.random(values.shape) < 0.2] = np.nan
    entity = rng.integers(0, 3, rows)
    whole, portions = ChannelProfile(2), ChannelProfile(2)
    whole.feed(values, entity)
    for part in np.split(np.arange(rows), sorted(min(cut, rows) for cut in cuts)):
        portions.feed(values[part], entity[part])
    one, other = whole.result().to_arrays(), portions.result().to_arrays()
    for name in one:
        if name in {"mean", "std"}:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-12, err_msg=name)
        else:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@quick
@given(seeds, st.integers(1, 40), st.integers(0, 3), st.integers(1, 3))
def test_event_counts_of_all_cuts_are_those_of_each_cut(seed, rows, merge_gap, min_points):
    rng = np.random.default_rng(seed)
    entity, position = rng.integers(0, 2, rows), rng.integers(0, 40, rows)
    scores = rng.integers(0, 8, rows).astype(np.float64)
    rule = {"merge_gap": merge_gap, "min_points": min_points}
    for level, points, events in iter_event_counts(scores, position, entity, **rule):
        at_or_above = np.flatnonzero(scores >= level)
        order = at_or_above[np.lexsort((position[at_or_above], entity[at_or_above]))]
        number = merge_flagged(position[order], entity[order], **rule)
        assert points == at_or_above.size
        assert events == number.max() + 1


@quick
@given(arrays(np.float64, 20, elements=st.floats(-5, 5)), seeds)
def test_auroc_does_not_mind_a_rising_change_of_scale_or_the_order(scores, seed):
    labels = np.arange(20) % 3 == 0
    order = np.random.default_rng(seed).permutation(20)
    scores = np.round(scores, 3)
    assert auroc(labels[order], 3 * scores[order] + 1) == auroc(labels, scores)
