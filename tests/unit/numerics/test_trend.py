"""A channel that rises or falls all along is told from one that wanders, returns, or is noisy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import kendalltau

from aeflow.exceptions import InputError
from aeflow.numerics.trend import BLOCKS, fit_trends

ROWS = 400
ONE = np.zeros(ROWS, dtype=np.int64)


def trends(*channels, entity=ONE, n_entities=1):
    return fit_trends(np.stack(channels, axis=1), entity, n_entities)


def noise(seed=0, rows=ROWS):
    return np.random.default_rng(seed).standard_normal(rows)


def test_a_rise_is_told_in_deviations_of_its_noise_and_a_fall_is_negative():
    ramp = np.linspace(0, 1, ROWS) * 8 / 7  # from the first block's mean to the last one's it is 1
    found = trends(noise() + 5 * ramp, noise(1) - 5 * ramp, 1000 * (noise(2) + 5 * ramp))
    assert found.trending.all()
    assert found.rise[0] == pytest.approx([5, -5, 5], rel=0.15)


def test_what_wanders_and_returns_and_what_is_lost_in_noise_does_not_trend():
    time = np.arange(ROWS)
    found = trends(noise(), np.sin(time / 20), np.sin(time / 60) * 5 + noise(1), noise(2) + time / ROWS * 0.3)
    assert not found.trending.any()


def test_of_slowly_wandering_channels_about_one_in_a_hundred_is_called_trending():
    rng = np.random.default_rng(3)
    steps = rng.standard_normal((2000, 300))
    values = np.zeros_like(steps)
    for row in range(1, len(steps)):
        values[row] = 0.9 * values[row - 1] + steps[row]
    found = fit_trends(values, np.zeros(2000, dtype=np.int64), 1)
    assert (found.p_value <= 0.01).mean() < 0.04


def test_the_chance_is_the_exact_one_of_kendall():
    for order in list(itertools.permutations(range(BLOCKS)))[::4001]:
        values = np.repeat(np.array(order, dtype=float), 5)[:, np.newaxis]
        found = fit_trends(values, np.zeros(len(values), dtype=np.int64), 1)
        expected = kendalltau(np.arange(BLOCKS), order, method="exact").pvalue
        assert found.p_value[0, 0] == pytest.approx(expected)


def test_entities_are_looked_at_one_by_one():
    ramp = np.linspace(0, 20, ROWS // 2)
    both = np.concatenate([ramp, -ramp]) + noise()
    found = trends(both, entity=np.repeat([0, 2], ROWS // 2), n_entities=3)
    assert found.trending[:, 0].tolist() == [True, False, True]
    assert found.rise[0, 0] > 0 > found.rise[2, 0]


def test_missing_values_count_as_missing_and_too_few_rows_tell_nothing():
    ramp = np.linspace(0, 20, ROWS) + noise()
    holes = np.where(np.arange(ROWS) % 3 == 0, np.nan, ramp)
    no_beginning = np.where(np.arange(ROWS) < 100, np.nan, ramp)
    assert trends(holes, no_beginning).trending[0].tolist() == [True, False]
    few = fit_trends(ramp[: 2 * BLOCKS - 1, np.newaxis], ONE[: 2 * BLOCKS - 1], 1)
    assert (few.p_value[0, 0], few.rise[0, 0]) == (1, 0)


def test_a_channel_that_stands_still_does_not_trend_and_one_that_steps_without_noise_does():
    found = trends(np.full(ROWS, 7.0), np.repeat(np.arange(8.0), ROWS // 8))
    assert found.trending[0].tolist() == [False, True]
    assert found.rise[0].tolist() == [0, np.inf]


def test_rows_of_entities_in_a_muddle_and_codes_outside_are_refused():
    values = np.zeros((4, 1))
    with pytest.raises(InputError, match="entity after entity"):
        fit_trends(values, np.array([0, 1, 0, 1]), 2)
    with pytest.raises(InputError, match="codes"):
        fit_trends(values, np.array([0, 1, 2, 3]), 2)
    with pytest.raises(InputError, match="shape"):
        fit_trends(values[:, 0], np.zeros(4, dtype=int), 1)
