"""Several models as one detector: what it scores is what its members score alone, fused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from aeflow import detector as detectors
from aeflow.config import PipelineConfig
from aeflow.data.series import iter_series
from aeflow.data.take_in import take_in, take_in_training
from aeflow.detector.attribution import Stretch, attribute
from aeflow.detector.codes import encode_windows
from aeflow.detector.fitting import fit, prepare
from aeflow.detector.planted import measure
from aeflow.detector.recalibration import recalibrate
from aeflow.exceptions import DetectorError
from aeflow.models.fused import fused_networks
from aeflow.numerics.fusion import fuse
from aeflow.numerics.reconstruction_error import worst_boxes
from aeflow.numerics.region_overlap import best_box_overlap
from aeflow.numerics.survival_curves import rarity
from aeflow.representations.generating import variational_bottleneck

CPU = torch.device("cpu")
CHANNELS = ("flow", "heat", "load")
PCA, AUTOREGRESSION = {"family": "pca", "explained_variance": 0.8}, {"family": "autoregression"}
BATCHES = ["2026-01-01", "2026-01-02"]


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """Three machines, three channels that hang together, three days by the minute."""
    folder = tmp_path_factory.mktemp("machines")
    rng = np.random.default_rng(0)
    lines = ["time,machine,flow,heat,load"]
    for machine, level in (("press-1", 5.0), ("press-2", 80.0), ("saw", 20.0)):
        wave = 0.0
        for minute in range(1500):
            day, rest = divmod(minute, 500)
            wave = 0.95 * wave + rng.normal(0, 0.3)
            values = level * (1 + 0.1 * np.array([wave, -wave, 0.5 * wave]) + rng.normal(0, 0.02, 3))
            cells = ["" if rng.random() < 0.01 else f"{v:.5f}" for v in values]
            stamp = f"2026-01-{day + 1:02d}T{rest // 60:02d}:{rest % 60:02d}:00"
            lines.append(f"{stamp},{machine},{','.join(cells)}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def config_of(folder, *members, rule="fisher", scoring=None, **entities):
    model = {"family": "fusion", "rule": rule, "members": members} if len(members) > 1 else members[0]
    return PipelineConfig.model_validate(
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
            "history": {"last": BATCHES[-1]},
            "split": {"train": 0.3, "validation": 0.3, "calibration": 0.3, "test": 0.1},
            "prepare": {"kind": "series", "cadence_seconds": 60, "window_points": 4},
            "entities": entities,
            "model": model,
            "scoring": scoring or {},
            "calibration": {"false_flags_per_batch": 2},
        }
    ).at(folder)


def trained(config, scratch):
    intake = take_in_training(config, scratch / "history")
    data = prepare(config, intake, batches=BATCHES)
    return data, fit(config, config.model, data, device=CPU).detector


def night(config, detector, scratch):
    staged = take_in(config, "2026-01-03", scratch / "night", context=detector.context)
    reach = detector.look_back
    return next(iter_series(staged.rows_path, config.prepare, detector.normal.cadences, look_back=reach))


def scored(detector, inputs, chunk_items=500):
    return detector.score_series(inputs, device=CPU, chunk_items=chunk_items)


@pytest.fixture(scope="module")
def fused(machines, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("fused")
    config = config_of(machines, PCA, AUTOREGRESSION)
    data, detector = trained(config, scratch)
    return config, data, detector, night(config, detector, scratch)


SCORINGS = [
    {},
    {"distance": "mahalanobis", "smooth_points": 5, "point_weight": 0.3},
    {"smooth_points": 5, "baseline_points": 48},
]


@pytest.mark.parametrize("scoring", SCORINGS, ids=["plain", "two scales", "against its past"])
@pytest.mark.parametrize("rule", ["fisher", "cauchy"])
def test_the_score_is_that_of_its_members_alone_by_how_rare_each_is(machines, tmp_path, scoring, rule):
    config = config_of(machines, PCA, AUTOREGRESSION, rule=rule, scoring=scoring)
    _, together = trained(config, tmp_path / "together")
    inputs = night(config, together, tmp_path / "together")
    found = scored(together, inputs)
    alone, shares = [], []
    codes = together.normal.codes(inputs.entities)[inputs.grid_entity[inputs.ends]]
    for number, member in enumerate((PCA, AUTOREGRESSION)):
        _, one = trained(config_of(machines, member, scoring=scoring), tmp_path / str(number))
        by_it = scored(one, inputs)
        alone.append(rarity(by_it.score, together.normal.fusing.curves[number], codes))
        shares.append(by_it.contributions / by_it.score[:, None])
    expected, parts = fuse(np.stack(alone), rule)
    np.testing.assert_allclose(found.score, expected, rtol=1e-5)
    known = found.score > 0.02
    wanted = found.score[:, None] * (parts[:, :, None] * np.stack(shares)).sum(axis=0)
    np.testing.assert_allclose(found.contributions[known], wanted[known], rtol=1e-3, atol=1e-5)


def test_what_is_held_out_is_as_rare_as_chance_has_it(fused):
    """On average over what taught nothing, the fused score of two members that agree in part is about one to two."""
    _, _, detector, inputs = fused
    score = scored(detector, inputs).score
    assert 0.5 < np.nanmean(score) < 3
    assert np.nanmedian(score) < np.nanmean(score)


def test_parts_sum_to_the_score_and_expectations_have_the_channels_unit(fused):
    _, _, detector, inputs = fused
    found = scored(detector, inputs)
    known = np.isfinite(found.score)
    assert known.mean() > 0.95
    np.testing.assert_allclose(found.contributions[known].sum(axis=1), found.score[known], rtol=1e-4)
    machine = inputs.grid_entity[inputs.ends]
    for code, level in enumerate((5, 80, 20)):
        assert abs(np.nanmean(found.expected[machine == code]) / level - 1) < 0.2


@pytest.mark.parametrize("chunk_items", [1, 7, 100_000])
def test_a_score_depends_on_its_own_window_alone(fused, chunk_items):
    _, _, detector, inputs = fused
    whole = scored(detector, inputs)
    cut = scored(detector, inputs, chunk_items)
    np.testing.assert_allclose(cut.score, whole.score, rtol=1e-4, atol=1e-6)
    some = slice(0, None, 37)
    few = scored(detector, replace(inputs, ends=inputs.ends[some]))
    np.testing.assert_allclose(few.score, whole.score[some], rtol=1e-4, atol=1e-6)


def test_saved_and_loaded_it_scores_the_same_to_the_bit_and_gives_the_same_bytes(fused, tmp_path):
    _, _, detector, inputs = fused
    detectors.save(detector, tmp_path / "one")
    again = detectors.load(tmp_path / "one")
    for one, other in zip(
        vars(scored(detector, inputs)).values(), vars(scored(again, inputs)).values(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    detectors.save(again, tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def faulty(inputs, channel, at=60, points=6):
    """The inputs with one channel off from a point on, and the ends of the windows that see it."""
    values = inputs.values.copy()
    first = int(inputs.ends[at])
    level = np.nanmedian(values[inputs.grid_entity == inputs.grid_entity[first], channel])
    values[first : first + points, channel] += 0.5 * level
    return replace(inputs, values=values), slice(at, at + points)


@pytest.mark.parametrize("channel", range(3))
def test_a_fault_is_found_in_its_channel(fused, channel):
    _, _, detector, inputs = fused
    broken, where = faulty(inputs, channel)
    before, after = scored(detector, inputs), scored(detector, broken)
    assert after.score[where.start] > 5 + np.nanmax(before.score)
    assert after.contributions[where.start].argmax() == channel


@pytest.mark.parametrize("scoring", SCORINGS[1:], ids=["two scales", "against its past"])
def test_the_cause_of_an_event_is_the_channel_that_was_planted(machines, tmp_path, scoring):
    config = config_of(machines, PCA, AUTOREGRESSION, scoring=scoring)
    _, detector = trained(config, tmp_path)
    inputs, where = faulty(night(config, detector, tmp_path), 1, at=200)
    ends = inputs.ends[where.start - 4 : where.start + 1]
    points = slice(ends[0] - inputs.window + 1, ends[-1] + 1)
    before = inputs.values[points.start - 20 : points.start]
    stretch = Stretch(
        entity=inputs.entities[inputs.grid_entity[ends[-1]]],
        values=inputs.values[points],
        observed=inputs.observed[points],
        slot=inputs.grid_slot[points],
        ends=ends - points.start,
        level=np.nanmedian(before, axis=0),
        first=len(inputs.values[points]) - 2,
        parts=np.ones(3, dtype=np.float32),
    )
    (share,) = attribute(detector.normal, detector.network, config, [stretch], device=CPU, chunk_items=100)
    assert share.sum() == pytest.approx(1)
    assert share.argmax() == 1


def test_the_band_of_what_is_expected_widens_with_the_cut_and_is_in_the_channels_unit(fused):
    _, _, detector, _ = fused
    narrow, wide = (detector.normal.tolerance("press-2", score, "mse") for score in (2.0, 8.0))
    assert (narrow > 0).all()
    assert (narrow < wide).all()
    assert (wide < 80).all()
    assert np.isnan(detector.normal.tolerance("press-2", float("nan"), "mse")).all()


def test_its_codes_are_those_of_the_members_side_by_side(fused):
    _, _, detector, inputs = fused
    codes = encode_windows(detector.normal, detector.network, inputs, device=CPU, chunk_items=100)
    sizes = [one.code_size for one in fused_networks(detector.network)]
    assert codes.shape == (inputs.ends.size, sum(sizes))
    assert detector.code_space.center.shape[-1] == sum(sizes)
    assert detector.drift.directions is not None


def test_nothing_can_be_drawn_from_members_that_have_no_distribution(fused):
    _, _, detector, _ = fused
    with pytest.raises(DetectorError, match="expected a variational code"):
        variational_bottleneck(detector.network, where="machines")


def test_calibrated_anew_it_scores_as_before_and_judges_by_the_new_scores(fused, tmp_path):
    config, _, detector, inputs = fused
    staged = take_in_training(
        config.model_copy(
            update={"history": config.history.model_copy(update={"last": None, "first": "2026-01-03"})}
        ),
        tmp_path,
    )
    again, _ = recalibrate(detector, config, staged, ["2026-01-03"], device=CPU)
    np.testing.assert_array_equal(scored(again, inputs).score, scored(detector, inputs).score)
    assert again.calibration.n != detector.calibration.n


def test_planted_faults_are_found_and_scores_are_stable(fused):
    _, data, detector, _ = fused
    figures = measure(detector, data.history, seed=0, device=CPU).figures()
    assert figures.planted_auroc > 0.75
    assert figures.finite
    assert figures.unstable < 1e-4


@pytest.mark.parametrize("networks", ["cohorts", "each"])
def test_each_machine_may_have_members_of_its_own(machines, tmp_path, networks):
    config = config_of(machines, PCA, AUTOREGRESSION, networks=networks, cohorts={"presses": ["press-*"]})
    _, detector = trained(config, tmp_path)
    inputs = night(config, detector, tmp_path)
    found = scored(detector, inputs)
    assert len(detector.network.members) == {"cohorts": 2, "each": 5}[networks]
    known = np.isfinite(found.score)
    np.testing.assert_allclose(found.contributions[known].sum(axis=1), found.score[known], rtol=1e-4)
    detectors.save(detector, tmp_path / "saved")
    np.testing.assert_array_equal(scored(detectors.load(tmp_path / "saved"), inputs).score, found.score)
    strangers = replace(inputs, entities=("press-7", "press-8", "drill"))
    assert np.isfinite(scored(detector, strangers).score[known]).all()
    # Too few held-out scores of their own: presses are as rare as their cohort has it, the saw as all have it.
    for curves in detector.normal.fusing.curves:
        np.testing.assert_array_equal(curves[0], curves[3])
        np.testing.assert_array_equal(curves[2], curves[-1])


@pytest.fixture(
    scope="module",
    params=[({}, {}), ({"contrast": "local"}, {"spread": "pixel"})],
    ids=["pixels", "local contrast by pixel"],
)
def pictures(request, tmp_path_factory):
    """Eighty grey images of stripes; a linear and a convolutional member."""
    prepared, scoring = request.param
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    (folder / "pictures" / "good").mkdir(parents=True)
    for number in range(80):
        stripes = 100 + 40 * np.sin(np.arange(24) / 2 + number % 4)[None, :] + rng.normal(0, 3, (24, 24))
        picture = Image.fromarray(stripes.clip(0, 255).astype(np.uint8))
        picture.save(folder / "pictures" / "good" / f"{number:03d}.png")
    members = ({"family": "pca"}, {"family": "conv2d", "width": 4, "levels": 2, "code_size": 4})

    def detector_of(*chosen):
        model = {"family": "fusion", "rule": "harmonic", "members": chosen} if len(chosen) > 1 else chosen[0]
        config = PipelineConfig.model_validate(
            {
                "name": "pictures",
                "source": {"kind": "images", "root": "pictures"},
                "batch": {"by": "folder"},
                "prepare": {"kind": "images", "height_px": 24, "width_px": 24} | prepared,
                "scoring": scoring,
                "split": {"train": 0.4, "validation": 0.3, "calibration": 0.2, "test": 0.1},
                "model": model,
                "training": {"epochs": 2, "batch_size": 8},
                "calibration": {"rule": "conformal", "false_discovery_rate": 0.1},
            }
        ).at(folder)
        intake = take_in_training(config, tmp_path_factory.mktemp("history"))
        data = prepare(config, intake, batches=["good"])
        return data, fit(config, config.model, data, device=CPU).detector

    data, together = detector_of(*members)
    return data, together, [detector_of(one)[1] for one in members]


def test_images_are_scored_as_their_members_alone_are_fused(pictures, tmp_path):
    data, together, alone = pictures
    pixels = data.history.pixels
    given = {"device": CPU, "chunk_items": 16}
    found = together.score_images(pixels, **given)
    nobody = np.zeros(len(pixels), dtype=np.int64)
    rare = [
        rarity(one.score_images(pixels, **given).score, curves, nobody)
        for one, curves in zip(alone, together.normal.fusing.curves, strict=True)
    ]
    np.testing.assert_allclose(found.score, fuse(np.stack(rare), "harmonic")[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.contributions[:, 0], found.score, rtol=1e-4)
    detectors.save(together, tmp_path / "saved")
    again = detectors.load(tmp_path / "saved").score_images(pixels, **given)
    np.testing.assert_array_equal(again.score, found.score)
    cut = together.score_images(pixels, device=CPU, chunk_items=3)
    np.testing.assert_allclose(cut.score, found.score, rtol=1e-4, atol=1e-6)


def test_the_map_shows_the_patch_and_is_as_high_as_the_score(pictures):
    data, together, _ = pictures
    pixels = data.history.pixels[:6].copy()
    pixels[:, :, 8:14, 10:16] = 255
    scores, maps = together.map_errors(pixels, device=CPU, chunk_items=4)
    plain = together.score_images(data.history.pixels[:6], device=CPU, chunk_items=4).score
    assert (scores.score > 3 * plain).all()
    assert maps.reconstruction.shape == pixels.shape
    mask = np.zeros((24, 24), dtype=bool)
    mask[8:14, 10:16] = True
    edges_alone = together.normal.contrast is not None  # inside, an even patch is like its surroundings
    for error_map, score in zip(maps.error_map, scores.score, strict=True):
        row, column = np.unravel_index(error_map.argmax(), error_map.shape)
        assert mask[row - 1 : row + 2, column - 1 : column + 2].any()
        assert edges_alone or best_box_overlap(mask, worst_boxes(error_map, 1)[0]) > 0.3
        assert 0.5 * score < np.sort(error_map, axis=None)[-12:].mean() < 3 * score
