"""The data sets of ../shared/data, as `aeflow init` sees them, and the configs that come along."""

from __future__ import annotations

from pathlib import Path

import pytest

from aeflow.config import load_config
from aeflow.data.labels import read_labels
from aeflow.data.take_in import list_batches
from aeflow.onboarding import profile_images, profile_table
from benchmarks.labels import SETS, write_labels

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
pytestmark = pytest.mark.real_data


def test_tiles_are_grey_their_masks_are_found_and_so_is_the_list_of_tiles(shared_data):
    found = profile_images(shared_data / "magnetic_tile")
    assert (found.images, found.grey, found.exclude) == (801, True, ("**/*.png",))
    assert found.manifests[0].groups == ("tile",)


def test_experiments_of_skab_are_entities_whose_labels_are_no_channels(shared_data):
    found = profile_table(shared_data / "skab" / "valve1")
    assert (found.delimiter, found.readings.roles.time, found.readings.cadence_seconds) == (
        ";",
        "datetime",
        1,
    )
    assert set(found.readings.roles.left_out) == {"anomaly", "changepoint"}
    assert len(found.readings.roles.channels) == 8


@pytest.mark.parametrize(
    ("name", "batches"),
    [
        ("tiles", ["MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Free", "MT_Uneven"]),
        ("skab", ["all"]),
        ("smd", ["test", "train"]),
        ("nab", ["all"]),
    ],
)
def test_the_configs_that_come_along_fit_the_data(shared_data, name, batches):
    assert list_batches(load_config(CONFIGS / f"{name}.yaml")) == batches


@pytest.mark.parametrize(("name", "count", "abnormal"), [("tiles", 801, 249), ("skab", 11_645, 6_061)])
def test_labels_are_written_as_evaluate_reads_them(shared_data, tmp_path, name, count, abnormal):
    path = write_labels(name, shared_data, tmp_path)
    labels = read_labels(path, load_config(CONFIGS / f"{name}.yaml").kind, time_zone="UTC")
    assert (len(labels.keys), int(labels.label.sum())) == (count, abnormal)
    assert all(mask.is_file() for mask in labels.masks.values())
    assert set(SETS) == {"tiles", "skab", "smd", "nab"}
