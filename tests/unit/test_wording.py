from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aeflow.wording import about, chance, counted, expectation, figure, lasting, moment, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (81.2, "81.2"),
        (-0.273216, "−0.2732"),
        (1234.56, "1,235"),
        (123456.7, "123,457"),
        (1.23e-7, "1.2 × 10⁻⁷"),
        (2e12, "2.0 × 10¹²"),
        (float("nan"), "no value"),
        (float("-inf"), "−∞"),
    ],
)
def test_a_figure_has_four_significant_digits(value, text):
    assert figure(value) == text


def test_counts_agree_with_their_noun():
    assert counted(1, "flag") == "1 flag"
    assert counted(1440, "point") == "1,440 points"
    assert counted(2, "entity") == "2 entities"
    assert counted(2, "day") == "2 days"
    assert counted(2, "batch") == "2 batches"
    assert counted(15, "epoch") == "15 epochs"
    assert counted(1, "entity is", "entities are") == "1 entity is"
    assert counted(2, "entity is", "entities are") == "2 entities are"


def test_a_small_share_is_not_nothing():
    assert (percent(0.004), percent(0.0), percent(0.614)) == ("< 1 %", "0 %", "61 %")


def test_a_chance_beyond_a_million_is_not_told_apart():
    assert chance(0.0005) == "1 in 2,000"
    assert chance(1e-300) == chance(1e-9) == chance(0.0) == "rarer than 1 in 1,000,000"


def test_an_estimate_is_rounded():
    assert [about(n) for n in (0.97, 0.25, 3.0, 1.46, 1234.5)] == ["1", "0.2", "3", "1.5", "1,234"]


def test_a_time_is_told_in_the_zone_asked_for():
    time = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
    assert moment(time, "Europe/Berlin") == "2026-07-02 00:30"
    assert moment(time + timedelta(seconds=5), "UTC") == "2026-07-01 22:30:05"


def test_a_duration_has_its_two_largest_units():
    assert lasting(timedelta(days=1, hours=2, minutes=3)) == "1 d 2 h"
    assert lasting(timedelta(0)) == "one moment"


def test_what_came_is_told_against_what_was_expected():
    assert expectation(81.2, 64.0) == "81.2, expected 64 (+17.2)"
    assert expectation(1.0, 3.0) == "1, expected 3 (−2)"
    assert expectation(None, 3.0) == "missing, expected 3"
    assert expectation(None, None) == "missing"
