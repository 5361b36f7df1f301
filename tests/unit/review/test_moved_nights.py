"""Of a night on which everything moved only what stands out is left out; report folders are made by hand."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aeflow import schemas
from aeflow.config import PipelineConfig
from aeflow.report.promise import Moved, make_promise
from aeflow.report.summary import Summary
from aeflow.review.learning import left_out_of_training
from aeflow.review.moved_nights import MovedNights
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Word
from tests.unit.report.test_reviewed import START, event, image, said, write_report
from tests.unit.review.test_learning import IMAGES, SERIES

ROWS = 600
FAULT = slice(200, 212)
MINUTE = timedelta(minutes=1)
REACH = 6
RISEN = (Moved(expected_share=0.5, came_share=1.0, p_value=1e-9),)


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path, "p")


def night(folder, scores, flags, columns=None, *, moved=RISEN, entity="pump", **more):
    """A report with `scores` (R,) and the flag of each row, "" for none."""
    write_report(folder, flags)
    table = {
        "entity": entity if isinstance(entity, list) else [entity] * len(scores),
        "timestamp": pa.array([START + i * MINUTE for i in range(len(scores))], schemas.TIME),
        "score": pa.array(scores, pa.float32()),
        "flag_id": pa.array([flag or None for flag in columns or ["f"] * len(scores)], pa.string()),
    }
    pq.write_table(pa.table(table | more), folder / "scores.parquet")
    summarise(folder, moved)


def summarise(folder, moved):
    Summary(
        pipeline="p",
        kind="series",
        batch="b",
        detector_version=1,
        sentence="",
        rows_in=ROWS,
        scored=ROWS,
        not_scorable=0,
        quarantined={},
        not_scorable_by_reason={},
        flags=1,
        flagged_rows=ROWS,
        entities=1,
        flagged_entities=1,
        promise=make_promise("false_flags_per_batch", 1.0, moved=moved),
        score_quantiles={},
    ).write(folder / "summary.json")


def season(seed=1):
    """Scores of a night that is beyond the cut as a whole."""
    return np.random.default_rng(seed).normal(100, 5, ROWS)


def left_out(paths, since="b", words=(), config=SERIES, version=1):
    moved = None if since is None else MovedNights(since, version, REACH)
    config = PipelineConfig.model_validate(config)
    return left_out_of_training(config, paths, words, ["b"], moved=moved)


def minutes(out):
    """Reason -> first and last minute of each of its stretches."""
    first = int(START.timestamp() * 1e6)
    return {
        reason: [
            ((a - first) // 60_000_000, (b - first) // 60_000_000) for a, b in zip(begin, end, strict=True)
        ]
        for (_, reason), (begin, end) in out.spans.items()
    }


def test_of_a_night_that_is_one_flag_only_the_fault_within_it_is_left_out_with_a_window_around_it(paths):
    scores = season()
    scores[FAULT] = 200.0
    night(paths.report("b"), scores, [event("f", 0, 10)])
    assert minutes(left_out(paths, None)) == {"flagged": [(0, 600)]}
    assert minutes(left_out(paths)) == {"flagged": [(200 - REACH, 211 + REACH)]}


def test_a_fault_that_is_a_flag_of_its_own_stays_out_whole(paths):
    scores = season()
    scores[FAULT] = 150.0
    columns = [""] * ROWS
    columns[FAULT] = ["f"] * 12
    night(paths.report("b"), scores, [event("f", 200 / 60, 11 / 60)], columns)
    assert minutes(left_out(paths)) == {"flagged": [(200, 211)]}


def test_nights_before_the_change_of_another_detector_or_that_did_not_move_are_left_out_as_ever(paths):
    night(paths.report("b"), season(), [event("f", 0, 10)])
    whole = {"flagged": [(0, 600)]}
    assert minutes(left_out(paths)) == {}
    assert minutes(left_out(paths, "c")) == whole
    assert minutes(left_out(paths, version=2)) == whole
    summarise(paths.report("b"), ())
    assert minutes(left_out(paths)) == whole


def test_what_people_said_holds_whatever_stands_out(paths):
    scores = season()
    scores[FAULT] = 200.0
    columns = ["a"] * 300 + ["z"] * 300
    night(paths.report("b"), scores, [event("a", 0, 4.9), event("z", 5, 5)], columns)
    fault = (200 - REACH, 211 + REACH)
    assert minutes(left_out(paths, words=[said("z", Word.TRUE)])) == {
        "flagged": [fault],
        "confirmed_abnormal": [(300, 600)],
    }
    assert minutes(left_out(paths, words=[said("a")])) == {}
    assert minutes(left_out(paths, words=[said("a", Word.UNSURE)])) == {"flagged": [(0, 294)]}


def test_each_entity_is_held_against_itself(paths):
    scores = np.concatenate([season(), 10 * season()])
    scores[FAULT] = 200.0
    flags = [event("f", 0, 10), event("g", 0, 10, entity="valve")]
    night(
        paths.report("b"),
        scores,
        flags,
        ["f"] * ROWS + ["g"] * ROWS,
        entity=["pump"] * ROWS + ["valve"] * ROWS,
        timestamp=pa.array([START + i * MINUTE for i in range(ROWS)] * 2, schemas.TIME),
    )
    out = left_out(paths)
    assert out.spans.keys() == {("pump", "flagged")}


def test_images_are_left_out_one_by_one(paths):
    flags = [image(f"f{i}", f"{i}.png") | {"sha256": f"{i}"} for i in range(61)]
    write_report(paths.report("b"), flags)
    scores = pa.array([*season()[:60], 300.0], pa.float32())
    pq.write_table(
        pa.table({"score": scores, "flag_id": [f"f{i}" for i in range(61)]}),
        paths.report("b") / "scores.parquet",
    )
    summarise(paths.report("b"), RISEN)
    assert left_out(paths, config=IMAGES).images == {"60": "flagged"}
    assert len(left_out(paths, None, config=IMAGES).images) == 61
