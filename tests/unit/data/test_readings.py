from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from aeflow.data.readings import read_names, read_numbers, read_times
from aeflow.exceptions import SourceError


def utc(*parts):
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20", utc(2026, 11, 20)),
        ("2026-11-20 06:00", utc(2026, 11, 20, 6)),
        (" 2026/11/20 06:00:00 ", utc(2026, 11, 20, 6)),
        ("2026-11-20T06:00:00Z", utc(2026, 11, 20, 6)),
        ("2026-11-20 06:00:00 UTC", utc(2026, 11, 20, 6)),
        ("2026-11-20T06:00:00+0200", utc(2026, 11, 20, 4)),
        ("2026-11-20 06:00:00 -03:30", utc(2026, 11, 20, 9, 30)),
        ("2026-11-20 06:00:00.123456789", utc(2026, 11, 20, 6) + 123456),
    ],
)
def test_time_text_is_read_alone_and_beside_bad_cells(text, expected):
    for cells in ([text], [text, "yesterday", None, "2026-02-30", "0001-01-01", "1700000000"]):
        times = read_times(pa.array(cells), "UTC", where="f")
        assert times.us[0] == expected
        assert times.readable.tolist() == [True] + [False] * (len(cells) - 1)


def test_local_times_follow_the_zone_and_name_those_that_are_not_clear():
    cells = pa.array(
        ["2026-07-01 12:00", "2026-03-29 02:30", "2026-10-25 02:30", "2026-10-25T02:30:00+02:00"]
    )
    times = read_times(cells, "Europe/Berlin", where="f")
    assert times.us[0] == utc(2026, 7, 1, 10)
    assert times.us[2] == utc(2026, 10, 25, 0, 30)  # the first of the two
    assert times.ambiguous.tolist() == [False, True, True, False]
    assert times.local.tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["2026-11-20"]).cast(pa.timestamp("ns")),
        pa.array([datetime(2026, 11, 20, tzinfo=UTC)], pa.timestamp("ms", "UTC")),
        pa.array([date(2026, 11, 20)]),
        pa.array(["2026-11-20"]).dictionary_encode(),
    ],
)
def test_typed_times_are_read(column):
    assert read_times(column, "UTC", where="f").us.tolist() == [utc(2026, 11, 20)]


def test_numbers_for_times_are_refused_because_they_have_no_unit():
    with pytest.raises(SourceError, match=r"t\.csv.*int64[\s\S]*no unit"):
        read_times(pa.array([1_700_000_000]), "UTC", where="t.csv")


def test_numbers_in_text_are_strict_and_missing_values_have_names():
    cells = [
        "1",
        " +2.5e1 ",
        "",
        "NaN",
        "na",
        "NULL",
        "None",
        None,
        "-inf",
        "1e999",
        "1,5",
        "nan(7)",
        "0x10",
        "1_0",
    ]
    values, bad = read_numbers(pa.array(cells), where="f")
    expected = [1, 25, *[np.nan] * 6, -np.inf, np.inf, *[np.nan] * 4]
    np.testing.assert_array_equal(values, expected)
    assert bad.tolist() == [False] * 10 + [True] * 4


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None], pa.int16()),
        pa.array([1.0, float("nan")]),
        pa.array([True, None]),
        pa.array([Decimal("1.00"), None]),
        pa.array(["1", "nan"]).dictionary_encode(),
    ],
)
def test_typed_numbers_are_read(column):
    values, bad = read_numbers(column, where="f")
    np.testing.assert_array_equal(values, [1, np.nan])
    assert not bad.any()


def test_a_channel_of_another_type_is_refused():
    with pytest.raises(SourceError, match="expected a channel of numbers, got list"):
        read_numbers(pa.array([[1.0]]), where="f")


def test_names_are_text_and_an_empty_one_is_missing():
    assert read_names(pa.array([" m1 ", "", None]), where="f").to_pylist() == ["m1", None, None]
    assert read_names(pa.array([7]), where="f").to_pylist() == ["7"]


def test_a_decimal_comma_is_read_where_it_is_the_sign_and_a_point_is_then_bad_text():
    cells = pa.array(["1,5", "-2", "3,25e1", "1.234,5", "1.5", None, "inf", ""])
    values, bad = read_numbers(cells, where="f", decimal=",")
    assert values[[0, 1, 2, 6]].tolist() == [1.5, -2, 32.5, np.inf]
    assert bad.tolist() == [False, False, False, True, True, False, False, False]
    assert read_numbers(cells, where="f")[1].tolist() == [True, False, True, True, False, False, False, False]
    assert read_numbers(pa.array([1.5]), where="f", decimal=",")[0].tolist() == [1.5]
