from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from aeflow.config import Training, load_config
from aeflow.config.image_defaults import choose_image_model
from aeflow.data.image_files import history_images, list_image_batches
from aeflow.exceptions import ConfigError, SourceError
from aeflow.models.catalog import build
from aeflow.onboarding import profile_images, write_config
from aeflow.training.items import ImageItems
from aeflow.training.loop import fit_network


def save(path, *, size=(40, 24), mode="L", value=120):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def parts(root):
    for number in range(4):
        save(root / "good" / f"{number}.jpg", value=number)
    for number in range(3):
        save(root / "scratch" / f"{number}.jpg", value=90 + number)
        save(root / "scratch" / f"{number}.png", value=255)
    return root


@pytest.fixture
def without_weights(monkeypatch):
    monkeypatch.setattr("aeflow.config.image_defaults.PRETRAINED_PACKAGE", "no_such_package")


@pytest.fixture
def with_weights(monkeypatch):
    monkeypatch.setattr("aeflow.config.image_defaults.PRETRAINED_PACKAGE", "numpy")


def test_counts_folders_formats_and_sizes(tmp_path):
    found = profile_images(parts(tmp_path / "parts"))
    assert found.images == 7
    assert found.folders == {"good": 4, "scratch": 3}
    assert found.formats == {"JPEG": 7}
    assert found.median_px == (40, 24)
    assert found.grey


@pytest.mark.parametrize(
    ("folders", "last"),
    [
        (["2026-11-18", "2026-11-19", "2026-11-20"], "2026-11-19"),
        (["night 20261118", "night 20261119"], "night 20261118"),
        (["2026-W46", "2026-W47", "2026-W48", "2026-W49"], "2026-W47"),
        (["good", "2026-11-20"], None),
        (["tile-1", "tile-2"], None),
    ],
)
def test_of_folders_named_by_dates_the_first_are_the_history(tmp_path, folders, last):
    for folder in folders:
        for number in range(3):
            save(tmp_path / "in" / folder / f"{number}.png")
    config = load_config(write_config(profile_images(tmp_path / "in"), "tiles", tmp_path / "configs"))
    assert config.batch.by == "folder"
    assert config.history.last == last


def test_a_png_beside_a_jpg_of_the_same_name_is_a_mask(tmp_path):
    found = profile_images(parts(tmp_path / "parts"))
    assert found.exclude == ("**/*.png",)
    assert found.excluded == 3


def test_png_images_without_partners_are_images(tmp_path):
    root = parts(tmp_path / "parts")
    save(root / "good" / "alone.png")
    assert profile_images(root).exclude == ()


def test_folders_of_masks_are_left_out(tmp_path):
    save(tmp_path / "parts" / "test" / "a.png")
    save(tmp_path / "parts" / "ground_truth" / "a_mask.png")
    assert profile_images(tmp_path / "parts").exclude == ("**/ground_truth/**",)


def test_three_equal_bands_are_grey_and_others_are_not(tmp_path):
    save(tmp_path / "a" / "x.png", mode="RGB", value=(7, 7, 7))
    assert profile_images(tmp_path / "a").grey
    save(tmp_path / "a" / "y.png", mode="RGB", value=(7, 8, 7))
    assert not profile_images(tmp_path / "a").grey


def test_a_csv_that_lists_the_images_is_found_with_its_groups(tmp_path):
    root = parts(tmp_path / "parts")
    rows = [f"good,{n}.jpg,{n // 2}" for n in range(4)] + [f"scratch,{n}.jpg,0" for n in range(3)]
    (root / "parts.csv").write_text("\n".join(["class,file,part", *rows]) + "\n")
    (like,) = profile_images(root).manifests
    assert (like.path, like.item, like.groups) == ("parts.csv", "{class}/{file}", ("part",))


def test_files_that_cannot_be_read_are_named(tmp_path):
    root = parts(tmp_path / "parts")
    (root / "good" / "text.jpg").write_text("no image")
    assert profile_images(root).unreadable == ("good/text.jpg",)


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda _: None, "nothing"),
        (lambda root: root.write_text("x"), "a file"),
        (lambda root: root.mkdir(), "there is none"),
        (lambda root: (root.mkdir(), (root / "a.png").write_text("x")), "none of the 1"),
    ],
)
def test_a_source_without_images_is_refused(tmp_path, prepare, says):
    prepare(tmp_path / "parts")
    with pytest.raises(SourceError, match=says):
        profile_images(tmp_path / "parts")


