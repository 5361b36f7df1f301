"""Differences of two detectors on the same items."""

from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.metrics import auroc
from aeflow.numerics.paired import auroc_differences, difference_of, placements, share_differences


def area(clean, abnormal):
    return auroc(np.repeat([0, 1], [clean.size, abnormal.size]), np.concatenate([clean, abnormal]))


def samples(seed, shift):
    generator = np.random.default_rng(seed)
    clean, abnormal = generator.normal(size=400), generator.normal(size=100) + 1
    noise = generator.normal(scale=0.3, size=500)
    return (clean, clean + noise[:400]), (abnormal + shift, abnormal + noise[400:])


def test_the_mean_placement_is_the_auroc_and_the_value_their_difference():
    clean, abnormal = samples(0, 0.5)
    below, above = placements(clean[0], abnormal[0])
    assert below.mean() == pytest.approx(area(clean[0], abnormal[0]))
    assert above.mean() == pytest.approx(area(clean[0], abnormal[0]))
    found = difference_of(auroc_differences(clean, abnormal, seed=1))
    assert found.value == pytest.approx(area(clean[0], abnormal[0]) - area(clean[1], abnormal[1]))
    assert found.low < found.value < found.high


def test_a_detector_does_not_differ_from_itself():
    (clean, _), (abnormal, _) = samples(0, 0)
    found = difference_of(auroc_differences((clean, clean), (abnormal, abnormal), seed=1))
    assert found.value == found.low == found.high == 0


def test_the_interval_is_that_of_drawing_items_anew_and_sorting_them():
    clean, abnormal = samples(3, 0.2)
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        c, x = generator.integers(0, 400, 400), generator.integers(0, 100, 100)
        drawn.append(area(clean[0][c], abnormal[0][x]) - area(clean[1][c], abnormal[1][x]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = difference_of(auroc_differences(clean, abnormal, seed=1))
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)


def test_blocks_widen_the_interval_where_neighbours_resemble_each_other():
    generator = np.random.default_rng(4)
    walk = np.repeat(generator.normal(size=40), 25)
    other = np.repeat(generator.normal(size=40), 25)
    abnormal = generator.normal(size=200) + 1
    pairs = (walk, other), (abnormal, abnormal)
    one = difference_of(auroc_differences(*pairs, seed=1))
    blocks = difference_of(auroc_differences(*pairs, seed=1, block_items=50))
    assert blocks.high - blocks.low > 2 * (one.high - one.low)


@pytest.mark.parametrize("faults", [6, 30])
def test_of_equal_detectors_the_one_is_seldom_better_though_the_points_of_a_fault_are_alike(faults):
    """Lower end above 0: 2.5 % by the definition of the interval. Points drawn one by one make it a third."""
    trials, fault = 200, np.repeat(np.arange(faults), 20)
    better, by_points = 0, 0
    for trial in range(trials):
        generator = np.random.default_rng([11, trial])
        clean = tuple(generator.normal(size=500) for _ in range(2))
        abnormal = tuple(
            np.repeat(generator.normal(1, 1, faults), 20) + generator.normal(0, 0.2, fault.size)
            for _ in range(2)
        )
        better += difference_of(auroc_differences(clean, abnormal, seed=trial, fault=fault)).low > 0
        by_points += difference_of(auroc_differences(clean, abnormal, seed=trial)).low > 0
    assert better <= 0.06 * trials
    assert by_points > 0.2 * trials


def test_one_fault_alone_is_no_comparison():
    clean, abnormal = samples(0, 0)
    with pytest.raises(InputError, match="two faults"):
        auroc_differences(clean, abnormal, seed=1, fault=np.zeros(100, dtype=np.int64))


def test_shares_are_compared_fault_by_fault():
    one = np.repeat([True, False], [80, 20])
    other = np.repeat([True, False], [60, 40])
    found = difference_of(share_differences((one, other), seed=1))
    assert found.value == pytest.approx(0.2)
    assert 0.1 < found.low < found.value < found.high < 0.3


def test_unpaired_or_missing_items_are_refused():
    clean, abnormal = samples(0, 0)
    with pytest.raises(InputError, match="clean must have the shape"):
        auroc_differences((clean[0], clean[1][1:]), abnormal, seed=1)
    with pytest.raises(InputError, match="both sides"):
        auroc_differences((clean[0][:0], clean[1][:0]), abnormal, seed=1)
