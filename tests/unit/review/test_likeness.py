from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from aeflow import schemas
from aeflow.config import Review
from aeflow.numerics.likeness import ALIKE
from aeflow.review.likeness import (
    Marks,
    entity_marks,
    flag_directions,
    joined,
    likeness_to_nearest,
    likeness_to_one,
    worst_boxes_of,
)
from aeflow.scoring.suppression import Precedent, bounds_of, direction_of, suppress, worst_box
from tests.unit.report.test_reviewed import START

RULE = Review()
BOUNDS = bounds_of(RULE)
NAMES = ("current", "flow", "heat", "oil", "rpm")


def channels(flags):
    return pa.array([flag["channels"] for flag in flags], schemas.FLAGS.field("channels").type)


def boxes(flags):
    return pa.array([flag["boxes"] for flag in flags], schemas.FLAGS.field("boxes").type)


def marks(flags, versions=1):
    names, direction = flag_directions(channels(flags))
    return Marks(
        entity_marks([flag["entity"] for flag in flags]),
        np.broadcast_to(np.array(versions, np.int64), len(flags)),
        names,
        direction,
        np.array([flag["signature"] for flag in flags], np.float32),
        worst_boxes_of(boxes(flags)),
    )


def flags_at_random(random, count, *, boxed):
    """Around a few kinds of faults, so that some are alike and others almost."""
    kinds = (
        random.dirichlet([0.4] * len(NAMES), 3),
        random.normal(0, 40, (3, 6)),
        random.integers(0, 60, (3, 2)),
    )
    found = []
    for number in range(count):
        kind = random.integers(0, 3)
        share = kinds[0][kind] * random.uniform(0.4, 1.6, len(NAMES))
        share /= share.sum()
        x, y = (kinds[2][kind] + random.integers(-12, 12, 2)).tolist()
        region = {"x_px": x, "y_px": y, "width_px": 20, "height_px": 16, "share": 0.5}
        found.append(
            {
                "flag_id": f"f{number:03d}",
                "batch": f"night {number}",
                "entity": "" if boxed else f"pump {random.integers(0, 2)}",
                "channels": [
                    {"channel": name, "share": s, "contribution": 8 * s, "observed": d, "expected": 0.0}
                    for name, s, d in zip(
                        NAMES, share.tolist(), (share * [1, 1, -1, 1, -1]).tolist(), strict=True
                    )
                ],
                "signature": (kinds[1][kind] + random.normal(0, 0.35, 6)).astype(np.float32).tolist(),
                "boxes": [region] if boxed and number % 7 else [],
                "score": 8.0,
                "severity": 60.0,
            }
        )
    return found


@pytest.mark.parametrize("boxed", [False, True])
def test_what_the_app_calls_alike_is_what_suppression_would_suppress(boxed):
    flags = flags_at_random(np.random.default_rng(11), 80, boxed=boxed)
    like = np.stack([likeness_to_one(marks(flags), place, BOUNDS) for place in range(len(flags))])
    same = np.array([[a["entity"] == b["entity"] for a in flags] for b in flags])
    found = 0
    for place, precedent in enumerate(flags):
        called_false = Precedent(
            flag_id=precedent["flag_id"],
            batch=precedent["batch"],
            entity=precedent["entity"],
            false=True,
            reviewer="ada",
            at=START,
            until=START,
            score=precedent["score"],
            direction=direction_of(precedent, NAMES).astype(np.float32),
            box=worst_box(precedent),
            signature=np.array(precedent["signature"], np.float32),
        )
        judged, _ = suppress(flags, [called_false], RULE, NAMES)
        suppressed = np.array([flag["suppressed"] for flag in judged])
        suppressed[place] = True  # a precedent does not bear on its own batch
        assert suppressed.tolist() == ((like[place] >= ALIKE) & same[place]).tolist()
        found += int(suppressed.sum()) - 1
    assert 100 < found < 80 * 40


