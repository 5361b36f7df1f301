from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.false_discovery import adjusted_p_values, benjamini_hochberg_cut, storey_null_share


def test_adjusted_p_values_are_those_of_benjamini_and_hochberg():
    """Of four: 0.005 * 4 / 1, 0.01 * 4 / 2, and 0.03 * 4 / 3 gives way to the lower 0.039 * 4 / 4."""
    p = np.array([0.01, 0.039, np.nan, 0.03, 0.005])
    np.testing.assert_allclose(adjusted_p_values(p), [0.02, 0.039, np.nan, 0.039, 0.02])


def test_an_adjusted_p_value_is_at_most_one():
    assert adjusted_p_values(np.array([0.9, 1.0])).tolist() == [1.0, 1.0]
    assert adjusted_p_values(np.array([np.nan])).tolist() == pytest.approx([np.nan], nan_ok=True)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_what_an_adjusted_p_value_finds_at_a_rate_is_what_the_cut_flags(rate):
    p = np.random.default_rng(0).random(200) ** 3
    np.testing.assert_array_equal(adjusted_p_values(p) <= rate, p <= benjamini_hochberg_cut(p, rate))


def test_the_share_of_normal_items_is_read_off_the_upper_half():
    assert storey_null_share(49, 100) == pytest.approx(1.0)
    assert storey_null_share(9, 100) == pytest.approx(0.2)
    assert storey_null_share(0, 0) == 1.0


def test_a_number_of_tested_items_below_those_given_is_refused():
    with pytest.raises(InputError, match="got 1 for 2"):
        benjamini_hochberg_cut(np.array([0.1, 0.2]), 0.1, n_tested=1)
