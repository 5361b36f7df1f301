"""A fitted detector: what it scores, what it keeps, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from aeflow import detector as detectors
from aeflow.config import BASELINE, PipelineConfig
from aeflow.data.series import iter_series
from aeflow.data.splits import TEST
from aeflow.data.take_in import take_in, take_in_training
from aeflow.detector.fitting import fit, prepare
from aeflow.detector.forest import fit_forest, load_forest, save_forest
from aeflow.detector.planted import compare, measure
from aeflow.exceptions import DetectorError

CPU = torch.device("cpu")
CHANNELS = ("flow", "heat", "noise")


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Two machines, three channels, two days by the minute; tiny LSTM."""
    folder = tmp_path_factory.mktemp("series")
    rng = np.random.default_rng(0)
    lines = ["time,machine,flow,heat,noise"]
    for machine, level in (("a", 5.0), ("b", 80.0)):
        for minute in range(600):
            day, rest = divmod(minute, 300)
            wave = np.sin(minute / 20)
            values = [level * (1 + 0.1 * wave), 20 + level * wave * 0.2, rng.normal()]
            cells = ["" if rng.random() < 0.01 else f"{v + rng.normal(0, 0.01):.5f}" for v in values]
            lines.append(
                f"2026-01-{day + 1:02d}T{rest // 60:02d}:{rest % 60:02d}:00,{machine},{','.join(cells)}"
            )
    (folder / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = PipelineConfig.model_validate(
        {
            "name": "machines",
            "source": {
                "kind": "table",
                "path": "data.csv",
                "time_column": "time",
                "entity_column": "machine",
                "channels": CHANNELS,
            },
            "batch": {"by": "period"},
            "history": {"last": "2026-01-01"},
            "prepare": {"kind": "series", "cadence_seconds": 60, "window_points": 8},
            "model": {"family": "lstm", "hidden_size": 8, "code_size": 4},
            "training": {"epochs": 2},
            "calibration": {"false_flags_per_batch": 2},
        }
    ).at(folder)
    intake = take_in_training(config, folder / "history")
    data = prepare(config, intake, batches=["2026-01-01"])
    return config, data, fit(config, config.model, data, device=CPU)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Sixty small grey images of one kind, in one folder."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    (folder / "pictures" / "good").mkdir(parents=True)
    for number in range(60):
        picture = 100 + 40 * np.sin(np.arange(12) + number % 3)[None, :] + rng.normal(0, 3, (12, 12))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(
            folder / "pictures" / "good" / f"{number:03d}.png"
        )
    config = PipelineConfig.model_validate(
        {
            "name": "pictures",
            "source": {"kind": "images", "root": "pictures"},
            "batch": {"by": "folder"},
            "prepare": {"kind": "images", "height_px": 12, "width_px": 12},
            "model": {"family": "conv2d", "width": 4, "levels": 2, "code_size": 4},
            "training": {"epochs": 1, "batch_size": 8},
            "calibration": {"rule": "conformal", "false_discovery_rate": 0.1},
        }
    ).at(folder)
    intake = take_in_training(config, folder / "history")
    data = prepare(config, intake, batches=["good"])
    return config, data, fit(config, config.model, data, device=CPU)


def night(config, detector, folder):
    staged = take_in(config, "2026-01-02", folder, context=detector.context)
    return next(iter_series(staged.rows_path, config.prepare, detector.normal.cadences))


def test_contributions_sum_to_the_score_and_expectations_have_the_channels_unit(series, tmp_path):
    config, _, fitted = series
    inputs = night(config, fitted.detector, tmp_path)
    found = fitted.detector.score_series(inputs, device=CPU, chunk_items=64)
    assert found.score.size == 2 * (300 - 7)  # the days lie apart: the first windows are not whole
    assert (found.contributions >= 0).all()
    np.testing.assert_allclose(found.contributions.sum(axis=1), found.score, rtol=1e-5)
    machine = inputs.grid_entity[inputs.ends]
    assert abs(found.expected[machine == 0, 0].mean() - 5) < 2
    assert abs(found.expected[machine == 1, 0].mean() - 80) < 30


@pytest.mark.parametrize("chunk_items", [1, 7, 600])
def test_a_score_does_not_depend_on_the_portion(series, tmp_path, chunk_items):
    config, _, fitted = series
    inputs = night(config, fitted.detector, tmp_path)
    whole = fitted.detector.score_series(inputs, device=CPU, chunk_items=100_000)
    cut = fitted.detector.score_series(inputs, device=CPU, chunk_items=chunk_items)
    np.testing.assert_allclose(cut.score, whole.score, rtol=1e-5)


def test_a_new_entity_is_scored_with_what_all_entities_share(series, tmp_path):
    config, _, fitted = series
    inputs = night(config, fitted.detector, tmp_path)
    stranger = replace(inputs, entities=("new", "newer"))
    found = fitted.detector.score_series(stranger, device=CPU, chunk_items=64)
    assert np.isfinite(found.score).all()


def test_a_fault_scores_above_what_is_normal(series, tmp_path):
    config, _, fitted = series
    inputs = night(config, fitted.detector, tmp_path)
    before = fitted.detector.score_series(inputs, device=CPU, chunk_items=64)
    values = inputs.values.copy()
    values[inputs.ends[100], 1] += 1000
    after = fitted.detector.score_series(replace(inputs, values=values), device=CPU, chunk_items=64)
    assert after.score[100] > 10 * before.score.max()
    assert after.contributions[100].argmax() == 1
    # The score looks back: what came before the fault is untouched.
    np.testing.assert_array_equal(after.score[:100], before.score[:100])


@pytest.mark.parametrize("kind", ["series", "images"])
def test_a_saved_detector_scores_alike_and_gives_the_same_bytes(kind, request, tmp_path):
    _, _, fitted = request.getfixturevalue(kind)
    detectors.save(fitted.detector, tmp_path / "one")
    loaded = detectors.load(tmp_path / "one")
    detectors.save(loaded, tmp_path / "two")
    for name in ("detector.json", "network.safetensors", "arrays.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert detectors.calibration_digest(loaded) == detectors.calibration_digest(fitted.detector)
    if kind == "images":
        pixels = np.random.default_rng(1).integers(0, 255, (5, 1, 12, 12), dtype=np.uint8)
        one = fitted.detector.score_images(pixels, device=CPU, chunk_items=2)
        two = loaded.score_images(pixels, device=CPU, chunk_items=5)
        np.testing.assert_allclose(one.score, two.score, rtol=1e-5)


@pytest.mark.parametrize("kind", ["series", "images"])
def test_a_forest_is_fitted_to_the_same_history_and_stored_as_arrays(kind, request, tmp_path):
    config, data, fitted = request.getfixturevalue(kind)
    forest = fit_forest(fitted.detector, data)
    save_forest(forest, tmp_path / "forest")
    again = load_forest(tmp_path / "forest", fitted.detector)
    assert sorted(p.suffix for p in (tmp_path / "forest").iterdir()) == [".json", ".safetensors"]
    given = {"device": CPU, "chunk_items": 64}
    if kind == "images":
        pixels = data.history.of(TEST)
        one, other = (d.score_images(pixels, **given) for d in (forest, again))
        strange = forest.score_images(np.full_like(pixels[:1], 255), **given).score
        assert strange > np.median(one.score)
    else:
        intake = take_in(config, "2026-01-02", tmp_path / "night", context=forest.context)
        inputs = next(iter(iter_series(intake.rows_path, config.prepare, forest.normal.cadences)))
        one, other = (d.score_series(inputs, **given) for d in (forest, again))
        far = replace(inputs, values=inputs.values * 3)
        assert np.nanmedian(forest.score_series(far, **given).score) > np.nanmedian(one.score)
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_allclose(one.contributions.sum(axis=1), one.score, rtol=1e-5)
    assert again.calibration.to_json() == forest.calibration.to_json()
    assert again.calibration.promised == fitted.detector.calibration.promised
    assert again.fitted_on is fitted.detector.fitted_on
    assert load_forest(tmp_path / "none", fitted.detector) is None


def test_bytes_and_fractions_of_one_image_score_alike(images):
    _, _, fitted = images
    pixels = np.random.default_rng(1).integers(0, 255, (4, 1, 12, 12), dtype=np.uint8)
    one = fitted.detector.score_images(pixels, device=CPU, chunk_items=4)
    two = fitted.detector.score_images(pixels.astype(np.float32) / np.float32(255), device=CPU, chunk_items=4)
    np.testing.assert_array_equal(one.score, two.score)
    np.testing.assert_allclose(one.contributions.sum(axis=1), one.score, rtol=1e-5)


def test_fitting_twice_gives_the_same_detector(series, tmp_path):
    config, data, fitted = series
    again = fit(config, config.model, data, device=CPU)
    detectors.save(fitted.detector, tmp_path / "one")
    detectors.save(again.detector, tmp_path / "two")
    assert (tmp_path / "one" / "network.safetensors").read_bytes() == (
        tmp_path / "two" / "network.safetensors"
    ).read_bytes()


def test_the_parts_of_the_history_do_not_overlap(series):
    _, data, _ = series
    for entity in (0, 1):
        parts = data.history.part[data.history.grid.entity == entity]
        assert (np.diff(parts) >= 0).all()
        assert set(parts) == {0, 1, 2, 3}


def test_what_was_fitted_on_is_known_again(images):
    _, data, fitted = images
    known = fitted.detector.fitted_on
    in_test = data.history.part == 3
    for item, held_out in zip(data.history.item, in_test, strict=True):
        assert known.knows(data.history.sha256[item], None) == (not held_out)


def test_planted_faults_are_measured_on_both_kinds(series, images):
    for config, data, fitted in (series, images):
        one = measure(fitted.detector, data.history, seed=0, device=CPU)
        linear = measure(fit(config, BASELINE, data, device=CPU).detector, data.history, seed=0, device=CPU)
        mine, baseline = one.figures(), linear.figures()
        assert mine.items == baseline.items > 0
        assert 0 <= mine.planted_auroc <= 1
        assert baseline.planted_auroc > 0.5
        assert mine.finite
        assert mine.unstable < 1e-4
        assert set(mine.auroc_of) == set(baseline.auroc_of)
        by = compare(one, linear, seed=0)
        assert by.planted.value == pytest.approx(mine.planted_auroc - baseline.planted_auroc, abs=1e-6)
        assert by.found.value == pytest.approx(mine.found_share - baseline.found_share, abs=1e-6)


def test_the_faults_do_not_hang_on_what_a_detector_learnt(series):
    """A detector with a scale a thousand times too large meets the same faults, and sees none of them."""
    _, data, fitted = series
    normal = fitted.detector.normal
    wrong = replace(normal, scale=replace(normal.scale, scale=normal.scale.scale * 1000))
    blind = measure(replace(fitted.detector, normal=wrong), data.history, seed=0, device=CPU)
    sound = measure(fitted.detector, data.history, seed=0, device=CPU)
    assert {k: p.score.size for k, p in blind.planted.items()} == {
        k: p.score.size for k, p in sound.planted.items()
    }
    assert compare(blind, sound, seed=0).found.high < 0


def test_other_channels_or_another_preparation_are_refused(series):
    config, _, fitted = series
    fitted.detector.check_fits(config)
    fewer = config.model_copy(update={"source": config.source.model_copy(update={"channels": ("flow",)})})
    with pytest.raises(DetectorError, match=r"trained with source\.channels"):
        fitted.detector.check_fits(fewer)
    longer = config.model_copy(update={"prepare": config.prepare.model_copy(update={"window_points": 9})})
    with pytest.raises(DetectorError, match=r"trained with prepare\.window_points 8, the config now says 9"):
        fitted.detector.check_fits(longer)
    sparser = config.model_copy(
        update={"prepare": config.prepare.model_copy(update={"train_stride_points": 3})}
    )
    fitted.detector.check_fits(sparser)  # how it is trained does not bear on what it can score


def test_a_history_too_short_for_a_window_is_refused(series):
    config, data, _ = series
    longer = config.model_copy(update={"prepare": config.prepare.model_copy(update={"window_points": 500})})
    with pytest.raises(DetectorError, match="holds no whole window of 500 points"):
        fit(longer, config.model, data, device=CPU)


def test_a_folder_that_is_no_detector_is_refused(tmp_path):
    with pytest.raises(DetectorError, match=r"missing: arrays.safetensors"):
        detectors.load(tmp_path)
