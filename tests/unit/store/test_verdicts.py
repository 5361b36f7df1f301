from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from aeflow.exceptions import InputError
from aeflow.store.ledger import open_ledger
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Standing, Verdict, Word, open_verdicts, standing, words_that_hold

NOW = datetime(2026, 11, 20, 8, 30, 15, 250_000, tzinfo=UTC)
SAID = Verdict("f1", "2026-11-19", Word.TRUE, "anna", NOW, note="bearing", detector_version=3)


@pytest.fixture
def verdicts(home, monkeypatch):
    monkeypatch.delenv("AEFLOW_LEDGER_URL", raising=False)
    return open_verdicts(Paths(home, "pump"))


def later(verdict: Verdict, word: Word, minutes: int = 1) -> Verdict:
    return replace(verdict, word=word, at=verdict.at + timedelta(minutes=minutes))


def test_what_was_said_comes_back_in_its_order_and_times_in_utc(verdicts):
    local = replace(SAID, flag_id="f2", at=NOW.astimezone(timezone(timedelta(hours=2))))
    assert verdicts.add([local, SAID]) == 2
    assert verdicts.all() == [replace(local, at=NOW), SAID]


def test_saying_it_again_adds_nothing_and_changing_ones_mind_keeps_both(verdicts):
    verdicts.add([SAID])
    assert verdicts.add([SAID, replace(SAID, at=NOW.replace(microsecond=0))]) == 0
    assert verdicts.add([later(SAID, Word.FALSE)]) == 1
    assert [v.word for v in verdicts.all()] == [Word.TRUE, Word.FALSE]


def test_pipelines_are_kept_apart(verdicts, home):
    verdicts.add([SAID])
    assert open_verdicts(Paths(home, "line")).all() == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (replace(SAID, reviewer=" "), "name of the reviewer"),
        (replace(SAID, at=NOW.replace(tzinfo=None)), "time with its zone"),
        (replace(SAID, note="a\0b"), "can be shown"),
    ],
)
def test_one_that_is_not_whole_keeps_all_out(verdicts, bad, message):
    with pytest.raises(InputError, match=message):
        verdicts.add([replace(SAID, flag_id="f9"), bad])
    assert verdicts.all() == []


def test_a_ledger_from_before_there_were_verdicts_gets_their_table(home, monkeypatch):
    monkeypatch.delenv("AEFLOW_LEDGER_URL", raising=False)
    paths = Paths(home, "pump")
    open_ledger(paths)
    with sqlite3.connect(paths.ledger) as database:
        database.execute("DROP TABLE verdicts")
    assert open_verdicts(paths).add([SAID]) == 1
    assert sa.inspect(open_verdicts(paths).engine).has_table("history")


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ([SAID], Standing.TRUE),
        ([SAID, later(SAID, Word.FALSE)], Standing.FALSE),
        ([later(SAID, Word.FALSE), SAID], Standing.FALSE),  # the time counts, not the order of keeping
        ([SAID, replace(SAID, word=Word.UNSURE)], Standing.UNSURE),  # of the same time, what was kept later
        ([SAID, replace(SAID, reviewer="ben", word=Word.UNSURE)], Standing.TRUE),
        ([SAID, replace(SAID, reviewer="ben", word=Word.FALSE)], Standing.DISPUTED),
        ([SAID, replace(SAID, reviewer="ben", word=Word.FALSE), later(SAID, Word.FALSE)], Standing.FALSE),
    ],
)
def test_the_last_word_of_each_reviewer_counts(said, held):
    assert standing(said) == {"f1": held}


def test_each_flag_by_itself():
    held = standing([SAID, replace(SAID, flag_id="f2", word=Word.FALSE)])
    assert held == {"f1": Standing.TRUE, "f2": Standing.FALSE}


def test_a_word_taken_back_uncovers_the_one_before_and_all_of_it_is_kept(verdicts):
    words = [Word.TRUE, Word.FALSE, Word.RETRACTED]
    verdicts.append([later(SAID, word, minutes) for minutes, word in enumerate(words)])
    assert standing(verdicts.all()) == {"f1": Standing.TRUE}
    assert words_that_hold(verdicts.all()) == {("f1", "anna"): SAID}
    verdicts.append([later(SAID, Word.RETRACTED, 3), later(SAID, Word.RETRACTED, 4)])
    assert standing(verdicts.all()) == {}
    assert [v.word for v in verdicts.all()] == [*words, Word.RETRACTED, Word.RETRACTED]


def test_nobody_takes_back_the_word_of_another(verdicts):
    verdicts.append([SAID, replace(later(SAID, Word.RETRACTED), reviewer="ben")])
    assert standing(verdicts.all()) == {"f1": Standing.TRUE}


def test_what_is_said_now_is_kept_even_if_it_was_said_within_the_second(verdicts):
    verdicts.append([SAID])
    verdicts.append([SAID])
    assert len(verdicts.all()) == 2
    with pytest.raises(InputError, match="name of the reviewer"):
        verdicts.append([SAID, replace(SAID, reviewer="")])
    assert len(verdicts.all()) == 2


def test_what_came_since_is_told_with_its_numbers(verdicts, home):
    open_verdicts(Paths(home, "line")).append([SAID])
    verdicts.append([SAID, later(SAID, Word.FALSE)])
    numbered = verdicts.since(0)
    assert [v for _, v in numbered] == verdicts.all()
    assert verdicts.since(numbered[0][0]) == numbered[1:]
