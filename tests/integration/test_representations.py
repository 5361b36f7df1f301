"""embed, restore, generate, and what evaluate tells of a network, as commands on trained pipelines."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from aeflow.store.digests import sha256_folder
from tests.integration.conftest import copy_of

FLAGGED = "2022-W17"
VARIATIONAL = {"kind": "variational"}


@pytest.fixture(scope="module")
def variational(trained, tmp_path_factory):
    """Both pipelines with a variational champion; each command writes into folders of its own."""
    space = copy_of(trained, tmp_path_factory.mktemp("variational") / "space")
    space.set(
        "digits",
        model={"family": "conv2d", "width": 4, "levels": 2, "code_size": 5, "code": VARIATIONAL},
        training={"epochs": 2, "patience_epochs": 2},
    )
    space.set("water", model={"code": VARIATIONAL}, training={"epochs": 2, "patience_epochs": 2})
    for pipeline in ("digits", "water"):
        space.ok("train", pipeline)
        space.ok("promote", pipeline, "2")
    write_items(space, "classes.csv", "item,class", lambda name: f"digit {name[0]}")
    return space


def write_items(space, name, header, value):
    """A file that says something of every image, by its name."""
    files = sorted((space.folder / "data" / "digits").glob("*/*.png"))
    lines = [f"{file.parent.name}/{file.name},{value(file.name)}" for file in files]
    (space.folder / name).write_text("\n".join([header, *lines]) + "\n")
    return space.folder / name


def embeddings(space, pipeline, batch):
    return pq.read_table(space.paths(pipeline).embeddings(batch) / "embeddings.parquet")


def codes(table) -> np.ndarray:
    return np.array(table.column("code").to_pylist(), dtype=np.float32)


# --- embed


def test_every_image_has_a_code_of_one_size_and_running_again_changes_nothing(variational):
    said = variational.ok("embed", "digits", "--batch", "tonight")
    assert "codes of 40 items by detector 2, 0 without one" in said
    table = embeddings(variational, "digits", "tonight")
    assert table.schema.field("code").type.list_size == 5
    assert table.column("item").to_pylist() == sorted(table.column("item").to_pylist())
    assert np.isfinite(codes(table)).all()
    assert table.schema.metadata[b"aeflow.detector_version"] == b"2"
    folder = variational.paths("digits").embeddings("tonight")
    before = sha256_folder(folder)
    variational.ok("embed", "digits", "--batch", "tonight")
    assert sha256_folder(folder) == before
    assert not variational.paths("digits").task("embedding").exists()


def test_rows_without_a_whole_window_have_a_code_of_nulls(variational):
    variational.ok("embed", "water", "--batch", "2022-W17")
    table = embeddings(variational, "water", "2022-W17")
    variational.ok("score", "water", "--batch", "2022-W17")
    scored = variational.scores("water", "2022-W17")
    assert table.column("timestamp").to_pylist() == [row["timestamp"] for row in scored]
    no_code = [all(n is None for n in code) for code in table.column("code").to_pylist()]
    assert no_code == [row["state"] != "scored" for row in scored]
    assert any(no_code)


def test_codes_do_not_depend_on_the_portions(variational, tmp_path):
    for pipeline, batch in (("digits", "tonight"), ("water", "2022-W18")):
        space = copy_of(variational, tmp_path / pipeline)
        found = []
        for chunk in (512, 7):
            space.set(pipeline, compute={"chunk_items": chunk, "workers": 1})
            space.ok("embed", pipeline, "--batch", batch)
            found.append(codes(embeddings(space, pipeline, batch)))
        assert found[1] == pytest.approx(found[0], rel=1e-5, abs=1e-6)


def test_the_nearest_item_is_the_item_itself(variational):
    item = "tonight/" + sorted(p.name for p in (variational.folder / "data/digits/tonight").iterdir())[5]
    found = json.loads(
        variational.ok("embed", "digits", "--batch", "tonight", "--neighbours", item, "--json")
    )
    (one,) = found["neighbours"]
    assert one["item"] == item
    assert one["nearest"][0] == [item, 0.0]
    away = [distance for _, distance in one["nearest"]]
    assert away == sorted(away)
    assert len({name for name, _ in one["nearest"]}) == 6


def test_neighbours_of_a_time_point_are_other_times_and_none_of_its_own_windows(variational):
    found = json.loads(
        variational.ok(
            "embed", "water", "--batch", "2022-W18", "--neighbours", "2022-05-05T12:00:00", "--json"
        )
    )
    times = [np.datetime64(name[:19]) for name, _ in found["neighbours"][0]["nearest"]]
    assert times[0] == np.datetime64("2022-05-05T10:00:00")  # Rome is two hours ahead
    assert len(times) == 6
    apart = [abs(a - b) for n, a in enumerate(times) for b in times[:n]]
    assert min(apart) >= np.timedelta64(12, "h")


def test_maps_are_drawn_by_score_with_and_without_a_report_and_by_class(variational):
    folder = variational.paths("digits").embeddings("tonight")
    variational.ok("embed", "digits", "--batch", "tonight", "--map", "pca", "--map", "tsne")
    assert sorted(p.name for p in folder.glob("*.png")) == ["map-pca-score.png", "map-tsne-score.png"]
    scored_here = (folder / "map-pca-score.png").read_bytes()
    variational.ok("score", "digits", "--batch", "tonight")
    variational.ok("embed", "digits", "--batch", "tonight", "--map", "pca")
    flagged = any(row["flag"] for row in variational.scores("digits", "tonight"))
    assert (scored_here != (folder / "map-pca-score.png").read_bytes()) == flagged
    variational.ok(
        "embed", "digits", "--batch", "tonight", "--map", "pca", "--colour", "class", "--classes",
        str(variational.folder / "classes.csv"),
    )  # fmt: skip
    assert [p.name for p in folder.glob("*.png")] == ["map-pca-class.png"]


def test_maps_are_coloured_by_what_people_said_of_the_flags(variational, tmp_path):
    variational.ok("score", "water", "--batch", FLAGGED)
    map_it = ("embed", "water", "--batch", FLAGGED, "--map", "pca", "--colour", "verdict")
    folder = variational.paths("water").embeddings(FLAGGED)
    assert "expected a verdict on a flag of the batch" in variational.refused(*map_it)
    table = tmp_path / "verdicts.csv"
    variational.ok("verdicts", "water", "--export", str(table))
    pictures = []
    for word in ("true", "false"):
        text = table.read_text().splitlines()
        place = text[0].split(",").index("verdict")
        rows = [line.split(",") for line in text[1:]]
        filled = [",".join([*row[:place], word, *row[place + 1 :]]) for row in rows]
        table.write_text("\n".join([text[0], *filled]) + "\n")
        said = variational.ok("verdicts", "water", "--import", str(table), "--reviewer", "anna")
        assert f"{len(rows)} new verdict" in said
        assert f"{len(rows)} of {len(rows)} flags reviewed" in said
        variational.ok(*map_it)
        assert [p.name for p in folder.glob("*.png")] == ["map-pca-verdict.png"]
        pictures.append((folder / "map-pca-verdict.png").read_bytes())
    assert pictures[0] != pictures[1]
    again = json.loads(
        variational.ok("verdicts", "water", "--import", str(table), "--reviewer", "anna", "--json")
    )
    assert (again["imported"], again["false"], again["true"]) == (0, len(rows), 0)


def test_verdicts_colour_nothing_without_a_report(variational):
    refusal = variational.refused(
        "embed", "water", "--batch", "2022-W18", "--map", "pca", "--colour", "verdict"
    )
    assert "expected a published report" in refusal


def test_classes_are_read_from_the_codes(variational):
    classes = str(variational.folder / "classes.csv")
    found = json.loads(
        variational.ok("embed", "digits", "--batch", "history", "--classes", classes, "--json")
    )
    table = embeddings(variational, "digits", "history").to_pylist()
    right = sum(row["class"] == row["predicted_class"] for row in table)
    assert found["accuracy"] == {"items": 300, "right": right, "majority": 76}
    assert right > 120
    assert all(0.25 <= row["probability"] <= 1 for row in table)
    assert all(row["class"] == f"digit {row['item'].split('/')[1][0]}" for row in table)


def test_classes_of_a_series_are_read_without_what_lies_near_in_time(variational):
    lines = ["timestamp,class"]
    for row in pq_rows(variational, "water", "2022-W18"):
        time = row["timestamp"]
        lines.append(f"{time.isoformat()},{'night' if time.hour < 6 else 'day'}")
    (variational.folder / "hours.csv").write_text("\n".join(lines) + "\n")
    said = variational.ok(
        "embed", "water", "--batch", "2022-W18", "--classes", str(variational.folder / "hours.csv")
    )
    assert "Classes of 168 items read from their codes" in said


def pq_rows(space, pipeline, batch):
    space.ok("embed", pipeline, "--batch", batch)
    return embeddings(space, pipeline, batch).to_pylist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--map", "mds"), "expected one of pca, tsne, umap, got 'mds'"),
        (("--map", "pca", "--colour", "class"), "needs --classes FILE"),
        (("--colour", "entity"), "expected one of score, class, verdict"),
        (("--neighbours", "tonight/none.png"), "got tonight/none.png"),
        (("--version", "9"), "9"),
    ],
)
def test_what_embed_cannot_do_is_refused_and_nothing_is_left(variational, arguments, message):
    folder = variational.paths("digits").embeddings("tonight")
    shutil.rmtree(folder, ignore_errors=True)
    assert message in variational.refused("embed", "digits", "--batch", "tonight", *arguments)
    assert not folder.exists()


def test_classes_of_other_items_are_refused(variational):
    file = variational.folder / "strange.csv"
    file.write_text("item,class\nnone.png,a\nother.png,b\n")
    message = variational.refused("embed", "digits", "--batch", "tonight", "--classes", str(file))
    assert "none of the 2 items with a class" in message


def test_a_linear_detector_has_codes_too(trained, tmp_path):
    space = copy_of(trained, tmp_path / "space")
    said = space.ok("embed", "digits", "--batch", "tonight")
    assert "codes of 40 items by detector 1" in said


# --- restore


def test_spoiled_images_are_restored_beside_the_input_with_figures(variational):
    found = json.loads(
        variational.ok("restore", "digits", "--batch", "tonight", "--spoil", "masking_noise=0.3", "--json")
    )
    folder = variational.paths("digits").restored("tonight")
    rows = pq.read_table(folder / "restored.parquet").to_pylist()
    assert len(rows) == found["items"] == found["compared"] == 40
    for name in ("psnr_input", "psnr_trivial", "psnr_restored", "ssim_restored"):
        assert found["quality"][name] == pytest.approx(np.mean([row[name] for row in rows]), rel=1e-5)
    assert found["quality"]["psnr_trivial"] > found["quality"]["psnr_input"]
    item = rows[0]["item"]
    source = variational.folder / "data" / "digits" / item
    assert (folder / "input" / item).read_bytes() == source.read_bytes()
    clean, spoiled, restored = (
        np.asarray(Image.open(path), dtype=np.float64) / 255
        for path in (source, folder / "spoiled" / item, folder / "restored" / item)
    )
    assert restored.shape == clean.shape
    for image, name in ((spoiled, "psnr_input"), (restored, "psnr_restored")):
        expected = 10 * np.log10(1 / np.square(image - clean).mean())
        assert rows[0][name] == pytest.approx(expected, abs=0.1)  # stored in 8 bits
    assert (folder / "some.png").is_file()
    before = sha256_folder(folder)
    variational.ok("restore", "digits", "--batch", "tonight", "--spoil", "masking_noise=0.3")
    assert sha256_folder(folder) == before


def test_clean_images_of_the_same_names_are_compared(variational, tmp_path):
    clean = tmp_path / "clean"
    shutil.copytree(variational.folder / "data" / "digits" / "tonight", clean)
    gone = min(clean.iterdir())
    gone.unlink()
    found = json.loads(
        variational.ok("restore", "digits", "--batch", "tonight", "--clean", str(clean), "--json")
    )
    assert (found["items"], found["compared"]) == (40, 39)
    assert found["quality"]["psnr_input"] == 88  # the input is clean
    assert "psnr_trivial" not in found["quality"]
    assert not (variational.paths("digits").restored("tonight") / "spoiled").exists()


def test_without_a_clean_image_it_says_that_nothing_is_known(variational):
    said = variational.ok("restore", "digits", "--batch", "tonight")
    assert "give --spoil KIND=NUMBER, or --clean FOLDER" in said


def test_a_spoiled_series_is_restored_in_its_own_units(variational):
    found = json.loads(
        variational.ok("restore", "water", "--batch", "2022-W18", "--spoil", "gaussian_noise=0.5", "--json")
    )
    assert found["quality"]["rmse_input"] == pytest.approx(0.5, abs=0.1)
    folder = variational.paths("water").restored("2022-W18")
    rows = pq.read_table(folder / "restored.parquet").to_pylist()
    assert len(rows) == 168
    observed, spoiled, restored = (
        np.array([row[name][0] for row in rows]) for name in ("observed", "spoiled", "restored")
    )
    assert 95 < restored.mean() < 110  # litres a second
    assert 0 < np.abs(spoiled - observed).mean() < 2
    variational.ok("restore", "water", "--batch", "2022-W18")
    again = pq.read_table(folder / "restored.parquet").to_pylist()
    assert all(row["spoiled"] is None for row in again)


def test_how_a_series_is_spoiled_does_not_depend_on_the_portions(variational, tmp_path):
    space = copy_of(variational, tmp_path / "space")
    tables = []
    for chunk in (512, 9):
        space.set("water", compute={"chunk_items": chunk})
        space.ok("restore", "water", "--batch", "2022-W18", "--spoil", "time_masking=0.4")
        rows = pq.read_table(space.paths("water").restored("2022-W18") / "restored.parquet").to_pylist()
        tables.append([(row["spoiled"], row["timestamp"]) for row in rows])
    assert tables[0] == tables[1]
    assert any(spoiled == [None] for spoiled, _ in tables[0])


@pytest.mark.parametrize(
    ("pipeline", "arguments", "message"),
    [
        ("digits", ("--spoil", "masking=0.3"), "did you mean 'masking_noise'"),
        ("digits", ("--spoil", "time_masking=0.3"), "got 'time_masking'"),
        ("digits", ("--spoil", "cut_out=0.3", "--clean", "."), "not both"),
        ("digits", ("--clean", "nowhere"), "expected a folder of clean images"),
        ("digits", ("--clean", "configs"), "found none"),
        ("water", ("--clean", "."), "--clean names images"),
    ],
)
def test_what_restore_cannot_do_is_refused(variational, pipeline, arguments, message):
    batch = {"digits": "tonight", "water": "2022-W18"}[pipeline]
    assert message in variational.refused("restore", pipeline, "--batch", batch, *arguments)


# --- generate


def test_items_are_drawn_gone_between_and_traversed(variational):
    names = sorted(p.name for p in (variational.folder / "data/digits/tonight").iterdir())
    arguments = (
        "generate", "digits", "--count", "12", "--traverse", "--steps", "3",
        "--between", f"tonight/{names[0]}", f"tonight/{names[-1]}", "--batch", "tonight",
    )  # fmt: skip
    found = json.loads(variational.ok(*arguments, "--json"))
    folder = variational.paths("digits").generated
    assert sorted(p.name for p in folder.iterdir()) == sorted(found["files"])
    samples, between, traversal = (
        np.load(folder / f"{name}.npz", allow_pickle=False) for name in ("samples", "between", "traversal")
    )
    assert samples["items"].reshape(-1, 1, 8, 8).shape[0] == 12
    assert 0 <= samples["items"].min() <= samples["items"].max() <= 1
    variational.ok("embed", "digits", "--batch", "tonight")
    table = embeddings(variational, "digits", "tonight")
    assert between["codes"][0, [0, -1]] == pytest.approx(codes(table)[[0, -1]], abs=1e-5)
    assert traversal["codes"].shape == (5, 3, 5)
    divergence = [float(str(row).split(": ")[1]) for row in traversal["rows"]]
    assert divergence == sorted(divergence, reverse=True)
    before = sha256_folder(folder)
    variational.ok(*arguments)
    assert sha256_folder(folder) == before
    variational.ok(*arguments, "--seed", "1")
    assert sha256_folder(folder) != before


def test_windows_are_drawn_in_the_units_of_their_channels(variational):
    variational.ok("generate", "water", "--count", "10")
    folder = variational.paths("water").generated
    windows = np.load(folder / "samples.npz", allow_pickle=False)["items"]
    assert windows.reshape(-1, 12, 1).shape[0] == 10
    assert 95 < windows.mean() < 110
    assert {p.name for p in folder.iterdir()} == {"samples.png", "samples.npz"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--count", "0"), "--count of at least 1"),
        (("--between", "a.png", "b.png"), "belong together"),
        (("--between", "a.png", "b.png", "--batch", "tonight"), "got a.png, b.png"),
    ],
)
def test_what_generate_cannot_do_is_refused(variational, arguments, message):
    assert message in variational.refused("generate", "digits", *arguments)


def test_a_code_that_is_no_distribution_is_refused_with_what_to_set(trained, tmp_path):
    space = copy_of(trained, tmp_path / "space")
    for pipeline in ("digits", "water"):
        message = space.refused("generate", pipeline)
        assert "expected a variational code" in message
        assert "model.code to {kind: variational}" in message


# --- evaluate


def test_evaluate_tells_what_the_network_is_worth_by_itself(variational):
    labels = write_items(variational, "labels.csv", "item,label", lambda name: int(name.startswith("7")))
    arguments = ("evaluate", "digits", "--labels", str(labels))
    detector, baseline, *_ = json.loads(variational.ok(*arguments, "--json"))["evaluations"]
    assert baseline["metrics"]["psnr"] > detector["metrics"]["psnr"] > 5
    assert -1 < detector["metrics"]["ssim"] < baseline["metrics"]["ssim"] < 1
    assert detector["metrics"]["reconstruction_error"] > baseline["metrics"]["reconstruction_error"] > 0
    assert 0 <= detector["metrics"]["active_units"] <= 1
    assert "class_accuracy" not in detector["metrics"]
    said = variational.ok(*arguments, "--classes", str(variational.folder / "classes.csv"))
    for name in ("PSNR of normal items", "active share of the code", "classes, read from the codes"):
        assert name in said
    assert "classes, share of the largest" in said


def test_evaluate_tells_it_of_a_series_too(variational):
    lines = ["timestamp,label"] + [
        f"{row['timestamp'].isoformat()},0" for row in pq_rows(variational, "water", "2022-W18")
    ]
    labels = variational.folder / "hours.csv"
    labels.write_text("\n".join(lines) + "\n")
    found = json.loads(variational.ok("evaluate", "water", "--labels", str(labels), "--json"))
    metrics = found["evaluations"][0]["metrics"]
    assert metrics["reconstruction_error"] > 0
    assert 0 <= metrics["active_units"] <= 1
    assert "psnr" not in metrics
