from __future__ import annotations

import numpy as np
import pytest
import yaml
from PIL import Image

from aeflow.exceptions import DetectorError, InputError
from flows.check_pipeline import check_pipeline


@pytest.fixture
def pipeline(tmp_path, home):
    """Writes the config of a pipeline of eight images with a given model."""
    (tmp_path / "data" / "history").mkdir(parents=True)
    for number in range(8):
        grey = np.full((16, 16), 100 + number, dtype=np.uint8)
        Image.fromarray(grey).save(tmp_path / "data" / "history" / f"{number}.png")

    def write(model, **sections):
        config = {
            "name": "plates",
            "source": {"kind": "images", "root": "data"},
            "batch": {"by": "folder"},
            "history": {"batches": ["history"]},
            "prepare": {"kind": "images", "height_px": 64, "width_px": 64},
            "model": model,
            "calibration": {"false_flags_per_batch": 1},
            **sections,
        }
        path = tmp_path / "plates.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    return write


def test_the_network_is_built_and_its_parameters_are_counted(pipeline):
    found = check_pipeline(pipeline({"family": "dense", "code_size": 4}))
    assert found.parameters == 64 * 64 * 4 + 4 + 4 * 64 * 64 + 64 * 64
    assert found.lines()[-1].endswith(f": {found.parameters:,} parameters.")


def test_what_the_history_decides_is_not_counted(pipeline):
    found = check_pipeline(pipeline({"family": "pca"}))
    assert found.parameters == 0
    assert found.lines()[-1].endswith("What would be trained: family pca, channels grey.")


def test_fewer_images_than_parts_of_the_history_are_told(pipeline, tmp_path):
    for number in range(1, 8):
        (tmp_path / "data" / "history" / f"{number}.png").unlink()
    with pytest.raises(InputError, match="groups of images"):
        check_pipeline(pipeline({"family": "pca"}))


def table(folder, lines, *, batch="period", **sections):
    """A pipeline of readings, one a minute, and its config."""
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "x.csv").write_text("\n".join(["t,a", *lines]) + "\n")
    config = {
        "name": "pump",
        "source": {"kind": "table", "path": "data", "time_column": "t", "channels": ["a"]},
        "batch": {"by": batch},
        "prepare": {"kind": "series", "cadence_seconds": 60, "window_points": 8},
        "model": {"family": "pca"},
        "calibration": {"false_flags_per_batch": 1},
        **sections,
    }
    path = folder / "pump.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def minutes(day, count, value="1"):
    return [f"2026-11-{day:02d}T00:{m:02d}:00Z,{value}" for m in range(count)]


def test_a_history_without_a_valid_row_is_not_called_sound(tmp_path, home):
    path = table(tmp_path, minutes(19, 60, "much"))
    with pytest.raises(DetectorError, match=r"nothing valid.*bad_number 60(.|\n)*x.csv, row 1"):
        check_pipeline(path)


def test_a_history_too_short_for_one_window_in_each_part_is_not_called_sound(tmp_path, home):
    with pytest.raises(DetectorError, match="no whole window of 8 points"):
        check_pipeline(table(tmp_path, minutes(19, 9)))


def test_a_first_batch_that_is_too_short_is_no_harm_where_the_history_is_not(tmp_path, home):
    found = check_pipeline(table(tmp_path, [*minutes(18, 2, "much"), *minutes(19, 60), *minutes(20, 60)]))
    assert (found.rows_in, found.valid) == (2, 0)
    assert any("Batch 2026-11-18 holds nothing valid" in line for line in found.lines())


def test_files_that_cannot_be_read_are_named(tmp_path, home):
    path = table(tmp_path, minutes(19, 60))
    (tmp_path / "data" / "bad.csv").write_bytes(b"\0\0")
    found = check_pipeline(path)
    assert list(found.unreadable) == ["bad.csv"]
    assert found.valid == 60


def test_a_schedule_at_an_hour_that_clocks_skip_is_warned_of(pipeline):
    schedule = {"nightly": "30 2 * * *", "time_zone": "Europe/Berlin"}
    found = check_pipeline(pipeline({"family": "pca"}, schedule=schedule))
    assert "  Note: schedule.nightly (30 2 * * *) falls between 01:00 and 03:00" in found.lines()[-1]


def test_a_missing_package_is_told_before_anything_is_trained(pipeline, monkeypatch):
    monkeypatch.setattr("aeflow.models.pretrained_weights.PACKAGE", "no_such_package")
    path = pipeline({"family": "feature", "encoder": "efficientnet_lite0"})
    with pytest.raises(InputError, match="no_such_package"):
        check_pipeline(path)
