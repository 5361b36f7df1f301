"""A detector goes live for reasons that are written down, and only on a win."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aeflow.numerics.paired import Difference
from aeflow.promotion import Against, Figures, decide
from aeflow.report.promotion_page import promotion_page

SOUND = Figures(
    items=1000,
    false_flag_share=0.001,
    promised_share=0.001,
    planted_auroc=0.9,
    found_share=0.6,
    false_flags=1,
    most_false_flags=3,
    seconds_per_item=1e-4,
    auroc_of={"spike": 0.95, "drift": 0.85},
)
SAME = Difference(0.0, -0.01, 0.01)
MORE, LESS = Difference(0.05, 0.02, 0.08), Difference(-0.05, -0.08, -0.02)
DRAW = Against(SAME, SAME)
FLOODED = replace(SOUND, false_flags=40)


def contest(challenger=SOUND, champion=SOUND, to_champion=DRAW, to_baseline=DRAW):
    return decide(challenger, SOUND, champion, against_baseline=to_baseline, against_champion=to_champion)


def test_the_first_detector_goes_live_and_says_so():
    decision = contest(champion=None)
    assert decision.promote
    assert "no champion yet" in " ".join(decision.reasons)


def test_a_first_detector_below_the_baseline_goes_live_with_a_warning():
    decision = contest(champion=None, to_baseline=Against(LESS, SAME))
    assert decision.promote
    assert "consider a linear model" in " ".join(decision.reasons)


def test_a_first_detector_without_sound_scores_does_not_go_live():
    for broken in (replace(SOUND, finite=False), replace(SOUND, unstable=0.01)):
        assert not contest(broken, champion=None).promote


def test_a_draw_leaves_the_champion():
    decision = contest()
    assert not decision.promote
    assert "the champion stays" in decision.reasons[-1]


@pytest.mark.parametrize(
    ("by", "word"),
    [
        (Against(MORE, SAME), "tells more planted faults"),
        (Against(SAME, MORE), "finds more planted faults at its own cut"),
        (Against(SAME, SAME, MORE), "agrees better with what people said"),
    ],
)
def test_a_win_in_one_respect_goes_live_and_says_in_which(by, word):
    decision = contest(to_champion=by)
    assert decision.promote
    assert word in decision.reasons[-1]


@pytest.mark.parametrize(
    ("by", "word"),
    [
        (Against(LESS, MORE), "tells fewer planted faults"),
        (Against(MORE, LESS), "finds fewer planted faults at its own cut"),
        (Against(MORE, MORE, LESS), "agrees less with what people said"),
    ],
)
def test_a_loss_in_one_respect_is_made_up_for_by_nothing(by, word):
    decision = contest(to_champion=by)
    assert not decision.promote
    assert word in " ".join(decision.reasons)


def test_falling_behind_the_baseline_refuses_whatever_the_champion():
    decision = contest(to_champion=Against(MORE, MORE), to_baseline=Against(LESS, SAME))
    assert not decision.promote
    assert "than the linear baseline" in " ".join(decision.reasons)


def test_keeping_the_promise_where_the_champion_breaks_it_is_a_win_and_its_finds_are_no_merit():
    decision = contest(champion=FLOODED, to_champion=Against(SAME, LESS))
    assert decision.promote
    assert "1 flag where the champion raises 40" in decision.reasons[-1]


def test_a_champion_whose_nights_broke_the_promise_loses_to_one_that_keeps_it_and_in_nothing_else_falls_behind():
    broken = replace(SOUND, broken_since="2026-11-20")
    decision = contest(champion=broken, to_champion=Against(SAME, LESS))
    assert decision.promote
    assert "has not kept since 2026-11-20" in decision.reasons[-1]
    assert not contest(champion=broken, to_champion=Against(LESS, SAME)).promote
    assert not contest(FLOODED, champion=broken).promote
    assert not contest(champion=broken, to_champion=Against(), to_baseline=Against()).promote


def test_breaking_the_promise_refuses_unless_the_champion_breaks_it_more():
    decision = contest(FLOODED, to_champion=Against(MORE, MORE))
    assert not decision.promote
    assert "does not keep the promise" in " ".join(decision.reasons)
    worse = replace(SOUND, false_flags=90)
    assert contest(FLOODED, champion=worse, to_champion=Against(MORE, SAME)).promote


def test_a_challenger_that_takes_far_longer_is_refused():
    slow = replace(SOUND, seconds_per_item=2e-3)
    decision = contest(slow, to_champion=Against(MORE, MORE))
    assert not decision.promote
    assert "too slow" in " ".join(decision.reasons)
    assert contest(replace(slow, seconds_per_item=4e-4), to_champion=Against(MORE, MORE)).promote


def test_without_figures_nothing_replaces_a_champion():
    unknown = Figures(0, None, None, None)
    decision = decide(unknown, unknown, SOUND, against_baseline=Against(), against_champion=Against())
    assert not decision.promote
    assert "could not be compared" in " ".join(decision.reasons)


def test_a_champion_that_cannot_score_the_pipeline_is_replaced_and_not_denied():
    decision = decide(SOUND, SOUND, None, against_baseline=DRAW, outdated=True)
    assert decision.promote
    assert "other channels or another preparation" in decision.reasons[-1]
    assert "no champion yet" not in " ".join(decision.reasons)


def test_the_page_shows_every_figure_and_gate_beside_each_other():
    decision = contest(to_champion=Against(MORE, SAME))
    page = promotion_page("pump", decision, {"challenger": SOUND, "champion, version 3": FLOODED})
    assert page.startswith("# pump: the challenger goes live\n")
    assert "| on the same data | challenger | champion, version 3 |" in page
    assert "| ... spike | 0.950 | 0.950 |" in page
    assert "| flags on them | 1 (chance brings up to 3) | 40 (chance brings up to 3) |" in page
    assert "| promise is kept | yes |" in page
