from __future__ import annotations

import numpy as np
import pytest
import yaml
from PIL import Image

from aeflow.exceptions import InputError
from flows.check_pipeline import check_pipeline


@pytest.fixture
def pipeline(tmp_path, home):
    """Writes the config of a pipeline of two images with a given model."""
    (tmp_path / "data" / "history").mkdir(parents=True)
    for number in range(2):
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


def test_a_schedule_at_an_hour_that_clocks_skip_is_warned_of(pipeline):
    schedule = {"nightly": "30 2 * * *", "time_zone": "Europe/Berlin"}
    found = check_pipeline(pipeline({"family": "pca"}, schedule=schedule))
    assert "  Note: schedule.nightly (30 2 * * *) falls between 01:00 and 03:00" in found.lines()[-1]


def test_a_missing_package_is_told_before_anything_is_trained(pipeline, monkeypatch):
    monkeypatch.setattr("aeflow.models.pretrained_weights.PACKAGE", "no_such_package")
    path = pipeline({"family": "feature", "encoder": "efficientnet_lite0"})
    with pytest.raises(InputError, match="no_such_package"):
        check_pipeline(path)
