"""What reviewed flags make of later ones; flags are made by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from aeflow.config import Review
from aeflow.scoring.suppression import (
    Precedent,
    direction_of,
    read_precedents,
    suppress,
    worst_box,
    write_precedents,
)

CHANNELS = ("flow", "pressure")
AT, UNTIL = datetime(2026, 11, 20, 8, tzinfo=UTC), datetime(2027, 2, 18, 8, tzinfo=UTC)


def flag(name="new", *, batch="night-2", entity="pump", score=10.0, flow=0.9, up=True, code=(0, 0), box=None):
    parts = zip(CHANNELS, (flow, 1 - flow), strict=True)
    return {
        "flag_id": name,
        "batch": batch,
        "entity": entity,
        "score": score,
        "severity": 80.0,
        "channels": [
            {
                "channel": channel,
                "share": share,
                "contribution": share * score,
                "observed": 5.0 if up else -5.0,
                "expected": 0.0,
            }
            for channel, share in parts
        ],
        "boxes": box
        and [{"x_px": box[0], "y_px": box[1], "width_px": box[2], "height_px": box[3], "share": 1.0}],
        "signature": np.array(code, dtype=np.float32),
    }


def precedent(name="old", *, false=True, **of_flag):
    row = flag(name, **({"batch": "night-1"} | of_flag))
    return Precedent(
        flag_id=name,
        batch=row["batch"],
        entity=row["entity"],
        false=false,
        reviewer="ada",
        at=AT,
        until=UNTIL,
        score=row["score"],
        direction=direction_of(row, CHANNELS).astype(np.float32),
        box=worst_box(row),
        signature=row["signature"],
    )


def judged(new, *precedents, **rule):
    (found,), used = suppress([new], precedents, Review(**rule), CHANNELS)
    return found, [p.flag_id for p in used]


def test_a_flag_like_a_false_one_is_suppressed_and_says_why_by_whom_and_until_when():
    found, used = judged(flag(code=(0.3, 0.4)), precedent())
    assert (found["suppressed"], found["suppressed_by"], used) == (True, "old", ["old"])
    assert found["suppressed_until"] == UNTIL
    assert found["severity"] == 80
    assert found["suppressed_reason"] == (
        "like flag old of batch night-1, called false by ada on 2026-11-20 (the same channels, channels alike "
        "to 100%, codes 0.50 apart where 1 is allowed); holds until 2027-02-18"
    )


@pytest.mark.parametrize(
    "unlike",
    [
        {"code": (0.9, 0.9)},  # too far apart in latent space
        {"flow": 0.2},  # another channel
        {"up": False},  # the other way
        {"entity": "valve"},
        {"score": 20.1},  # more than twice as severe
        {"batch": "night-1"},  # of the very batch that was reviewed
    ],
)
def test_what_is_not_like_it_or_far_more_severe_stays(unlike):
    found, used = judged(flag(**unlike), precedent())
    assert (found["suppressed"], used) == (False, [])
    assert "suppressed_reason" not in found


@pytest.mark.parametrize(
    ("like", "rule"),
    [
        ({"code": (1.0, 0.0)}, {"reach": 1.0}),
        ({"score": 20.0}, {"most_severe": 2.0}),
        ({"flow": 1.0}, {"least_agreement": 1.0}),
        ({"box": (10, 0, 20, 20)}, {"least_overlap": 0.5}),
    ],
)
def test_what_lies_at_a_limit_is_still_like_it(like, rule):
    old = precedent(flow=like.get("flow", 0.9), box=(0, 0, 20, 20) if "box" in like else None)
    assert judged(flag(**like), old, **rule)[0]["suppressed"]


def test_in_images_it_has_to_be_the_same_region():
    old = precedent(entity="", box=(10, 10, 20, 20))
    assert judged(flag(entity="", box=(12, 12, 20, 20)), old)[0]["suppressed"]
    assert not judged(flag(entity="", box=(60, 10, 20, 20)), old)[0]["suppressed"]


def test_a_true_one_that_is_nearer_protects_and_is_kept_as_a_reason():
    far_false, near_true = precedent(code=(0.6, 0)), precedent("true", false=False, code=(0.1, 0))
    found, used = judged(flag(), far_false, near_true)
    assert (found["suppressed"], used) == (False, ["true"])
    near_false = precedent(code=(0.05, 0))
    assert judged(flag(), near_false, near_true)[1] == ["old"]
    # Alone it has nothing to protect from.
    assert judged(flag(), near_true)[1] == []


def test_a_false_one_that_was_as_severe_decides_where_a_milder_one_is_nearer():
    mild, severe = precedent("mild", score=2.0, code=(0.1, 0)), precedent("severe", code=(0.5, 0))
    assert judged(flag(), mild, severe)[0]["suppressed_by"] == "severe"


def test_downgraded_it_counts_with_the_severity_of_the_cut():
    found, _ = judged(flag(), precedent(), suppression="downgrade")
    assert (found["suppressed"], found["severity"], found["suppressed_by"]) == (False, 50, "old")


def test_switched_off_nothing_is_suppressed():
    found, used = judged(flag(), precedent(), suppression="off")
    assert (found["suppressed"], "suppressed_by" in found, used) == (False, False, [])


def test_a_flag_without_a_signature_is_never_suppressed():
    assert not judged(flag() | {"signature": None}, precedent())[0]["suppressed"]


def test_those_that_decided_anything_decide_the_same_alone(tmp_path):
    generator = np.random.default_rng(3)
    some = [
        precedent(
            f"p{i}",
            false=bool(i % 3),
            code=generator.normal(0, 0.6, 2),
            score=float(generator.uniform(2, 20)),
            flow=float(generator.uniform(0.3, 1)),
        )
        for i in range(40)
    ]
    flags = [flag(f"f{i}", code=generator.normal(0, 0.6, 2), flow=0.8) for i in range(60)]
    all_judged, used = suppress(flags, some, Review(), CHANNELS)
    assert 5 < sum(f["suppressed"] for f in all_judged) < 60
    assert len(used) < len(some)
    write_precedents(used, tmp_path / "p.parquet")
    again, still_used = suppress(flags, read_precedents(tmp_path / "p.parquet"), Review(), CHANNELS)
    assert [{**f, "signature": None} for f in again] == [{**f, "signature": None} for f in all_judged]
    write_precedents(still_used, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "p.parquet").read_bytes()
