from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflow.config import BatchRule
from aeflow.data.periods import bounds, from_us, id_at, ids_between, ids_of, to_us
from aeflow.exceptions import BatchNotFound


def rule(period, zone="UTC"):
    return BatchRule(by="period", period=period, time_zone=zone)


@pytest.mark.parametrize(
    ("batch", "period", "zone", "hours"),
    [
        ("2026-11-20T06Z", "hour", "Europe/Berlin", 1),
        ("2026-11-20", "day", "UTC", 24),
        ("2026-03-29", "day", "Europe/Berlin", 23),
        ("2026-10-25", "day", "Europe/Berlin", 25),
        ("2026-W13", "week", "Europe/Berlin", 7 * 24 - 1),
        ("2026-W43", "week", "Europe/Berlin", 7 * 24 + 1),
        ("2018-11-04", "day", "America/Sao_Paulo", 23),  # begins at 01:00, midnight is skipped
    ],
)
def test_a_period_has_the_hours_that_its_clock_shows(batch, period, zone, hours):
    start, end = bounds(batch, rule(period, zone))
    assert end - start == timedelta(hours=hours)
    assert id_at(start, rule(period, zone)) == batch
    assert id_at(end - timedelta(microseconds=1), rule(period, zone)) == batch
    assert id_at(end, rule(period, zone)) != batch


def test_a_day_begins_at_local_midnight():
    start, _ = bounds("2026-11-20", rule("day", "Asia/Kolkata"))
    assert start == datetime(2026, 11, 19, 18, 30, tzinfo=UTC)


def test_a_week_begins_on_monday_and_takes_the_iso_year():
    assert bounds("2026-W01", rule("week"))[0] == datetime(2025, 12, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("batch", "period", "expected"),
    [
        ("2026-13-01", "day", "a day such as 2026-11-20"),
        ("20261120", "day", "a day such as 2026-11-20"),
        ("2026-11-20", "hour", "an hour in UTC such as 2026-11-20T06Z"),
        ("2026-11-20T24Z", "hour", "an hour in UTC"),
        ("2026-W54", "week", "an ISO week such as 2026-W47"),
        ("../x", "day", "a day"),
    ],
)
def test_an_id_of_another_form_is_refused_with_an_example(batch, period, expected):
    with pytest.raises(BatchNotFound, match=expected):
        bounds(batch, rule(period))


def test_a_day_that_the_zone_skipped_is_no_batch():
    with pytest.raises(BatchNotFound, match="skipped"):
        bounds("2011-12-30", rule("day", "Pacific/Apia"))
    days = ids_between("2011-12-29", "2011-12-31", rule("day", "Pacific/Apia"))
    assert days == ["2011-12-29", "2011-12-31"]


def test_ids_between_are_all_periods_in_order():
    assert ids_between("2026-10-24", "2026-10-26", rule("day", "Europe/Berlin")) == [
        "2026-10-24",
        "2026-10-25",
        "2026-10-26",
    ]
    assert ids_between("2026-11-20T23Z", "2026-11-21T00Z", rule("hour")) == [
        "2026-11-20T23Z",
        "2026-11-21T00Z",
    ]
    assert ids_between("2026-11-21", "2026-11-20", rule("day")) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 4_102_444_800), min_size=1, max_size=20),
    st.sampled_from(["hour", "day", "week"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Africa/Monrovia"]),
)
def test_every_instant_lies_in_the_period_that_it_names(seconds, period, zone):
    chosen = rule(period, zone)
    us = np.array(seconds, np.int64) * 1_000_000
    for t in us:
        start, end = bounds(id_at(from_us(int(t)), chosen), chosen)
        assert to_us(start) <= t < to_us(end)
    assert ids_of(us, chosen) == {id_at(from_us(int(t)), chosen) for t in us}
