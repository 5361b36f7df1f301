from __future__ import annotations

import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.proportion import wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_that_of_the_literature(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_what_holds_of_all_ends_at_one():
    low, high = wilson_interval(20, 20)
    assert (round(low, 4), high) == (0.8389, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_no_trials_or_too_many_successes_are_refused(successes, trials):
    with pytest.raises(InputError, match="expected 0 <= successes"):
        wilson_interval(successes, trials)
