from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest

from aeflow.config import load_config
from aeflow.data.decoding import DecodeError, decode
from aeflow.data.labels import read_labels
from aeflow.data.take_in import list_batches, take_in
from aeflow.demonstration import WATER_STRETCHES, write_images, write_series
from aeflow.exceptions import StorageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def digits(folder):
    return write_images(folder)


@pytest.fixture(scope="module")
def water(folder):
    return write_series(folder)


def test_tonight_holds_known_digits_unknown_ones_damaged_ones_and_two_that_are_no_images(digits, tmp_path):
    config = load_config(digits.config)
    assert list_batches(config) == ["history", "tonight"]
    assert digits.batches == ("tonight",)
    labels = read_labels(digits.labels, "images", time_zone="UTC")
    assert (len(labels.keys), int(labels.label.sum())) == (170, 45)
    intake = take_in(config, "tonight", tmp_path / "intake", context=None)
    # The file that is cut off shows only when its pixels are decoded, while it is scored.
    assert (intake.rows_in, intake.valid) == (172, 171)
    assert intake.quarantined == {"not_an_image": 1}
    cut_off = digits.config.parents[1] / "data" / "digits" / "tonight" / "cut-off.png"
    with pytest.raises(DecodeError, match="truncated"):
        decode(cut_off.read_bytes(), color="grey", max_pixels=100)


def test_no_digit_of_tonight_is_in_the_history(digits):
    root = digits.config.parents[1] / "data" / "digits"
    number = {part: {p.stem.split("-")[1] for p in (root / part).glob("*-*.png") if p.stem != "cut-off"}
              for part in ("history", "tonight")}  # fmt: skip
    assert len(number["history"]) == 761
    assert not number["history"] & number["tonight"]


def test_the_demonstration_is_the_same_every_time(digits, tmp_path):
    again = write_images(tmp_path)
    first = sorted((digits.config.parents[1] / "data" / "digits").rglob("*.png"))
    second = sorted((again.config.parents[1] / "data" / "digits").rglob("*.png"))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_the_water_labels_are_the_documented_stretches(water):
    with water.labels.open(newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    assert len(labels) == 1268
    assert np.diff([0, *map(int, labels)]).tolist().count(1) == len(WATER_STRETCHES)
    assert Counter(labels)["1"] == 18 + 13 + 1 + 16


def test_the_weeks_to_score_are_those_that_the_history_leaves(water):
    config = load_config(water.config)
    known = set(list_batches(config))
    assert set(water.batches) == known - {"2022-W14", "2022-W15", "2022-W16"}
    assert list(water.batches) == sorted(water.batches)


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        write_series(tmp_path)
