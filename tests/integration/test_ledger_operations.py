"""Backfills, outages and late files: whatever the way, the same nights come to the same bytes."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from aeflow.store.digests import sha256_folder
from tests.integration.conftest import copy_of

# A channel of one value an hour, in one file a day: 5 days to learn from, 6 nights to score
# (benchmarks/nightly.py does the same with 30).
FIRST = date(2022, 3, 1)
HISTORY = [(FIRST + timedelta(days=n)).isoformat() for n in range(5)]
NIGHTS = [(FIRST + timedelta(days=n)).isoformat() for n in range(5, 11)]
DAILY = {
    "name": "daily",
    "source": {"kind": "table", "path": "../data/daily", "time_column": "t", "channels": ["flow", "level"]},
    "batch": {"by": "period", "period": "day"},
    "history": {"first": HISTORY[0], "last": HISTORY[-1]},
    "prepare": {"kind": "series", "cadence_seconds": 600, "window_points": 6},
    "model": {"family": "pca"},
    "calibration": {"false_flags_per_batch": 1},
    "report": {"max_evidence_flags": 0},
}


@pytest.fixture(scope="module")
def daily(untrained, tmp_path_factory):
    """Trained, and of the nights only the history is there yet."""
    space = copy_of(untrained, tmp_path_factory.mktemp("daily") / "space")
    (space.folder / "configs" / "daily.yaml").write_text(json.dumps(DAILY))
    (space.folder / "data" / "daily").mkdir()
    for day in HISTORY:
        arrive(space, day)
    space.ok("train", "daily")
    return space


@pytest.fixture(scope="module")
def nightly(daily, tmp_path_factory):
    """Six nights, each scored when its file had come; and the digest of each report."""
    space = copy_of(daily, tmp_path_factory.mktemp("nightly") / "space")
    for day in NIGHTS:
        arrive(space, day)
        done = json.loads(space.ok("score", "daily", "--pending", "--json"))
        assert [d["batch"] for d in done if d["changed"]] == [day]
    return space


def arrive(space, day, *, last_hour=24, missing=()):
    """The file of a day: 144 rows, of which some may be missing."""
    number = (date.fromisoformat(day) - FIRST).days
    rows = []
    for step in range(6 * last_hour):
        hour, minute = divmod(10 * step, 60)
        if step in missing:
            continue
        flow = 50 + (step * 7 + number * 3) % 11 + (40 if step == 20 + number else 0)
        rows.append(f"{day}T{hour:02d}:{minute:02d}:00Z,{flow},{(step * 5 + number) % 7}")
    (space.folder / "data" / "daily" / f"{day}.csv").write_text("\n".join(["t,flow,level", *rows]) + "\n")


def digests(space):
    paths = space.paths("daily")
    return {night: sha256_folder(paths.report(night)) for night in paths.published()}


def test_nights_backfilled_by_two_processes_have_the_bytes_of_nightly_runs(daily, nightly, tmp_path):
    space = copy_of(daily, tmp_path / "backfilled")
    for day in NIGHTS:
        arrive(space, day)
    done = space.ok("score", "daily", "--from", NIGHTS[0], "--to", NIGHTS[-1], "--jobs", "2", "--json")
    assert [d["batch"] for d in json.loads(done)] == NIGHTS
    assert digests(space) == digests(nightly)
    assert digests(space).keys() == set(NIGHTS)
    # Resumed, it finds everything in place.
    again = json.loads(
        space.ok("score", "daily", "--from", NIGHTS[0], "--to", NIGHTS[3], "--jobs", "2", "--json")
    )
    assert not any(d["changed"] for d in again)


def test_an_outage_of_three_nights_is_made_good_and_nothing_else_is_touched(daily, nightly, tmp_path):
    space = copy_of(daily, tmp_path / "outage")
    for day in NIGHTS[:2]:
        arrive(space, day)
    space.ok("score", "daily", "--pending")
    before = {b: (space.paths("daily").report(b) / "receipt.json").stat().st_mtime_ns for b in NIGHTS[:2]}
    for day in NIGHTS[2:5]:  # three nights on which nothing ran
        arrive(space, day)
    done = json.loads(space.ok("score", "daily", "--pending", "--json"))
    assert [d["batch"] for d in done if d["changed"]] == NIGHTS[2:5]
    assert {b: (space.paths("daily").report(b) / "receipt.json").stat().st_mtime_ns for b in before} == before
    assert digests(space) == {night: digests(nightly)[night] for night in NIGHTS[:5]}
    assert "Nothing to do" in space.ok("score", "daily", "--pending")


def test_a_late_row_changes_its_night_and_the_one_that_looks_back_to_it(daily, nightly, tmp_path):
    space = copy_of(daily, tmp_path / "late")
    for day in NIGHTS:
        arrive(space, day, missing={143} if day == NIGHTS[2] else {100} if day == NIGHTS[4] else ())
    space.ok("score", "daily", "--pending")
    before = digests(space)

    arrive(space, NIGHTS[4])  # in the middle of its day: no other night looks back so far
    done = json.loads(space.ok("score", "daily", "--pending", "--json"))
    assert [d["batch"] for d in done if d["changed"]] == [NIGHTS[4]]
    arrive(space, NIGHTS[2])  # at the end of its day
    done = json.loads(space.ok("score", "daily", "--pending", "--json"))
    assert [d["batch"] for d in done if d["changed"]] == NIGHTS[2:4]
    assert [d["revision"] for d in done if d["changed"]] == [2, 2]

    after = digests(space)
    assert {n for n in NIGHTS if after[n] != before[n]} == {NIGHTS[2], NIGHTS[3], NIGHTS[4]}
    assert after == {night: digests(nightly)[night] for night in NIGHTS}
    assert "identical" in space.ok("verify", "daily", "--batch", NIGHTS[3])


def test_a_file_that_was_only_touched_changes_nothing(daily, tmp_path):
    space = copy_of(daily, tmp_path / "touched")
    for day in NIGHTS[:2]:
        arrive(space, day)
    space.ok("score", "daily", "--pending")
    before = digests(space)
    (space.folder / "data" / "daily" / f"{NIGHTS[0]}.csv").touch()
    assert "Nothing to do" in space.ok("score", "daily", "--pending")
    assert digests(space) == before


def test_what_was_scored_by_name_is_not_pending_whatever_the_config_is_now(daily, tmp_path):
    space = copy_of(daily, tmp_path / "by-name")
    arrive(space, NIGHTS[0])
    space.ok("score", "daily", "--batch", NIGHTS[0])
    before = digests(space)
    space.set("daily", report={"context_points": 5})  # as a newer champion would, it makes another report
    assert [d["changed"] for d in json.loads(space.ok("score", "daily", "--pending", "--json"))] == [False]
    assert "Nothing to do" in space.ok("score", "daily", "--pending")
    assert digests(space) == before

    arrive(space, NIGHTS[0], missing={100})
    (done,) = json.loads(space.ok("score", "daily", "--pending", "--json"))
    assert (done["changed"], done["revision"]) == (True, 2)
