from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflow.report.axes import number_ticks, time_ticks
from aeflow.report.plots import severity_plot
from aeflow.report.series_plot import plot_numbers, series_plot
from aeflow.report.traces import Trace

HOUR_US = 3_600_000_000


def trace(values, *, times=None, expected=None, flagged=(), channels=("flow",)):
    low = np.asarray(values, dtype=float).reshape(-1, len(channels))
    mask = np.zeros(len(low), dtype=bool)
    mask[list(flagged)] = True
    at = np.arange(len(low)) if times is None else np.asarray(times)
    expected = (
        np.zeros_like(low) if expected is None else np.asarray(expected, dtype=float).reshape(low.shape)
    )
    severity = np.where(np.isnan(expected[:, 0]), np.nan, np.where(mask, 80.0, 10.0))
    return Trace(tuple(channels), at.astype(np.int64) * HOUR_US, low, low, expected, severity, mask)


def drawn(svg, name):
    """Attributes of the elements of a class."""
    return [element.attrib for element in ET.fromstring(svg).iter() if element.get("class") == name]


def lines_of(path):
    return path["d"].count("M")


def test_a_missing_value_is_a_gap_and_is_marked():
    svg = series_plot(trace([1, 2, np.nan, 3, 4]), 0, zone="UTC", label="flow")
    assert lines_of(drawn(svg, "ob")[0]) == 2
    assert len(drawn(svg, "ms")) == 1


def test_missing_rows_that_were_bridged_are_shown_as_the_network_saw_them():
    data = trace([1, 2, 3, 7, 7], times=[0, 1, 2, 5, 6])
    svg = series_plot(data, 0, zone="UTC", label="flow")
    assert lines_of(drawn(svg, "ob")[0]) == 2
    assert lines_of(drawn(svg, "ex")[0]) == 1
    assert re.fullmatch(r"M\d+ \d+h444", drawn(svg, "im")[0]["d"])  # three of six hours


def test_rows_that_were_not_bridged_part_every_line():
    data = trace([1, 2, 3, 7, 7], times=[0, 1, 2, 5, 6], expected=[1, 1, 1, np.nan, 1])
    svg = series_plot(data, 0, zone="UTC", label="flow")
    assert not drawn(svg, "im")
    assert lines_of(drawn(svg, "ex")[0]) == 2


def test_missing_rows_are_a_gap():
    svg = series_plot(trace([1, 2, 3, 4, 5], times=[0, 1, 2, 8, 9]), 0, zone="UTC", label="flow")
    assert lines_of(drawn(svg, "ob")[0]) == 2


def test_a_missing_value_is_shown_as_the_network_saw_it():
    data = trace([1, 2, np.nan, np.nan, 4, 4], expected=[1, 1, 1, 1, 1, np.nan])
    (filled,) = drawn(series_plot(data, 0, zone="UTC", label="flow"), "im")
    places = [float(x) for x in re.findall(r"[Ml ](-?\d+) ", filled["d"].replace("-", " -"))]
    assert len(places) == 3
    assert places[0] == 96 + round((984 - 96) / 5)  # from the last value seen
    assert filled["d"].count("M") == 1


def test_nothing_is_filled_in_where_nothing_was_scored():
    data = trace([1, np.nan, 3], expected=[np.nan, np.nan, 1])
    assert not drawn(series_plot(data, 0, zone="UTC", label="flow"), "im")


def test_the_band_lies_around_what_was_expected():
    data = trace([0, 0, 9, 0], expected=[0, 0, 0, np.nan])
    svg = series_plot(data, 0, zone="UTC", label="flow", tolerance=np.array([3.0]))
    (band,) = drawn(svg, "bd")
    (expected,) = drawn(svg, "ex")
    top, middle = (float(re.match(r"M\S+ (\S+?)l", path["d"])[1]) for path in (band, expected))
    (panel, _severity) = [e for e in ET.fromstring(svg).iter() if e.get("class") == "pn"]
    ticks = {e.text: float(e.get("y")) - 6 for e in panel if e.get("class") == "tk"}
    assert middle - top == pytest.approx(3 / 5 * (ticks["0"] - ticks["5"]), abs=2)
    assert band["d"].endswith("z")
    assert not drawn(series_plot(data, 0, zone="UTC", label="flow", tolerance=np.array([np.nan])), "bd")


def test_the_severity_is_shown_with_its_cut():
    svg = series_plot(trace([1, 2, 3], flagged=[1]), 0, zone="UTC", label="flow")
    assert len(drawn(svg, "cut")) == 1
    assert len(drawn(svg, "sv")) == 1


def unpacked(text):
    """The numbers as the page's script reads them."""
    told = json.loads(text)
    content = base64.b64decode(told["d"])
    count, at, columns = told["n"], 0, []
    kinds = ["<u4", *["<u2"] * (len(told["c"]) * (3 if told["h"] else 2) + 1), "u1"]
    for kind in kinds:
        size = count * np.dtype(kind).itemsize
        columns.append(np.frombuffer(content[at : at + size], kind).astype(float))
        at += size
    assert at == len(content)
    return told, columns


