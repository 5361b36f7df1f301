"""Which nights a schedule asks for: by its zone, over changes of the clocks, for periods of each length."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from aeflow.config import PipelineConfig
from aeflow.data.due import due_batches, fires, last_fire, schedule_warnings

BERLIN = ZoneInfo("Europe/Berlin")


def pipeline(nightly="30 4 * * *", zone="Europe/Berlin", period="day", **schedule):
    return PipelineConfig.model_validate(
        {
            "name": "pump",
            "source": {"kind": "table", "path": "x", "time_column": "t", "channels": ["a"]},
            "batch": {"by": "period", "period": period, "time_zone": zone},
            "prepare": {"kind": "series"},
            "model": {"family": "pca"},
            "calibration": {"false_flags_per_batch": 1},
            "schedule": {"nightly": nightly, **schedule},
        }
    )


@pytest.mark.parametrize(("month", "day"), [(3, 29), (10, 25)])
def test_a_nightly_run_keeps_its_local_hour_over_a_change_of_the_clocks(month, day):
    change = datetime(2026, month, day, 12, tzinfo=BERLIN)
    found = list(fires("30 4 * * *", "Europe/Berlin", change - timedelta(days=2), change + timedelta(days=2)))
    assert [f.astimezone(BERLIN).strftime("%H:%M") for f in found] == ["04:30"] * 4
    assert len({f.utcoffset() for f in found}) == 1  # in UTC
    assert len({f.hour for f in found}) == 2


@pytest.mark.parametrize(("month", "day"), [(3, 29), (10, 25)])
def test_each_night_is_due_once_however_many_hours_its_day_has(month, day):
    start = datetime(2026, month, day, tzinfo=BERLIN) - timedelta(days=2)
    due = due_batches(pipeline(), start, start + timedelta(days=5))
    assert list(due) == [(start.date() + timedelta(days=n)).isoformat() for n in range(-1, 4)]
    assert due[f"2026-{month:02d}-{day:02d}"].astimezone(BERLIN).hour == 4


def test_days_that_no_run_is_there_for_are_not_due():
    due = due_batches(
        pipeline("30 4 * * 2-6"), datetime(2026, 11, 16, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)
    )
    weekend = {"2026-11-21", "2026-11-22"}
    assert not weekend & due.keys()
    assert list(due)[:6] == [f"2026-11-{d}" for d in (16, 17, 18, 19, 20, 23)]


def test_weeks_and_hours_are_due_too():
    monday = datetime(2026, 11, 16, tzinfo=UTC)
    weeks = due_batches(pipeline(zone="UTC", period="week"), monday, monday + timedelta(days=8))
    assert list(weeks) == ["2026-W46", "2026-W47"]
    hours = due_batches(pipeline(zone="UTC", period="hour"), monday, monday + timedelta(days=1))
    assert (len(hours), next(iter(hours)), [*hours][-1]) == (24, "2026-11-15T04Z", "2026-11-16T03Z")


def test_the_last_fire_is_found_however_rare_and_none_where_there_is_no_schedule():
    now = datetime(2026, 11, 20, tzinfo=UTC)
    assert last_fire(pipeline("0 0 1 1 *", "UTC"), now) == datetime(2026, 1, 1, tzinfo=UTC)
    assert last_fire(pipeline(None), now) is None
    assert due_batches(pipeline(None), now - timedelta(days=3), now) == {}


def test_an_hour_at_which_clocks_change_is_warned_of_only_where_they_do():
    (warning,) = schedule_warnings(pipeline("30 2 * * *"))
    assert "between 01:00 and 03:00 in Europe/Berlin" in warning
    assert schedule_warnings(pipeline("30 2 * * *", "UTC")) == []
    assert schedule_warnings(pipeline("30 4 * * *")) == []
    assert "schedule.retrain" in schedule_warnings(pipeline(retrain="15 1 * * 0"))[0]
