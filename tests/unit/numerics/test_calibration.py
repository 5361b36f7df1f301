from __future__ import annotations

import json

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.calibration import Calibration, fit_calibration
from aeflow.numerics.events import merge_flagged
from aeflow.numerics.survival import EmpiricalSurvival, fit_survival

RULES = ("conformal", "quantile", "peaks_over_threshold")
SCORES = np.random.default_rng(0).standard_normal(999) ** 2


def fit(scores=SCORES, rule="conformal", **given):
    given = {"false_flags_per_batch": 10.0, "items_per_batch": 1000} | given
    return fit_calibration(scores, rule=rule, **given)


def test_conformal_p_values_count_ties_against_the_score():
    calibration = fit(np.array([1.0, 2.0, 2.0, 3.0]), items_per_batch=20)
    p = calibration.p_values(np.array([0.0, 1.0, 2.0, 2.5, 3.0, 4.0, np.inf, np.nan]))
    np.testing.assert_allclose(p, [1, 1, 0.8, 0.4, 0.4, 0.2, 0.2, np.nan])


@pytest.mark.parametrize("rule", RULES)
def test_the_cut_lies_at_the_promised_share_of_normal_scores(rule):
    calibration = fit(rule=rule)
    assert calibration.alpha == pytest.approx(0.01)
    assert calibration.note == ""
    assert calibration.expected_false_flags_per_batch == pytest.approx(10)
    assert calibration.threshold == pytest.approx(np.quantile(SCORES, 0.99), rel=0.2)


@pytest.mark.parametrize("rule", RULES)
def test_a_score_is_flagged_on_one_side_of_the_threshold_only(rule):
    calibration = fit(rule=rule)
    around = calibration.threshold * np.array([1 - 1e-6, 1 + 1e-6])
    assert calibration.flags(calibration.p_values(around)).tolist() == [False, True]


def test_the_quantile_rule_cuts_at_the_interpolated_quantile():
    calibration = fit(np.arange(1.0, 100.0), "quantile", false_flags_per_batch=1.5, items_per_batch=100)
    assert calibration.threshold == pytest.approx(np.quantile(np.arange(1.0, 100.0), 0.985, method="weibull"))
    assert calibration.alpha == 0.015


@pytest.mark.parametrize("rule", RULES)
def test_severity_is_50_at_the_cut_and_within_0_and_100(rule):
    calibration = fit(rule=rule)
    p = np.array([1.0, calibration.alpha, calibration.alpha**2, calibration.alpha**3, np.nan])
    severity = calibration.severity(p)
    assert severity.dtype == np.float32
    np.testing.assert_array_equal(severity, [0, 50, 100, 100, np.nan])


def test_what_is_not_scorable_is_never_flagged():
    calibration = fit()
    assert calibration.flags(np.array([np.nan, 1e-9])).tolist() == [False, True]


@pytest.mark.parametrize("rule", ["conformal", "quantile"])
def test_too_short_a_calibration_takes_the_lowest_cut_and_says_what_it_can_promise(rule):
    calibration = fit(SCORES[:99], rule, false_flags_per_batch=1.0)
    assert calibration.alpha == pytest.approx(0.01)
    assert calibration.expected_false_flags_per_batch == pytest.approx(10)
    assert "promised at most 1 false flag a batch; with 99 calibration scores" in calibration.note
    assert "no less than 10" in calibration.note
    assert calibration.flags(calibration.p_values(np.array([99.0]))).all()


def test_peaks_over_threshold_extrapolates_where_the_calibration_is_short():
    calibration = fit(SCORES[:200], "peaks_over_threshold", false_flags_per_batch=0.1)
    assert calibration.note == ""
    assert calibration.alpha == pytest.approx(1e-4)
    assert calibration.threshold > SCORES[:200].max()


def test_the_tail_continues_the_body_without_a_step():
    calibration = fit(rule="peaks_over_threshold")
    start = calibration.normal.tail.start
    below, above = calibration.p_values(np.array([start, np.nextafter(start, np.inf)]))
    assert above == pytest.approx(below, rel=1e-9)


def test_equal_scores_have_no_tail_and_nothing_equal_is_flagged():
    for rule in RULES:
        calibration = fit(np.ones(500), rule)
        flags = calibration.flags(calibration.p_values(np.array([1.0, 2.0])))
        assert flags.tolist() == [False, True], rule


