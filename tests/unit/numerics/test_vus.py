from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.vus import volume_under_surface


def example(seed, size=400):
    rng = np.random.default_rng(seed)
    labels = np.zeros(size, int)
    for start in rng.integers(0, size - 20, size=3):
        labels[start : start + 15] = 1
    return labels, np.round(rng.standard_normal(size) + labels, 1)


@pytest.mark.parametrize(
    ("seed", "buffer", "roc", "pr"),
    [
        (0, 0, 0.7613667188315075, 0.2907860542149646),
        (1, 10, 0.8108334142474796, 0.42467685300431063),
        (2, 25, 0.8491806225909484, 0.45521380511353726),
    ],
)
def test_volumes_are_those_of_the_reference_implementation(seed, buffer, roc, pr):
    """Expected values were computed with TSB-AD 1.5."""
    volume = volume_under_surface(*example(seed), longest_buffer_points=buffer)
    assert volume.roc == pytest.approx(roc, abs=1e-12)
    assert volume.pr == pytest.approx(pr, abs=1e-12)


def test_a_perfect_score_has_more_volume_than_a_score_that_is_late():
    labels, _ = example(3)
    perfect = volume_under_surface(labels, labels * 1.0, longest_buffer_points=10)
    late = volume_under_surface(labels, np.roll(labels, 5) * 1.0, longest_buffer_points=10)
    assert perfect.pr > late.pr > 0.3


def test_one_class_has_no_volume():
    volume = volume_under_surface(np.zeros(50), np.arange(50.0), longest_buffer_points=5)
    assert np.isnan([volume.roc, volume.pr]).all()


def test_nan_and_negative_buffers_are_refused():
    labels, scores = example(0)
    with pytest.raises(InputError, match="buffer"):
        volume_under_surface(labels, scores, longest_buffer_points=-1)
    with pytest.raises(InputError, match="finite"):
        volume_under_surface(labels, scores * np.nan, longest_buffer_points=1)
