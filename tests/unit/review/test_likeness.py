from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from aeflow import schemas
from aeflow.review.likeness import LIKE, Marks, channel_evidence, joined, likeness, no_marks, region_evidence


def channels(*flags):
    """Of each flag (channel, share, observed - expected)."""
    rows = [
        [{"channel": c, "share": s, "observed": d, "expected": 0.0} for c, s, d in flag] for flag in flags
    ]
    return channel_evidence(pa.array(rows, schemas.FLAGS.field("channels").type))


def boxes(*flags, size=(800, 400)):
    """Of each flag (x, y, width, height, share)."""
    names = ("x_px", "y_px", "width_px", "height_px", "share")
    rows = [[dict(zip(names, box, strict=True)) for box in flag] for flag in flags]
    wide, high = (np.full(len(flags), length) for length in size)
    return region_evidence(pa.array(rows, schemas.FLAGS.field("boxes").type), wide, high)


def marks(evidence, look=None, versions=1):
    look = np.zeros((len(evidence), 0), np.float32) if look is None else look
    return Marks(evidence, look, np.broadcast_to(np.array(versions), len(evidence)))


def test_the_likeness_of_shares_is_their_bhattacharyya_coefficient():
    a, b = channels([("rpm", 0.5, 1.0), ("oil", 0.5, 1.0)], [("rpm", 0.8, 2.0), ("oil", 0.2, 3.0)])
    assert a @ b == pytest.approx(np.sqrt(0.5 * 0.8) + np.sqrt(0.5 * 0.2), abs=1e-6)
    assert a @ a == pytest.approx(1)


def test_no_two_of_forty_channels_and_directions_count_as_like_each_other():
    names = [(f"c{n:02d}", 1.0, way) for n in range(1, 41) for way in (-1.0, 1.0)]
    evidence = channels(*([one] for one in names))
    between = evidence @ evidence.T - np.eye(len(names))
    assert between.max() < LIKE - 0.1


def test_another_channel_or_direction_is_not_alike():
    up, down, other = channels([("rpm", 1.0, 1.0)], [("rpm", 1.0, -1.0)], [("oil", 1.0, 1.0)])
    assert up @ down == 0
    assert up @ other == 0


def test_a_missing_value_and_no_evidence_are_borne():
    found = channels([("rpm", 1.0, None)], [])
    assert found[0] @ found[0] == pytest.approx(1)
    assert not found[1].any()


def test_the_same_region_is_alike_whatever_the_size_of_the_image():
    (small,) = boxes([(100, 50, 100, 100, 0.6)], size=(800, 400))
    (large,) = boxes([(200, 100, 200, 200, 0.6)], size=(1600, 800))
    assert small @ large == pytest.approx(1, abs=1e-6)


def test_regions_grow_less_alike_the_farther_apart_they_lie():
    near = boxes(
        [(0, 0, 100, 50, 1.0)], [(100, 0, 100, 50, 1.0)], [(200, 0, 100, 50, 1.0)], [(600, 300, 100, 50, 1.0)]
    )
    alike = near @ near[0]
    assert alike[0] > LIKE > alike[1] > alike[2] >= alike[3] == 0


def test_of_many_the_most_alike_counts():
    found = marks(channels([("a", 1.0, 1.0)], [("b", 1.0, 1.0)], [("a", 0.5, 1.0), ("b", 0.5, 1.0)]))
    assert likeness(found, found.at([0, 1])) == pytest.approx([1, 1, np.sqrt(0.5)])
    assert likeness(found, no_marks()) == pytest.approx([0, 0, 0])


def test_images_of_one_region_are_alike_as_far_as_their_codes_are_near():
    here = boxes(*[[(0, 0, 100, 50, 1.0)]] * 4)
    look = np.array([[0, 0], [1, 0], [0, 9], [np.nan, np.nan]], np.float32)
    found = marks(here, look)
    assert likeness(found, found.at([0])) == pytest.approx([1, np.exp(-1 / 9), np.exp(-9), 1], abs=1e-6)
    assert likeness(found, found.at([0]))[1] < LIKE < likeness(marks(here, look / 2), found.at([0]))[1]


def test_codes_of_other_detectors_are_not_compared():
    here = boxes(*[[(0, 0, 100, 50, 1.0)]] * 2)
    found = marks(here, np.array([[0.0], [50.0]], np.float32), versions=[1, 2])
    assert likeness(found, found.at([0])) == pytest.approx([1, 1])


def test_reports_with_and_without_signatures_stand_side_by_side():
    here = boxes([(0, 0, 100, 50, 1.0)])
    both = joined([marks(here, np.ones((1, 3), np.float32)), marks(here)])
    assert both.look.shape == (2, 3)
    assert likeness(both, both.at([0])) == pytest.approx([1, 1])
    assert len(joined([])) == 0
