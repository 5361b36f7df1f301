"""How far a batch lies from the history, on data whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.drift import ROBUST_EDGES, Sketch, compare, learn_profile, spread_over
from aeflow.numerics.false_discovery import adjusted_p_values

ROW = np.zeros(1, dtype=np.int64)


def nobody(values):
    return np.zeros(len(values), dtype=np.int64)


def profile_of(values, rows_per_block=200):
    return learn_profile(values, nobody(values), np.arange(len(values)) // rows_per_block, n_entities=1)


def shift_of(profile, values):
    sketch = Sketch(values.shape[1])
    sketch.feed(values, nobody(values))
    return compare(profile, sketch.counts, ROW)


def walk(generator, rows, memory):
    """Readings of which each resembles the one before, of variance 1."""
    noise = generator.normal(size=rows)
    values = np.empty(rows)
    values[0] = noise[0]
    for i in range(1, rows):
        values[i] = memory * values[i - 1] + np.sqrt(1 - memory**2) * noise[i]
    return values[:, np.newaxis]


def test_portions_and_their_order_change_no_count():
    values = np.random.default_rng(0).normal(size=(500, 3))
    values[::7, 1] = np.nan
    entity = np.arange(500) % 4
    whole, parts = Sketch(3), Sketch(3)
    whole.feed(values, entity)
    for begin in (300, 0, 411):
        end = {300: 411, 0: 300, 411: 500}[begin]
        parts.feed(values[begin:end], entity[begin:end])
    np.testing.assert_array_equal(whole.counts, parts.counts)
    assert whole.counts.shape == (4, 3, ROBUST_EDGES.size + 1)
    assert whole.counts[:, 1].sum() == 500 - len(values[::7])


def test_a_shift_by_one_unit_is_measured_as_one_unit():
    generator = np.random.default_rng(1)
    profile = profile_of(generator.normal(size=(4000, 1)))
    found = shift_of(profile, generator.normal(size=(200, 1)) + 1.0)
    assert found.wasserstein[0, 0] == pytest.approx(1.0, abs=0.15)
    assert found.median[0, 0] == pytest.approx(1.0, abs=0.2)
    assert found.ks[0, 0] == pytest.approx(0.38, abs=0.08)
    assert found.psi[0, 0] > 0.25
    assert found.p_value[0, 0] < 1e-6


def test_independent_readings_are_counted_as_they_are_and_alike_ones_as_few():
    generator = np.random.default_rng(2)
    independent = profile_of(generator.normal(size=(8000, 1))).independent[0]
    alike = profile_of(walk(generator, 8000, 0.98)).independent[0]
    assert 100 < independent <= 200
    assert 1 <= alike < 20


@pytest.mark.parametrize("memory", [0.0, 0.9, 0.98])
def test_batches_of_the_history_are_seldom_called_moved(memory):
    """At a level of 1 %, at most 4 % of 200 batches, however much readings resemble each other."""
    generator = np.random.default_rng(3)
    profile = profile_of(walk(generator, 8000, memory))
    low = [shift_of(profile, walk(generator, 200, memory)).p_value[0, 0] <= 0.01 for _ in range(200)]
    assert np.mean(low) <= 0.04


def test_with_too_few_blocks_nothing_can_be_told():
    generator = np.random.default_rng(4)
    profile = profile_of(generator.normal(size=(600, 1)))
    assert profile.independent[0] == 1.0
    assert shift_of(profile, generator.normal(size=(200, 1)) + 5.0).p_value[0, 0] > 0.1


def test_an_entity_without_readings_is_held_against_all_together():
    values = np.random.default_rng(5).normal(size=(800, 1))
    profile = learn_profile(values, nobody(values), np.arange(800) // 100, n_entities=2)
    np.testing.assert_allclose(profile.shares[1], profile.shares[-1])
    sketch = Sketch(1)
    sketch.widen(1)
    assert np.isnan(compare(profile, sketch.counts, ROW).ks).all()


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(InputError, match="got none"):
        profile_of(np.empty((0, 1)))


def test_a_sample_hangs_on_the_numbers_alone_and_is_in_step_with_no_period():
    number = np.arange(100_000)
    chosen = spread_over(number, 10)
    np.testing.assert_array_equal(
        np.concatenate([spread_over(number[:7], 10), spread_over(number[7:], 10)]), chosen
    )
    assert chosen.mean() == pytest.approx(0.1, abs=0.001)
    of_hour = np.bincount(number[chosen] % 60, minlength=60)
    assert of_hour.min() > 150
    assert spread_over(number, 0.5).all()


def test_adjusted_p_values_are_those_of_the_textbook():
    adjusted = adjusted_p_values(np.array([0.01, 0.04, np.nan, 0.03, 0.5]))
    np.testing.assert_allclose(adjusted, [0.04, 0.04 * 4 / 3, np.nan, 0.04 * 4 / 3, 0.5])
