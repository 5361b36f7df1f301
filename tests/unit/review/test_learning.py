"""What verdicts leave out of a training; report folders are made by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aeflow.config import PipelineConfig
from aeflow.review.learning import left_out_of_training, verdicts_since
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Word
from tests.unit.report.test_reviewed import HOUR, START, event, image, said, write_report

SERIES = {
    "name": "p",
    "source": {"kind": "table", "path": "x.csv", "time_column": "t", "channels": ["x"]},
    "batch": {"by": "period"},
    "prepare": {"kind": "series", "cadence_seconds": 60},
    "model": {"family": "pca"},
    "calibration": {"false_flags_per_batch": 1},
}
IMAGES = {
    **SERIES,
    "source": {"kind": "images", "root": "."},
    "batch": {"by": "folder"},
    "prepare": {"kind": "images"},
}


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path, "p")


def left_out(paths, words, batches=("b",), config=SERIES):
    return left_out_of_training(PipelineConfig.model_validate(config), paths, words, batches)


def hours(spans):
    """Reason -> hours after the start at which its stretches begin."""
    first = int(START.timestamp() * 1e6)
    return {
        reason: ((begin - first) // (HOUR // timedelta(microseconds=1))).tolist()
        for (_, reason), (begin, _) in spans.items()
    }


def test_true_flags_are_confirmed_false_ones_stay_in_and_all_others_are_flagged(paths):
    names = ("true", "false", "unsure", "disputed", "unsaid")
    write_report(paths.report("b"), [event(name, 5 * i, 1) for i, name in enumerate(names)])
    words = [said("true", Word.TRUE), said("false"), said("unsure", Word.UNSURE)]
    words += [said("disputed"), said("disputed", Word.TRUE, "ben")]
    assert hours(left_out(paths, words).spans) == {
        "confirmed_abnormal": [0],
        "flagged": [10, 15, 20],
    }


def test_what_is_suppressed_stays_in_unless_it_is_called_true(paths):
    rows = [event("like", 0, 1) | {"suppressed": True}, event("wrongly", 5, 1) | {"suppressed": True}]
    write_report(paths.report("b"), rows)
    assert hours(left_out(paths, [said("wrongly", Word.TRUE)]).spans) == {"confirmed_abnormal": [5]}


def test_a_true_flag_that_a_new_report_lost_is_left_out_all_the_same(paths):
    write_report(paths.revisions("b") / "rev=1", [event("gone", 3, 1)])
    write_report(paths.report("b"), [])
    assert hours(left_out(paths, [said("gone", Word.TRUE)]).spans) == {"confirmed_abnormal": [3]}


def test_flags_of_batches_outside_the_history_do_not_matter(paths):
    write_report(paths.report("b"), [event("f", 0, 1)])
    assert not left_out(paths, [said("f", Word.TRUE)], batches=("c",)).spans


def test_images_are_left_out_by_their_content(paths):
    rows = [image("t", "a.png") | {"sha256": "aa"}, image("u", "b.png") | {"sha256": "bb"}]
    rows += [image("f", "c.png") | {"sha256": "cc"}, image("again", "d.png") | {"sha256": "aa"}]
    write_report(paths.report("b"), rows)
    out = left_out(paths, [said("t", Word.TRUE), said("f")], config=IMAGES)
    assert out.images == {"aa": "confirmed_abnormal", "bb": "flagged"}


def test_rows_that_are_numbered_over_several_batches_are_not_found_again(paths):
    write_report(paths.report("b"), [event("f", 0, 1)])
    source = {"kind": "table", "path": "x.csv", "channels": ["x"]}
    config = {**SERIES, "source": source, "batch": {"by": "folder"}}
    assert left_out(paths, [], config=config).spans
    assert not left_out(paths, [], batches=("b", "c"), config=config).spans


def test_new_verdicts_are_flags_called_true_or_false_since_by_words_that_hold():
    words = [said("old"), said("new", minutes=5), said("new", Word.TRUE, "ben", minutes=6)]
    words += [said("unsure", Word.UNSURE, minutes=7), said("back", minutes=7)]
    words += [said("back", Word.RETRACTED, minutes=8)]
    assert verdicts_since(words, said("old").at) == 1
    assert verdicts_since(words, said("old").at - HOUR) == 2
