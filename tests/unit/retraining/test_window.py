"""Which batches a retraining learns from."""

from __future__ import annotations

import pytest

from aeflow.config import Split
from aeflow.retraining.window import MOST_HELD_OUT, choose_window, shares_since, stretches_of

HISTORY = [("01", 100), ("02", 100), ("03", 100)]
NIGHTS = [("04", 100), ("05", 100)]


def chosen(nights=NIGHTS, unfit=(), wanted=None, history=HISTORY):
    return choose_window(history, nights, unfit, wanted=wanted)


def test_as_many_rows_as_the_history_held_the_newest_first():
    assert chosen().batches == ("03", "04", "05")
    assert chosen([]).batches == ("01", "02", "03")


def test_small_nights_do_not_leave_too_little():
    nights = [(f"n{i}", 10) for i in range(5)]
    assert chosen(nights, history=[("all", 300)]).batches == ("all", "n0", "n1", "n2", "n3", "n4")


def test_a_number_of_batches_holds_whatever_their_rows():
    assert chosen(wanted=2).batches == ("04", "05")
    assert chosen(wanted=9).batches == ("01", "02", "03", "04", "05")


def test_a_night_on_which_a_sensor_was_at_fault_is_passed_over_and_told_of():
    found = chosen(unfit=["05"])
    assert found.batches == ("02", "03", "04")
    assert found.unfit == ("05",)


def test_a_batch_of_the_history_that_was_scored_as_well_counts_once():
    assert chosen([("03", 100), *NIGHTS]).batches == ("03", "04", "05")


def test_stretches_are_one_a_batch_and_hold_thirty_windows():
    assert stretches_of(10, 10_000, 32) == 10
    assert stretches_of(10, 3_000, 32) == 3
    assert stretches_of(10, 100, 32) == 1


def test_what_is_held_out_keeps_its_size_where_only_a_few_nights_are_shared_out():
    configured = Split(train=0.6, validation=0.1, calibration=0.2, test=0.1)
    assert shares_since(configured, rows=100, since=100) == configured
    some = shares_since(configured, rows=100, since=80)
    assert (some.validation, some.calibration, some.test) == pytest.approx((0.125, 0.25, 0.125))
    few = shares_since(configured, rows=100, since=20)
    assert (few.train, few.calibration) == pytest.approx((1 - MOST_HELD_OUT, MOST_HELD_OUT / 2))
    much = Split(train=0.2, validation=0.1, calibration=0.4, test=0.3)
    assert shares_since(much, rows=100, since=20) == much
