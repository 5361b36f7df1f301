from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aeflow.review.acts import cleaned, say, take_back
from aeflow.review.board import Board
from aeflow.settings import home_for
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Standing, Word, standing

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


@pytest.fixture
def board(store):
    return Board(Paths(home_for(store), "pumps"))


def speak(board, places, word, *, reviewer="anna", minute=0, note=""):
    at = NOW + timedelta(minutes=minute)
    return board.say(say(board.now(), places, word, reviewer=reviewer, note=note, now=at))


def back(board, minute, reviewer="anna"):
    said = take_back(board.said_by(reviewer), now=NOW + timedelta(minutes=minute))
    board.say(said)
    return [v.flag_id for v in said]


def held(board):
    snapshot = board.now()
    return {p: snapshot.state_of(p) for p in range(snapshot.catalogue.size) if snapshot.state[p]}


def test_each_undo_takes_one_act_back_down_to_the_first(board):
    ids = board.now().catalogue.flag_ids
    speak(board, [0], Word.TRUE, minute=0)
    speak(board, [1, 2, 3], Word.FALSE, minute=1)
    speak(board, [1], Word.TRUE, minute=2)
    assert held(board) == {0: "true", 1: "true", 2: "false", 3: "false"}
    assert back(board, 3) == [ids[1]]
    assert held(board) == {0: "true", 1: "false", 2: "false", 3: "false"}
    assert back(board, 4) == ids[1:4]
    assert held(board) == {0: "true"}
    speak(board, [5], Word.UNSURE, minute=5)
    assert back(board, 6) == [ids[5]]
    assert back(board, 7) == [ids[0]]
    assert back(board, 8) == []
    assert held(board) == {}
    kept = [v for of_flag in board.now().said.values() for v in of_flag]
    assert len(kept) == 12  # nothing of all this was deleted


def test_undo_leaves_the_words_of_others(board):
    speak(board, [0], Word.TRUE, reviewer="ben")
    assert back(board, 1) == []
    speak(board, [0], Word.FALSE, minute=2)
    assert held(board) == {0: "disputed"}
    back(board, 3)
    assert held(board) == {0: "true"}


def test_saying_the_same_again_adds_nothing_but_a_note_does(board):
    speak(board, [0], Word.TRUE)
    speak(board, [0], Word.TRUE, minute=1)
    assert len(board.said_by("anna")) == 1
    speak(board, [0], Word.TRUE, minute=2, note="bearing")
    assert [v.note for v in board.said_by("anna")] == ["", "bearing"]


def test_a_verdict_names_the_flag_its_batch_and_the_detector(board):
    speak(board, [13], Word.UNSURE)
    catalogue = board.now().catalogue
    (verdict,) = board.said_by("anna")
    assert verdict.flag_id == catalogue.flag_ids[13]
    assert verdict.batch == "2024-01-02"
    assert verdict.detector_version == 1
    assert standing([verdict]) == {verdict.flag_id: Standing.UNSURE}


def test_another_board_over_the_same_store_hears_of_it(board, store):
    other = Board(Paths(home_for(store), "pumps"))
    speak(board, [4], Word.TRUE)
    speak(other, [4], Word.FALSE, reviewer="ben")
    assert held(board) == held(other) == {4: "disputed"}


def test_a_note_is_kept_as_it_can_be_shown():
    assert cleaned("  a\x00b\x1b[31m\r\nline\ttwo ") == "ab[31m\nline  two"
    assert len(cleaned("x" * 5_000)) == 2_000
