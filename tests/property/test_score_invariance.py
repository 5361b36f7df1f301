"""The score of an item does not depend on what else was in the batch, its order, portions or workers.

Scores agree to 1e-5 of their value; states and flags agree exactly.
"""

from __future__ import annotations

import csv
import random
import shutil
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from aeflow.config import PipelineConfig
from aeflow.data.take_in import history_batches, take_in, take_in_training
from aeflow.detector.fitting import fit, prepare
from aeflow.scoring import score_batch

WEEK = "2022-W17"
DAYS = [(date(2022, 4, 25) + timedelta(days=n)).isoformat() for n in range(7)]
quick = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def train(config, folder):
    """A detector fitted to the config's history."""
    torch.set_num_threads(1)
    staged = take_in_training(config, folder)
    data = prepare(config, staged, batches=history_batches(config))
    return fit(config, config.model, data, device=torch.device("cpu")).detector


class Trained:
    """A pipeline with its detector, to score batches of changed configs and data."""

    def __init__(self, config, folder):
        self.config, self.folder = config, folder
        self.detector = train(config, folder / "history")
        self._number = count()

    def scores(self, batch, config=None):
        """The rows of `scores.parquet`."""
        config = config or self.config
        work = self.folder / f"run-{next(self._number)}"
        staged = take_in(config, batch, work / "intake", context=self.detector.context)
        (work / "build").mkdir()
        score_batch(self.detector, config, staged, work / "build", device=torch.device("cpu"))
        rows = pq.read_table(work / "build" / "scores.parquet").to_pylist()
        shutil.rmtree(work)
        return rows


def changed(config, **sections):
    """The config with keys of some sections replaced."""
    values = config.model_dump(mode="json")
    for name, keys in sections.items():
        values[name] = {**values[name], **keys}
    return PipelineConfig.model_validate(values).at(config.folder)


def assert_same(found, expected, key):
    assert [row[key] for row in found] == [row[key] for row in expected]
    for column in ("state", "reason", "flag"):
        assert [row[column] for row in found] == [row[column] for row in expected]
    assert any(row["score"] is not None for row in expected)
    numbers = (
        [np.nan if row["score"] is None else row["score"] for row in rows] for rows in (found, expected)
    )
    np.testing.assert_allclose(*numbers, rtol=1e-5)


# ---- series


@pytest.fixture(scope="module")
def flow():
    """The water flow of river: header, and lines as time and value."""
    from river.datasets import WaterFlow

    with Path(WaterFlow().path).open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    return header, lines


SERIES = {
    "lstm": ({"family": "lstm", "hidden_size": 8, "code_size": 3}, {}),
    "pca": ({"family": "pca"}, {}),
    "autoregression-against-its-past": (
        {"family": "autoregression"},
        {"distance": "mahalanobis", "smooth_points": 5, "point_weight": 0.5, "baseline_points": 48},
    ),
    "kernel-regression-of-whole-windows": (
        {"family": "kernel_regression", "max_windows": 200},
        {"points": "window", "smooth_points": 3, "baseline_points": 40, "baseline_quantile": 0.9},
    ),
}


