"""Verdicts meet the flags of reports as they are now; report folders are made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aeflow import schemas
from aeflow.report.receipt import Receipt
from aeflow.report.reviewed import bound_verdicts, reviewed_flags
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Standing, Verdict, Word

START = datetime(2026, 11, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)


def event(name, begin, hours, entity="pump"):
    start = START + begin * HOUR
    return {"flag_id": name, "batch": "b", "entity": entity, "start": start, "end": start + hours * HOUR}


def image(name, item):
    return {"flag_id": name, "batch": "b", "entity": "", "item": item}


def write_report(folder, flags, version=1):
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(flags, schema=schemas.FLAGS), folder / "flags.parquet")
    digests = dict.fromkeys(
        ("input_digest", "config_digest", "detector_digest", "calibration_digest"), "0" * 64
    )
    facts = {"pipeline": "p", "batch": "b", "detector_version": version, "seed": 0, "device": "cpu"}
    Receipt(**facts, **digests, files={}, versions={}).write(folder / "receipt.json")


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path, "p")


def said(flag, word=Word.FALSE, reviewer="ada", minutes=0):
    return Verdict(flag, "b", word, reviewer, START + timedelta(days=1, minutes=minutes))


def test_a_verdict_stands_beside_its_flag(paths):
    write_report(paths.report("b"), [event("f1", 0, 2), event("f2", 5, 1)], version=4)
    (flag,) = reviewed_flags(paths, [said("f2"), said("f2", reviewer="ben", minutes=5)])
    assert (flag.flag_id, flag.standing, flag.detector_version, flag.present) == (
        "f2",
        Standing.FALSE,
        4,
        True,
    )
    assert flag.row["start"] == START + 5 * HOUR
    assert flag.decided == ("ada, ben", START + timedelta(days=1, minutes=5))


def test_nothing_is_decided_by_who_is_unsure_or_where_two_differ(paths):
    write_report(paths.report("b"), [event("f1", 0, 2), event("f2", 5, 1)])
    words = [said("f1", Word.UNSURE), said("f2"), said("f2", Word.TRUE, "ben")]
    flags = reviewed_flags(paths, words)
    assert [(f.standing, f.decided) for f in flags] == [(Standing.UNSURE, None), (Standing.DISPUTED, None)]


def test_a_word_that_was_taken_back_leaves_nothing(paths):
    write_report(paths.report("b"), [event("f1", 0, 2)])
    assert reviewed_flags(paths, [said("f1"), said("f1", Word.RETRACTED, minutes=1)]) == []


def test_it_binds_the_event_that_overlaps_most_where_a_new_revision_moved_it(paths):
    write_report(paths.revisions("b") / "rev=1", [event("old", 4, 4)])
    now = [
        event("other", 4, 4, entity="valve"),
        event("short", 3, 1),
        event("long", 6, 3),
        event("far", 20, 1),
    ]
    write_report(paths.report("b"), now, version=2)
    (flag,) = reviewed_flags(paths, [said("old")])
    assert (flag.flag_id, flag.standing, flag.present, flag.detector_version) == (
        "long",
        Standing.FALSE,
        True,
        2,
    )


def test_words_on_the_old_and_the_new_event_are_words_on_one(paths):
    write_report(paths.revisions("b") / "rev=1", [event("old", 4, 4)])
    write_report(paths.report("b"), [event("new", 5, 3)])
    (flag,) = reviewed_flags(paths, [said("old"), said("new", Word.TRUE, minutes=9)])
    assert (flag.flag_id, flag.standing, len(flag.words)) == ("new", Standing.TRUE, 1)


def test_a_flag_that_is_gone_is_told_from_the_newest_revision_that_had_it(paths):
    for number in (1, 2, 10):
        rows = [event("gone", 4, number)] if number != 10 else [event("other", 0, 1)]
        write_report(paths.revisions("b") / f"rev={number}", rows, version=number)
    write_report(paths.report("b"), [event("late", 20, 1)])
    (flag,) = reviewed_flags(paths, [said("gone"), said("never was")])
    assert (flag.flag_id, flag.present, flag.detector_version) == ("gone", False, 2)


def test_an_image_keeps_its_id_and_one_that_is_flagged_no_more_binds_nothing_else(paths):
    write_report(paths.revisions("b") / "rev=1", [image("i1", "a.png"), image("i2", "b.png")])
    write_report(paths.report("b"), [image("i2", "b.png")])
    flags = reviewed_flags(paths, [said("i1", Word.TRUE), said("i2")])
    assert [(f.flag_id, f.present) for f in flags] == [("i1", False), ("i2", True)]


def test_a_batch_without_a_report_tells_nothing(paths):
    assert reviewed_flags(paths, [said("f1")]) == []


def test_reports_of_before_the_new_columns_are_read(paths):
    write_report(paths.report("b"), [event("f1", 0, 2)])
    path = paths.report("b") / "flags.parquet"
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.drop_columns(["signature", "suppressed", "window"]), path)
    (flag,) = reviewed_flags(paths, [said("f1")])
    assert flag.row.get("signature") is None
    assert flag.picture("window") is None


def test_everything_said_is_told_under_the_ids_of_now_and_nothing_is_lost(paths):
    write_report(paths.revisions("b") / "rev=1", [event("old", 4, 4)])
    write_report(paths.report("b"), [event("new", 5, 3)])
    words = [said("old"), said("new", reviewer="ben"), said("unknown")]
    assert [word.flag_id for word in bound_verdicts(paths, words)] == ["new", "new", "unknown"]
