"""A detector goes live for reasons that are written down."""

from __future__ import annotations

from aeflow.promotion import Figures, decide


def figures(auroc):
    return Figures(items=100, false_flag_share=0.01, promised_share=0.01, planted_auroc=auroc)


def test_the_first_detector_goes_live_and_says_so():
    decision = decide(figures(0.9), figures(0.8), None)
    assert decision.promote
    assert "no champion yet" in " ".join(decision.reasons)


def test_a_first_detector_below_the_baseline_goes_live_with_a_warning():
    decision = decide(figures(0.7), figures(0.8), None)
    assert decision.promote
    assert "consider a linear model" in " ".join(decision.reasons)


def test_a_challenger_must_not_fall_behind_the_champion():
    assert decide(figures(0.9), figures(0.8), figures(0.9)).promote
    assert not decide(figures(0.85), figures(0.8), figures(0.9)).promote


def test_a_challenger_must_beat_the_baseline_too():
    decision = decide(figures(0.79), figures(0.85), figures(0.75))
    assert not decision.promote
    assert "tells fewer planted faults apart than the linear baseline" in decision.reasons[0]


def test_without_figures_nothing_replaces_a_champion():
    unknown = Figures(0, None, None, None)
    decision = decide(unknown, unknown, figures(0.5))
    assert not decision.promote
    assert "could not be compared" in decision.reasons[0]


def test_a_champion_that_cannot_score_the_pipeline_is_replaced_and_not_denied():
    decision = decide(figures(0.9), figures(0.8), None, outdated=True)
    assert decision.promote
    assert "other channels or another preparation" in decision.reasons[-1]
    assert "no champion yet" not in " ".join(decision.reasons)


def test_a_model_that_nothing_was_measured_of_is_not_called_worse():
    unknown = Figures(0, None, None, None)
    assert "linear model" not in " ".join(decide(unknown, unknown, None).reasons)
