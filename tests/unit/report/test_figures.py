from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from aeflow.report.figures import image_samples, learning_curves, score_histogram, series_samples
from tests.unit.report import samples

RNG = np.random.default_rng(0)
SCORES = RNG.gamma(2, size=500)
WINDOWS = np.where(RNG.random((2, 20, 2)) < 0.1, np.nan, RNG.normal(size=(2, 20, 2))).astype(np.float32)

FIGURES = {
    "curves": lambda: learning_curves([1, 2, 3], [3.0, 2.0, 1.5], [3.0, 2.5, 2.6]),
    "histogram": lambda: score_histogram(SCORES, SCORES * 3, cut=9.0),
    "histogram of nothing": lambda: score_histogram(np.array([np.nan])),
    "images": lambda: image_samples(samples.digits(4)[:, None], samples.digits(4)[:, None] / 2),
    "colour images": lambda: image_samples(RNG.random((2, 3, 8, 8)), RNG.random((2, 3, 8, 8))),
    "series": lambda: series_samples(WINDOWS, WINDOWS + 1, ["flow", "cost in $"]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_a_png_without_names_or_times_in_it(name):
    png = FIGURES[name]()
    image = Image.open(BytesIO(png))
    image.load()
    assert image.format == "PNG"
    assert {key for key in image.info if key != "dpi"} == set()


def test_the_same_data_give_the_same_figure():
    assert FIGURES["curves"]() == FIGURES["curves"]()
