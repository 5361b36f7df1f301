from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.calibration import fit_calibration
from aeflow.numerics.reviewed_cut import ReviewedNight, reviewed_cut

ITEMS = 1_000.0
NOTHING = np.empty(0)


@pytest.fixture(scope="module")
def calibration():
    """Two false flags a batch of 1,000 images, by 10,000 scores: it rests on 20."""
    return fit_calibration(
        np.random.default_rng(0).normal(size=10_000),
        rule="conformal",
        false_flags_per_batch=2,
        items_per_batch=ITEMS,
    )


def night(calibration, false=(), undecided=(), alpha=None, items=ITEMS):
    return ReviewedNight(
        items,
        calibration.alpha if alpha is None else alpha,
        np.array(false, dtype=float),
        np.array(undecided, dtype=float),
    )


def cut(calibration, nights, *, least=0.0, most_times=4.0, lower=True):
    return reviewed_cut(calibration, nights, least=least, most_times=most_times, lower=lower)


def evenly(calibration, count, times=1.0):
    """So many p-values spread evenly below `times` the cut."""
    return calibration.alpha * times * (np.arange(count) + 0.5) / count


def test_as_many_false_flags_as_promised_leave_the_cut_where_it_is(calibration):
    nights = [night(calibration, evenly(calibration, 2)) for _ in range(50)]
    assert cut(calibration, nights, lower=False) is None
    moved = cut(calibration, nights)
    assert moved is None or moved.alpha == pytest.approx(calibration.alpha, rel=0.02)


def test_more_false_flags_than_promised_raise_it_until_all_nights_together_keep_the_promise(calibration):
    nights = [night(calibration, evenly(calibration, 4)) for _ in range(200)]
    moved = cut(calibration, nights, lower=False)
    assert moved.alpha < calibration.alpha
    kept = sum(int((n.false <= moved.alpha).sum()) for n in nights)
    assert kept + 20 * moved.alpha / calibration.alpha <= 20 + 2 * 200
    assert moved.expected <= 2
    assert (moved.false, moved.undecided, moved.nights, moved.promised) == (800, 0, 200, 400.0)


def test_one_night_weighs_little_against_a_long_calibration(calibration):
    moved = cut(calibration, [night(calibration, evenly(calibration, 5))])
    assert 0.8 * calibration.alpha < moved.alpha < calibration.alpha


def test_fewer_false_flags_than_promised_lower_it_only_where_that_is_asked_for(calibration):
    nights = [night(calibration) for _ in range(30)]
    assert cut(calibration, nights, lower=False) is None
    moved = cut(calibration, nights, lower=True)
    assert moved.alpha > calibration.alpha
    # 20 of the calibration and 60 promised; beyond the cut as many are expected as the calibration found.
    assert moved.alpha == pytest.approx(calibration.alpha * (1 + 60 / 80), rel=1e-3)
    assert moved.expected == pytest.approx(2)


def test_nights_that_were_judged_at_another_cut_count_at_theirs(calibration):
    lower = 1.5 * calibration.alpha
    full = [night(calibration, evenly(calibration, 3, 1.5), alpha=lower) for _ in range(200)]
    moved = cut(calibration, full)
    assert moved is None or moved.alpha == pytest.approx(calibration.alpha, rel=0.05)
    few = [night(calibration, evenly(calibration, 1, 1.5), alpha=lower) for _ in range(200)]
    # One came where two are promised: the cut stays as low, and falls further.
    assert cut(calibration, few).alpha > lower


def test_flags_that_nobody_decided_never_move_the_cut(calibration):
    many = night(calibration, undecided=evenly(calibration, 40))
    assert cut(calibration, [many] * 20) is None
    assert cut(calibration, [night(calibration, undecided=evenly(calibration, 2))] * 20) is None
    few = cut(
        calibration, [night(calibration, evenly(calibration, 4), undecided=evenly(calibration, 9))] * 20
    )
    assert few.alpha < calibration.alpha
    assert few.undecided == 180


def test_a_flood_of_severe_flags_moves_it_no_further_than_is_allowed_and_what_is_left_is_told(calibration):
    nights = [night(calibration, np.full(50, 1e-12)) for _ in range(20)]
    moved = cut(calibration, nights, most_times=3)
    assert moved.alpha == pytest.approx(calibration.alpha / 3)
    assert moved.expected > 20
    assert cut(calibration, nights, most_times=1) is None


def test_it_rises_no_further_than_where_something_can_still_be_flagged(calibration):
    nights = [night(calibration, np.full(50, 1e-12)) for _ in range(20)]
    assert cut(calibration, nights, least=calibration.alpha / 2).alpha == calibration.alpha / 2
    assert cut(calibration, nights, least=2 * calibration.alpha) is None


def test_it_falls_no_further_than_is_allowed(calibration):
    alpha = calibration.alpha * 3.9
    nights = [night(calibration, alpha=alpha)] * 500
    assert cut(calibration, nights, most_times=2).alpha == 2 * calibration.alpha


def test_without_nights_and_with_a_rate_of_discoveries_nothing_moves(calibration):
    assert cut(calibration, []) is None
    rate = fit_calibration(
        np.random.default_rng(0).normal(size=500),
        rule="conformal",
        false_discovery_rate=0.1,
        items_per_batch=ITEMS,
    )
    assert cut(rate, [night(rate, [1e-9] * 9)] * 9) is None


def test_a_bound_below_one_is_refused(calibration):
    with pytest.raises(InputError, match=r"most_times must be at least 1, got 0\.5"):
        cut(calibration, [night(calibration)], most_times=0.5)


@pytest.mark.parametrize("usual", [0.5, 1.0, 2.5])
def test_over_many_nights_the_promise_is_kept_though_normal_data_scores_otherwise_than_calibrated(
    calibration, usual
):
    """Night after night, each at the cut that the nights before it gave; p-values are `usual` times as often small
    as they should be."""
    random = np.random.default_rng(4)
    nights, came = [], []
    for _ in range(150):
        moved = cut(calibration, nights)
        alpha = calibration.alpha if moved is None else moved.alpha
        p_value = random.uniform(
            0, 4 * calibration.alpha, random.poisson(usual * 4 * ITEMS * calibration.alpha)
        )
        false = p_value[p_value <= alpha]
        came.append(false.size)
        nights.append(night(calibration, false, alpha=alpha))
    late = np.mean(came[50:])
    assert late == pytest.approx(2, abs=0.45)


def test_another_cut_leaves_p_values_and_moves_severities(calibration):
    scores = np.linspace(-1, 5, 50)
    moved = calibration.cut_at(calibration.alpha / 4, expected=1.5, rests_on=40)
    assert np.array_equal(moved.p_values(scores), calibration.p_values(scores))
    assert moved.threshold > calibration.threshold
    assert moved.expected_false_flags_per_batch == 1.5
    assert moved.flags(moved.p_values(scores)).sum() < calibration.flags(calibration.p_values(scores)).sum()
    assert moved.severity(np.array([moved.alpha]))[0] == 50
    assert moved.count_interval(ITEMS)[1] <= calibration.count_interval(ITEMS)[1]
