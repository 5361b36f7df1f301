"""What the last nights say: each decision for its reason, and not for the like of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aeflow.config import Retraining
from aeflow.retraining import Outcome, judge_nights
from tests.unit.retraining.nights import RISEN, moved, quiet, still, with_channels

RULE = Retraining()


def judge(*nights):
    return judge_nights(nights, RULE)


def test_nothing_scored_and_nothing_changed_are_ok():
    assert judge().outcome == Outcome.OK
    assert judge(quiet(1), quiet(2)).outcome == Outcome.OK
    assert "measured no drift" in judge(quiet(1, drift=None)).reasons[0]


def test_inputs_that_move_while_the_model_expects_them_are_ok_and_told():
    found = judge(*(quiet(n, drift=with_channels(6)) for n in (1, 2, 3)))
    assert found.outcome == Outcome.OK
    assert "expects them as well as ever" in found.reasons[0]


def test_a_broad_lasting_change_is_a_retraining_and_names_its_beginning():
    found = judge(quiet(1), *(quiet(n, errors=RISEN, drift=with_channels(6)) for n in (2, 3, 4)))
    assert found.outcome == Outcome.RETRAIN
    assert found.since == "2026-11-02"
    assert found.new_normal
    assert "6 of 8 channels moved" in found.reasons[0]


def test_a_change_is_waited_for_until_it_lasts():
    found = judge(quiet(1), quiet(2, errors=RISEN, drift=with_channels(6)))
    assert found.outcome == Outcome.HOLD
    assert "counts as lasting after 3" in found.reasons[0]


def test_codes_that_move_are_a_broad_change_too():
    drift = still(latent=(moved("code 1"),))
    assert judge(*(quiet(n, errors=RISEN, drift=drift) for n in (1, 2, 3))).outcome == Outcome.RETRAIN


def test_errors_alone_that_rise_for_good_want_a_new_calibration():
    found = judge(*(quiet(n, errors=RISEN) for n in (1, 2, 3)))
    assert found.outcome == Outcome.RECALIBRATE
    assert "the calibration is stale" in found.reasons[0]
    assert judge(quiet(1), quiet(2, errors=RISEN)).outcome == Outcome.HOLD


def test_what_is_mostly_flagged_is_not_learnt_before_people_have_spoken():
    nights = [quiet(n, errors=RISEN, drift=with_channels(6), flagged_items=950, flags=9) for n in (1, 2, 3)]
    found = judge(*nights)
    assert found.outcome == Outcome.HOLD
    assert "say by verdicts what of it is normal" in found.reasons[0]
    assert judge(*(replace(n, false_flags=8) for n in nights)).outcome == Outcome.RETRAIN


def test_confirmed_faults_in_a_change_of_all_are_not_learnt_as_its_new_normal():
    nights = [quiet(n, errors=RISEN, drift=with_channels(6), flags=6) for n in (1, 2, 3)]
    assert judge(*nights).new_normal
    some = [replace(n, true_flags=1) for n in nights]
    found = judge(*some)
    assert (found.outcome, found.new_normal) == (Outcome.HOLD, False)
    assert "confirmed faults" in found.reasons[0]
    assert judge(*(replace(n, false_flags=2) for n in some)).outcome == Outcome.RETRAIN
    assert judge(*nights[:2], some[2]).outcome == Outcome.RETRAIN


def test_one_channel_in_a_step_that_leads_the_error_is_the_sensor():
    stepped = quiet(3, errors=RISEN, drift=with_channels(1, leads=0.8))
    found = judge(quiet(1), quiet(2), stepped)
    assert found.outcome == Outcome.SENSOR_FAULT
    assert "flow has the largest error in 80%" in found.reasons[1]
    assert judge(stepped, quiet(4)).outcome == Outcome.OK


def test_one_channel_that_moves_and_is_expected_is_no_sensor_fault():
    assert judge(quiet(3, drift=with_channels(1, leads=0.1))).outcome == Outcome.OK


def test_one_channel_that_moves_in_every_entity_is_no_sensor_fault():
    inputs = tuple(replace(s, entities=9) if s.entities else s for s in with_channels(1, leads=0.8).inputs)
    drift = still(inputs=inputs, entities=10, moved_entities=9)
    assert judge(*(quiet(n, errors=RISEN, drift=drift) for n in (1, 2, 3))).outcome == Outcome.RETRAIN


def test_a_channel_graded_low_is_the_sensor_and_most_of_them_are_not():
    found = judge(quiet(1, grades=(("flow", "LOW", "flat"),)))
    assert found.outcome == Outcome.SENSOR_FAULT
    assert "flow (flat)" in found.reasons[0]
    assert judge(quiet(1, grades=(("flow", "MEDIUM", "missing"),))).outcome == Outcome.OK
    every = tuple((s.name, "LOW", "missing") for s in still().inputs)
    assert judge(quiet(1, grades=every)).outcome == Outcome.OK


def test_few_channels_that_move_on_and_on_are_wear():
    ways = [0.2, 0.5, 0.9, 1.2, 1.6]
    found = judge(*(quiet(n, drift=with_channels(1, m, leads=0.8)) for n, m in enumerate(ways, 1)))
    assert found.outcome == Outcome.HOLD
    assert "wear" in found.reasons[0]


def test_a_channel_that_moves_on_and_on_in_a_change_of_all_is_no_wear():
    def night(number, median):
        others = with_channels(7).inputs[1:]
        drift = still(inputs=(moved("flow", median, leads=0.1), *others), moved_entities=1)
        return quiet(number, drift=drift, errors=RISEN)

    found = judge(*(night(n, m) for n, m in enumerate([0.2, 0.5, 0.9, 1.2, 1.6], 1)))
    assert found.outcome == Outcome.RETRAIN


def test_one_step_is_no_wear_however_it_wavers_before():
    ways = [0.1, 0.0, 0.1, 0.1, 1.6]
    found = judge(*(quiet(n, drift=with_channels(1, m, leads=0.8)) for n, m in enumerate(ways, 1)))
    assert found.outcome == Outcome.SENSOR_FAULT


@pytest.mark.parametrize(
    "burst",
    [
        {"flags": 12},
        {"flags": 2, "flagged_items": 90},
        {"flags": 5, "severe_flags": 4, "most_flags": 4},
    ],
)
def test_a_burst_of_flags_in_data_as_ever_is_an_incident(burst):
    found = judge(quiet(1), quiet(2, **burst))
    assert found.outcome == Outcome.INCIDENT
    assert "never learnt from" in found.reasons[0]


@pytest.mark.parametrize(
    "ordinary",
    [{"flags": 5, "severe_flags": 1, "most_flags": 4}, {"flags": 4, "severe_flags": 4, "most_flags": 4}],
)
def test_some_flags_more_are_no_burst(ordinary):
    assert judge(quiet(1), quiet(2, **ordinary)).outcome == Outcome.OK


def test_a_burst_that_stays_needs_a_word_of_people_and_takes_it_either_way():
    nights = [quiet(n, flags=12) for n in (1, 2, 3)]
    assert judge(*nights).outcome == Outcome.HOLD
    assert judge(*(replace(n, true_flags=9) for n in nights)).outcome == Outcome.INCIDENT
    found = judge(*(replace(n, false_flags=9) for n in nights))
    assert found.outcome == Outcome.RETRAIN
    assert "People found 27 of 36 normal" in found.reasons[0]


def test_a_machine_or_two_that_changed_are_looked_at_and_not_learnt():
    drift = with_channels(6, entities=20)
    found = judge(*(quiet(n, errors=RISEN, drift=drift) for n in (1, 2, 3)))
    assert found.outcome == Outcome.HOLD
    assert "1 of 20 entities" in found.reasons[0]


def test_many_entities_that_stay_new_are_a_retraining():
    drift = still(entities=20, new_entities=5)
    assert judge(quiet(1, drift=drift)).outcome == Outcome.HOLD
    lasting = judge(*(quiet(n, drift=drift) for n in (1, 2, 3)))
    assert (lasting.outcome, lasting.new_normal) == (Outcome.RETRAIN, False)
    assert judge(quiet(1, drift=still(entities=20, new_entities=1))).outcome == Outcome.OK
