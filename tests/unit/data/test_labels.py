"""Labels are read as they are meant, or refused with the place."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from aeflow.data.labels import key_in_words, parse_key, read_classes, read_labels, read_mask
from aeflow.exceptions import SourceError


def csv(folder, text):
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_series_labels_have_entity_and_time_in_utc(tmp_path):
    path = csv(tmp_path, "timestamp,entity,label\n2026-01-01 00:00:00,a,0\n2026-01-01T02:00:00+01:00,a,1\n")
    found = read_labels(path, "series", time_zone="UTC")
    assert found.keys == (("a", 1767225600000000), ("a", 1767229200000000))
    assert found.label.tolist() == [False, True]
    assert found.batches is None


def test_naive_times_are_read_in_the_pipelines_zone(tmp_path):
    path = csv(tmp_path, "timestamp,label\n2026-01-01 01:00:00,1\n")
    found = read_labels(path, "series", time_zone="Europe/Berlin")
    assert found.keys == (("", 1767225600000000),)


def test_image_labels_have_masks_beside_the_file(tmp_path):
    path = csv(tmp_path, "item,label,mask,batch\na/1.png,1,m/1.png,tonight\na/2.png,0,,tonight\n")
    found = read_labels(path, "images", time_zone="UTC")
    assert found.keys == ("a/1.png", "a/2.png")
    assert found.masks == {"a/1.png": tmp_path / "m/1.png"}
    assert found.batches == ("tonight", "tonight")


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("images", "itm,label\na,0\n", "did you mean 'itm'"),
        ("series", "timestamp,entity\n2026-01-01,a\n", "'label' is missing"),
        ("images", "item,label\na,0\nb,2\n", "got '2'"),
        ("images", "item,label\na,yes\n", "got 'yes'"),
        ("series", "timestamp,label\nsoon,1\n", "expected a time, got 'soon'"),
        ("images", "item,label\na,0\nb,1\na,1\na,1\n", r"got 0 and 1 for a \(2 such rows\)"),
        ("series", "timestamp,label\n2026-01-01,0\n2026-01-01T00:00Z,1\n", "one label for each item"),
    ],
)
def test_what_cannot_be_labels_is_refused(tmp_path, kind, text, says):
    with pytest.raises(SourceError, match=says):
        read_labels(csv(tmp_path, text), kind, time_zone="UTC")


def test_the_same_item_may_be_labelled_twice_alike_and_otherwise_in_another_batch(tmp_path):
    labels = read_labels(csv(tmp_path, "item,batch,label\na,1,0\na,1,0\na,2,1\n"), "images", time_zone="UTC")
    assert labels.label.tolist() == [False, False, True]


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        read_labels(tmp_path / "none.csv", "images", time_zone="UTC")


def test_a_mask_is_what_is_not_black(tmp_path):
    Image.fromarray(np.array([[0, 255], [200, 3]], np.uint8)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[False, True], [True, False]]
    with pytest.raises(SourceError, match="mask cannot be read"):
        read_mask(tmp_path / "none.png")


def test_classes_are_read_by_item_and_rows_without_one_are_passed_over(tmp_path):
    file = tmp_path / "classes.csv"
    file.write_text("item,class\na.png,7\nb.png,scratch\nc.png,\n")
    assert read_classes(file, "images", time_zone="UTC") == {"a.png": "7", "b.png": "scratch"}


def test_classes_of_a_series_are_read_by_entity_and_time(tmp_path):
    file = tmp_path / "classes.csv"
    file.write_text("entity,timestamp,class\np,1970-01-01T01:00:00,on\nq,1970-01-01T01:00:01,off\n")
    found = read_classes(file, "series", time_zone="Europe/Rome")
    assert found == {("p", 0): "on", ("q", 1_000_000): "off"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("item,klass\na,b\n", "did you mean 'klass'"),
        ("item,class\na,x\na,y\n", "one class of a, got 'x' and 'y'"),
        ("item,class\na,x\nb,x\n", "two classes or more"),
    ],
)
def test_what_cannot_be_classes_is_refused(tmp_path, text, says):
    file = tmp_path / "classes.csv"
    file.write_text(text)
    with pytest.raises(SourceError, match=says):
        read_classes(file, "images", time_zone="UTC")


@pytest.mark.parametrize("key", ["tonight/a b.png", ("pump@3", 1_668_902_400_000_000), ("", 500_000)])
def test_an_item_is_named_as_it_is_told(key):
    kind = "images" if isinstance(key, str) else "series"
    assert parse_key(key_in_words(key), kind, time_zone="Europe/Rome") == key


def test_a_time_that_is_none_is_refused():
    with pytest.raises(SourceError, match="TIME, got 'soon'"):
        parse_key("soon", "series", time_zone="UTC")
