"""A bad file of a table source costs the batches that it belongs to, and no other."""

from __future__ import annotations

import gzip
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aeflow.data.marks import MarkCache, batch_marks
from aeflow.data.series_intake import survey_series, take_in_history, take_in_series
from aeflow.data.tables import find_files
from aeflow.exceptions import SourceError
from tests.unit.data.series_pipeline import quarantine, rows, series_pipeline, write

DAY = {"by": "period", "period": "day"}
HEADER = "time,a,b\n"
BINARY = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def day(number, hours=range(3)):
    return "".join(f"2026-11-{number} {h:02d}:00,{h},1\n" for h in hours)


def take(config, tmp_path, batch, **options):
    return take_in_series(config, batch, tmp_path / "staged", **options)


def test_rows_of_a_file_without_a_column_are_set_aside_in_their_own_period(tmp_path):
    write(tmp_path, "19.csv", HEADER + day(19))
    write(tmp_path, "20.csv", "time,a\n2026-11-20 00:00,1\n2026-11-20 01:00,1\nyesterday,1\n")
    write(tmp_path, "21.csv", HEADER + day(21))
    config = series_pipeline(tmp_path, batch=DAY)
    assert survey_series(config) == (["2026-11-19", "2026-11-20", "2026-11-21"], {})
    for batch in ("2026-11-19", "2026-11-21"):
        whole = take(config, tmp_path, batch, context_points=24, cadence_seconds=3600)
        assert (whole.valid, whole.quarantined, whole.unreadable) == (3, {}, {})
    lost = take(config, tmp_path, "2026-11-20")
    assert (lost.rows_in, lost.valid) == (3, 0)
    assert lost.quarantined == {"bad_timestamp": 1, "missing_column": 2}
    first = quarantine(lost)[0]
    assert (first["file"], first["row"], first["reason"]) == ("20.csv", 1, "missing_column")
    assert "'b'" in first["detail"]
    assert first["rule"]


def test_a_file_without_the_column_of_entities_costs_only_its_own_rows(tmp_path):
    write(tmp_path, "19.csv", "time,m,a,b\n2026-11-19 00:00,x,1,1\n")
    write(tmp_path, "20.csv", "time,a,b\n2026-11-19 01:00,1,1\n")
    intake = take(series_pipeline(tmp_path, batch=DAY, entity_column="m"), tmp_path, "2026-11-19")
    assert (intake.valid, intake.quarantined) == (1, {"missing_column": 1})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BINARY, "header line in UTF-8"),
        (b"when,a,b\n2026-11-20,1,1\n", "'time'"),
        (b"a\xff,b\n1,2\n", "header line in UTF-8"),
    ],
)
def test_a_file_whose_times_cannot_be_read_is_told_of_and_costs_no_period(tmp_path, content, said):
    write(tmp_path, "19.csv", HEADER + day(19))
    write(tmp_path, "bad.csv", content)
    write(tmp_path, "21.csv", HEADER + day(21))
    config = series_pipeline(tmp_path, batch=DAY)
    batches, unreadable = survey_series(config)
    assert batches == ["2026-11-19", "2026-11-21"]
    assert said in unreadable["bad.csv"]
    intake = take(config, tmp_path, "2026-11-21")
    assert (intake.rows_in, intake.valid, list(intake.unreadable)) == (3, 3, ["bad.csv"])
    assert take_in_history(config, tmp_path / "history").valid == 6
    cache = MarkCache()
    assert set(batch_marks(config, cache)) == {"2026-11-19", "2026-11-21"}
    assert list(cache.unreadable) == ["bad.csv"]
    assert "bad.csv" not in cache.files


