"""However a batch is cut into chunks, every row meets the same window."""

from __future__ import annotations

import tracemalloc
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aeflow.config import SeriesPrepare
from aeflow.data.series import Cadences, context_points, history_grid, iter_series, windows_at
from aeflow.numerics.gridding import Cadence

SECOND = 1_000_000


def write_rows(path, series, *, row_group=7, context_before=None):
    """`series`: entity -> (seconds, values); rows before `context_before` seconds are context."""
    entity, time, values = [], [], []
    for name in sorted(series):
        seconds, own = series[name]
        entity += [name] * len(seconds)
        time += [int(s * SECOND) for s in seconds]
        values += own.tolist()
    channels = len(values[0])
    limit = -1 if context_before is None else context_before * SECOND
    table = pa.table(
        {
            "entity": pa.array(entity, pa.string()),
            "time": pa.array(time, pa.int64()).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
            "file": pa.array(["f"] * len(time)),
            "row": pa.array(range(len(time)), pa.int64()),
            "context": pa.array([t < limit for t in time]),
            "values": pa.array(values, pa.list_(pa.float64(), channels)),
        }
    )
    pq.write_table(table, path, row_group_size=row_group)
    return path


def windows(chunks):
    """(entity, time) -> the window that scores the row, or None where it has none."""
    found = {}
    for chunk in chunks:
        for row in range(chunk.row_time_us.size):
            number = chunk.row_window[row]
            key = (chunk.entities[chunk.row_entity[row]], int(chunk.row_time_us[row]))
            assert key not in found
            if number < 0:
                found[key] = None
                continue
            end = chunk.ends[number]
            part = slice(end - chunk.window + 1, end + 1)
            assert (chunk.grid_entity[part] == chunk.row_entity[row]).all()
            found[key] = (chunk.values[part].tobytes(), chunk.observed[part].tobytes())
    return found


@st.composite
def many_series(draw):
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    series = {}
    for name in ("a", "b", "c")[: draw(st.integers(1, 3))]:
        steps = rng.choice([1, 1, 1, 1, 2, 3, 9], size=draw(st.integers(1, 60)))
        seconds = np.cumsum(steps) + rng.uniform(-0.3, 0.3, steps.size)
        values = rng.normal(size=(steps.size, 2))
        values[rng.random(values.shape) < 0.1] = np.nan
        values[np.isnan(values).all(axis=1), 0] = 0.0
        series[name] = (seconds, values)
    return series


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(series=many_series(), chunk_rows=st.integers(1, 40), window=st.integers(2, 6), gap=st.integers(0, 3))
def test_chunks_change_no_window(tmp_path, series, chunk_rows, window, gap):
    rows = write_rows(tmp_path / "rows.parquet", series)
    prepare = SeriesPrepare(window_points=window, max_gap_points=gap)
    cadences = Cadences({}, Cadence(SECOND))
    whole = windows(iter_series(rows, prepare, cadences, chunk_rows=10_000))
    cut = windows(iter_series(rows, prepare, cadences, chunk_rows=chunk_rows))
    assert cut == whole
    assert len(whole) == sum(len(seconds) for seconds, _ in series.values())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(series=many_series(), window=st.integers(2, 6), gap=st.integers(0, 3), border=st.integers(5, 60))