def values(levels, low, high):
    return np.where(levels == 65_535, np.nan, low + levels / 65_534 * (high - low))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.floats(-1e30, 1e30), st.just(float("nan"))), min_size=1, max_size=12))
def test_the_numbers_of_a_plot_are_those_of_the_data(observed):
    data = trace(observed, expected=np.zeros(len(observed)))
    told, (times, came, expected, severity, flagged) = unpacked(plot_numbers(data, zone="UTC"))
    (name, low, high, tolerance) = told["c"][0]
    assert (name, tolerance, told["h"]) == ("flow", None, 0)
    step = max((high - low) / 65_534, 1e-300)
    np.testing.assert_allclose(values(came, low, high), data.low[:, 0], atol=step, rtol=1e-9)
    np.testing.assert_allclose(values(expected, low, high), 0, atol=step)
    np.testing.assert_allclose(values(severity, 0, 100), 10, atol=0.01)
    first, last = told["t"]
    np.testing.assert_allclose(first + times / 4_294_967_295 * (last - first), data.time_us / 1000, atol=0.02)
    assert not flagged.any()


def test_points_of_several_rows_keep_both_ends():
    data = trace([1, 2, 3])
    wide = replace(data, high=data.high + 1)
    told, columns = unpacked(plot_numbers(wide, zone="UTC", tolerance=np.array([0.5])))
    assert told["h"] == 1
    low, high, tolerance = told["c"][0][1:]
    np.testing.assert_allclose(values(columns[2], low, high), [2, 3, 4], atol=1e-3)
    assert tolerance == 0.5


def test_the_event_is_shaded_from_its_first_to_its_last_point():
    svg = series_plot(trace(np.arange(11), flagged=[4, 6]), 6 * HOUR_US, zone="UTC", label="flow")
    shade, below = drawn(svg, "ev")  # of the channel and of the severity
    assert shade["x"] == below["x"]
    (peak,) = drawn(svg, "pk")
    scale = (984 - 96) / 10
    assert int(shade["x"]) == pytest.approx(96 + 4 * scale, abs=4)
    assert int(shade["width"]) == pytest.approx(2 * scale, abs=7)
    assert int(peak["cx"]) == pytest.approx(96 + 6 * scale, abs=1)


def test_names_and_labels_stay_text():
    bad = '<script>alert("x")</script>'
    svg = series_plot(trace([1, 2], channels=(bad,)), 0, zone="UTC", label=bad)
    assert "<script" not in svg
    assert drawn(svg, "plot series")[0]["aria-label"] == bad


def test_the_same_data_give_the_same_plot_and_stay_untouched():
    data = trace(np.sin(np.arange(50)), flagged=[7])
    before = data.low.copy()
    assert series_plot(data, 0, zone="UTC", label="a") == series_plot(data, 0, zone="UTC", label="a")
    np.testing.assert_array_equal(data.low, before)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.one_of(st.floats(-1e30, 1e30), st.just(float("nan"))), min_size=1, max_size=12),
    st.integers(0, 11),
)
def test_any_values_make_a_plot_within_its_frame(values, flagged):
    svg = series_plot(trace(values, flagged=[flagged % len(values)]), 0, zone="UTC", label="a")
    for rect in drawn(svg, "ev") + drawn(svg, "ms"):
        assert -10 <= int(rect["x"]) <= 1000
    assert ET.fromstring(svg).get("role") == "img"


def test_one_item_is_seen_beside_a_million():
    counts = np.zeros(50, dtype=np.int64)
    counts[0], counts[40] = 1_000_000, 1
    svg = severity_plot(counts, 1e-5, label="severities")
    (high,) = drawn(svg, "hi")
    assert int(high["height"]) >= 5
    assert len(drawn(svg, "lo")) == 1
    assert len(drawn(svg, "ex")) == 1


def test_bars_from_the_cut_on_are_told_apart():
    svg = severity_plot(np.ones(50, dtype=np.int64), None, label="severities")
    assert (len(drawn(svg, "lo")), len(drawn(svg, "hi"))) == (25, 25)
    assert not drawn(svg, "ex")


@settings(max_examples=30, deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_number_ticks_are_few_and_within_the_span(low, width):
    ticks = number_ticks(low, low + width)
    assert len(ticks) <= 5
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in ticks)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
@pytest.mark.parametrize("hours", [0.01, 1, 20, 100, 10_000])
def test_time_ticks_are_round_local_times_within_the_span(zone, hours):
    first = 1_774_660_000_000_000  # the day before the clocks change in Berlin
    last = first + int(hours * HOUR_US)
    ticks = time_ticks(first, last, zone)
    times = [at for at, _ in ticks]
    assert 1 <= len(ticks) <= 12 or hours == 0.01
    assert times == sorted(set(times))
    assert all(first <= at <= last for at in times)


def test_no_tick_is_written_twice_where_the_clock_is_set_back():
    first = 1_792_890_000_000_000  # 2026-10-25 00:20 UTC, clocks in Berlin go back at 01:00 UTC
    labels = [text for _, text in time_ticks(first - 2 * HOUR_US, first + 3 * HOUR_US, "Europe/Berlin")]
    assert len(labels) == len(set(labels)) > 2
