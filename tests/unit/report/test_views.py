"""Each view gives back the rows that were written, and nothing beside them can be reached."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aeflow import schemas
from aeflow.exceptions import IntegrityError
from aeflow.report.views import VIEWS, open_views
from aeflow.store.verdicts import Verdict, Word, open_verdicts
from tests.unit.report.stores import empty_store, write_store

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path, home):
    return write_store(tmp_path, home, 3, seed=2)


def rows(store, text, kind="series", zone="UTC"):
    with open_views(store.paths, kind, zone=zone) as connection:
        return connection.sql(text).to_arrow_table().to_pylist()


def stored(paths, name):
    return [
        row
        for batch in paths.published()
        for row in pq.read_table(paths.report(batch) / name, partitioning=None).to_pylist()
    ]


def test_flags_are_the_rows_of_every_report(store):
    assert len(store.flags) > 2
    assert rows(store, "select * from flags order by flag_id") == sorted(
        stored(store.paths, "flags.parquet"), key=lambda row: row["flag_id"]
    )


def test_scores_know_their_batch(store):
    found = rows(store, "select * from scores order by batch, timestamp")
    assert [row["batch"] for row in found] == store.scores["batch"].tolist()
    assert [{k: v for k, v in row.items() if k != "batch"} for row in found] == stored(
        store.paths, "scores.parquet"
    )


def test_quarantine_is_what_was_set_aside_of_batches_without_a_report_too(store):
    late = {"batch": "2030-01-01", "file": "late.csv", "row": 1, "reason": "bad_number"}
    table = pa.Table.from_pylist([late], schema=schemas.QUARANTINE)
    pq.write_table(table, store.paths.quarantine("2030-01-01"))
    found = rows(store, "select batch, file, row, reason, detail from quarantine order by batch, row")
    expected = store.quarantine[["batch", "file", "row", "reason", "detail"]].to_dict("records")
    assert found == [*sorted(expected, key=lambda r: (r["batch"], r["row"])), late | {"detail": None}]


def test_batches_are_the_summaries_in_the_order_of_their_beginnings(store):
    found = rows(store, "select * from batches order by number")
    assert [row["batch"] for row in found] == ["2024-01-01", "2024-01-02", "2024-01-03"]
    first, told = found[0], store.batches.iloc[0]
    mine = store.flags[store.flags["batch"] == "2024-01-01"]
    assert first["flags"] + first["suppressed"] == len(mine)
    assert first["suppressed"] == mine["suppressed"].sum()
    for name in (
        "rows_in",
        "scored",
        "not_scorable",
        "flags",
        "flagged_rows",
        "detector_version",
        "sentence",
    ):
        assert first[name] == told[name]
    assert first["quarantined"] == sum(told["quarantined"].values())
    assert first["period_start"] == told["start"]
    assert first["promise"] == "false_flags_per_batch"
    assert first["promise_kept"] == told["promise"]["kept"]
    assert (first["expected_false_flags"], first["checks_failed"], first["weak_channels"]) == (0.9, 1, 1)
    assert first["score_max"] == told["score_quantiles"]["max"]


def test_verdicts_are_all_that_was_said_and_standings_what_holds(tmp_path, home):
    store = empty_store(tmp_path, home)
    said = [
        Verdict("a", "n1", Word.TRUE, "ann", AT, "worn seal", 3),
        Verdict("a", "n1", Word.FALSE, "bob", AT.replace(hour=1)),
        Verdict("b", "n1", Word.FALSE, "ann", AT),
        Verdict("b", "n1", Word.TRUE, "ann", AT.replace(hour=2)),
        Verdict("c", "n2", Word.UNSURE, "bob", AT),
        Verdict("d", "n2", Word.TRUE, "bob", AT),
        Verdict("d", "n2", Word.RETRACTED, "bob", AT.replace(hour=3)),
    ]
    open_verdicts(store.paths).append(said)
    found = rows(store, "select * from verdicts")
    assert [(row["flag_id"], row["word"], row["reviewer"]) for row in found] == [
        (v.flag_id, str(v.word), v.reviewer) for v in said
    ]
    assert (found[0]["note"], found[0]["detector_version"], found[0]["at"]) == ("worn seal", 3, AT)
    assert rows(store, "select flag_id, batch, standing, reviewers from standings order by 1") == [
        {"flag_id": "a", "batch": "n1", "standing": "disputed", "reviewers": 2},
        {"flag_id": "b", "batch": "n1", "standing": "true", "reviewers": 1},
        {"flag_id": "c", "batch": "n2", "standing": "unsure", "reviewers": 1},
    ]


@pytest.mark.parametrize("kind", ["series", "images"])
def test_before_anything_is_published_every_view_is_there_and_empty(tmp_path, home, kind):
    store = empty_store(tmp_path, home)
    for view in VIEWS:
        assert rows(store, f"select * from {view}", kind) == []
    assert (
        rows(store, "select scores.severity, batch, boxes from scores join flags using (batch)", kind) == []
    )


def test_a_report_of_an_older_version_lacks_columns_and_is_read_all_the_same(store):
    path = store.paths.report("2024-01-01") / "flags.parquet"
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["boxes", "sha256"]), path)
    found = rows(store, "select boxes, sha256 from flags")
    assert found == [{"boxes": None, "sha256": None}] * len(store.flags)


def test_ids_of_folders_come_back_as_they_were(tmp_path, home):
    store = write_store(tmp_path, home, 1, seed=2)
    odd = "Schicht 1/ä'*"
    store.paths.report("2024-01-01").rename(store.paths.report(odd))
    assert {row["batch"] for row in rows(store, "select batch from scores")} == {odd}


def test_times_are_told_in_the_zone_of_the_pipeline(store):
    (row,) = rows(
        store, "select strftime(max(period_start), '%H:%M') as at from batches", zone="Asia/Kolkata"
    )
    assert row["at"] == "05:30"


@pytest.mark.parametrize(
    "text",
    [
        "select * from read_text('{outside}')",
        "select * from read_csv('{outside}')",
        "select * from '{outside}'",
        "select * from glob('{folder}/*')",
        "select * from read_parquet('{reports}/../../../secret.parquet')",
        "copy (select 1) to '{outside}'",
        "attach '{folder}/new.db'",
        "install httpfs",
        "set memory_limit = '1TB'",
        "set enable_external_access = true",
        "select * from read_csv('https://example.org/a.csv')",
    ],
)
def test_nothing_else_can_be_reached(store, tmp_path, text):
    outside = tmp_path / "secret.csv"
    outside.write_text("password\n1234\n", encoding="utf-8")
    names = {"outside": outside, "folder": tmp_path, "reports": store.paths.reports}
    with (
        open_views(store.paths, "series", zone="UTC") as connection,
        pytest.raises(duckdb.Error, match=r"(?i)permission|configuration|not exist|cannot"),
    ):
        connection.sql(text.format(**names)).to_arrow_table()
    assert outside.read_text(encoding="utf-8") == "password\n1234\n"


def test_variables_of_the_program_are_no_tables(store):
    secret = pa.table({"a": [1]})
    assert secret.num_rows == 1
    with open_views(store.paths, "series", zone="UTC") as connection, pytest.raises(duckdb.CatalogException):
        connection.sql("select * from secret").to_arrow_table()


def test_a_broken_summary_is_told_by_its_file(store):
    path = store.paths.report("2024-01-02") / "summary.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(IntegrityError, match="2024-01-02"):
        rows(store, "select 1")


def test_what_was_said_joins_the_flag_that_a_newer_report_calls_by_another_name(tmp_path, home):
    store = empty_store(tmp_path, home)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    old = {
        "flag_id": "old",
        "batch": "b",
        "entity": "pump",
        "start": begin,
        "end": begin + timedelta(hours=2),
    }
    new = old | {"flag_id": "new", "start": begin + timedelta(hours=1)}
    for folder, flag in ((store.paths.revisions("b") / "rev=1", old), (store.paths.report("b"), new)):
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist([flag], schema=schemas.FLAGS), folder / "flags.parquet")
    open_verdicts(store.paths).append([Verdict("old", "b", Word.FALSE, "ann", AT)])
    joined = "select flag_id, {} from flags join {} using (flag_id)"
    for view, column in (("standings", "standing"), ("verdicts", "word")):
        with open_views(store.paths, "series", zone="UTC", wanted=("flags", view)) as connection:
            assert connection.sql(joined.format(column, view)).fetchall() == [("new", "false")]
