from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from aeflow.exceptions import InputError, StorageError
from aeflow.store.files import atomic_file, fsync_tree, replace_folder, storage_errors


def test_a_file_appears_with_its_whole_content_and_makes_its_folders(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    with atomic_file(path) as file:
        file.write(b"{}")
        assert not path.exists()
    assert path.read_bytes() == b"{}"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_an_error_in_the_block_leaves_the_old_content_and_no_rest(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write_half():
        with atomic_file(path) as file:
            file.write(b"half")
            raise InputError("bad")

    with pytest.raises(InputError, match="bad"):
        write_half()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_said_to_be_full_with_what_is_free_and_where(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(StorageError, match=r"disk is full.*MB are free") as caught, atomic_file(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.where == str(path)
    assert "AEFLOW_HOME" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_message_says_how_much_was_wanted(tmp_path):
    with (
        pytest.raises(StorageError, match=r"12\.5 MB are to be written"),
        storage_errors(tmp_path, "write the scores", needed_bytes=12_500_000),
    ):
        raise OSError(errno.EDQUOT, "quota")


def test_a_missing_right_names_the_place_and_the_user(tmp_path):
    with (
        pytest.raises(StorageError, match="cannot write the scores: Permission denied") as caught,
        storage_errors(tmp_path, "write the scores"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "x"))
    assert str(tmp_path / "x") in caught.value.problem
    assert str(os.getuid()) in caught.value.remedy


def test_a_file_in_the_place_of_a_folder_is_a_storage_error(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(StorageError, match="cannot write the file"), atomic_file(tmp_path / "a" / "b"):
        pass


def test_the_real_full_device_is_reported():
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with (
        pytest.raises(StorageError, match="disk is full"),
        storage_errors(full, "write"),
        full.open("wb", buffering=0) as file,
    ):
        file.write(b"x")


def test_flushing_a_tree_reaches_every_file(tmp_path, monkeypatch):
    (tmp_path / "d").mkdir()
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "d" / "b").write_bytes(b"345")
    flushed = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (flushed.append(os.fstat(fd).st_ino), real(fd)))
    assert fsync_tree(tmp_path) == 5
    assert {p.stat().st_ino for p in (tmp_path, *tmp_path.rglob("*"))} == set(flushed)


def test_a_folder_takes_the_place_of_another_with_all_that_is_below(tmp_path):
    target = tmp_path / "results" / "batch"
    for content in ("old", "new"):
        built = tmp_path / "work" / "build"
        (built / "sub").mkdir(parents=True)
        (built / "sub" / content).write_text(content)
        replace_folder(built, target)
    assert [p.name for p in target.rglob("*")] == ["sub", "new"]
    assert list((tmp_path / "work").iterdir()) == []


def test_a_folder_is_put_where_nothing_lies_yet(tmp_path):
    built = tmp_path / "built"
    built.mkdir()
    (built / "a").write_text("new")
    replace_folder(built, tmp_path / "embeddings" / "pump" / "batch=1")
    assert (tmp_path / "embeddings" / "pump" / "batch=1" / "a").read_text() == "new"
    assert not built.exists()
