"""What a flag shows is what was seen."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image


def flags(space, pipeline, batch):
    space.ok("score", pipeline, "--batch", batch)
    found = pq.read_table(space.paths(pipeline).report(batch) / "flags.parquet").to_pylist()
    assert found
    return found


def picture(data):
    return np.asarray(Image.open(BytesIO(data)))


@pytest.fixture
def digit_flags(space):
    space.set("digits", calibration={"false_flags_per_batch": 8})
    space.ok("train", "digits")
    space.ok("promote", "digits", "2")
    return space, flags(space, "digits", "tonight")


def test_an_image_flag_shows_the_image_itself_and_where_it_differs(digit_flags):
    space, found = digit_flags
    for flag in found:
        stored = picture((space.folder / "data" / "digits" / flag["item"]).read_bytes())
        np.testing.assert_array_equal(picture(flag["image_png"]), stored)
        assert picture(flag["reconstruction_png"]).shape == stored.shape
        heat = picture(flag["heatmap_png"])
        assert heat.max() == 255
        top = np.unravel_index(heat.argmax(), heat.shape)
        box = flag["boxes"][0]
        assert 0 < sum(b["share"] for b in flag["boxes"]) <= 1 + 1e-6
        assert any(
            b["x_px"] <= top[1] < b["x_px"] + b["width_px"]
            and b["y_px"] <= top[0] < b["y_px"] + b["height_px"]
            for b in flag["boxes"]
        )
        assert box["x_px"] + box["width_px"] <= stored.shape[1]


def test_the_shares_of_a_flag_sum_to_one_and_its_contributions_to_its_score(space, digit_flags):
    for flag in [*flags(space, "water", "2022-W17"), *digit_flags[1]]:
        parts = flag["channels"]
        assert sum(p["share"] for p in parts) == pytest.approx(1)
        assert sum(p["contribution"] for p in parts) == pytest.approx(flag["score"], rel=1e-4)


def test_an_event_tells_where_it_begins_peaks_and_ends(space):
    for flag in flags(space, "water", "2022-W17"):
        rows = [r for r in space.scores("water", "2022-W17") if r["flag_id"] == flag["flag_id"]]
        assert len(rows) == flag["points"]
        assert rows[0]["timestamp"] == flag["start"]
        assert rows[-1]["timestamp"] == flag["end"]
        peak = max(rows, key=lambda r: r["score"])
        assert peak["timestamp"] == flag["peak"]
        assert peak["score"] == flag["score"]
        channel = flag["channels"][0]
        assert channel["observed"] == peak["observed"][0]
        assert channel["expected"] == peak["expected"][0]
