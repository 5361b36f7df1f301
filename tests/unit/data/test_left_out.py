from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq

from aeflow.data.left_out import CONFIRMED, FLAGGED, LeftOut, Span
from aeflow.data.row_rules import FAULTS, Rows
from aeflow.data.series_intake import take_in_history
from tests.unit.data.series_pipeline import series_pipeline


def rows(entity, time_us):
    count = len(entity)
    return Rows(np.array(entity), np.array(time_us), np.zeros((count, 1)), np.zeros(count, np.int8))


def faults(left_out, entity, time_us, names=("a", "b")):
    return [FAULTS[f] for f in left_out.faults(rows(entity, time_us), np.array(names, dtype=object))]


def test_both_ends_of_a_stretch_belong_to_it_and_other_entities_do_not():
    out = LeftOut.of_spans([Span("a", 10, 20, FLAGGED), Span("b", 30, 30, CONFIRMED)])
    assert faults(out, [0, 0, 0, 0, 1, 1], [9, 10, 20, 21, 15, 30]) == [
        "", FLAGGED, FLAGGED, "", "", CONFIRMED,
    ]  # fmt: skip


def test_what_is_both_is_confirmed_and_stretches_may_overlap_in_any_order():
    spans = [Span("a", 15, 40, FLAGGED), Span("a", 1, 50, FLAGGED), Span("a", 20, 22, CONFIRMED)]
    assert faults(LeftOut.of_spans(spans), [0] * 4, [0, 45, 21, 50]) == ["", FLAGGED, CONFIRMED, FLAGGED]


def test_nothing_left_out_costs_nothing_and_an_empty_portion_is_one():
    assert faults(LeftOut(), [0, 0], [1, 2]) == ["", ""]
    assert faults(LeftOut.of_spans([Span("a", 1, 2, FLAGGED)]), [], []) == []


def test_a_history_sets_aside_what_is_left_out_and_says_so(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    lines = [f"2026-11-{day:02}T{hour:02}:00:00Z,{hour}" for day in (1, 2) for hour in range(24)]
    (folder / "all.csv").write_text("time,x\n" + "\n".join(lines) + "\n")
    config = series_pipeline(
        tmp_path,
        source={"kind": "table", "path": "data", "time_column": "time", "channels": ["x"]},
        batch={"by": "period"},
    )
    whole = take_in_history(config, tmp_path / "whole")
    begin = int(np.datetime64("2026-11-01T05:00", "us").astype(np.int64))
    out = LeftOut.of_spans([Span("", begin, begin + 2 * 3_600_000_000, CONFIRMED)])
    cut = take_in_history(config, tmp_path / "cut", left_out=out, chunk_rows=7)
    assert (whole.rows_in, whole.valid) == (48, 48)
    assert (cut.rows_in, cut.valid, cut.quarantined) == (48, 45, {CONFIRMED: 3})
    assert cut.digest != whole.digest
    hours = [t.hour for t in pq.read_table(cut.rows_path)["time"].to_pylist()[:24]]
    assert hours[:6] == [0, 1, 2, 3, 4, 8]
    aside = pq.read_table(cut.quarantine_path).to_pylist()
    assert {row["rule"] for row in aside} == {"nothing is learnt from what was confirmed to be abnormal"}
