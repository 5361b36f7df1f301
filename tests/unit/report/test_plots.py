from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflow.report.axes import number_ticks, time_ticks
from aeflow.report.plots import series_plot, severity_plot
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
    return Trace(tuple(channels), at.astype(np.int64) * HOUR_US, low, low, expected, mask)


def drawn(svg, name):
    """Attributes of the elements of a class."""
    return [element.attrib for element in ET.fromstring(svg).iter() if element.get("class") == name]


def lines_of(path):
    return path["d"].count("M")


def test_a_missing_value_is_a_gap_and_is_marked():
    svg = series_plot(trace([1, 2, np.nan, 3, 4]), 0, zone="UTC", label="flow")
    assert lines_of(drawn(svg, "ob")[0]) == 2
    assert len(drawn(svg, "ms")) == 1


def test_missing_rows_are_a_gap():
    svg = series_plot(trace([1, 2, 3, 4, 5], times=[0, 1, 2, 8, 9]), 0, zone="UTC", label="flow")
    assert lines_of(drawn(svg, "ob")[0]) == 2


def test_the_event_is_shaded_from_its_first_to_its_last_point():
    svg = series_plot(trace(np.arange(11), flagged=[4, 6]), 6 * HOUR_US, zone="UTC", label="flow")
    (shade,) = drawn(svg, "ev")
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
