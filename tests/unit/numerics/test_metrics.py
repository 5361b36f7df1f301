from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.metrics import Confusion, auroc, average_precision, confusion, event_counts

LABELS = np.array([0, 0, 1, 1])


def test_auroc_counts_the_pairs_in_the_right_order_and_ties_half():
    assert auroc(LABELS, np.array([0.1, 0.4, 0.35, 0.8])) == pytest.approx(0.75)
    assert auroc(LABELS, np.ones(4)) == pytest.approx(0.5)


def test_average_precision_sums_the_steps():
    assert average_precision(LABELS, np.array([0.1, 0.4, 0.35, 0.8])) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("metric", [auroc, average_precision])
def test_one_class_has_no_ranking(metric):
    assert np.isnan(metric(np.zeros(3), np.arange(3.0)))
    assert np.isnan(metric(np.ones(3), np.arange(3.0)))


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (LABELS, np.array([1, 2, np.nan, 3.0]), "1 of 4 values"),
        (np.array([0, 2]), np.arange(2.0), r"got \[2\]"),
        (LABELS, np.arange(3.0), "shape"),
    ],
)
def test_rankings_refuse(labels, scores, message):
    with pytest.raises(InputError, match=message):
        auroc(labels, scores)


def test_rates_follow_from_the_counts():
    counts = confusion(np.array([1, 1, 1, 0, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 0, 0], bool))
    assert counts == Confusion(2, 1, 1, 3)
    assert counts.precision == pytest.approx(2 / 3)
    assert counts.recall == pytest.approx(2 / 3)
    assert counts.f1 == pytest.approx(2 / 3)
    assert counts.false_alarm_rate == 0.25
    assert counts.missing_alarm_rate == pytest.approx(1 / 3)


def test_counts_of_files_add_up():
    assert Confusion(1, 2, 3, 4) + Confusion(10, 20, 30, 40) == Confusion(11, 22, 33, 44)


def test_rates_without_anything_to_divide_by_are_nan():
    nothing = Confusion(0, 0, 0, 0)
    rates = (
        nothing.precision,
        nothing.recall,
        nothing.f1,
        nothing.false_alarm_rate,
        nothing.missing_alarm_rate,
    )
    assert np.isnan(rates).all()


def events(labels, event, position=None, entity=None):
    labels = np.asarray(labels)
    position = np.arange(labels.size) if position is None else np.asarray(position)
    entity = np.zeros(labels.size, int) if entity is None else np.asarray(entity)
    return event_counts(labels, np.asarray(event), position, entity)


def test_events_count_once_however_many_points_or_parts_they_have():
    counts = events([0, 1, 1, 1, 0, 0, 1, 0, 0], [-1, 0, -1, 1, -1, -1, -1, -1, 2])
    assert (counts.flagged, counts.flagged_true) == (3, 2)
    assert (counts.labelled, counts.labelled_found) == (2, 1)
    assert counts.precision == pytest.approx(2 / 3)
    assert counts.recall == 0.5


def test_an_event_covers_the_rows_between_its_flagged_points():
    counts = events([0, 1, 0], [0, -1, 0])
    assert (counts.flagged_true, counts.labelled_found) == (1, 1)


def test_labelled_events_end_at_gaps_and_at_the_next_entity():
    counts = events([1, 1, 1, 1], [-1] * 4, position=[0, 1, 5, 6], entity=[0, 0, 0, 1])
    assert (counts.labelled, counts.labelled_found) == (3, 0)
    assert np.isnan(counts.precision)


def test_event_counts_of_series_add_up():
    both = events([1], [0]) + events([1, 0], [-1, 0])
    assert (both.flagged, both.flagged_true, both.labelled, both.labelled_found) == (2, 1, 2, 1)