def test_marks_tell_when_a_bad_file_is_mended(tmp_path):
    write(tmp_path, "19.csv", HEADER + day(19))
    bad = write(tmp_path, "20.csv", BINARY)
    lacking = write(tmp_path, "21.csv", "time,a\n2026-11-21 00:00,1\n")
    config, cache = series_pipeline(tmp_path, batch=DAY), MarkCache()
    before = batch_marks(config, cache)
    bad.write_text(HEADER + day(20))
    lacking.write_text(HEADER + day(21, [0]))
    after = batch_marks(config, cache)
    assert cache.unreadable == {}
    assert after["2026-11-19"] == before["2026-11-19"]
    assert after["2026-11-21"] != before["2026-11-21"]
    assert "2026-11-20" in after


def test_what_follows_damage_in_a_file_counts_as_one_row_where_it_begins(tmp_path):
    packed = gzip.compress((HEADER + day(19) + day(20)).encode(), mtime=0)
    write(tmp_path, "x.csv.gz", packed[:-8])  # all lines, but neither length nor checksum
    write(tmp_path, "y.csv", HEADER + day(21))
    config = series_pipeline(tmp_path, batch=DAY)
    # The whole text is one block, which is never handed out: no time of the file is known.
    assert "cannot be read to its end" in survey_series(config)[1]["x.csv.gz"]
    by_source = take(series_pipeline(tmp_path), tmp_path, "all")
    assert (by_source.rows_in, by_source.valid, by_source.quarantined) == (4, 3, {"unreadable_file": 1})
    only = quarantine(by_source)[0]
    assert (only["file"], only["row"], only["timestamp"]) == ("x.csv.gz", None, None)
    assert "cannot be read to its end" in only["detail"]


def test_a_parquet_file_with_one_damaged_group_keeps_what_came_before(tmp_path):
    path = tmp_path / "data" / "x.parquet"
    path.parent.mkdir()
    table = pa.table({"time": [f"2026-11-{d} 00:00" for d in (19, 20)], "a": [1.0, 2.0], "b": [1.0, 2.0]})
    pq.write_table(table, path, row_group_size=1, compression="gzip")
    place = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    content = bytearray(path.read_bytes())
    content[place : place + 40] = b"\xff" * 40
    path.write_bytes(content)
    config = series_pipeline(tmp_path, format="parquet", batch=DAY)
    batches, unreadable = survey_series(config)
    assert batches == ["2026-11-19"]
    assert "whole Parquet file" in unreadable["x.parquet"]
    intake = take(config, tmp_path, "2026-11-19")
    assert (intake.rows_in, intake.valid, intake.quarantined) == (2, 1, {"unreadable_file": 1})
    assert quarantine(intake)[0]["row"] == 2


@pytest.mark.parametrize("content", [BINARY, b"time,a\n2026-11-20 00:00,1\n"], ids=["binary", "lacking"])
def test_a_bad_file_of_a_folder_is_set_aside_in_that_folder_and_the_next_one_is_not_held_up(
    tmp_path, content
):
    write(tmp_path, "n1/x.csv", HEADER + day(19, [22, 23]))
    write(tmp_path, "n2/bad.csv", content)
    write(tmp_path, "n3/x.csv", HEADER + day(20))
    config = series_pipeline(tmp_path, batch={"by": "folder"})
    bad = take(config, tmp_path, "n2")
    assert (bad.rows_in, bad.valid, sum(bad.quarantined.values())) == (1, 0, 1)
    after = take(config, tmp_path, "n3", context_points=2, cadence_seconds=3600)
    assert (after.valid, after.quarantined) == (3, {})
    assert [r["time"].hour for r in rows(after) if r["context"]] == [22, 23]


def test_context_of_a_folder_reaches_back_over_short_ones(tmp_path):
    write(tmp_path, "n0/x.csv", HEADER + day(18, [23]))
    write(tmp_path, "n1/x.csv", HEADER + day(19, [20, 21]))
    write(tmp_path, "n2/x.csv", HEADER + day(19, [22]))
    write(tmp_path, "n3/x.csv", HEADER + day(19, [23]))
    config = series_pipeline(tmp_path, batch={"by": "folder"})
    intake = take(config, tmp_path, "n3", context_points=2, cadence_seconds=3600)
    assert [r["time"].hour for r in rows(intake) if r["context"]] == [21, 22]


