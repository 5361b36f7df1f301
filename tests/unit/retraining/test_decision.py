"""When a retraining begins, and what it waits for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from aeflow.config import Retraining
from aeflow.retraining import Circumstances, Judgement, Outcome, decide_retraining

NOW = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)
DRIFT = Judgement(Outcome.RETRAIN, ("The data have changed for good.",), "2026-11-20")
QUIET = Judgement(Outcome.OK, ("Nothing has changed.",))
KNOWN = Circumstances(trained_at=NOW - timedelta(days=30))


def decide(judged=DRIFT, known=KNOWN, wanted=None, **rule):
    return decide_retraining(judged, known, Retraining(**rule), now=NOW, wanted=wanted)


def ago(**time):
    return NOW - timedelta(**time)


def test_drift_begins_a_retraining_and_without_it_nothing_does():
    assert (decide().outcome, decide().trigger) == (Outcome.RETRAIN, "drift")
    assert (decide(QUIET).outcome, decide(QUIET).trigger) == (Outcome.OK, "")


def test_within_the_cool_down_nothing_begins_but_by_force():
    known = replace(KNOWN, last_retraining_at=ago(days=2))
    held = decide(known=known)
    assert held.outcome == Outcome.HOLD
    assert "cool_down_days asks for 7 days" in held.reasons[-1]
    assert decide(known=known, wanted=Outcome.RETRAIN).outcome == Outcome.RETRAIN
    assert decide(known=known, cool_down_days=1).outcome == Outcome.RETRAIN


@pytest.mark.parametrize("outcome", [Outcome.SENSOR_FAULT, Outcome.INCIDENT, Outcome.HOLD])
def test_while_something_is_at_fault_neither_verdicts_nor_age_train(outcome):
    known = replace(KNOWN, new_verdicts=99)
    found = decide(Judgement(outcome, ("Because.",)), known, on_verdicts=20, on_age_days=10)
    assert (found.outcome, found.trigger) == (outcome, "")


def test_verdicts_and_age_are_reasons_where_the_config_says_so():
    known = replace(KNOWN, new_verdicts=20)
    assert decide(QUIET, known).outcome == Outcome.OK
    assert decide(QUIET, known, on_verdicts=20).trigger == "verdicts"
    assert decide(QUIET, known, on_verdicts=21).outcome == Outcome.OK
    assert decide(QUIET, on_age_days=30).trigger == "age"
    assert decide(QUIET, on_age_days=31).outcome == Outcome.OK


def test_a_person_is_waited_for_where_the_config_says_so():
    held = decide(approval="person")
    assert (held.outcome, held.waits_for) == (Outcome.HOLD, "person")
    assert decide(approval="person", wanted=Outcome.RETRAIN).outcome == Outcome.RETRAIN


def test_it_begins_once_nobody_said_no_in_time():
    assert decide(veto_hours=24).waits_for == "veto"
    assert decide(known=replace(KNOWN, asked_at=ago(hours=23)), veto_hours=24).waits_for == "veto"
    assert decide(known=replace(KNOWN, asked_at=ago(hours=25)), veto_hours=24).outcome == Outcome.RETRAIN
    held = decide(known=replace(KNOWN, vetoed_at=ago(hours=1)))
    assert held.outcome == Outcome.HOLD
    assert "Somebody said no" in held.reasons[-1]


def test_drift_is_told_and_not_acted_on_where_it_is_switched_off():
    held = decide(on_drift=False)
    assert held.outcome == Outcome.HOLD
    assert "on_drift is off" in held.reasons[-1]


def test_a_stale_calibration_is_fitted_anew_once_in_a_cool_down():
    stale = Judgement(Outcome.RECALIBRATE, ("Stale.",))
    assert decide(stale).outcome == Outcome.RECALIBRATE
    assert decide(stale, replace(KNOWN, last_retraining_at=ago(days=1))).outcome == Outcome.HOLD


def test_a_recalibration_too_waits_for_a_person_where_the_config_says_so():
    stale = Judgement(Outcome.RECALIBRATE, ("Stale.",), "2026-11-20")
    held = decide(stale, approval="person")
    assert (held.outcome, held.waits_for, held.trigger) == (Outcome.HOLD, "person", "")
    assert "--recalibrate" in held.reasons[-1]
    given = decide(stale, wanted=Outcome.RECALIBRATE, approval="person")
    assert (given.outcome, given.since) == (Outcome.RECALIBRATE, "2026-11-20")
    other = Judgement(Outcome.SENSOR_FAULT, ("Stuck.",), "2026-11-25")
    assert decide(other, wanted=Outcome.RECALIBRATE).since is None


def test_without_a_champion_one_is_trained():
    assert decide(QUIET, Circumstances(None)).outcome == Outcome.RETRAIN


def test_what_is_normal_now_is_told_to_the_training_whatever_it_is_due_for():
    moved = replace(DRIFT, new_normal=True)
    assert decide(moved).new_normal_since == "2026-11-20"
    assert decide(DRIFT).new_normal_since is None
    by_hand = decide(replace(moved, outcome=Outcome.HOLD), wanted=Outcome.RETRAIN)
    assert (by_hand.trigger, by_hand.since, by_hand.new_normal_since) == ("request", None, "2026-11-20")
    assert decide(moved, replace(KNOWN, new_verdicts=9), on_drift=False, on_verdicts=9).new_normal_since
