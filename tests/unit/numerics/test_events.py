from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.events import find_events, iter_event_counts, merge_flagged


def merged(position, entity=None, **rule):
    position = np.asarray(position)
    return merge_flagged(
        position, np.zeros_like(position) if entity is None else np.asarray(entity), **rule
    ).tolist()


def test_points_with_at_most_merge_gap_points_between_belong_together():
    assert merged([0, 1, 4, 8], merge_gap=2, min_points=1) == [0, 0, 0, 1]


def test_short_events_are_dropped_and_the_others_numbered_without_holes():
    assert merged([0, 5, 6, 10], merge_gap=0, min_points=2) == [-1, 0, 0, -1]


def test_an_event_never_spans_two_entities():
    assert merged([1, 2, 3], [0, 0, 1], merge_gap=5, min_points=1) == [0, 0, 1]


def test_duplicate_positions_are_members_each():
    assert merged([3, 3, 4], merge_gap=0, min_points=3) == [0, 0, 0]


def test_rows_between_that_are_not_flagged_are_no_members():
    flagged = np.array([True, False, True, False])
    event = find_events(flagged, np.arange(4), np.zeros(4, int), merge_gap=1, min_points=1)
    assert event.tolist() == [0, -1, 0, -1]


def test_nothing_flagged_is_no_event():
    assert merged(np.empty(0, int), merge_gap=1, min_points=1) == []


def test_rows_out_of_order_are_refused():
    with pytest.raises(InputError, match="sorted by entity"):
        merged([2, 1], merge_gap=0, min_points=1)
    with pytest.raises(InputError, match="sorted by entity"):
        merged([1, 2], [1, 0], merge_gap=0, min_points=1)


@pytest.mark.parametrize("rule", [{"merge_gap": -1, "min_points": 1}, {"merge_gap": 0, "min_points": 0}])
def test_a_rule_outside_its_range_is_refused(rule):
    with pytest.raises(InputError, match="merge_gap"):
        merged([1], **rule)


def test_a_point_between_two_halves_of_one_event_adds_no_event():
    """The halves already belong together across the gap; linking both must not count twice."""
    scores = np.array([5.0, 4.0, 3.0])
    counts = list(iter_event_counts(scores, np.array([0, 2, 1]), np.zeros(3, int), merge_gap=1, min_points=1))
    assert counts == [(5.0, 1, 1), (4.0, 2, 1), (3.0, 3, 1)]
