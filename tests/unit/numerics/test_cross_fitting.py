from __future__ import annotations

import numpy as np
import pytest

from aeflow.numerics.calibration import fit_calibration
from aeflow.numerics.cross_fitting import cross_fitted_events, uneven
from aeflow.numerics.promise import Sequence


def sequence_of(scores, entities=1):
    points = scores.size // entities
    rank = scores.argsort().argsort()
    return Sequence(
        1 - (rank + 0.5) / scores.size,
        np.repeat(np.arange(entities), points),
        np.tile(np.arange(points), entities),
        merge_gap=0,
        min_points=1,
        rest_points=0,
    )


@pytest.mark.parametrize("rule", ["conformal", "peaks_over_threshold"])
def test_blocks_judged_by_the_others_have_as_many_events_as_promised(rule):
    counts = [
        cross_fitted_events(sequence_of(np.random.default_rng(seed).standard_normal(2000), 2), rule, 5.0, 200)
        for seed in range(20)
    ]
    assert np.mean(counts) == pytest.approx(10, rel=0.2)  # 5 in 200 points, 400 points a block
    assert np.mean([uneven(one) for one in counts]) < 1.8


def test_events_that_all_come_in_one_block_come_together():
    scores = np.random.default_rng(0).standard_normal(2000)
    scores[1600:] *= 1.5
    counts = cross_fitted_events(sequence_of(scores), "peaks_over_threshold", 2.0, 200)
    assert counts[4] > 3 * counts[:4].max()
    assert uneven(counts) > 3


def test_few_events_tell_nothing_of_how_they_come():
    assert uneven(np.array([2, 0, 0, 0, 0])) == 1.0
    assert uneven(np.array([3, 0, 0, 0, 0])) == pytest.approx(3.0)
    assert uneven(np.array([9])) == 1.0
    assert uneven(np.array([5, 5, 5, 5, 5])) == 1.0


def test_a_calibration_whose_normal_changes_has_a_wider_interval():
    scores = np.random.default_rng(1).standard_normal(2000)
    sequence = (np.zeros(2000, int), np.arange(2000))
    widths = []
    for factor in (1.0, 1.5):
        changed = np.where(np.arange(2000) >= 1600, factor, 1.0) * scores
        calibration = fit_calibration(
            changed,
            rule="peaks_over_threshold",
            false_flags_per_batch=2.0,
            items_per_batch=200,
            sequence=sequence,
        )
        assert calibration.expected_false_flags_per_batch == pytest.approx(2.0, rel=0.05)
        widths.append(np.ptp(calibration.count_interval(600)))
    assert widths[1] > 1.5 * widths[0]


def test_one_moment_alone_cannot_be_cut_into_blocks():
    one = Sequence(np.array([0.5, 0.2]), np.array([0, 1]), np.array([7, 7]), 0, 1, 0)
    assert cross_fitted_events(one, "conformal", 1.0, 2).tolist() == [0] * 5
