from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from aeflow.config import dump_json, load_config
from aeflow.onboarding.defaults import looks_normal
from aeflow.onboarding.yaml_text import as_yaml

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
READY_MADE = ["nab", "skab", "smd", "tiles"]


def missing_keys(section, raw, path=""):
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name not in raw:
            yield path + name
        elif isinstance(value, BaseModel):
            yield from missing_keys(value, raw[name], f"{path}{name}.")


@pytest.mark.parametrize("name", READY_MADE)
def test_a_config_that_comes_along_is_complete_and_named_after_its_file(name):
    config = load_config(CONFIGS / f"{name}.yaml")
    raw = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    assert config.name == name
    assert list(missing_keys(config, raw)) == []


@pytest.mark.parametrize("name", READY_MADE)
def test_what_is_written_reads_back_as_the_same_pipeline(tmp_path, name):
    config = load_config(CONFIGS / f"{name}.yaml")
    path = tmp_path / "again.yaml"
    path.write_text(as_yaml(config, seen=("a: b # c",), reasons={"prepare": "x: [y"}))
    assert dump_json(load_config(path)) == dump_json(config)


def test_every_reason_stands_above_its_key():
    config = load_config(CONFIGS / "nab.yaml")
    lines = as_yaml(config, reasons={"prepare.window_points": "because"}).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("  window_points"))
    assert lines[at - 1] == "  # > because"
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize(
    ("folder", "normal"),
    [
        ("MT_Free", True),
        ("good", True),
        ("anomaly-free", True),
        ("train", True),
        ("scratch", False),
        ("abnormal", False),
    ],
)
def test_a_folder_is_normal_by_a_word_of_its_name(folder, normal):
    assert looks_normal(folder) is normal