def test_a_promise_of_more_flags_than_items_flags_half_of_the_normal_ones():
    calibration = fit(false_flags_per_batch=50.0, items_per_batch=10)
    assert calibration.alpha == 0.5


def test_a_false_discovery_rate_is_kept_by_benjamini_and_hochberg():
    calibration = fit(false_flags_per_batch=None, false_discovery_rate=0.1, items_per_batch=5)
    assert calibration.threshold is None
    p = np.array([0.9, 0.015, 0.03, 0.05, 0.6, np.nan])
    # Sorted against 0.1 * k / 5 = 0.02, 0.04, 0.06, 0.08, 0.1: the third is the last that passes.
    assert calibration.cut(p) == pytest.approx(0.06)
    assert calibration.flags(p).tolist() == [False, True, True, True, False, False]
    assert not calibration.flags(np.array([0.5, 0.6])).any()


def test_the_cut_of_a_batch_needs_only_the_small_p_values_and_their_number():
    calibration = fit(false_flags_per_batch=None, false_discovery_rate=0.1)
    p = np.random.default_rng(3).beta(0.3, 1, size=500)
    cut = calibration.cut(p[p <= 0.1], n_tested=500)
    assert cut == calibration.cut(p)
    np.testing.assert_array_equal(calibration.flags(p[:50], cut=cut), calibration.flags(p)[:50])
    with pytest.raises(InputError, match="n_tested"):
        calibration.cut(p, n_tested=3)


def test_storeys_share_of_normal_items_raises_the_cut():
    given = {"false_flags_per_batch": None, "false_discovery_rate": 0.1}
    plain, adaptive = fit(**given), fit(storey=True, **given)
    rng = np.random.default_rng(4)
    p = np.concatenate([rng.random(300), rng.beta(0.05, 1, 700)])
    # (1 + 0.5 * 300) / (1000 * 0.5) of the items, about 0.3, are normal.
    assert (plain.cut(p), adaptive.cut(p)) == (pytest.approx(0.0608), 0.1)  # never above the rate
    small = p[p <= 0.1]
    assert adaptive.cut(small, n_tested=1000, n_above=int((p > 0.5).sum())) == adaptive.cut(p)
    assert adaptive.cut(rng.random(50)) == pytest.approx(0.1 / 50, rel=0.5)
    assert adaptive.cut(np.array([])) == 0.1
    assert Calibration.from_parts(adaptive.to_json(), adaptive.to_arrays()).storey


def test_a_false_discovery_rate_that_few_scores_cannot_keep_alone_is_noted():
    calibration = fit(SCORES[:99], false_flags_per_batch=None, false_discovery_rate=0.1)
    assert "unless about 100 items" in calibration.note


def ar_scores(n, seed):
    noise = np.random.default_rng(seed).standard_normal(n)
    for i in range(1, n):
        noise[i] += 0.9 * noise[i - 1]
    return noise**2


def count_events(calibration, scores):
    flagged = np.flatnonzero(calibration.flags(calibration.p_values(scores)))
    return merge_flagged(flagged, flagged * 0, merge_gap=3, min_points=1).max(initial=-1) + 1


@pytest.mark.parametrize("rule", RULES)
def test_for_series_the_promise_counts_events_not_points(rule):
    rates, cuts = [], []
    for seed in range(8):
        n = 6000
        sequence = (np.zeros(n, int), np.arange(n))
        calibration = fit(
            ar_scores(n, seed),
            rule,
            false_flags_per_batch=5.0,
            items_per_batch=1000,
            sequence=sequence,
            merge_gap=3,
        )
        cuts.append(calibration.alpha)
        rates.append(count_events(calibration, ar_scores(20000, 100 + seed)) / 20)
    assert np.mean(rates) == pytest.approx(5, rel=0.25)
    assert np.mean(cuts) > 1.3 * 5 / 1000  # counted as points, the cut would be at 5 / 1000


def test_a_series_too_short_for_the_promise_says_so_or_extrapolates():
    scores, n = ar_scores(2000, 1), 2000
    given = {
        "false_flags_per_batch": 1.0,
        "items_per_batch": 10_000,
        "sequence": (np.zeros(n, int), np.arange(n)),
    }
    conformal = fit(scores, **given)
    assert conformal.flags(conformal.p_values(np.array([scores.max(), scores.max() + 1]))).tolist() == [
        False,
        True,
    ]
    assert "no less than 5" in conformal.note
    assert "2000 calibration scores that are worth" in conformal.note
    tail = fit(scores, "peaks_over_threshold", merge_gap=3, **given)
    assert tail.note == ""
    assert tail.threshold > conformal.threshold


