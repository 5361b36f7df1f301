from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest

from aeflow.review.catalogue import read_catalogue
from aeflow.review.normal import normal_stretch
from aeflow.store.paths import Paths
from benchmarks.review_store import MadeUp, write_night

STEP = timedelta(minutes=6)


def written(folder, nights, flags, entities=("pump",)):
    paths = Paths(folder, "pumps")
    what = MadeUp(nights, flags, entities=entities, channels=("flow", "oil"))
    for night in range(nights):
        write_night(paths, what, night)
    return read_catalogue(paths)


def time_of(catalogue, place):
    return datetime.fromtimestamp(int(catalogue.start_us[place]) // 1_000_000, UTC)


def beside(catalogue, place, context=5, channels=("oil",)):
    at = time_of(catalogue, place)
    return normal_stretch(catalogue, place, at, at, channels, context_points=context)


def test_it_is_the_nearest_day_before_on_which_nothing_is_flagged_at_that_time(tmp_path):
    catalogue = written(tmp_path, 6, 24)
    flagged = {time_of(catalogue, p) for p in range(catalogue.size)}
    checked = set()
    for place in range(int(catalogue.offsets[4]), catalogue.size):
        at = time_of(catalogue, place)
        day = at.replace(hour=0, minute=0)
        around = [t for t in (at + k * STEP for k in range(-2, 3)) if day <= t < day + timedelta(days=1)]
        days = (k for k in range(1, 6) if not {t - timedelta(days=k) for t in around} & flagged)
        expected = next((k for k in days if day - timedelta(days=k) >= datetime(2024, 1, 1, tzinfo=UTC)), 0)
        found = beside(catalogue, place, context=2)
        assert found.days == expected
        if expected:
            times = [datetime.fromtimestamp(us / 1e6, UTC) for us in found.trace.time_us.tolist()]
            assert times == [t - timedelta(days=expected) for t in around]
        checked.add(found.days)
    assert len(checked) > 1


def test_the_values_are_those_of_the_entity_and_channel(tmp_path):
    catalogue = written(tmp_path, 2, 3, entities=("a", "b", "c"))
    place = next(p for p in range(catalogue.size) if catalogue.night[p] == 1)
    found = beside(catalogue, place)
    rows = pq.read_table(catalogue.nights[0].folder / "scores.parquet", partitioning=None).to_pylist()
    mine = {r["timestamp"]: r for r in rows if r["entity"] == catalogue.names[place]}
    times = [datetime.fromtimestamp(us / 1e6, UTC) for us in found.trace.time_us.tolist()]
    assert found.trace.low[:, 0] == pytest.approx([mine[t]["observed"][1] for t in times])
    assert found.trace.expected[:, 0] == pytest.approx([mine[t]["expected"][1] for t in times])
    assert not found.trace.flagged.any()


def test_where_there_is_no_day_before_it_is_another_stretch_of_the_batch(tmp_path):
    catalogue = written(tmp_path, 1, 3)
    flagged = catalogue.start_us.tolist()
    for place in range(catalogue.size):
        found = beside(catalogue, place)
        assert found.days == 0
        assert 8 <= found.trace.time_us.size <= 11
        assert not np.isin(found.trace.time_us, flagged).any()


def test_where_everything_is_flagged_there_is_none(tmp_path):
    assert beside(written(tmp_path, 1, 60), 30) is None


def test_a_report_without_the_channel_is_passed_over(tmp_path):
    written(tmp_path, 1, 2)
    paths = Paths(tmp_path, "pumps")
    write_night(paths, MadeUp(2, 2, entities=("pump",), channels=("flow", "speed")), 1)
    catalogue = read_catalogue(paths)
    assert beside(catalogue, catalogue.size - 1, channels=("speed",)).days == 0