@pytest.fixture(scope="module", params=SERIES)
def series(request, flow, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    model, scoring = SERIES[request.param]
    header, lines = flow
    write_csv(folder / "data", header, [lines])
    config = PipelineConfig.model_validate(
        {
            "name": "water",
            "source": {"kind": "table", "path": "data", "time_column": header[0], "channels": [header[1]]},
            "batch": {"by": "period", "period": "week", "time_zone": "Europe/Rome"},
            "history": {"first": "2022-W14", "last": "2022-W16"},
            "split": {"train": 0.5, "validation": 0.1, "calibration": 0.3, "test": 0.1},
            "prepare": {"kind": "series", "cadence_seconds": 3600, "window_points": 12},
            "model": model,
            "training": {"epochs": 2},
            "scoring": scoring,
            "calibration": {"false_flags_per_batch": 1},
        }
    ).at(folder)
    trained = Trained(config, folder)
    trained.expected = trained.scores(WEEK)
    return trained


def write_csv(folder, header, files):
    folder.mkdir(parents=True, exist_ok=True)
    for number, lines in enumerate(files):
        with (folder / f"part-{number}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *lines])


@pytest.mark.parametrize("chunk_items", [1, 7, 512])
def test_scores_of_a_series_do_not_depend_on_the_chunk(series, chunk_items):
    config = changed(series.config, compute={"chunk_items": chunk_items})
    assert_same(series.scores(WEEK, config), series.expected, "timestamp")


@quick
@given(seed=st.integers(0, 2**16), files=st.integers(1, 5))
def test_scores_of_a_series_do_not_depend_on_the_order_of_rows_or_on_files(series, flow, seed, files):
    header, lines = flow
    shuffled = random.Random(seed).sample(lines, len(lines))
    folder = series.folder / "shuffled"
    shutil.rmtree(folder, ignore_errors=True)
    write_csv(folder, header, [shuffled[n::files] for n in range(files)])
    found = series.scores(WEEK, changed(series.config, source={"path": "shuffled"}))
    assert_same(found, series.expected, "timestamp")


def test_scores_of_a_series_do_not_depend_on_the_format(series, flow):
    header, lines = flow
    folder = series.folder / "parquet"
    folder.mkdir(exist_ok=True)
    times = pa.array([datetime.fromisoformat(time) for time, _ in lines], pa.timestamp("us", "UTC"))
    values = pa.array([float(value) for _, value in lines])
    pq.write_table(pa.table([times, values], names=header), folder / "all.parquet")
    config = changed(series.config, source={"path": "parquet", "format": "parquet"})
    assert_same(series.scores(WEEK, config), series.expected, "timestamp")


def test_a_day_scored_alone_has_the_scores_of_its_week(series):
    config = changed(series.config, batch={"period": "day"})
    rows = [row for day in DAYS for row in series.scores(day, config)]
    # What is flagged may differ: the promise is one for each batch.
    both = [[{**row, "flag": None} for row in some] for some in (rows, series.expected)]
    assert_same(*both, "timestamp")
    assert [row["p_value"] for row in rows] == pytest.approx(
        [row["p_value"] for row in series.expected], rel=1e-4
    )


def test_what_comes_after_does_not_change_a_score(series, flow):
    header, lines = flow
    until = [line for line in lines if line[0] < "2022-04-28"]
    folder = series.folder / "until"
    write_csv(folder, header, [until])
    found = series.scores(WEEK, changed(series.config, source={"path": "until"}))
    known = {row["timestamp"]: row["score"] for row in series.expected}
    assert len(found) > 48
    for row in found:
        assert row["score"] == (known[row["timestamp"]] and pytest.approx(known[row["timestamp"]], rel=1e-5))


# ---- images


@pytest.fixture(scope="module", params=["conv2d", "pca"])
def images(request, tmp_path_factory):
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp(request.param)
    family = {
        "conv2d": {"family": "conv2d", "width": 4, "levels": 2, "code_size": 4},
        "pca": {"family": "pca"},
    }
    digits = load_digits()
    for batch, chosen in (("history", range(150)), ("tonight", range(150, 190))):
        (folder / "data" / batch).mkdir(parents=True)
        for n in chosen:
            pixels = (digits.images[n] * 255 / 16).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "data" / batch / f"{n:04d}.png")
    config = PipelineConfig.model_validate(
        {
            "name": "digits",
            "source": {"kind": "images", "root": "data"},
            "batch": {"by": "folder"},
            "history": {"batches": ["history"]},
            "prepare": {"kind": "images", "height_px": 16, "width_px": 16},
            "model": family[request.param],
            "training": {"epochs": 2},
            "calibration": {"false_flags_per_batch": 2},
            "compute": {"workers": 1},
        }
    ).at(folder)
    trained = Trained(config, folder)
    trained.expected = trained.scores("tonight")
    return trained


@pytest.mark.parametrize("chunk_items", [1, 7, 512])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_scores_of_images_do_not_depend_on_the_chunk_or_on_workers(images, chunk_items, workers):
    config = changed(images.config, compute={"chunk_items": chunk_items, "workers": workers})
    assert_same(images.scores("tonight", config), images.expected, "item")


@quick
@given(seed=st.integers(0, 2**16))
def test_scores_of_images_do_not_depend_on_the_order_they_are_listed_or_decoded_in(images, seed):
    """The files are made anew in another order, so that the folder lists them in another one."""
    names = sorted(p.name for p in (images.folder / "data" / "tonight").iterdir())
    root = images.folder / "relisted"
    shutil.rmtree(root, ignore_errors=True)
    (root / "tonight").mkdir(parents=True)
    for name in random.Random(seed).sample(names, len(names)):
        shutil.copy(images.folder / "data" / "tonight" / name, root / "tonight" / name)
    found = images.scores("tonight", changed(images.config, source={"root": "relisted"}))
    assert_same(found, images.expected, "item")


def test_an_image_alone_has_the_score_it_has_among_others(images):
    root = images.folder / "alone"
    for row in images.expected[::10]:
        shutil.rmtree(root, ignore_errors=True)
        (root / "tonight").mkdir(parents=True)
        shutil.copy(images.folder / "data" / row["item"], root / "tonight")
        (found,) = images.scores("tonight", changed(images.config, source={"root": "alone"}))
        assert found["score"] == pytest.approx(row["score"], rel=1e-5)
        assert found["p_value"] == pytest.approx(row["p_value"], rel=1e-4)
