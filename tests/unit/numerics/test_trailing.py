from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.trailing import (
    at_two_scales,
    fit_usual_level,
    look_back_points,
    moving_baseline,
    trailing_mean,
)


def series(seed=0, entities=3, points=400, gaps=True):
    """Scores of some entities with gaps, long and short; entity and slot beside them."""
    rng = np.random.default_rng(seed)
    entity, slot = [], []
    for code in range(entities):
        steps = (
            rng.choice([1, 1, 1, 2, 40], size=points, p=[0.5, 0.3, 0.15, 0.04, 0.01])
            if gaps
            else np.ones(points)
        )
        entity += [code] * points
        slot += (rng.integers(-1000, 1000) + np.cumsum(steps)).tolist()
    scores = rng.gamma(2, size=entities * points).astype(np.float32)
    scores[rng.random(scores.size) < 0.05] = np.nan
    return scores, np.array(entity), np.array(slot, dtype=np.int64)


def naive(scores, entity, slot, measure):
    """`measure` of the scores of the same entity, called with their distances back in steps."""
    found = []
    for i in range(scores.size):
        mine = np.flatnonzero(entity[: i + 1] == entity[i])
        found.append(measure(scores[mine], slot[i] - slot[mine], slot[i]))
    return np.array(found)


@pytest.mark.parametrize("points", [2, 3, 7, 20])
def test_the_mean_is_that_of_the_last_grid_points_of_the_entity(points):
    scores, entity, slot = series(points=120)

    def mean(of, back, _at):
        return np.nan if np.isnan(of[-1]) else np.nanmean(of[back < points])

    np.testing.assert_allclose(
        trailing_mean(scores, entity, slot, points), naive(scores, entity, slot, mean), rtol=1e-5
    )


def test_columns_are_averaged_together_and_one_point_changes_nothing():
    scores, entity, slot = series(points=50)
    table = np.column_stack([scores, 2 * scores])
    found = trailing_mean(table, entity, slot, 5)
    np.testing.assert_allclose(found[:, 1], 2 * found[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(trailing_mean(table, entity, slot, 1), table)


def test_the_two_scales_of_a_score_count_by_their_weights_and_so_do_their_parts():
    rng = np.random.default_rng(0)
    point_parts, mean_parts = rng.gamma(2, size=(2, 6, 3))
    point, mean = point_parts.sum(axis=1), mean_parts.sum(axis=1)
    found, parts = at_two_scales(point, point_parts, mean, mean_parts, 0.25)
    np.testing.assert_allclose(found, point**0.25 * mean**0.75, rtol=1e-6)
    np.testing.assert_allclose(parts.sum(axis=1), found, rtol=1e-6)
    np.testing.assert_allclose(
        parts / found[:, None],
        0.25 * point_parts / point[:, None] + 0.75 * mean_parts / mean[:, None],
        rtol=1e-6,
    )


def test_of_two_scales_nothing_on_one_is_nothing_and_what_is_missing_stays_so():
    parts = np.array([[0.0], [2.0], [np.nan]])
    found, of_it = at_two_scales(parts[:, 0], parts, np.array([4.0, 8.0, np.nan]), parts, 0.5)
    np.testing.assert_allclose(found, [0.0, 4.0, np.nan])
    assert of_it[0] == 0
    assert np.isnan(of_it[2])


def test_one_huge_value_is_forgotten_when_it_is_out_of_reach():
    scores = np.ones(100, dtype=np.float32)
    scores[10] = 1e30
    found = trailing_mean(scores, np.zeros(100, int), np.arange(100), 8)
    np.testing.assert_array_equal(found[18:], 1.0)
    assert (found[10:18] > 1e28).all()


def test_the_baseline_is_the_quantile_of_the_points_before_the_block_and_the_usual_level_where_they_lack():
    scores, entity, slot = series(points=150)
    points, quantile = 32, 0.7
    usual = 1.0 + entity.astype(np.float32)

    def level(of, back, at):
        into = at - at // 2 * 2  # blocks of two
        seen = of[(back > into) & (back <= into + points)]
        seen = seen[~np.isnan(seen)]
        own = np.quantile(seen, quantile) if seen.size else 0.0
        share = seen.size / points
        return share * own, 1 - share

    own, rest = naive(scores, entity, slot, level).T
    expected = np.maximum(own + rest * usual, 0.1 * usual)
    found = moving_baseline(scores, entity, slot, usual, points=points, quantile=quantile)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("begin", [1, 37, 200, 399])
def test_a_part_with_the_points_it_looks_back_to_gives_what_the_whole_gives(begin):
    scores, entity, slot = series(seed=begin, entities=1)
    usual = np.ones(scores.size, dtype=np.float32)

    def both(part):
        mean = trailing_mean(scores[part], entity[part], slot[part], 9)
        return mean, moving_baseline(mean, entity[part], slot[part], usual[part], points=48, quantile=0.5)

    whole = both(slice(None))
    first = int(np.searchsorted(slot, slot[begin] - look_back_points(9, 48)))
    cut = both(slice(first, None))
    for one, other in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(one[begin:], other[begin - first :])


def test_where_nothing_moves_the_baseline_stays_a_share_of_the_usual():
    scores = np.zeros(200, dtype=np.float32)
    found = moving_baseline(
        scores, np.zeros(200, int), np.arange(200), np.full(200, 2.0), points=32, quantile=0.5
    )
    assert found[0] == 2.0
    assert found[-1] == pytest.approx(0.2)


def test_the_usual_level_is_each_entitys_own_and_pooled_for_those_without():
    scores = np.array([1, 2, 3, 10, 20, 30, np.nan], dtype=np.float32)
    found = fit_usual_level(scores, np.array([0, 0, 0, 1, 1, 1, 2]), 3, 0.5)
    np.testing.assert_allclose(found, [2, 20, 6.5, 6.5])
    np.testing.assert_array_equal(fit_usual_level(scores[:0], np.zeros(0, int), 1, 0.5), [1, 1])


def test_wrong_orders_and_parameters_are_refused():
    scores, entity, slot = np.ones(4, np.float32), np.zeros(4, int), np.array([1, 2, 2, 3])
    with pytest.raises(InputError, match="must rise"):
        trailing_mean(scores, entity, slot, 2)
    with pytest.raises(InputError, match="at least 1"):
        trailing_mean(scores, entity, np.arange(4), 0)
    with pytest.raises(InputError, match="at least 16 points"):
        moving_baseline(scores, entity, np.arange(4), scores, points=8, quantile=0.5)
    with pytest.raises(InputError, match="quantile"):
        moving_baseline(scores, entity, np.arange(4), scores, points=16, quantile=1.0)


def test_what_needs_no_past_looks_back_to_nothing():
    assert look_back_points(1, 0) == 0
    assert look_back_points(20, 800) == 19 + 800 + 50
