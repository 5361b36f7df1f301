from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from aeflow.exceptions import IntegrityError
from aeflow.report.pictures import heat_overlay, shrunk
from tests.unit.report import samples


def decoded(picture):
    return Image.open(BytesIO(base64.b64decode(picture.uri.split(",")[1])))


def noise(side):
    return samples.png(np.random.default_rng(0).random((side, side)))


def test_a_small_picture_is_shown_as_it_is():
    png = samples.png(samples.digits(1)[0])
    picture = shrunk(png, 10_000, where="flag")
    assert base64.b64decode(picture.uri.split(",")[1]) == png
    assert picture.coarse


@pytest.mark.parametrize("budget", [4_000, 20_000, 60_000])
def test_a_large_picture_is_brought_within_its_budget(budget):
    picture = shrunk(noise(400), budget, where="flag")
    assert len(base64.b64decode(picture.uri.split(",")[1])) <= budget
    assert decoded(picture).size == (picture.width_px, picture.height_px)
    assert not picture.coarse


def test_heat_is_clear_where_nothing_differs_and_strong_where_most_does():
    error = np.zeros((20, 30))
    error[10, 15] = 1
    heat = decoded(heat_overlay(samples.png(error), 10_000, where="flag")).convert("RGBA")
    assert heat.size == (30, 20)
    assert heat.getpixel((0, 0))[3] == 0
    assert heat.getpixel((15, 10))[3] > 200


def test_a_map_that_is_nowhere_zero_does_not_hide_the_image():
    error = np.full((20, 30), 0.6)
    error[8:12, 12:18] = 1
    error[0, :] = 0.3
    heat = np.asarray(decoded(heat_overlay(samples.png(error), 10_000, where="flag")).convert("RGBA"))
    assert (heat[8:12, 12:18, 3] > 200).all()
    assert heat[..., 3].astype(bool).sum() == 24


def test_a_heatmap_is_brought_within_its_budget():
    heat = heat_overlay(noise(300), 3_000, where="flag")
    assert len(base64.b64decode(heat.uri.split(",")[1])) <= 3_000


def test_the_same_picture_gives_the_same_bytes():
    assert shrunk(noise(200), 5_000, where="") == shrunk(noise(200), 5_000, where="")
    assert heat_overlay(noise(200), 3_000, where="") == heat_overlay(noise(200), 3_000, where="")


def test_what_is_no_picture_is_refused():
    with pytest.raises(IntegrityError, match="flag 7"):
        shrunk(b"no picture", 100, where="flag 7")
    with pytest.raises(IntegrityError, match="flag 7"):
        heat_overlay(noise(50)[:90], 100, where="flag 7")