def test_a_batch_with_its_context_meets_the_windows_of_the_whole(tmp_path, series, window, gap, border):
    prepare = SeriesPrepare(window_points=window, max_gap_points=gap)
    cadences = Cadences({}, Cadence(SECOND))
    whole = windows(iter_series(write_rows(tmp_path / "whole.parquet", series), prepare, cadences))
    reach = context_points(prepare)
    near = {
        name: (s[keep], v[keep]) for name, (s, v) in series.items() if (keep := s >= border - reach).any()
    }
    if not near:
        return
    night = windows(
        iter_series(write_rows(tmp_path / "night.parquet", near, context_before=border), prepare, cadences)
    )
    assert night == {key: value for key, value in whole.items() if key[1] >= border * SECOND}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    series=many_series(),
    read_rows=st.integers(1, 40),
    window=st.integers(2, 6),
    gap=st.integers(0, 3),
    resample=st.sampled_from(["nearest", "mean"]),
    share=st.sampled_from([0.1, 0.5, 1.0]),
    look_back=st.sampled_from([0, 1, 7]),
)
def test_single_windows_are_those_of_the_whole(
    tmp_path, series, read_rows, window, gap, resample, share, look_back
):
    rows = write_rows(tmp_path / "rows.parquet", series)
    prepare = SeriesPrepare(window_points=window, max_gap_points=gap, resample=resample, cadence_seconds=1)
    cadences = Cadences({}, Cadence(SECOND))
    whole = windows(iter_series(rows, prepare, cadences))
    chosen = {key: value for i, (key, value) in enumerate(whole.items()) if i % 10 < 10 * share}
    wanted = {}
    for entity, time in chosen:
        wanted.setdefault(entity, []).append(time)
    with mock.patch("aeflow.data.series._READ_ROWS", read_rows):
        chunks = list(
            windows_at(
                rows,
                prepare,
                cadences,
                {k: np.array(v) for k, v in wanted.items()},
                chunk_windows=4,
                look_back=look_back,
            )
        )
    found = windows(chunks)
    assert found == chosen
    assert list(found) == list(chosen)


def test_a_few_windows_all_over_a_long_batch_keep_only_their_own_rows(tmp_path):
    length, channels = 60_000, 4
    series = {"a": (np.arange(float(length)), np.ones((length, channels)))}
    rows = write_rows(tmp_path / "rows.parquet", series, row_group=length)
    prepare, cadences = SeriesPrepare(window_points=4, max_gap_points=2), Cadences({}, Cadence(SECOND))
    wanted = {"a": np.arange(100, length, 600) * SECOND}
    with mock.patch("aeflow.data.series._READ_ROWS", 1_000):
        tracemalloc.start()
        try:
            found = list(windows_at(rows, prepare, cadences, wanted))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert sum(chunk.ends.size for chunk in found) == wanted["a"].size
    assert peak < length * channels * 8 / 2


def test_training_sees_the_windows_that_scoring_sees(tmp_path):
    rng = np.random.default_rng(3)
    seconds = np.cumsum(rng.choice([1, 1, 2, 8], size=80)).astype(float)
    series = {"a": (seconds, rng.normal(size=(80, 2))), "b": (seconds, rng.normal(size=(80, 2)))}
    rows = write_rows(tmp_path / "rows.parquet", series)
    prepare = SeriesPrepare(window_points=4, max_gap_points=2)
    cadences = Cadences({}, Cadence(SECOND))
    grid = history_grid(rows, prepare, cadences, 2)
    ends = grid.window_ends(4, part=np.ones(grid.slot.size, bool), inside=True)
    trained = {grid.values[e - 3 : e + 1].tobytes() for e in ends}
    scored = {w[0] for w in windows(iter_series(rows, prepare, cadences)).values() if w is not None}
    assert trained == scored


def test_a_window_inside_a_part_touches_no_other_part(tmp_path):
    seconds = np.arange(20.0)
    rows = write_rows(tmp_path / "rows.parquet", {"a": (seconds, np.ones((20, 1)))})
    prepare = SeriesPrepare(window_points=4)
    grid = history_grid(rows, prepare, Cadences({}, Cadence(SECOND)), 1)
    part = np.arange(20) >= 10
    assert grid.window_ends(4, part=part, inside=True).tolist() == list(range(13, 20))
    assert grid.window_ends(4, part=part, inside=False).tolist() == list(range(10, 20))


@pytest.mark.parametrize("stride", [1, 3])
def test_the_stride_thins_training_windows(tmp_path, stride):
    rows = write_rows(tmp_path / "rows.parquet", {"a": (np.arange(30.0), np.ones((30, 1)))})
    grid = history_grid(rows, SeriesPrepare(window_points=4), Cadences({}, Cadence(SECOND)), 1)
    ends = grid.window_ends(4, part=np.ones(30, bool), inside=True, stride=stride)
    assert (np.diff(ends) == stride).all()