def test_a_rest_makes_fewer_events_so_that_the_cut_is_lower():
    n = 3000
    given = {
        "false_flags_per_batch": 5.0,
        "items_per_batch": 1000,
        "sequence": (np.zeros(n, int), np.arange(n)),
    }
    scores = np.random.default_rng(5).standard_normal(n)
    with_rest = fit(scores, rest_points=200, **given)
    assert with_rest.alpha > fit(scores, **given).alpha
    assert with_rest.expected_false_flags_per_batch <= 5


def test_the_promise_counts_flags_as_they_are_judged_by_the_calibration_of_each_entity():
    """A noisy entity among quiet ones: by the scores of all together every flag would be its own."""
    rng = np.random.default_rng(6)
    n, entities = 2000, 4
    entity, position = np.repeat(np.arange(entities), n), np.tile(np.arange(n), entities)
    scale = np.array([1.0, 1.0, 1.0, 10.0])[entity]
    scores = rng.exponential(scale)
    given = {"false_flags_per_batch": 8.0, "items_per_batch": 1000, "sequence": (entity, position)}
    own = [fit(scores[entity == e], "peaks_over_threshold") for e in range(entities)]
    judged = np.concatenate([own[e].normal.held_out_p_values(scores[entity == e]) for e in range(entities)])
    calibration = fit(scores, "peaks_over_threshold", judged_p_values=judged, **given)
    fresh = rng.exponential(scale)
    p = np.concatenate([own[e].p_values(fresh[entity == e]) for e in range(entities)])
    of_each = [(p[entity == e] <= calibration.alpha).mean() * 1000 for e in range(entities)]
    np.testing.assert_allclose(of_each, 8, atol=6)
    assert np.mean(of_each) == pytest.approx(8, rel=0.35)


def test_a_flood_of_points_is_beyond_chance_although_it_is_one_event():
    calibration = fit(sequence=(np.zeros(999, int), np.arange(999)), merge_gap=3)
    assert not calibration.beyond_chance(1000, flags=10, flagged_items=12)
    assert calibration.beyond_chance(1000, flags=60, flagged_items=60)
    assert calibration.beyond_chance(1000, flags=1, flagged_items=900)
    discovery = fit(false_flags_per_batch=None, false_discovery_rate=0.1)
    assert [discovery.beyond_chance(1000, n, n) for n in (0, 1)] == [False, True]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("n", "promised"), [(400, 2.0), (4000, 2.0), (4000, 0.05)])
def test_the_number_of_false_flags_lies_in_its_interval(rule, n, promised):
    """Where a rule cannot promise so little, the interval is that of what it says it can."""
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(100):
        calibration = fit(rng.standard_normal(n) ** 2, rule, false_flags_per_batch=promised)
        low, high = calibration.count_interval(3000)
        came = calibration.flags(calibration.p_values(rng.standard_normal(3000) ** 2)).sum()
        inside += low <= came <= high
    assert inside >= 90


def test_the_interval_of_the_promise_narrows_with_the_calibration():
    widths = []
    for n in (300, 3000, 30_000):
        low, high = fit(np.random.default_rng(8).standard_normal(n)).expected_interval
        assert low < 10 < high
        widths.append(high / low)
    assert widths == sorted(widths, reverse=True)
    discovery = fit(false_flags_per_batch=None, false_discovery_rate=0.1)
    assert discovery.expected_interval is None
    assert discovery.count_interval(100) is None


def test_groups_of_images_raise_the_cut():
    """Images of one tile that are alike: ten tiles say how high one more tile may score, not a hundred."""
    rng = np.random.default_rng(9)
    group = np.repeat(np.arange(20), 8)
    came = {"alone": [], "grouped": []}
    for _ in range(200):
        draw = [rng.standard_normal(20)[group] + 0.3 * rng.standard_normal(160) for _ in range(2)]
        for name, codes in (("alone", None), ("grouped", group)):
            calibration = fit(draw[0], false_flags_per_batch=10.0, items_per_batch=100, group=codes)
            came[name].append(calibration.flags(calibration.p_values(draw[1])).mean())
    assert np.mean(came["alone"]) > 0.115
    assert np.mean(came["grouped"]) == pytest.approx(0.1, abs=0.02)


