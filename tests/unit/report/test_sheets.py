"""Maps and sheets are PNG files, the same for the same data, whatever the items are called."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from aeflow.report.contact_sheet import image_sheet, overlaid_windows, window_sheet
from aeflow.report.latent_map import ByClass, ByScore, latent_map

RNG = np.random.default_rng(0)
PLACES = RNG.normal(size=(40, 2))
SCORE = RNG.lognormal(size=40).astype(np.float32)


def size_of(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


def drawn(colouring) -> bytes:
    return latent_map(PLACES, colouring, title="pump$s, batch a$b", note="all 40 items")


@pytest.mark.parametrize(
    "colouring",
    [
        ByScore(SCORE, SCORE > 3),
        ByScore(np.where(SCORE > 1, SCORE, np.nan).astype(np.float32), np.zeros(40, bool)),
        ByScore(np.full(40, np.nan, np.float32), np.zeros(40, bool)),
        ByScore(np.zeros(40, np.float32), np.zeros(40, bool)),
        ByScore(SCORE * 1000 ** RNG.random(40).astype(np.float32), np.ones(40, bool)),
        ByClass([f"$class {n % 3}" for n in range(40)]),
        ByClass([None if n % 2 else str(n) for n in range(40)]),
        ByClass([str(n) for n in range(40)]),
    ],
)
def test_a_map_is_drawn_of_any_scores_and_classes_and_repeats(colouring):
    png = drawn(colouring)
    assert size_of(png)[0] > 600
    assert png == drawn(colouring)


@pytest.mark.parametrize("bands", [1, 3])
def test_a_sheet_holds_all_images(bands):
    images = RNG.random((2, 5, bands, 8, 6)).astype(np.float32)
    few = image_sheet(images, title="two rows", rows=["clean", "$poiled"], columns=list("abcde"))
    assert few == image_sheet(images, title="two rows", rows=["clean", "$poiled"], columns=list("abcde"))
    assert size_of(image_sheet(images.repeat(3, axis=0), title="six rows"))[1] > size_of(few)[1]


def test_windows_are_drawn_with_gaps_and_many_channels():
    windows = RNG.normal(size=(3, 4, 12, 9)).astype(np.float32)
    windows[0, 0, 3:5] = np.nan
    channels = [f"channel {n}" for n in range(9)]
    sheet = window_sheet(windows, channels=channels, title="samples", rows=["a", "b", "c"])
    lines = [("observed", windows[0]), ("spoiled", windows[1]), ("restored", windows[2])]
    overlaid = overlaid_windows(lines, channels=channels, columns=list("abcd"), title="restored")
    assert size_of(sheet)[0] > 400
    assert size_of(overlaid)[1] > 400


def test_a_channel_of_large_numbers_flattens_no_other():
    windows = RNG.normal(size=(2, 2, 12, 2)).astype(np.float32)
    unlike = windows * np.float32([1, 1000]) + np.float32([0, 5000])
    plots = []
    for values in (windows, unlike):
        picture = Image.open(io.BytesIO(window_sheet(values, channels=["a", "b"], title="samples")))
        plots.append(np.asarray(picture)[: picture.height // 2])
    assert np.mean(plots[0] != plots[1]) < 0.01
