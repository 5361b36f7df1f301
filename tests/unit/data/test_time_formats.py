from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from aeflow.config import TableSource, is_time_format
from aeflow.data.time_formats import find_epoch_unit, find_patterns, read_times_as
from aeflow.exceptions import SourceError

SIX = int(datetime(2026, 11, 20, 6, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("form", "unit"),
    [
        ("epoch_seconds", 1),
        ("epoch_milliseconds", 10**3),
        ("epoch_microseconds", 10**6),
        ("epoch_nanoseconds", 10**9),
    ],
)
def test_numbers_since_1970_are_read_as_text_and_typed_and_bad_ones_are_told(form, unit):
    for cells in (pa.array([SIX * unit, None]), pa.array([str(SIX * unit), "yesterday"])):
        times = read_times_as(cells, form, "Europe/Berlin", where="f")
        assert times.us[0] == SIX * 10**6
        assert times.readable.tolist() == [True, False]
        assert not times.local.any()


def test_fractions_of_epoch_seconds_are_kept_to_the_microsecond():
    times = read_times_as(pa.array([SIX + 0.25]), "epoch_seconds", "UTC", where="f")
    assert times.us[0] == SIX * 10**6 + 250_000


@pytest.mark.parametrize(
    ("text", "form", "local"),
    [
        ("20.11.2026 06:00:00", "%d.%m.%Y %H:%M:%S", True),
        ("11/20/2026 06:00 AM", "%m/%d/%Y %I:%M %p", True),
        ("20261120 0600 +0200", "%Y%m%d %H%M %z", False),
    ],
)
def test_text_is_read_by_its_pattern_in_the_zone_of_the_pipeline(text, form, local):
    cells = pa.array([text, "31.02.2026 00:00:00", "nonsense", None])
    times = read_times_as(cells, form, "Etc/GMT-2", where="f")
    assert times.us[0] == (SIX - 2 * 3600) * 10**6
    assert times.readable.tolist() == [True, False, False, False]
    assert times.local[0] == local


def test_a_column_of_timestamps_needs_no_format():
    cells = pa.array([datetime(2026, 11, 20, 6)])  # noqa: DTZ001 - without an offset on purpose
    assert read_times_as(cells, "%d.%m.%Y", "UTC", where="f").us[0] == SIX * 10**6


def test_a_column_of_lists_is_refused():
    with pytest.raises(SourceError, match="numbers"):
        read_times_as(pa.array([[1]]), "epoch_seconds", "UTC", where="f")


def test_the_unit_of_numbers_is_told_by_their_size_and_order():
    seconds = SIX + np.arange(10.0)
    assert find_epoch_unit(seconds) == "epoch_seconds"
    assert find_epoch_unit(seconds * 1e3) == "epoch_milliseconds"
    assert find_epoch_unit(np.append(seconds, np.nan)) == "epoch_seconds"
    assert find_epoch_unit(seconds[::-1]) is None
    assert find_epoch_unit(np.arange(10.0)) is None


def test_the_order_of_day_and_month_is_told_only_by_a_day_above_twelve():
    unclear = pa.array(["01/02/2026 06:00", "02/03/2026 06:00"])
    clear = pa.array(["01/02/2026 06:00", "20/03/2026 06:00"])
    assert list(find_patterns(unclear, where="f", misfits=0.05)) == ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"]
    assert list(find_patterns(clear, where="f", misfits=0.05)) == ["%d/%m/%Y %H:%M"]
    assert not find_patterns(pa.array(["north", "south"]), where="f", misfits=0.05)
    assert not find_patterns(pa.array([None, None], pa.string()), where="f", misfits=0.05)


def test_a_format_that_is_none_is_refused_by_the_config():
    assert not is_time_format("seconds")
    with pytest.raises(ValueError, match="epoch_seconds"):
        TableSource(path="a", channels=("x",), time_format="seconds")
