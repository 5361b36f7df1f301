from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeflow.exceptions import InputError
from aeflow.store.digests import manifest, sha256_bytes, sha256_file, sha256_folder, sha256_manifest


def fill(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_a_file_and_its_bytes_have_the_sha256_that_everybody_computes(tmp_path):
    path = fill(tmp_path, {"a": b"content"}) / "a"
    assert sha256_file(path) == sha256_bytes(b"content") == hashlib.sha256(b"content").hexdigest()


def test_a_manifest_lists_every_file_below_by_its_name_in_order(tmp_path):
    fill(tmp_path, {"b": b"2", "a/c": b"1", "a.b": b"3"})
    assert list(manifest(tmp_path)) == ["a.b", "a/c", "b"]
    assert manifest(tmp_path)["a/c"] == sha256_bytes(b"1")


def test_a_folder_has_the_same_digest_wherever_and_whenever_it_was_made(tmp_path):
    one = fill(tmp_path / "one", {"a": b"1", "d/b": b"2"})
    two = fill(tmp_path / "two", {"d/b": b"2", "a": b"1"})
    (two / "empty").mkdir()
    assert sha256_folder(one) == sha256_folder(two)


@pytest.mark.parametrize(
    "other", [{"a": b"1"}, {"a": b"2", "b": b"1"}, {"a": b"1", "c": b"2"}, {"a": b"12", "b": b""}]
)
def test_another_name_or_content_makes_another_digest(tmp_path, other):
    one = fill(tmp_path / "one", {"a": b"1", "b": b"2"})
    assert sha256_folder(one) != sha256_folder(fill(tmp_path / "two", other))


@given(st.dictionaries(st.text(st.characters(), max_size=5), st.text(max_size=5), max_size=4))
def test_the_order_of_a_manifest_does_not_count(files):
    assert sha256_manifest(files) == sha256_manifest(dict(reversed(files.items())))


def test_a_link_is_refused_since_its_content_lies_elsewhere(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="link"):
        manifest(tmp_path)
