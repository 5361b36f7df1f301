from __future__ import annotations

import pyarrow.parquet as pq

from aeflow.scoring.judged import write_flags


def flag(name, severity, p_value, score):
    return {"flag_id": name, "severity": severity, "p_value": p_value, "score": score}


def test_flags_of_the_highest_severity_are_ordered_by_how_unlikely_they_are(tmp_path):
    flags = [
        flag("mild", 60.0, 1e-3, 90.0),
        flag("c", 100.0, 1e-6, 5.0),
        flag("a", 100.0, 1e-6, 5.0),
        flag("b", 100.0, 1e-6, 7.0),
        flag("d", 100.0, 1e-9, 1.0),
    ]
    write_flags(flags, tmp_path / "flags.parquet", "images", ("grey",))
    found = pq.read_table(tmp_path / "flags.parquet", columns=["flag_id"])["flag_id"].to_pylist()
    assert found == ["d", "b", "a", "c", "mild"]
