from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflow.data.series_intake import list_series_batches, take_in_series
from tests.unit.data.series_pipeline import series_pipeline, write

START = datetime(2026, 11, 19, 22, tzinfo=UTC)
CELL = st.sampled_from(["1", "-2.5", "1e3", "", "NaN", "inf", "99", "x"])
READINGS = st.dictionaries(
    st.tuples(st.sampled_from(["m1", "m2", "m10"]), st.integers(0, 40)), st.tuples(CELL, CELL), max_size=40
)
DAY = {"by": "period", "period": "day"}


def content(intake):
    staged = pq.read_table(intake.rows_path, columns=["entity", "time", "context", "values"])
    return str(staged.to_pylist())  # NaN is not itself, its text is


@settings(max_examples=20, deadline=None)
@given(READINGS, st.randoms(use_true_random=False), st.integers(1, 7), st.integers(1, 3))
def test_the_order_of_the_rows_and_the_chunks_change_nothing(
    tmp_path_factory, readings, draw, chunk_rows, files
):
    lines = [
        f"{m},{(START + timedelta(minutes=10 * t)).isoformat()},{a},{b}\n"
        for (m, t), (a, b) in readings.items()
    ]
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    write(one, "x.csv", "m,time,a,b\n" + "".join(lines))
    draw.shuffle(lines)
    for i in range(files):
        write(other, f"part{i}.csv", "m,time,a,b\n" + "".join(lines[i::files]))
    options = {"entity_column": "m", "batch": DAY, "limits": {"a": (-10, 2000)}}
    config, shuffled = series_pipeline(one, **options), series_pipeline(other, **options)
    assert list_series_batches(config) == list_series_batches(shuffled)
    for batch in list_series_batches(config):
        context = {"context_points": 3, "cadence_seconds": 600}
        first = take_in_series(config, batch, one / "staged", **context)
        second = take_in_series(shuffled, batch, other / "staged", chunk_rows=chunk_rows, **context)
        assert content(first) == content(second)
        assert first.digest == second.digest
        assert (first.rows_in, first.valid, first.quarantined) == (
            second.rows_in,
            second.valid,
            second.quarantined,
        )
        assert (first.entities, first.context_rows) == (second.entities, second.context_rows)


GARBAGE = st.one_of(
    st.sampled_from(
        [
            "",
            "1",
            "nan",
            "inf",
            '"',
            '"a,b"',
            "\r",
            "2026-11-20 06:00",
            "2026-11-20T06:00:00+02:00",
            "2026-02-30",
            "é",
        ]
    ),
    st.text(max_size=5).filter(lambda s: "\n" not in s),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(GARBAGE, min_size=1, max_size=6).map(",".join), max_size=15), st.integers(0, 3))
def test_every_line_of_garbage_is_accounted_for(tmp_path_factory, lines, good):
    folder = tmp_path_factory.mktemp("garbage")
    fine = [f"m1,2026-11-{20 + day} 06:00,1,2" for day in range(good)]
    text = "m,time,a,b\n" + "\n".join(fine + lines)
    write(folder, "x.csv", text.encode("utf-8", "surrogatepass"))
    whole = take_in_series(series_pipeline(folder, entity_column="m"), "all", folder / "staged")
    assert whole.rows_in == whole.valid + sum(whole.quarantined.values())
    assert pq.read_metadata(whole.quarantine_path).num_rows == sum(whole.quarantined.values())
    assert pq.read_metadata(whole.rows_path).num_rows == whole.valid
    assert good <= whole.rows_in <= good + len(lines)
    if '"' not in text:
        assert whole.rows_in == good + sum(bool(line.strip("\r")) for line in lines)
    if whole.valid:
        config = series_pipeline(folder, entity_column="m", batch=DAY)
        by_day = [take_in_series(config, batch, folder / "staged") for batch in list_series_batches(config)]
        assert sum(intake.rows_in for intake in by_day) == whole.rows_in
