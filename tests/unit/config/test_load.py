"""A config is complete and right, or refused with one message that says how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from aeflow.config import (
    PipelineConfig,
    dump_json,
    family_in_words,
    find_config,
    json_schema,
    load_config,
)
from aeflow.exceptions import ConfigError

SERIES = {
    "name": "pump",
    "source": {"kind": "table", "path": "data", "time_column": "time", "channels": ["flow", "heat"]},
    "batch": {"by": "period"},
    "prepare": {"kind": "series", "cadence_seconds": 60},
    "model": {"family": "lstm"},
    "calibration": {"false_flags_per_batch": 2},
}
IMAGES = {
    "name": "tiles",
    "source": {"kind": "images", "root": "pictures"},
    "batch": {"by": "folder"},
    "prepare": {"kind": "images"},
    "model": {"family": "conv2d"},
    "calibration": {"false_discovery_rate": 0.1},
}


def written(folder: Path, content: dict) -> Path:
    path = folder / "p.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def changed(base: dict, path: str, value: object) -> dict:
    content = yaml.safe_load(yaml.safe_dump(base))
    at = content
    *way, last = path.split(".")
    for key in way:
        at = at.setdefault(key, {})
    at[last] = value
    return content


def test_what_scores_of_series_look_back_to_is_refused_for_images(tmp_path):
    with pytest.raises(ConfigError, match="smooth_points is for series"):
        load_config(written(tmp_path, changed(IMAGES, "scoring.smooth_points", 5)))


def test_a_config_is_loaded_with_the_folder_its_paths_start_from(tmp_path):
    config = load_config(written(tmp_path, SERIES))
    assert config.folder == tmp_path
    assert config.kind == "series"
    assert config.channels == ("flow", "heat")
    assert load_config(written(tmp_path, IMAGES)).channels == ("grey",)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("colour", 1, "colour: there is no such key"),
        ("source.chanels", ["a"], "did you mean 'channels'?"),
        ("training.epoch", 3, "did you mean 'epochs'?"),
        ("prepare.window_point", 3, "did you mean 'window_points'?"),
        ("training.epochs", "many", "training.epochs: expected a whole number, got 'many'"),
        ("training.epochs", 2.5, "training.epochs: expected a whole number, got 2.5"),
        ("calibration.false_flags_per_batch", "few", "expected a number, got 'few'"),
        ("source.channels", "a", "source.channels: expected a list"),
        ("training", 3, "training: expected keys below it, got 3"),
        ("model.family", "lstn", "got 'lstn'; did you mean 'lstm'?"),
        ("batch.by", "night", "batch.by: expected one of 'period', "),
        ("training.epochs", 0, "training.epochs: expected at least 1, got 0"),
        ("model.family", "lstn", "lstm"),
        ("batch.time_zone", "Berlin", "IANA time zone"),
        ("split", {"train": 0.5}, "must be 1"),
        ("scoring.baseline_points", 5, "0 or at least 16"),
        ("scoring", {"points": "window", "distance": "mahalanobis"}, "set scoring.points to last"),
        ("checks.limits", {"flow": [3, 1]}, "low < high"),
        ("checks.limits", {"fluw": [0, 1]}, "no channels of"),
        ("calibration", {}, "exactly one promise"),
        ("calibration.false_discovery_rate", 0.1, "exactly one promise"),
        ("model", {"family": "conv2d"}, "takes images, not series"),
        ("prepare", {"kind": "images"}, "needs prepare.kind series"),
        ("batch.by", "manifest", "manifest is for images"),
        ("prepare.resample", "mean", None),
        ("prepare", {"kind": "series", "resample": "mean", "cadence_seconds": 7}, "divides an hour"),
        ("source.entity_from_path", True, None),
        ("name", "Pump 1", "name: expected text of the form ^[a-z0-9]"),
        ("training.corruption", [{"kind": "time_masking"}, {"kind": "gaussian_noise"}], None),
        ("training.corruption", [{"kind": "cut_out"}], "cut_out takes images, not series"),
        ("training.loss", "mae", None),
        ("training.loss", "ssim", "training.loss ssim is for images"),
        ("scoring", {"error": "bce"}, "scoring.error bce is for images"),
        ("scoring", {"error": "gms"}, "scoring.error gms is for images"),
        ("scoring", {"spread": "pixel"}, "scoring.spread is for images, not for series"),
        ("scoring", {"smooth_px": [3, 9]}, "scoring.smooth_px is for images, not for series"),
        ("model", {"family": "lstm", "task": "composite", "predict_points": 31}, None),
        (
            "model",
            {"family": "lstm", "task": "composite", "predict_points": 32},
            "smaller than prepare.window_points",
        ),
        ("model", {"family": "attention", "heads": 3}, "must be a multiple of model.heads"),
        ("model", {"family": "dense", "code": {"kind": "variational", "betta": 1}}, "did you mean 'beta'?"),
        ("training.corruption", [{"kind": "masking_noise", "shore": 1}], "did you mean 'share'?"),
        ("model", {"family": "fusion", "members": [{"family": "pca"}, {"family": "lstm"}]}, None),
        ("model", {"family": "fusion", "members": [{"family": "pca"}]}, "model.members: expected at least 2"),
        (
            "model",
            {"family": "fusion", "members": [{"family": "pca"}, {"family": "conv2d"}]},
            "conv2d takes images, not series",
        ),
        (
            "model",
            {"family": "fusion", "members": [{"family": "pca"}, {"family": "fusion"}]},
            "model.members.1.family: expected one of dense, ",
        ),
        (
            "model",
            {"family": "fusion", "members": [{"family": "pca"}, {"family": "lstm", "hidden": 3}]},
            "model.members.1.hidden: there is no such key; did you mean 'hidden_size'?",
        ),
        (
            "model",
            {
                "family": "fusion",
                "members": [
                    {"family": "pca"},
                    {"family": "lstm", "task": "prediction", "predict_points": 32},
                ],
            },
            "smaller than prepare.window_points",
        ),
    ],
)
def test_each_wrong_entry_is_refused_with_its_place(tmp_path, path, value, says):
    content = changed(SERIES, path, value)
    if says is None:
        assert load_config(written(tmp_path, content)).name == "pump"
        return
    with pytest.raises(ConfigError) as refused:
        load_config(written(tmp_path, content))
    assert says in str(refused.value)
    assert "p.yaml" in str(refused.value)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (
            "prepare",
            {"kind": "images", "contrast": "local", "contrast_px": 8},
            r"contrast_px \(8\) must be odd",
        ),
        ("prepare", {"kind": "images", "contrast": "locl"}, "expected one of 'none' or 'local', got 'locl'"),
        ("prepare", {"kind": "images", "contrast_px": 1}, "at least 3"),
        ("scoring", {"smooth_points": 3}, "scoring.smooth_points is for series"),
        ("scoring", {"smooth_px": []}, "smooth_px"),
        ("scoring", {"smooth_px": [3, 0]}, "at least 1"),
        ("scoring", {"spread": "pixel"}, None),
    ],
)
def test_what_images_do_not_take_is_refused(tmp_path, path, value, says):
    content = changed(IMAGES, path, value)
    if says is None:
        load_config(written(tmp_path, content))
        tiled = changed(content, "prepare", {"kind": "images", "fit": "tile"})
        says = "scoring.spread pixel is for whole images"
        content = tiled
    with pytest.raises(ConfigError, match=says):
        load_config(written(tmp_path, content))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"family": "conv2d"}, "set model.output to sigmoid"),
        ({"family": "conv2d", "output": "sigmoid"}, None),
        (
            {"family": "fusion", "members": [{"family": "conv2d", "output": "sigmoid"}, {"family": "dense"}]},
            "set model.output to sigmoid",
        ),
    ],
)
def test_cross_entropy_needs_an_output_in_its_range(tmp_path, model, says):
    content = changed(changed(IMAGES, "training.loss", "bce"), "model", model)
    if says is None:
        assert load_config(written(tmp_path, content)).error == "bce"
        return
    with pytest.raises(ConfigError, match=says):
        load_config(written(tmp_path, content))


def test_all_wrong_entries_are_told_at_once(tmp_path):
    content = changed(changed(SERIES, "zebra", 1), "training.epochs", -1)
    with pytest.raises(ConfigError, match="2 entries are not valid"):
        load_config(written(tmp_path, content))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [1\n", "just text"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "p.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        load_config(path)


def test_a_config_that_is_not_there_names_those_that_are(tmp_path):
    (tmp_path / "pumps.yaml").write_text("x: 1", encoding="utf-8")
    with pytest.raises(ConfigError, match="Did you mean 'pumps'"):
        find_config("pump", configs=tmp_path)


def test_a_name_or_a_path_finds_the_config(tmp_path):
    path = written(tmp_path, SERIES)
    assert find_config("p", configs=tmp_path) == path.resolve()
    assert find_config(str(path)) == path.resolve()


def test_a_config_cannot_be_changed():
    config = PipelineConfig.model_validate(SERIES)
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


def test_the_canonical_text_holds_every_key_and_depends_on_values_alone():
    one = PipelineConfig.model_validate(SERIES)
    other = PipelineConfig.model_validate(dict(reversed(list(SERIES.items()))))
    assert dump_json(one) == dump_json(other)
    assert PipelineConfig.model_validate_json(dump_json(one)) == one


def test_the_schema_knows_every_section():
    assert set(json_schema()["properties"]) == set(PipelineConfig.model_fields)


@pytest.mark.parametrize("path", sorted(Path("configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_shipped_configs_are_complete(path):
    config = load_config(path)
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert config.name == path.stem
    assert set(given) == set(PipelineConfig.model_fields)


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("name: a\nseed: 1\nbatch:\n  by: period\nseed: 2\n")
    with pytest.raises(ConfigError, match="'seed' stands twice, on lines 2 and 5"):
        load_config(path)


def test_the_family_in_words_names_those_that_are_fused():
    models = [{"family": "fusion", "members": [{"family": "lstm"}, {"family": "pca"}]}, {"family": "lstm"}]
    configs = [PipelineConfig.model_validate(changed(SERIES, "model", model)) for model in models]
    assert [family_in_words(config.model) for config in configs] == ["fusion of lstm, pca", "lstm"]


@pytest.mark.parametrize(
    ("scoring", "points"),
    [
        ({}, 0),
        ({"smooth_points": 20}, 19),
        ({"points": "window"}, 7),
        ({"points": "window", "smooth_points": 3}, 9),
    ],
)
def test_a_score_is_made_of_the_points_it_is_a_mean_over_and_of_a_whole_window(scoring, points):
    content = {**SERIES, "prepare": {**SERIES["prepare"], "window_points": 8}, "scoring": scoring}
    assert PipelineConfig.model_validate(content).lag_points == points
    schema = json_schema()["properties"]
    assert all(schema[name]["description"] for name in ("source", "prepare", "model"))