def test_a_bad_file_moves_no_row_of_a_numbered_series(tmp_path):
    write(tmp_path, "n1/a.csv", "a,b\n1,1\n2,2\n")
    write(tmp_path, "n1/b.csv", BINARY)
    write(tmp_path, "n1/c.csv", "a\n3\n")
    config = series_pipeline(
        tmp_path,
        batch={"by": "folder"},
        prepare={"cadence_seconds": 60},
        time_column=None,
        entity_from_path=True,
    )
    intake = take(config, tmp_path, "n1")
    assert (intake.valid, intake.quarantined) == (2, {"missing_column": 1, "unreadable_file": 1})
    assert {r["entity"] for r in quarantine(intake)} == {"b", "c"}


def test_where_every_file_is_bad_it_is_the_config_and_the_first_is_named(tmp_path):
    write(tmp_path, "1.csv", "time,a\n2026-11-19,1\n")
    write(tmp_path, "2.csv", BINARY)
    for batch in (DAY, {"by": "source"}):
        with pytest.raises(SourceError, match=r"1\.csv: expected 'b'"):
            take(series_pipeline(tmp_path, batch=batch), tmp_path, "2026-11-19" if batch == DAY else "all")


def test_a_folder_that_cannot_be_listed_is_set_aside_like_a_file(tmp_path, monkeypatch):
    write(tmp_path, "n1/x.csv", HEADER + day(19))
    write(tmp_path, "n2/x.csv", HEADER + day(20))
    closed = tmp_path / "data" / "n2"

    def walk(top, *, onerror, followlinks):
        yield str(top), ["n1", "n2"], []
        yield str(top / "n1"), [], ["x.csv"]
        onerror(PermissionError(13, "Permission denied", str(closed)))

    monkeypatch.setattr("aeflow.data.tables.os.walk", walk)
    config = series_pipeline(tmp_path, batch={"by": "folder"})
    assert survey_series(config)[0] == ["n1", "n2"]
    assert take(config, tmp_path, "n1").valid == 3
    assert take(config, tmp_path, "n2").quarantined == {"unreadable_file": 1}
    assert list(survey_series(series_pipeline(tmp_path, batch=DAY))[1]) == ["n2/"]


def test_a_root_that_cannot_be_listed_is_refused(tmp_path, monkeypatch):
    write(tmp_path, "x.csv", HEADER)

    def walk(top, *, onerror, followlinks):
        onerror(PermissionError(13, "Permission denied", str(top)))

    monkeypatch.setattr("aeflow.data.tables.os.walk", walk)
    with pytest.raises(SourceError, match=r"data.*Permission denied"):
        take(series_pipeline(tmp_path), tmp_path, "all")


def test_a_link_that_leads_around_itself_and_one_that_leads_nowhere_stop_nothing(tmp_path):
    write(tmp_path, "in/x.csv", HEADER + day(19))
    (tmp_path / "data" / "in" / "around").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "gone.csv").symlink_to(tmp_path / "gone.csv")
    config = series_pipeline(tmp_path, batch=DAY)
    assert survey_series(config)[0] == ["2026-11-19"]
    assert list(survey_series(config)[1]) == ["gone.csv"]
    cache = MarkCache()
    batch_marks(config, cache)
    assert list(cache.unreadable) == ["gone.csv"]
    assert take(config, tmp_path, "2026-11-19").rows_in == 3
    shutil.rmtree(tmp_path / "data")


def test_links_that_lead_to_each_other_are_read_once(tmp_path):
    write(tmp_path, "a/x.csv", HEADER + day(19))
    write(tmp_path, "b/y.csv", HEADER + day(20))
    (tmp_path / "data" / "a" / "to_b").symlink_to(tmp_path / "data" / "b")
    (tmp_path / "data" / "b" / "to_a").symlink_to(tmp_path / "data" / "a")
    names = [file.name for file in find_files(series_pipeline(tmp_path, batch=DAY))]
    assert names == ["a/to_b/y.csv", "a/x.csv", "b/to_a/x.csv", "b/y.csv"]


