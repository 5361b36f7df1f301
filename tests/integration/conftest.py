"""One workspace with a trained pipeline for series and one for images; each test works in a copy."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from aeflow.store.digests import sha256_folder
from aeflow.store.ledger import Ledger, open_ledger
from aeflow.store.paths import Paths
from tests.integration.forked import Commands, Ended

if TYPE_CHECKING:
    from pathlib import Path

WATER = {
    "name": "water",
    "source": {
        "kind": "table",
        "path": "../data/water",
        "time_column": "Time",
        "channels": ["Water flow [l/s]"],
    },
    "batch": {"by": "period", "period": "week", "time_zone": "Europe/Rome"},
    "history": {"first": "2022-W14", "last": "2022-W16"},
    "split": {"train": 0.5, "validation": 0.1, "calibration": 0.3, "test": 0.1},
    "prepare": {"kind": "series", "cadence_seconds": 3600, "window_points": 12},
    "model": {"family": "lstm", "hidden_size": 8, "code_size": 4},
    "training": {"epochs": 4, "patience_epochs": 4},
    "calibration": {"false_flags_per_batch": 1},
}
DIGITS = {
    "name": "digits",
    "source": {"kind": "images", "root": "../data/digits"},
    "batch": {"by": "folder"},
    "history": {"batches": ["history"]},
    "prepare": {"kind": "images", "height_px": 8, "width_px": 8},
    "model": {"family": "pca"},
    "calibration": {"false_flags_per_batch": 1, "items_per_batch": 40},
    "checks": {"max_quarantined_share": 0.5},
}


@dataclass(frozen=True)
class Workspace:
    """A folder with `configs/`, `data/` and `home/`, and commands to run in it."""

    folder: Path
    commands: Commands
    trainings: dict[str, Ended] = field(default_factory=dict)
    """Pipeline -> how its training went."""

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def paths(self, pipeline: str) -> Paths:
        return Paths(self.home, pipeline)

    def ledger(self, pipeline: str) -> Ledger:
        return open_ledger(self.paths(pipeline))

    def run(self, *arguments: str, **options) -> Ended:
        """Run `aeflow ARGUMENTS`."""
        return self.commands.run(*arguments, home=self.home, folder=self.folder, **options)

    def ok(self, *arguments: str, **options) -> str:
        """Run a command that has to succeed; returns what it printed."""
        ended = self.run(*arguments, **options)
        assert ended.code == 0, ended.err
        return ended.out

    def refused(self, *arguments: str, code: int = 2, **options) -> str:
        """Run a command that has to fail with one clear message; returns that message."""
        ended = self.run(*arguments, **options)
        assert ended.code == code, ended.out + ended.err
        assert "Traceback" not in ended.err
        assert len(re.findall(r"^aeflow( \w+)?: ", ended.err, re.MULTILINE)) == 1, ended.err
        return ended.err

    def scores(self, pipeline: str, batch: str) -> list[dict]:
        return pq.read_table(self.paths(pipeline).report(batch) / "scores.parquet").to_pylist()

    def summary(self, pipeline: str, batch: str) -> dict:
        return json.loads((self.paths(pipeline).report(batch) / "summary.json").read_text())

    def digest(self, pipeline: str, batch: str) -> str:
        return sha256_folder(self.paths(pipeline).report(batch))

    def set(self, pipeline: str, **sections) -> None:
        """Change sections of a pipeline's YAML."""
        file = self.folder / "configs" / f"{pipeline}.yaml"
        config = yaml.safe_load(file.read_text())
        for name, section in sections.items():
            config[name] = {**config.get(name, {}), **section} if isinstance(section, dict) else section
        file.write_text(yaml.safe_dump(config))


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    """Runs commands at the price of a fork."""
    running = Commands(tmp_path_factory.mktemp("commands"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def untrained(commands, tmp_path_factory) -> Workspace:
    """Configs and data, and nothing in the home."""
    return make_workspace(tmp_path_factory.mktemp("untrained"), commands)


@pytest.fixture(scope="session")
def trained(untrained, tmp_path_factory) -> Workspace:
    """Both pipelines trained: never to be changed, but copied."""
    space = replace(copy_of(untrained, tmp_path_factory.mktemp("trained") / "space"), trainings={})
    for pipeline in ("water", "digits"):
        space.trainings[pipeline] = space.run("train", pipeline)
        assert space.trainings[pipeline].code == 0, space.trainings[pipeline].err
    used = copy_of(space, tmp_path_factory.mktemp("used") / "space")
    for pipeline, batch in (("water", "2022-W17"), ("digits", "tonight")):
        used.ok("score", pipeline, "--batch", batch)
        space.commands.warm_up("verify", pipeline, "--batch", batch, home=used.home, folder=used.folder)
    return space


@pytest.fixture
def space(trained, tmp_path) -> Workspace:
    """A copy of the trained workspace for one test."""
    return copy_of(trained, tmp_path / "space")


def copy_of(space: Workspace, folder: Path, *, same_data: bool = False) -> Workspace:
    """The same workspace at another place. same_data: a quick copy for a test that leaves data alone
    and asks the registry for no file."""
    left_out = shutil.ignore_patterns("data", "mlartifacts") if same_data else None
    shutil.copytree(space.folder, folder, ignore=left_out)
    if same_data:
        (folder / "data").symlink_to(space.folder / "data")
    return replace(space, folder=folder)


def make_workspace(folder: Path, commands: Commands) -> Workspace:
    """The water flow of river, weekly, and the digits of scikit-learn, some as tonight's batch."""
    from river.datasets import WaterFlow
    from sklearn.datasets import load_digits

    for name in ("configs", "data/water", "home"):
        (folder / name).mkdir(parents=True)
    for config in (WATER, DIGITS):
        (folder / "configs" / f"{config['name']}.yaml").write_text(yaml.safe_dump(config))
    shutil.copyfile(WaterFlow().path, folder / "data" / "water" / "flow.csv")
    digits = load_digits()
    normal = np.flatnonzero(digits.target < 4)
    strange = np.flatnonzero(digits.target == 7)[:8]
    for batch, chosen in (("history", normal[:300]), ("tonight", [*normal[300:332], *strange])):
        root = folder / "data" / "digits" / batch
        root.mkdir(parents=True)
        for number in chosen:
            pixels = (digits.images[number] * 255 / 16).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"{digits.target[number]}-{number:04d}.png")
    return Workspace(folder, commands)