def test_longer_events_are_asked_for_and_the_cut_is_lower():
    n = 3000
    given = {
        "false_flags_per_batch": 2.0,
        "items_per_batch": 1000,
        "sequence": (np.zeros(n, int), np.arange(n)),
    }
    scores = np.random.default_rng(5).standard_normal(n)
    assert fit(scores, min_points=3, **given).alpha > fit(scores, min_points=1, **given).alpha


def test_nan_scores_are_left_out():
    with_nan = np.concatenate([SCORES, [np.nan] * 7])
    assert fit(with_nan).threshold == fit().threshold
    assert fit(with_nan).n == SCORES.size


@pytest.mark.parametrize("rule", RULES)
def test_a_calibration_comes_back_from_json_and_arrays(rule):
    calibration = fit(rule=rule)
    described = json.loads(json.dumps(calibration.to_json()))
    again = Calibration.from_parts(described, calibration.to_arrays())
    scores = np.linspace(-1, 30, 500)
    np.testing.assert_array_equal(again.p_values(scores), calibration.p_values(scores))
    assert again.to_json() == calibration.to_json()


def test_a_stored_calibration_with_a_part_missing_is_refused():
    calibration = fit()
    described = calibration.to_json()
    del described["alpha"]
    with pytest.raises(InputError, match="alpha"):
        Calibration.from_parts(described, calibration.to_arrays())
    with pytest.raises(InputError, match="level"):
        Calibration.from_parts(calibration.to_json(), {})


def test_many_scores_are_thinned_below_and_kept_exactly_above():
    scores = np.random.default_rng(2).standard_normal(60_000)
    survival = fit_survival(scores)
    assert survival.level.size == 20_000
    top = np.sort(scores)[-10_000:]
    exact = (1 + np.arange(10_000, 0, -1)) / 60_001
    np.testing.assert_allclose(survival.conformal(top), exact)
    below = np.sort(scores)[:-10_000:97]
    exact = (1 + 60_000 - np.searchsorted(np.sort(scores), below)) / 60_001
    excess = survival.conformal(below) - exact
    assert excess.min() >= 0
    assert excess.max() < 2e-4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"false_flags_per_batch": None}, "exactly one promise"),
        ({"false_discovery_rate": 0.1}, "exactly one promise"),
        ({"false_flags_per_batch": 0.0}, "must be positive"),
        ({"false_flags_per_batch": None, "false_discovery_rate": 1.0}, "between 0 and 1"),
        ({"items_per_batch": 0}, "items_per_batch"),
        ({"rule": "three_sigma"}, "rule must be one of"),
        ({"scores": np.array([np.nan])}, "got none"),
        ({"scores": np.array([1.0, np.inf])}, "finite"),
    ],
)
def test_fitting_refuses(given, message):
    with pytest.raises(InputError, match=message):
        fit(**given)


def test_levels_out_of_order_are_refused():
    with pytest.raises(InputError, match="ascend"):
        EmpiricalSurvival(np.array([2.0, 1.0]), np.array([1, 0]), 2)


def test_a_rate_that_asks_for_more_than_the_calibration_ever_saw_says_how_much_more():
    scores = np.abs(np.random.default_rng(5).standard_normal(200))
    found = fit_calibration(
        scores, rule="peaks_over_threshold", false_discovery_rate=0.1, items_per_batch=1000
    )
    needed = found.normal.score_at(0.1 * 0.01)[0] / scores.max()
    assert needed > 1
    assert f"from {needed:.2g} times the highest of these scores on" in found.note
    many = np.abs(np.random.default_rng(5).standard_normal(20_000))
    enough = fit_calibration(
        many, rule="peaks_over_threshold", false_discovery_rate=0.1, items_per_batch=1000
    )
    assert enough.note == ""
    odd = np.concatenate([many, np.full(1500, 900.0) + np.arange(1500)])
    told = fit_calibration(
        odd, rule="peaks_over_threshold", false_discovery_rate=0.1, items_per_batch=1000
    ).note
    assert "times what 9 in 10 of them stay below: some of them lie far from the others" in told
