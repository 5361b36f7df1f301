"""What a scored batch leaves: counts, flags and rows tell one story, for series and for images."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from aeflow.data.take_in import take_in, take_in_training
from aeflow.detector.fitting import fit, prepare
from aeflow.scoring import FLAGS_FILE, SCORES_FILE, score_batch
from tests import image_samples
from tests.unit.scoring import plant

CPU = torch.device("cpu")
DAYS = 6
MARKED = {"tonight/61.png", "tonight/65.png"}


def of_series(folder):
    """One machine whose flow leaps for an hour of the last day; the batch begins with rows without a window."""
    rows = plant.machine(np.random.default_rng(0), DAYS)
    rows[-plant.ROWS // 2 :, 0][:6] += 20
    plant.write_rows(folder / "data.csv", {"a": rows})
    return plant.pipeline(folder, last=DAYS - 1), f"2026-01-{DAYS:02d}"


def of_images(folder):
    """Grey pictures of one gradient, twice as large as the network takes them; two of those to score have a white
    square."""
    rng = np.random.default_rng(0)
    files = {}
    for number in range(70):
        picture = np.linspace(40, 200, 96).reshape(8, 12) + rng.normal(0, 6, (8, 12))
        if number in (61, 65):
            picture[2:5, 7:10] = 255
        day = "normal" if number < 60 else "tonight"
        large = np.kron(picture.clip(0, 255).astype(np.uint8), np.ones((2, 2), dtype=np.uint8))
        content = image_samples.encoded(large)
        files[f"{day}/{number:02d}.png"] = content
    image_samples.write(folder, files)
    config = image_samples.pipeline(
        folder, batch="folder", history={"batches": ["normal"]}, prepare={"height_px": 8, "width_px": 12}
    )
    return config, "tonight"


@pytest.fixture(scope="module", params=[of_series, of_images])
def scored(request, tmp_path_factory):
    """The outcome, the tables of scores and flags, and what was told on the way."""
    folder = tmp_path_factory.mktemp("scored")
    config, batch = request.param(folder)
    data = prepare(config, take_in_training(config, folder / "history"), batches=["all"])
    detector = fit(config, config.model, data, device=CPU).detector
    intake = take_in(config, batch, folder / "intake", context=detector.context)
    build = folder / "build"
    build.mkdir()
    told = []
    outcome = score_batch(detector, config, intake, build, device=CPU, progress=told.append)
    scores, flags = (pq.read_table(build / name).to_pylist() for name in (SCORES_FILE, FLAGS_FILE))
    return outcome, scores, flags, told, intake


def test_what_was_planted_is_flagged(scored):
    outcome, _, flags, _, _ = scored
    assert outcome.flags == len(flags)
    first = flags[0]
    if first["item"] is not None:
        assert {flag["item"] for flag in flags} >= MARKED
    else:
        assert first["channels"][0]["channel"] == plant.CHANNELS[0]


def test_every_item_is_counted_once_and_told_of_on_the_way(scored):
    outcome, scores, _, told, intake = scored
    states = [row["state"] for row in scores]
    assert outcome.scored == states.count("scored") > 0
    assert sum(outcome.not_scorable.values()) == states.count("not_scorable")
    assert len(scores) == intake.valid == told[-1].done == told[-1].total


def test_rows_point_at_the_flags_that_they_make(scored):
    _, scores, flags, _, _ = scored
    flagged = [row["flag_id"] for row in scores if row["flag"]]
    assert flagged == [row["flag_id"] for row in scores if row["flag_id"] is not None]
    assert {flag["flag_id"]: flag["points"] or 1 for flag in flags} == {
        name: flagged.count(name) for name in flagged
    }
    assert all(row["severity"] >= 50 for row in scores if row["flag"])


@pytest.mark.parametrize("scored", [of_images], indirect=True)
def test_pictures_of_a_flagged_image_show_it_and_where_it_differs(scored):
    _, _, flags, _, _ = scored
    marked = [flag for flag in flags if flag["item"] in MARKED]
    assert len(marked) == len(MARKED)
    for flag in marked:
        shown, heat = (np.asarray(Image.open(BytesIO(flag[key]))) for key in ("image_png", "heatmap_png"))
        assert shown.shape == heat.shape == (8, 12)
        assert shown[3, 8] > 240
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert 2 <= row < 5
        assert 7 <= column < 10
        box = flag["boxes"][0]
        assert 12 <= box["x_px"] < 20
        assert 2 <= box["y_px"] < 10
