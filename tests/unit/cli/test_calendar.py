"""The calendar of nights: one sign each, and a legend of just the signs that stand in it."""

from __future__ import annotations

import pytest

from aeflow.backlog import BatchStatus
from aeflow.cli.calendar import calendar_lines, sign_of


def night(batch, state="published", **facts):
    return BatchStatus(batch, state, **facts)


@pytest.mark.parametrize(
    ("status", "sign"),
    [
        (night("a", flags=0, revision=1), "."),
        (night("a", flags=12, revision=1), "12"),
        (night("a", flags=3, revision=2), "3*"),
        (night("a", "missing"), "?"),
        (night("a", "failed"), "x"),
        (night("a", "failed", revision=2, flags=1), "x*"),
        (night("a", "refused"), "r"),
        (night("a", "interrupted"), "i"),
        (night("a", "running"), ">"),
    ],
)
def test_each_state_has_a_sign_of_its_own(status, sign):
    assert sign_of(status) == sign


def test_days_stand_in_weeks_with_gaps_history_and_late_nights():
    rows = [
        night("2026-11-11", "history"),
        night("2026-11-12", "missing"),
        night("2026-11-13", flags=0, revision=1),
        night("2026-11-16", flags=3, revision=2),
        night("2026-11-17", "failed"),
    ]
    lines = calendar_lines(rows, "day", late=frozenset({"2026-11-18"}))
    assert lines[0].split() == ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]
    assert lines[1].split() == ["2026-11-09", "h", "?", ".", "-", "-"]
    assert lines[1].index("h") == lines[0].index("We") + 1
    assert lines[2].split() == ["2026-11-16", "3*", "x", "L"]
    legend = " ".join(lines[4:])
    assert all(text in legend for text in ("h learnt from", "* re-scored", "L late", "x failed", "- no data"))
    assert "refused" not in legend


def test_weeks_stand_in_quarters_and_hours_in_days():
    weeks = calendar_lines([night("2026-W02", flags=1), night("2026-W14", flags=0)], "week")
    assert [line.split()[0] for line in weeks[1:3]] == ["2026-W01", "2026-W14"]
    hours = calendar_lines([night("2026-11-20T00Z", flags=0), night("2026-11-20T23Z", "refused")], "hour")
    assert hours[1].split() == ["2026-11-20", ".", *["-"] * 22, "r"]


def test_a_long_past_is_cut_to_the_latest_lines_and_empty_ones_are_left_out():
    rows = [night(f"20{year}-01-05", flags=0) for year in range(10, 40)]
    lines = calendar_lines(rows, "day")
    assert "... and 10 lines before: --table shows every batch." in lines
    assert lines[20].startswith("2039-01-03")


def test_a_pipeline_without_batches_says_so():
    assert calendar_lines([], "day") == ["There is no batch yet."]
