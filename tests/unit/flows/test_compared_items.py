from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

from aeflow import schemas
from aeflow.exceptions import StorageError
from flows.compared_items import compared_items, write_compared


def of_series(scores):
    keys = [("press", 1_000_000 * second) for second in range(len(scores))]
    n = len(keys)
    return compared_items(
        "tonight", keys, np.arange(n) == 1, np.array(scores, np.float32), np.full(n, 0.5), np.arange(n) == 1
    )


def test_rows_of_a_series_keep_entity_and_time_and_have_no_score_where_none_was_given(tmp_path):
    write_compared(tmp_path / "out.parquet", {"detector 1 (pca)": [of_series([1.0, 2.0, np.nan])]})
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.equals(schemas.COMPARED)
    rows = table.to_pylist()
    assert rows[1] == {
        "detector": "detector 1 (pca)",
        "batch": "tonight",
        "entity": "press",
        "timestamp": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        "item": None,
        "label": True,
        "score": 2.0,
        "p_value": 0.5,
        "flag": True,
    }
    assert (rows[2]["score"], rows[2]["p_value"]) == (None, None)


def test_every_detector_and_batch_is_in_one_file(tmp_path):
    some = of_series([1.0, 2.0])
    write_compared(tmp_path / "new" / "out.parquet", {"one": [some, some], "other": [some]})
    named = pq.read_table(tmp_path / "new" / "out.parquet")["detector"].to_pylist()
    assert named == ["one"] * 4 + ["other"] * 2


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="out"):
        write_compared(tmp_path / "file" / "out.parquet", {"one": [of_series([1.0])]})
