from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeflow.exceptions import InputError
from aeflow.store.paths import Paths, escape_batch, unescape_batch

HOSTILE = ["../../etc", "..", ".", "/", "a/b", "a\0b", "x=y", "..\\..", "%2e%2e", " ", "ü ö", ".hidden", "~"]


@pytest.mark.parametrize("batch", HOSTILE)
def test_a_hostile_batch_id_stays_one_folder_below_its_place(batch):
    paths = Paths(Path("/home/of/aeflow"), "pump")
    for place in (paths.report, paths.revisions, paths.work, paths.quarantine, paths.claim):
        path = place(batch)
        assert path.parent == place("x").parent
        assert "\0" not in path.name
        assert Path(str(path)).parts == path.parts


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12))
def test_any_batch_id_comes_back_from_its_file_name(batch):
    escaped = escape_batch(batch)
    assert escaped.isascii()
    assert not set(escaped) & set("/=\0\\ ")
    assert unescape_batch(escaped) == batch


@given(st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=4), min_size=2, max_size=5))
def test_two_batch_ids_never_share_a_file_name(ids):
    assert len({escape_batch(i) for i in ids}) == len(ids)


def test_a_folder_name_that_is_no_utf8_comes_back():
    name = b"caf\xe9".decode("utf-8", errors="surrogateescape")
    assert unescape_batch(escape_batch(name)) == name


def test_dates_and_plain_names_stay_readable():
    assert escape_batch("2026-11-20") == "2026-11-20"
    assert escape_batch("line_1.a") == "line_1.a"


def test_an_empty_batch_id_is_refused():
    with pytest.raises(InputError, match="empty"):
        escape_batch("")


def test_a_batch_id_too_long_for_a_file_name_is_refused_and_the_longest_fits(tmp_path):
    longest = "a" * (255 - len(".batch=.parquet.1234567.part"))
    (tmp_path / f".batch={escape_batch(longest)}.parquet.1234567.part").touch()
    with pytest.raises(InputError, match="at most"):
        escape_batch(longest + "a")


@pytest.mark.parametrize("pipeline", ["", "../x", "A", "a/b", "-a", "a" * 64, "a\n"])
def test_a_pipeline_name_that_leads_elsewhere_is_refused(pipeline):
    with pytest.raises(InputError, match="pipeline"):
        Paths(Path("home"), pipeline)


def test_no_two_things_of_a_pipeline_share_a_place():
    paths = Paths(Path("home"), "pump")
    places = [
        paths.report("b"),
        paths.revisions("b"),
        paths.quarantine("b"),
        paths.validation("b"),
        paths.work("training"),
        paths.training,
        paths.claim("training"),
        paths.training_claim,
        paths.detector(1),
        paths.artifacts,
        paths.ledger,
    ]
    assert len(set(places)) == len(places)
    assert not any(a in b.parents for a in places for b in places)


def test_the_published_batches_are_those_with_a_report_folder(tmp_path):
    paths = Paths(tmp_path, "pump")
    assert paths.published() == []
    for batch in ("b", "a/b"):
        paths.report(batch).mkdir(parents=True)
    (paths.reports / "notes.txt").touch()
    assert paths.published() == ["a/b", "b"]


def test_every_place_lies_below_the_home_and_no_two_places_are_one():
    paths = Paths(Path("/home/of/aeflow"), "pump")
    batches = (paths.report, paths.revisions, paths.quarantine, paths.validation, paths.work, paths.claim)
    batches += (paths.embeddings, paths.restored, paths.page)
    fixed = [getattr(paths, name) for name, kind in vars(Paths).items() if isinstance(kind, property)]
    named = [paths.task("restore"), paths.task_claim("restore"), paths.detector(3)]
    places = [*(place("2026-11-20") for place in batches), *fixed, *named]
    assert all(place.is_relative_to(paths.home) for place in places)
    assert len(set(places)) == len(places)
