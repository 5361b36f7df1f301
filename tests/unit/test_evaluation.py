"""Figures against labels: what is compared, what is left out, what an undecided item counts as."""

from __future__ import annotations

import numpy as np
import pytest

from aeflow.evaluation import LabelledScores, evaluate, flag_everything, with_figures
from aeflow.numerics.calibration import fit_calibration

NONE = np.zeros(0, dtype=bool)


def series(label, score, flag):
    n = len(label)
    return LabelledScores(
        np.array(label, bool),
        np.array(score, np.float32),
        np.array(flag, bool),
        entity=np.zeros(n, np.int64),
        position=np.arange(n),
    )


def compare(scores, **options):
    defaults = {"left_out": 0, "undecided_labels": NONE, "merge_gap": 0, "min_points": 1, "seed": 0}
    return evaluate("it", scores, **{**defaults, **options})


def test_figures_at_the_cut_are_counts_of_flags():
    found = compare(series([0, 0, 1, 1], [1, 4, 3, 5], [0, 1, 0, 1])).metrics
    assert found["precision"] == found["recall"] == found["f1"] == 0.5
    assert found["false_alarm_rate"] == found["missing_alarm_rate"] == 0.5
    assert found["auroc"] == 0.75


def test_an_undecided_item_counts_as_not_flagged():
    found = compare(series([0, 1], [0, 1], [0, 1]), undecided_labels=np.array([True, False]))
    assert found.undecided == 2
    assert found.labelled == 4
    assert found.abnormal == 2
    assert found.metrics["recall"] == 0.5
    assert found.metrics["auroc"] == 1.0


def test_events_are_counted_as_a_whole():
    label = [0, 1, 1, 1, 0, 0, 1, 1, 0, 0]
    flag = [0, 0, 1, 0, 0, 0, 0, 0, 0, 1]
    found = compare(series(label, np.arange(10), flag)).metrics
    assert found["event_recall"] == 0.5
    assert found["event_precision"] == 0.5
    assert 0 < found["vus_pr"] <= 1


def test_images_have_no_event_figures_and_masks_give_pixel_figures():
    rng = np.random.default_rng(0)
    masks = [np.zeros((8, 8), bool), np.zeros((8, 8), bool)]
    masks[1][2:5, 2:5] = True
    maps = [rng.random((8, 8)).astype(np.float32), masks[1] + rng.random((8, 8)).astype(np.float32) / 2]
    scores = LabelledScores(
        np.array([False, True]),
        np.array([1, 2], np.float32),
        np.array([False, True]),
        error_maps=maps,
        masks=masks,
    )
    found = compare(scores).metrics
    assert "event_recall" not in found
    assert found["pixel_auroc"] == 1.0
    assert found["au_pro"] == pytest.approx(1.0)
    assert found["pixel_average_precision"] == 1.0
    assert found["box_overlap"] == found["boxes_found"] == 1.0


def test_one_class_alone_has_no_ranking_figures():
    found = compare(series([0, 0], [1, 2], [0, 1]))
    assert found.metrics["auroc"] is None
    assert not {"auroc", "average_precision", "recall"} & set(found.intervals)
    assert found.metrics["false_alarm_rate"] == 0.5


def test_the_interval_holds_the_figure_and_repeats():
    rng = np.random.default_rng(0)
    label = rng.random(400) < 0.3
    scores = LabelledScores(label, (label + rng.normal(size=400)).astype(np.float32), label)
    one, two = compare(scores), compare(scores)
    low, high = one.intervals["auroc"]
    assert low < one.metrics["auroc"] < high
    assert one.intervals == two.intervals


def test_every_figure_that_hangs_on_what_was_drawn_has_an_interval():
    rng = np.random.default_rng(1)
    n, label = 1200, np.repeat([False, True, False, True, False, True], 200)
    scores = LabelledScores(
        label,
        (label + rng.normal(size=n)).astype(np.float32),
        rng.random(n) < 0.2 + 0.4 * label,
        entity=np.repeat(np.arange(3), 400),
        position=np.tile(np.arange(400), 3),
    )
    found = compare(scores)
    named = {"auroc", "average_precision", "vus_pr", "precision", "recall", "f1"}
    assert set(found.intervals) == named | {"false_alarm_rate", "missing_alarm_rate"}
    for name, (low, high) in found.intervals.items():
        assert low <= found.metrics[name] <= high
        assert low < high


def test_what_was_promised_is_held_against_the_false_flags_that_came():
    calibration = fit_calibration(
        np.random.default_rng(2).standard_normal(5000),
        rule="peaks_over_threshold",
        false_flags_per_batch=2.0,
        items_per_batch=4,
    )
    label, flag = [0, 1, 1, 0, 0, 0, 1, 0], [0, 0, 1, 0, 1, 0, 0, 1]
    found = compare(series(label, np.arange(8), flag), calibration=calibration).promise
    # Of three events one covers an abnormal point; 2 false ones are promised in 4 points, of which 5 are normal.
    assert (found.normal_items, found.false_flags, found.flags) == (5, 2, 3)
    assert found.expected == pytest.approx(2.5, rel=1e-3)
    assert found.by_chance[0] <= 2 <= found.by_chance[1]
    assert found.kept
    assert compare(series(label, np.arange(8), flag)).promise is None


def test_a_broken_promise_is_seen_in_labels():
    calibration = fit_calibration(
        np.random.default_rng(2).standard_normal(5000),
        rule="conformal",
        false_flags_per_batch=1.0,
        items_per_batch=100,
    )
    scores = LabelledScores(np.zeros(100, bool), np.arange(100, dtype=np.float32), np.arange(100) % 4 == 0)
    assert compare(scores, calibration=calibration).promise.kept is False
    discovery = fit_calibration(
        np.arange(100.0), rule="conformal", false_discovery_rate=0.1, items_per_batch=10
    )
    found = compare(scores, calibration=discovery).promise
    assert (found.expected, found.by_chance, found.kept, found.false_flags) == (None, None, None, 25)


def test_the_undecided_are_told_by_their_label():
    found = compare(series([0, 1], [0, 1], [0, 1]), undecided_labels=np.array([True, False, False]))
    assert (found.undecided, found.undecided_abnormal) == (3, 1)


def test_flag_everything_is_what_it_says():
    found = flag_everything(compare(series([0, 0, 0, 1], [1, 2, 3, 4], [0, 0, 0, 1])))
    assert found.metrics["recall"] == found.metrics["false_alarm_rate"] == 1.0
    assert found.metrics["precision"] == 0.25
    assert found.metrics["f1"] == pytest.approx(0.4)


def test_further_figures_stand_beside_the_others():
    found = with_figures(compare(series([0, 1], [1, 2], [0, 1])), {"psnr": 20.0, "ssim": float("nan")})
    assert found.metrics["psnr"] == 20.0
    assert found.metrics["ssim"] is None
    assert found.metrics["auroc"] == 1.0


def test_where_rows_are_items_each_flagged_normal_one_is_a_false_flag_whatever_stands_beside_it():
    calibration = fit_calibration(
        np.random.default_rng(2).standard_normal(5000),
        rule="peaks_over_threshold",
        false_flags_per_batch=1.0,
        items_per_batch=100,
    )
    label = np.tile([1, 0], 50)
    scores = series(label, np.arange(100), np.ones(100))
    as_events = compare(scores, calibration=calibration).promise
    as_items = compare(scores, calibration=calibration, rows_are_items=True).promise
    assert (as_events.false_flags, as_events.flags, as_events.kept) == (0, 1, True)
    assert (as_items.false_flags, as_items.flags, as_items.kept) == (50, 100, False)
