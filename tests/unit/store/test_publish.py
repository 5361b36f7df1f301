from __future__ import annotations

import contextlib
import errno
import os

import pytest

from aeflow.exceptions import InputError, StorageError
from aeflow.store.digests import sha256_folder
from aeflow.store.publish import current_revision, publish, recover


@pytest.fixture
def places(tmp_path):
    return tmp_path / "work", tmp_path / "reports" / "batch=1", tmp_path / "revisions" / "batch=1"


def build(folder, text):
    (folder / "sub").mkdir(parents=True)
    (folder / "summary.json").write_text(text)
    (folder / "sub" / "x").write_text("x")
    return folder


def test_a_first_report_appears_as_revision_one(places):
    work, target, revisions = places
    assert current_revision(target, revisions) is None
    digest = sha256_folder(build(work / "r", "one"))
    published = publish(work / "r", target, revisions)
    assert (published.revision, published.changed, published.digest) == (1, True, digest)
    assert sha256_folder(target) == digest
    assert not (work / "r").exists()
    assert current_revision(target, revisions) == 1


def test_the_same_content_again_changes_nothing(places):
    work, target, revisions = places
    publish(build(work / "r", "one"), target, revisions)
    before = {p: p.stat().st_mtime_ns for p in (target, *target.rglob("*"))}
    published = publish(build(work / "again", "one"), target, revisions)
    assert (published.revision, published.changed) == (1, False)
    assert {p: p.stat().st_mtime_ns for p in (target, *target.rglob("*"))} == before
    assert not revisions.exists()


def test_other_content_becomes_a_new_revision_and_every_old_one_is_kept(places):
    work, target, revisions = places
    for number, text in enumerate(["one", "two", "one"], start=1):
        assert publish(build(work / "r", text), target, revisions).revision == number
    assert (target / "summary.json").read_text() == "one"
    assert (revisions / "rev=1" / "summary.json").read_text() == "one"
    assert (revisions / "rev=2" / "summary.json").read_text() == "two"
    assert current_revision(target, revisions) == 3


def test_the_tenth_revision_follows_the_ninth(places):
    work, target, revisions = places
    for number in range(1, 12):
        assert publish(build(work / "r", str(number)), target, revisions).revision == number
    assert recover(target, revisions) is False


@pytest.mark.parametrize("make", [bool, lambda p: p.mkdir(parents=True)])
def test_a_missing_or_empty_built_folder_is_refused(places, make):
    work, target, revisions = places
    make(work)
    with pytest.raises(InputError, match="finished report folder"):
        publish(work, target, revisions)
    assert not target.exists()


def test_a_link_in_the_built_folder_is_refused(places):
    work, target, revisions = places
    (build(work / "r", "one") / "link").symlink_to("/nowhere")
    with pytest.raises(InputError, match="link"):
        publish(work / "r", target, revisions)
    assert not target.exists()


# Two files, two folders and the two ends of two renames are flushed.
STEPS = {"fsync": 8, "rename": 2}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EXDEV])
@pytest.mark.parametrize("operation", ["fsync", "rename"])
@pytest.mark.parametrize("failing", range(1, 10))
def test_an_error_at_any_step_leaves_a_whole_report_and_a_retry_succeeds(
    places, monkeypatch, code, operation, failing
):
    work, target, revisions = places
    old = publish(build(work / "old", "old"), target, revisions).digest
    new = sha256_folder(build(work / "new", "new"))
    real, calls = getattr(os, operation), []

    def fail(*args, **kwargs):
        calls.append(args)
        if len(calls) == failing:
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, operation, fail)
        refused = (
            contextlib.nullcontext()
            if failing > STEPS[operation]
            else pytest.raises(StorageError, match="publish")
        )
        with refused:
            publish(work / "new", target, revisions)
    assert sha256_folder(target) in {old, new}
    recover(target, revisions)
    if not (work / "new").exists():  # in place already, and only its flushing failed
        build(work / "new", "new")
    assert publish(work / "new", target, revisions).digest == new
    assert sha256_folder(target) == new
    assert sha256_folder(revisions / "rev=1") == old
    assert current_revision(target, revisions) == 2


def test_recovering_brings_back_the_newest_replaced_report(places):
    work, target, revisions = places
    for text in ("one", "two", "three"):
        publish(build(work / "r", text), target, revisions)
    target.rename(work / "gone")
    assert recover(target, revisions) is True
    assert (target / "summary.json").read_text() == "two"
    assert current_revision(target, revisions) == 2


def test_recovering_where_nothing_was_ever_published_does_nothing(places):
    _, target, revisions = places
    assert recover(target, revisions) is False
    assert not target.exists()


def test_a_first_report_is_published_into_a_home_that_does_not_exist_yet(tmp_path):
    home = tmp_path / "new" / "home"
    target, revisions = home / "reports" / "pump" / "batch=1", home / "revisions" / "pump" / "batch=1"
    assert publish(build(tmp_path / "built", "one"), target, revisions).changed
    assert (target / "summary.json").read_text() == "one"