def closed(monkeypatch, *names):
    """Files that may not be read, also by root, whom no mode keeps out."""
    monkeypatch.setattr("aeflow.data.marks.os.access", lambda path, _mode: path.name not in names)


def test_batches_of_a_file_that_breaks_later_are_not_scored_anew_without_it(tmp_path, monkeypatch):
    file = write(tmp_path, "19.csv", HEADER + day(19) + day(20))
    write(tmp_path, "21.csv", HEADER + day(21))
    config, cache = series_pipeline(tmp_path, batch=DAY), MarkCache()
    before = batch_marks(config, cache)
    whole = file.read_bytes()
    file.write_bytes(BINARY)
    cache = MarkCache.from_json(cache.to_json())
    assert batch_marks(config, cache) == before
    assert list(cache.unreadable) == ["19.csv"]
    file.write_bytes(whole)
    closed(monkeypatch, "19.csv")
    assert batch_marks(config, cache) == before
    assert cache.unreadable == {"19.csv": "expected a file that may be read"}
    monkeypatch.undo()
    file.write_bytes(whole + b"2026-11-20 05:00,5,1\n")
    after = batch_marks(config, cache)
    assert cache.unreadable == {}
    assert {name for name in after if after[name] != before[name]} == {"2026-11-20"}


def test_batches_of_a_folder_that_is_closed_later_are_not_scored_anew_without_it(tmp_path, monkeypatch):
    write(tmp_path, "n1/x.csv", HEADER + day(19))
    write(tmp_path, "n2/x.csv", HEADER + day(19) + day(20))
    write(tmp_path, "n2/y.csv", HEADER + day(20))
    config, cache = series_pipeline(tmp_path, batch=DAY), MarkCache()
    before = batch_marks(config, cache)

    def walk(top, *, onerror, followlinks):
        yield str(top), ["n1", "n2"], []
        yield str(top / "n1"), [], ["x.csv"]
        onerror(PermissionError(13, "Permission denied", str(top / "n2")))

    with monkeypatch.context() as patch:
        patch.setattr("aeflow.data.tables.os.walk", walk)
        for _ in range(2):  # the second time from what the first one kept
            assert batch_marks(config, cache) == before
            assert list(cache.unreadable) == ["n2/"]
    assert batch_marks(config, cache) == before
    assert cache.unreadable == {}


def test_rights_that_come_or_go_mark_the_batch_of_a_folder(tmp_path, monkeypatch):
    write(tmp_path, "n1/x.csv", HEADER + day(19))
    write(tmp_path, "n2/y.csv", HEADER + day(20))
    config = series_pipeline(tmp_path, batch={"by": "folder"})
    before = batch_marks(config, MarkCache())
    closed(monkeypatch, "y.csv")
    after = batch_marks(config, MarkCache())
    assert {name for name in after if after[name] != before[name]} == {"n2"}


def test_rows_of_a_column_of_lists_are_set_aside_in_their_own_period(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for number, values in ((19, [1.0, 2.0]), (20, [[1.0], [2.0]])):
        times = [f"2026-11-{number} {hour:02d}:00" for hour in range(2)]
        pq.write_table(pa.table({"time": times, "a": values, "b": [1.0, 2.0]}), folder / f"{number}.parquet")
    config = series_pipeline(tmp_path, format="parquet", batch=DAY)
    assert survey_series(config) == (["2026-11-19", "2026-11-20"], {})
    lost = take(config, tmp_path, "2026-11-20")
    assert (lost.rows_in, lost.valid, lost.quarantined) == (2, 0, {"missing_column": 2})
    assert "'a' holds lists or structs" in quarantine(lost)[0]["detail"]
    assert take(config, tmp_path, "2026-11-19").valid == 2