def test_the_config_loads_and_means_the_images_that_were_seen(tmp_path):
    path = write_config(profile_images(parts(tmp_path / "parts")), "parts", tmp_path / "configs")
    config = load_config(path)
    assert list_image_batches(config) == ["good", "scratch"]
    assert [ref.item for ref in history_images(config)] == [f"good/{n}.jpg" for n in range(4)]
    assert config.calibration.items_per_batch == 3


def test_a_config_that_is_there_is_kept_unless_forced(tmp_path):
    profile = profile_images(parts(tmp_path / "parts"))
    path = write_config(profile, "parts", tmp_path / "configs")
    path.write_text("mine")
    with pytest.raises(ConfigError, match="already"):
        write_config(profile, "parts", tmp_path / "configs")
    assert path.read_text() == "mine"
    write_config(profile, "parts", tmp_path / "configs", force=True)
    assert load_config(path).name == "parts"


@pytest.mark.parametrize("name", ["Parts", "a/b", "", "../x", "x" * 64])
def test_a_name_that_cannot_name_a_folder_is_refused(tmp_path, name):
    profile = profile_images(parts(tmp_path / "parts"))
    with pytest.raises(ConfigError, match="lower-case"):
        write_config(profile, name, tmp_path / "configs")


def prepared(tmp_path, name, size):
    save(tmp_path / name / "a.png", size=size)
    return load_config(write_config(profile_images(tmp_path / name), name, tmp_path / "configs"))


def test_large_images_keep_their_proportions_up_to_128_pixels(tmp_path, without_weights):
    prepare = prepared(tmp_path, "wide", (600, 300)).prepare
    assert (prepare.height_px, prepare.width_px) == (128, 128)
    prepare = prepared(tmp_path, "flat", (300, 150)).prepare
    assert (prepare.height_px, prepare.width_px) == (64, 128)
    assert np.isclose(prepare.width_px / prepare.height_px, 2)


def test_with_the_weights_large_images_are_seen_in_three_sizes(tmp_path, with_weights):
    config = prepared(tmp_path, "wide", (600, 300))
    assert (config.prepare.height_px, config.prepare.width_px) == (384, 384)
    assert sorted({round(384 * one.zoom) for one in config.model.maps}) == [128, 256, 384]
    for side in (8, 28):
        small = prepared(tmp_path, f"digits-{side}", (side, side))
        seen = sorted({round(small.prepare.width_px * one.zoom) for one in small.model.maps})
        assert seen == ([28, 56, 84] if side == 8 else [32, 64, 96])


def test_without_the_weights_large_images_are_seen_small_and_small_ones_large(tmp_path, without_weights):
    for side, (kept, seen) in {300: (128, 128), 64: (64, 128), 28: (32, 64), 8: (8, 56)}.items():
        config = prepared(tmp_path, f"parts-{side}", (side, side))
        assert (config.model.family, config.model.encoder) == ("padim", "scattering")
        assert (config.prepare.height_px, config.prepare.width_px) == (kept, kept)
        assert max(round(kept * one.zoom) for one in config.model.maps) == seen
        assert config.scoring.spread == ("pixel" if side == 300 else "band")


def test_without_the_weights_the_file_says_what_finds_more(tmp_path, without_weights):
    save(tmp_path / "parts" / "a.png", size=(64, 64))
    path = write_config(profile_images(tmp_path / "parts"), "parts", tmp_path / "configs")
    assert "aeflow[pretrained]" in path.read_text()


def test_names_with_signs_of_globs_are_no_globs(tmp_path):
    for folder in ("good [old]", "scratch"):
        for number in range(3):
            save(tmp_path / "in" / folder / f"{number}.png", value=100 + number)
    config = load_config(write_config(profile_images(tmp_path / "in"), "parts", tmp_path / "configs"))
    assert [ref.item for ref in history_images(config)] == [f"good [old]/{number}.png" for number in range(3)]


def test_what_is_chosen_without_the_weights_needs_none(without_weights):
    choice = choose_image_model((64, 48))
    x = torch.rand(12, 3, choice.height_px, choice.width_px, generator=torch.Generator().manual_seed(0))
    network = build(choice.model, tuple(x.shape[1:]))
    items = ImageItems(x.numpy())
    fit_network(network, items, items, training=Training(), seed=0, device=torch.device("cpu"))
    assert torch.isfinite(network.eval().compare(x, None, "mse").error).all()
