"""When a pipeline runs and who is told: what is refused, and what YAML makes of times."""

from __future__ import annotations

from datetime import time

import pytest
import yaml
from pydantic import ValidationError

from aeflow.config import Channel, Notify, QuietHours, Schedule


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("nightly", "4:30", "expected minute, hour, day, month and weekday"),
        ("nightly", "30 25 * * *", "no time of a crontab"),
        ("nightly", "0 30 4 * * *", "expected minute, hour, day, month and weekday"),
        ("retrain", "@weekly", "expected minute, hour"),
        ("time_zone", "Europe/Atlantis", "not an IANA time zone"),
        ("grace_hours", 0, "greater than 0"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(key, value, message):
    with pytest.raises(ValidationError, match=message):
        Schedule.model_validate({key: value})


def test_an_address_in_the_file_is_refused():
    with pytest.raises(ValidationError, match="pattern"):
        Channel.model_validate({"url": "slack://token"})
    assert Channel(url="${SLACK_ADDRESS}").variable == "SLACK_ADDRESS"


def test_a_channel_given_twice_is_refused():
    one = {"url": "${A}"}
    with pytest.raises(ValidationError, match="give all its kinds in one entry"):
        Notify.model_validate({"channels": [one, one | {"kinds": ["drift"]}]})


def test_quiet_hours_may_be_written_without_quotes():
    quiet = QuietHours.model_validate(yaml.safe_load("{begin: 22:00, end: 07:00}"))
    assert (quiet.begin, quiet.end) == (time(22), time(7))
    assert quiet.model_dump(mode="json") == {"begin": "22:00", "end": "07:00"}


def test_quiet_hours_run_over_midnight_and_end_on_the_minute():
    quiet = QuietHours(begin=time(22), end=time(7))
    assert [quiet.hold(time(h, m)) for h, m in ((21, 59), (22, 0), (0, 0), (6, 59), (7, 0))] == [
        False,
        True,
        True,
        True,
        False,
    ]
    noon = QuietHours(begin=time(12), end=time(13))
    assert [noon.hold(time(h)) for h in (11, 12, 13)] == [False, True, False]


def test_quiet_hours_without_end_are_refused():
    with pytest.raises(ValidationError, match="nobody would ever be told"):
        QuietHours(begin=time(7), end=time(7))
