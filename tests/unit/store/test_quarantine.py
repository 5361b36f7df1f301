from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from aeflow.exceptions import InputError, IntegrityError
from aeflow.schemas import QUARANTINE
from aeflow.store.quarantine import iter_quarantine, read_quarantine, write_quarantine


def rows(*reasons):
    return pa.RecordBatch.from_pylist(
        [
            {
                "batch": "b",
                "entity": "e",
                "file": "f.csv",
                "row": number,
                "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
                "reason": reason,
                "rule": "a rule",
                "detail": "what came",
            }
            for number, reason in enumerate(reasons, start=1)
        ],
        schema=QUARANTINE,
    )


def test_what_goes_in_comes_out_with_its_counts(tmp_path):
    path = tmp_path / "new" / "batch=b.parquet"
    parts = [rows("bad_number", "no_value"), rows("bad_number")]
    counts = write_quarantine(path, parts)
    assert counts == {"bad_number": 2, "no_value": 1}
    assert read_quarantine(path).equals(pa.Table.from_batches(parts))


def test_a_rerun_replaces_the_quarantine(tmp_path):
    path = tmp_path / "q.parquet"
    write_quarantine(path, [rows("bad_number")])
    assert write_quarantine(path, []) == {}
    assert read_quarantine(path).num_rows == 0
    assert [p.name for p in tmp_path.iterdir()] == ["q.parquet"]


def test_the_same_rows_make_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_quarantine(tmp_path / name, [rows("bad_number", "no_value")])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_file_is_an_empty_quarantine(tmp_path):
    assert read_quarantine(tmp_path / "none").schema == QUARANTINE
    assert read_quarantine(tmp_path / "none").num_rows == 0


def test_an_error_on_the_way_keeps_the_quarantine_that_was_there(tmp_path):
    path = tmp_path / "q.parquet"
    write_quarantine(path, [rows("bad_number")])

    def broken():
        yield rows("no_value")
        yield rows("no_such_code")

    with pytest.raises(InputError, match="no_such_code"):
        write_quarantine(path, broken())
    assert read_quarantine(path).column("reason").to_pylist() == ["bad_number"]
    assert [p.name for p in tmp_path.iterdir()] == ["q.parquet"]


def test_other_columns_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected the columns"):
        write_quarantine(tmp_path / "q", [rows("bad_number").drop_columns(["detail"])])


def test_a_damaged_file_is_no_quarantine(tmp_path):
    (tmp_path / "q").write_bytes(b"PAR1 nothing")
    with pytest.raises(IntegrityError, match="no Parquet file"):
        list(iter_quarantine(tmp_path / "q"))


def test_a_table_of_other_columns_is_no_quarantine(tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "q")
    with pytest.raises(IntegrityError, match="columns"):
        read_quarantine(tmp_path / "q")
