import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflow.data.external_sort import sort_batches


def keys(batch):
    return np.asarray(batch.column("k")), np.asarray(batch.column("row"))


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 800), st.integers(5, 300), st.integers(3, 300), st.integers(500, 20_000), st.integers(0, 9)
)
def test_rows_come_back_sorted_however_they_are_cut(
    tmp_path_factory, rows, batch_rows, chunk_rows, run_bytes, seed
):
    folder = tmp_path_factory.mktemp("sort")
    draw = np.random.default_rng(seed)
    table = pa.table({"k": draw.integers(0, 20, rows), "row": draw.permutation(rows)})
    batches = [
        table.slice(i, batch_rows).combine_chunks().to_batches()[0] for i in range(0, rows, batch_rows)
    ]
    out = list(
        sort_batches(batches, keys, rows=rows, folder=folder, chunk_rows=chunk_rows, run_bytes=run_bytes)
    )
    assert all(batch.num_rows == chunk_rows for batch in out[:-1])
    expected = table.sort_by([("k", "ascending"), ("row", "ascending")])
    assert (pa.Table.from_batches(out) if out else table).equals(expected)
    assert list(folder.iterdir()) == []
