from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflow.report.traces import read_traces
from tests.unit.report import samples

CHANNELS = ("flow", "change")


@pytest.fixture(scope="module")
def written(tmp_path_factory, water):
    folder = tmp_path_factory.mktemp("series")
    samples.write_series(folder, water, rows_per_group=97)
    return (
        folder,
        pq.read_table(folder / "scores.parquet").to_pandas(),
        pq.read_table(folder / "flags.parquet"),
    )


def read(folder, flags, **options):
    shown = dict.fromkeys(flags.column("flag_id").to_pylist(), ("change", "flow"))
    given_options = {"context_points": 20, "max_points": 10_000, **options}
    return read_traces(folder / "scores.parquet", shown, CHANNELS, **given_options)


@settings(max_examples=8, deadline=None)
@given(context=st.integers(0, 80))
def test_a_trace_is_the_rows_around_its_event(written, context):
    folder, rows, flags = written
    for flag, trace in read(folder, flags, context_points=context).items():
        mine = np.flatnonzero(rows["flag_id"] == flag)
        entity = np.flatnonzero(rows["entity"] == rows["entity"][mine[0]])
        span = slice(max(mine[0] - context, entity[0]), min(mine[-1] + context, entity[-1]) + 1)
        observed = np.array([list(v) for v in rows["observed"][span]], dtype=float)[:, ::-1]
        np.testing.assert_allclose(trace.low, observed, rtol=1e-6)
        np.testing.assert_array_equal(trace.low, trace.high)
        np.testing.assert_array_equal(trace.severity, rows["severity"][span].astype(float))
        np.testing.assert_array_equal(trace.flagged, rows["flag_id"][span] == flag)
        np.testing.assert_array_equal(trace.time_us, rows["timestamp"][span].astype("int64"))


def test_rows_without_a_score_have_no_expectation(written):
    folder, rows, flags = written
    assert rows["expected"].isna().any()
    traces = read(folder, flags, context_points=10_000).values()
    assert all(np.isnan(trace.expected[:8]).all() for trace in traces)


def test_a_long_stretch_keeps_its_extremes_in_few_points(written):
    folder, _, flags = written
    whole, few = (read(folder, flags, context_points=200, max_points=n) for n in (10_000, 60))
    for flag, trace in few.items():
        assert trace.time_us.size == 60
        assert (np.diff(trace.time_us) > 0).all()
        np.testing.assert_array_equal(np.nanmax(trace.high, axis=0), np.nanmax(whole[flag].high, axis=0))
        np.testing.assert_array_equal(np.nanmin(trace.low, axis=0), np.nanmin(whole[flag].low, axis=0))
        assert trace.flagged.any()


def test_only_the_flags_asked_for_are_read(written):
    folder, _, flags = written
    first = flags.slice(0, 1)
    assert list(read(folder, first)) == first.column("flag_id").to_pylist()
