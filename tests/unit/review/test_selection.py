from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from aeflow.review.board import Board
from aeflow.review.catalogue import read_catalogue
from aeflow.review.likeness import likeness_to_one
from aeflow.review.selection import (
    Selection,
    chosen_places,
    count_states,
    parse_selection,
    usefulness,
    why_useful,
)
from aeflow.settings import home_for
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Verdict, Word
from benchmarks.review_store import write_night
from tests.unit.review.conftest import WHAT

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


@pytest.fixture
def board(store):
    return Board(Paths(home_for(store), "pumps"), look_again_seconds=0)


def chosen(board, **wanted):
    return chosen_places(board, board.now(), Selection(**wanted)).tolist()


def speak(board, place, word=Word.TRUE, reviewer="anna"):
    board.say([Verdict(board.now().catalogue.flag_ids[place], "b", word, reviewer, NOW)])


def test_the_severest_come_first_and_all_are_there(board):
    severity = board.now().catalogue.severity[chosen(board)]
    assert severity.size == 36
    assert (np.diff(severity) <= 0).all()


def test_the_newest_come_first(board):
    catalogue = board.now().catalogue
    assert (np.diff(catalogue.start_us[chosen(board, order="newest")]) <= 0).all()


def test_each_filter_keeps_what_it_names(board):
    catalogue = board.now().catalogue
    names, nights = np.array(catalogue.names), np.array(catalogue.batches)[catalogue.night]
    assert set(names[chosen(board, entity="pump-3")]) == {"pump-3"}
    assert set(nights[chosen(board, first="2024-01-02")]) == {"2024-01-02", "2024-01-03"}
    assert set(nights[chosen(board, last="2024-01-01")]) == {"2024-01-01"}
    assert len(chosen(board, first="2024-01", last="2024-01")) == 36
    assert len(chosen(board, version="1")) == 36
    assert chosen(board, version="2") == chosen(board, version="x") == chosen(board, entity="none") == []
    assert set(names[chosen(board, text="MP-4")]) == {"pump-4"}


def test_a_verdict_moves_a_flag_from_one_state_to_another(board):
    speak(board, 5)
    assert 5 not in chosen(board)
    assert chosen(board, state="true") == [5]
    assert len(chosen(board, state="all")) == 36
    assert count_states(board.now(), Selection())["true"] == 1
    speak(board, 5, Word.FALSE, "ben")
    assert chosen(board, state="true") == []
    assert chosen(board, state="disputed") == [5]


def test_the_flag_that_is_looked_at_stays_in_its_place(board):
    order = chosen(board)
    speak(board, order[3])
    kept = chosen_places(board, board.now(), Selection(), keep=order[3]).tolist()
    assert kept == order


def test_what_is_near_the_cut_or_unlike_anything_reviewed_is_most_useful(board):
    snapshot = board.now()
    near = 1 - np.abs(snapshot.catalogue.severity - 50) / 10
    assert np.allclose(usefulness(board, snapshot), np.clip(near, 0, 1))
    severest = chosen(board)[0]
    speak(board, severest)
    snapshot = board.now()
    told = usefulness(board, snapshot)
    like = likeness_to_one(snapshot.catalogue.like, severest, board.bounds)
    unlike = int(np.argmin(like))
    assert told[unlike] > 0.9
    assert "unlike anything reviewed" in why_useful(board, snapshot, np.array([unlike]))[0]
    order = chosen(board, order="useful")
    assert (np.diff(told[order]) <= 1e-6).all()


def test_taking_a_verdict_back_makes_what_is_like_it_unknown_again(board):
    first, second = chosen(board)[:2]
    speak(board, first)
    before = board.nearest_judged(board.now())
    speak(board, second)
    board.nearest_judged(board.now())
    speak(board, second, Word.RETRACTED)
    assert np.allclose(board.nearest_judged(board.now()), before)


def test_an_address_says_what_is_chosen_and_back():
    selection = Selection(state="all", order="useful", entity="a&b=c", text="é ?")
    query = dict(pair.split("=") for pair in selection.query().split("&"))
    assert query.keys() == {"state", "order", "entity", "text"}
    assert Selection().query() == ""
    assert Selection(entity="x").query(entity="", state="true") == "state=true"


def test_what_an_address_says_wrongly_counts_as_not_said():
    assert parse_selection({"state": "maybe", "order": "up", "page": "3", "text": " a "}) == Selection(
        text="a"
    )


def test_a_report_published_meanwhile_is_taken_up_and_the_others_not_read_again(store, tmp_path):
    paths = Paths(tmp_path / "other", "pumps")
    write_night(paths, WHAT, 0)
    before = read_catalogue(paths)
    assert read_catalogue(paths, before) is before
    write_night(paths, WHAT, 1)
    after = read_catalogue(paths, before)
    assert after.size == 24
    assert after.nights[0] is before.nights[0]


def test_a_report_that_is_damaged_is_named_and_hides_no_other(tmp_path):
    paths = Paths(tmp_path, "pumps")
    for night in range(2):
        write_night(paths, WHAT, night)
    (paths.report("2024-01-02") / "flags.parquet").write_bytes(b"PAR1 no more")
    catalogue = read_catalogue(paths)
    assert catalogue.batches == ["2024-01-01"]
    assert "2024-01-02" in catalogue.unread["2024-01-02"]


def test_no_report_at_all_is_an_empty_catalogue(tmp_path):
    catalogue = read_catalogue(Paths(tmp_path, "pumps"))
    assert catalogue.size == 0
    assert len(catalogue.like) == 0
    assert catalogue.entities[0] == ()
