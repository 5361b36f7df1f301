from __future__ import annotations

from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from aeflow.onboarding.dated_folders import are_dates
from aeflow.onboarding.zones import zone_of


@pytest.mark.parametrize(
    ("times", "zone", "said"),
    [
        (["2026-11-20 10:00", "2026-11-20 11:00"], "UTC", "Times without an offset were taken as UTC"),
        (["2026-11-20T10:00:00Z"], "UTC", "Times without an offset"),
        (["2026-11-20T10:00:00+01:00", "2026-11-20T11:00:00+0100 ", None], "Etc/GMT-1", "carry +01:00"),
        (["2026-11-20T10:00:00-03:00"], "Etc/GMT+3", "carry -03:00"),
        (["2026-07-20T10:00+02:00", "2026-11-20T10:00+01:00"], "UTC", "+01:00 and +02:00: NAME YOUR ZONE"),
        (["2026-11-20T10:00+05:30"], "UTC", "+05:30: NAME YOUR ZONE"),
        (["20-11-2026", "21-11-2026"], "UTC", "Times without an offset"),
        ([1.0, 2.0], "UTC", "Times without an offset"),
    ],
)
def test_one_offset_of_all_times_is_the_zone_that_days_begin_in(times, zone, said):
    found = zone_of(pa.array(times))
    assert found.name == zone
    assert said in found.reason
    ZoneInfo(found.name)


@pytest.mark.parametrize(
    ("tz", "zone"),
    [("Europe/Berlin", "Europe/Berlin"), ("UTC", "UTC"), (None, "UTC"), ("+01:00", "Etc/GMT-1")],
)
def test_a_typed_time_names_its_zone(tz, zone):
    assert zone_of(pa.array([0], pa.timestamp("us", tz))).name == zone


def test_the_names_of_zones_of_one_offset_have_the_sign_of_the_way_back():
    found = zone_of(pa.array(["2026-11-20T10:00:00+01:00"]))
    from datetime import datetime, timedelta

    assert datetime(2026, 11, 20, tzinfo=ZoneInfo(found.name)).utcoffset() == timedelta(hours=1)


def test_dates_of_two_forms_do_not_sort_by_time():
    assert are_dates(["2026-11-20", "2026-12-01"])
    assert not are_dates(["2026-12-01", "20261121"])
    assert not are_dates(["2026-11-20", "2026-W47"])
    assert not are_dates(["2026-11-20"])