@pytest.mark.parametrize("boxed", [False, True])
def test_the_most_like_of_an_entity_counts_as_one_by_one(boxed):
    flags = flags_at_random(np.random.default_rng(5), 90, boxed=boxed)
    of = marks(flags, versions=[1, 1, 2] * 30)
    judged = np.arange(0, 90, 4)
    one_by_one = np.stack([likeness_to_one(of, place, BOUNDS) for place in judged.tolist()])
    one_by_one[of.entity[judged][:, None] != of.entity] = 0
    nearest = likeness_to_nearest(of, of.at(judged), BOUNDS)
    assert nearest == pytest.approx(one_by_one.max(axis=0), abs=2e-3)
    assert likeness_to_nearest(of, of.at(judged[:0]), BOUNDS).tolist() == [0] * 90


def flag(entity="pump", signature=(0.0, 0.0), box=None, **shares):
    """shares: of each channel, and below 0 where less came than was expected."""
    return {
        "entity": entity,
        "signature": list(signature),
        "boxes": []
        if box is None
        else [dict(zip(("x_px", "y_px", "width_px", "height_px"), box, strict=True))],
        "channels": [
            {"channel": name, "share": abs(share), "observed": share, "expected": 0.0}
            for name, share in shares.items()
        ],
    }


def test_a_likeness_at_a_bound_is_just_alike_and_nothing_that_differs_is_whole():
    near = marks([flag(rpm=1), flag(rpm=1, signature=(1, 0)), flag(rpm=1, signature=(3, 0))])
    assert likeness_to_one(near, 0, BOUNDS) == pytest.approx([1, ALIKE, 0.25])
    share = 0.64  # a cosine of 0.8
    turned = marks([flag(rpm=1), flag(rpm=share, oil=1 - share), flag(oil=1), flag(rpm=-1)])
    assert likeness_to_one(turned, 0, BOUNDS) == pytest.approx([1, ALIKE, 0, 0], abs=1e-6)
    moved = marks([flag(box=b, rpm=1) for b in ((0, 0, 10, 10), (5, 0, 10, 10), (10, 0, 10, 10))])
    assert likeness_to_one(moved, 0, BOUNDS) == pytest.approx([1, ALIKE, 0])


def test_what_cannot_be_compared_says_nothing():
    far = [flag(rpm=1), flag(rpm=1, signature=(9, 9)), flag(rpm=1, signature=(np.nan, np.nan))]
    of = marks(far, versions=[1, 2, 1])
    assert likeness_to_one(of, 0, BOUNDS) == pytest.approx([1, 1, 1])
    unseen = marks([flag(rpm=1), flag(rpm=1, box=(0, 0, 5, 5))])
    assert likeness_to_one(unseen, 0, BOUNDS) == pytest.approx([1, 1])
    assert not likeness_to_one(marks([flag(), flag(rpm=1)]), 0, BOUNDS).any()


def test_large_codes_that_lie_near_each_other_are_told_apart():
    of = marks([flag(rpm=1, signature=(30_000.0, 0.0)), flag(rpm=1, signature=(30_000.0, 1.5))])
    assert likeness_to_one(of, 0, BOUNDS)[1] == pytest.approx(0.4)
    assert likeness_to_nearest(of, of.at(np.array([0])), BOUNDS)[1] == pytest.approx(0.4)


def test_reports_of_other_channels_and_without_signatures_stand_side_by_side():
    early, late = marks([flag(rpm=0.5, oil=0.5)]), marks([flag(heat=0.2, oil=0.8)])
    early = Marks(early.entity, early.version, early.channels, early.direction, np.zeros((1, 0)), early.box)
    both = joined([early, late])
    assert both.channels == ("rpm", "oil", "heat")
    assert both.direction @ both.direction[0] == pytest.approx([1, np.sqrt(0.4)])
    assert np.isnan(both.signature).tolist() == [[True, True], [False, False]]
    assert len(joined([])) == 0


def test_a_missing_value_counts_as_above_what_was_expected():
    missing = flag(rpm=1)
    missing["channels"][0]["observed"] = None
    assert likeness_to_one(marks([missing, flag(rpm=1), flag(rpm=-1)]), 0, BOUNDS) == pytest.approx([1, 1, 0])
