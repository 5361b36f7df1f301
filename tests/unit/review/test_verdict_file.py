from __future__ import annotations

import csv
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from aeflow.exceptions import SourceError, StorageError
from aeflow.review.verdict_file import COLUMNS, Flag, Known, read_verdicts, write_verdicts
from aeflow.store.verdicts import Verdict, Word, standing

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
FLAG = Flag(
    "f1", "b", "pump", "", "2026-11-19T01:00:00+01:00", "2026-11-19T01:05:00+01:00", "88.0", "rpm 90%", 3
)
FLAGS = {"f1": FLAG, "f2": replace(FLAG, flag_id="f2")}
SAID = Verdict("f1", "b", Word.TRUE, "anna", NOW.replace(hour=7), 'she said: "no", then\nyes', 2)


def read(path, said=None):
    return read_verdicts(path, Known(FLAGS, said or {}, "me", NOW))


def write(tmp_path, *lines):
    path = tmp_path / "v.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_what_is_written_is_read_as_it_was(tmp_path):
    path = tmp_path / "v.csv"
    odd = replace(SAID, reviewer="@ben", note="=1+1", word=Word.UNSURE)
    assert write_verdicts(path, FLAGS.values(), {"f1": [SAID, odd]}) == 3
    assert read(path) == [SAID, odd]


def test_a_word_taken_back_goes_out_and_in_as_well(tmp_path):
    path = tmp_path / "v.csv"
    said = [SAID, replace(SAID, word=Word.RETRACTED, note="", at=NOW.replace(hour=8))]
    write_verdicts(path, [FLAG], {"f1": said})
    assert standing(read(path)) == standing(said) == {}


def test_no_cell_is_a_formula(tmp_path):
    path = tmp_path / "v.csv"
    hostile = replace(FLAG, item="=cmd()", entity="+1", channels="@x 100%")
    write_verdicts(path, [hostile], {"f1": [replace(SAID, note="-2", reviewer="=a")]})
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == list(COLUMNS)
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_two_columns_are_enough_and_the_rest_is_filled_in(tmp_path):
    path = write(tmp_path, "verdict,flag_id", "TRUE,f1", ",f2", " no ,f2")
    assert read(path) == [
        Verdict("f1", "b", Word.TRUE, "me", NOW, "", 3),
        Verdict("f2", "b", Word.FALSE, "me", NOW, "", 3),
    ]


def test_without_a_time_what_was_said_last_is_not_said_again(tmp_path):
    path = write(tmp_path, "flag_id,verdict,reviewer,note", "f1,true,me,")
    mine = Verdict("f1", "b", Word.TRUE, "me", NOW.replace(hour=7), "", 3)
    assert read(path, {"f1": [mine]}) == []
    changed = replace(mine, word=Word.FALSE, at=NOW.replace(hour=8))
    assert len(read(path, {"f1": [changed, mine]})) == 1
    assert len(read(path, {"f1": [replace(mine, reviewer="you")]})) == 1


@pytest.mark.parametrize("separator", [";", "\t"])
def test_separators_of_other_spreadsheets_are_understood(tmp_path, separator):
    lines = ["flag_id,verdict,note", "f1,true,seen", "f2,,"]
    found = read(write(tmp_path, *(line.replace(",", separator) for line in lines)))
    assert [(v.flag_id, v.note) for v in found] == [("f1", "seen")]


def test_a_byte_order_mark_of_a_spreadsheet_is_no_part_of_the_header(tmp_path):
    path = tmp_path / "v.csv"
    path.write_bytes("flag_id,verdict\nf1,true\n".encode("utf-8-sig"))
    assert [v.flag_id for v in read(path)] == ["f1"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("flag,verdict", "f1,true"), "expected a column 'flag_id', and it has flag, verdict"),
        (("flag_id,verdict", "f1,true", "f1,maybe"), "row 2: expected true, false or unsure, got 'maybe'"),
        (("flag_id,verdict", "f7,true"), "id of a published flag, got 'f7'"),
        (("flag_id,verdict,at", "f1,true,yesterday"), "expected a time such as"),
        (("flag_id,verdict,at", "f1,true,2026-11-20T08:00:00"), "with its offset"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_row(tmp_path, lines, message):
    with pytest.raises(SourceError) as refused:
        read(write(tmp_path, *lines))
    assert re.search(message, str(refused.value))


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        read(tmp_path / "none.csv")
    (tmp_path / "v.csv").write_bytes(b"flag_id,verdict\n\xff\xfe,true\n")
    with pytest.raises(SourceError, match="cannot be read"):
        read(tmp_path / "v.csv")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(SourceError, match="has nothing"):
        read(tmp_path / "empty.csv")


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "no").touch()
    with pytest.raises(StorageError, match="write the file"):
        write_verdicts(tmp_path / "no" / "v.csv", [FLAG], {})
