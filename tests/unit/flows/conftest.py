"""A pipeline whose notices the tests of this folder look at."""

from __future__ import annotations

import pytest
import yaml


@pytest.fixture
def pipeline(tmp_path, home):
    def write(**notify):
        file = tmp_path / "configs" / "pump.yaml"
        file.parent.mkdir(exist_ok=True)
        config = {
            "name": "pump",
            "source": {"kind": "table", "path": "../data", "time_column": "t", "channels": ["a"]},
            "batch": {"by": "period"},
            "prepare": {"kind": "series"},
            "model": {"family": "pca"},
            "calibration": {"false_flags_per_batch": 1},
            "notify": notify,
        }
        file.write_text(yaml.safe_dump(config))
        return file

    return write
