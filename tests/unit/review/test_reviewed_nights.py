"""Which nights and flags bear on the cut; report folders are made by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aeflow import schemas
from aeflow.numerics.calibration import fit_calibration
from aeflow.report.promise import make_promise
from aeflow.report.receipt import read_receipt
from aeflow.report.summary import Summary
from aeflow.review.reviewed_nights import cut_after_review
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Verdict, Word
from tests.unit.report.test_reviewed import write_report
from tests.unit.scoring.plant import pipeline

NIGHTS = [f"2026-01-{day:02d}" for day in range(1, 8)]
TONIGHT, NOW = "2026-01-09", datetime(2026, 1, 9, tzinfo=UTC)
FLAGS = 4
CALIBRATION = fit_calibration(
    np.random.default_rng(0).normal(size=5_000),
    rule="conformal",
    false_flags_per_batch=1,
    items_per_batch=1_000,
)
DETECTOR = SimpleNamespace(calibration=CALIBRATION, least_p_value=0.0)


@pytest.fixture
def paths(tmp_path):
    """Seven nights with four flags each, one of them suppressed but for the first night's; version 1 but for the
    last night's."""
    paths = Paths(tmp_path, "plant")
    for batch in NIGHTS:
        write_night(paths, batch, version=2 if batch == NIGHTS[-1] else 1, suppressed=batch != NIGHTS[0])
    return paths


def write_night(paths, batch, *, version=1, suppressed=True, flags=FLAGS):
    begin = datetime.fromisoformat(batch).replace(tzinfo=UTC)
    rows = [
        {
            "flag_id": f"{batch}-{k}",
            "batch": batch,
            "entity": "pump",
            "start": begin,
            "end": begin,
            "p_value": 1e-9 * (k + 1),
            "suppressed": suppressed and k == FLAGS - 1,
        }
        for k in range(flags)
    ]
    write_report(paths.report(batch), rows, version)
    Summary(
        pipeline="plant",
        kind="series",
        batch=batch,
        detector_version=version,
        sentence="",
        rows_in=1_000,
        scored=1_000,
        not_scorable=0,
        quarantined={},
        not_scorable_by_reason={},
        flags=flags,
        flagged_rows=flags,
        entities=1,
        flagged_entities=1,
        promise=make_promise("false_flags_per_batch", 1.0),
        score_quantiles={},
    ).write(paths.report(batch) / "summary.json")


def say(*flags, word=Word.FALSE, at=NOW, reviewer="ada"):
    return [Verdict(f"{batch}-{k}", batch, word, reviewer, at) for batch, k in flags]


def all_of(*batches):
    return [(batch, k) for batch in batches for k in range(FLAGS)]


def cut(paths, said, batch=TONIGHT, detector=DETECTOR, **review):
    config = pipeline(paths.home, last=1, review={"cut": "rise", **review})
    return cut_after_review(config, paths, said, detector, 1, batch=batch, now=NOW)


def test_false_flags_of_the_nights_of_this_detector_that_were_raised_move_the_cut(paths):
    moved = cut(paths, say(*all_of(*NIGHTS)))
    # Six nights of version 1: four flags of the first, three of the others, of which the fourth was suppressed.
    assert (moved.nights, moved.false, moved.undecided) == (6, 4 + 5 * 3, 0)
    assert (moved.first_night, moved.last_night) == (NIGHTS[0], NIGHTS[5])
    assert moved.promised == pytest.approx(6)
    assert moved.alpha < moved.calibrated_alpha == CALIBRATION.alpha


def test_nights_between_count_whether_or_not_anybody_looked_and_those_outside_do_not(paths):
    write_night(paths, "2026-01-08", flags=0)
    moved = cut(paths, say(*all_of(NIGHTS[1], NIGHTS[3])))
    assert (moved.nights, moved.false, moved.undecided) == (3, 6, 3)
    assert (moved.first_night, moved.last_night) == (NIGHTS[1], NIGHTS[3])


def test_a_night_without_flags_counts_for_its_length(paths):
    pq.write_table(pa.Table.from_pylist([], schema=schemas.FLAGS), paths.report(NIGHTS[2]) / "flags.parquet")
    moved = cut(paths, say(*all_of(NIGHTS[1], NIGHTS[3])))
    assert (moved.nights, moved.false, moved.undecided, moved.promised) == (3, 6, 0, pytest.approx(3))


def test_what_is_true_disputed_unsure_expired_or_taken_back_is_no_false_flag(paths):
    night = NIGHTS[0]
    said = [
        *say((night, 0), (night, 1), (night, 2), (night, 3)),
        *say((night, 1), word=Word.TRUE, reviewer="ben"),
        *say((night, 2), word=Word.UNSURE),
        *say((night, 3), word=Word.RETRACTED),
        *say(*all_of(NIGHTS[1])),
        *say(*all_of(NIGHTS[2]), at=NOW - timedelta(days=91)),
        *say(*all_of(NIGHTS[3])),
    ]
    moved = cut(paths, said)
    assert (moved.nights, moved.false, moved.undecided) == (4, 1 + 3 + 3, 3 + 3)


def test_true_flags_are_neither_false_nor_undecided(paths):
    said = [*say(*all_of(NIGHTS[1], NIGHTS[2])), *say((NIGHTS[2], 0), word=Word.TRUE, at=NOW + timedelta(1))]
    moved = cut(paths, said)
    assert (moved.false, moved.undecided) == (5, 0)


def test_a_batch_is_not_judged_by_what_was_said_of_itself(paths):
    assert cut(paths, say(*all_of(NIGHTS[0])), batch=NIGHTS[0]) is None
    moved = cut(paths, say(*all_of(*NIGHTS[:3])), batch=NIGHTS[1])
    assert (moved.nights, moved.false) == (2, 7)


def test_a_night_that_was_judged_at_a_moved_cut_counts_at_that(paths):
    moved = cut(paths, say(*all_of(*NIGHTS[:3])))
    low = moved.model_copy(update={"alpha": CALIBRATION.alpha * 3})
    for batch in NIGHTS[:3]:
        receipt = read_receipt(paths.report(batch))
        receipt.model_copy(update={"moved_cut": low}).write(paths.report(batch) / "receipt.json")
    true = say(*all_of(*NIGHTS[:3]), word=Word.TRUE)
    fallen = cut(paths, true, cut="rise_and_fall")
    # 5 flags of the calibration, 3 promised: up to three times the cut it is known that none of them came.
    assert fallen.alpha == pytest.approx(CALIBRATION.alpha * (5 + 3) / 5, rel=0.01)


def test_nothing_moves_where_nobody_looked_where_it_is_fixed_and_with_a_rate_of_discoveries(paths):
    assert cut(paths, []) is None
    assert cut(paths, say(*all_of(*NIGHTS)), cut="fixed") is None
    rate = SimpleNamespace(calibration=replace(CALIBRATION, promise="false_discovery_rate"), least_p_value=0)
    assert cut(paths, say(*all_of(*NIGHTS)), detector=rate) is None
