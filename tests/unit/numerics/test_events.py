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


def test_nothing_is_flagged_in_the_rest_after_an_event():
    rule = {"merge_gap": 1, "min_points": 1, "rest_points": 10}
    assert merged([0, 1, 5, 11, 12, 20], **rule) == [0, 0, -1, -1, 1, -1]


def test_what_goes_on_beyond_the_rest_is_a_new_event():
    """11 is the last point of the rest after the event that ends at 1."""
    rule = {"merge_gap": 1, "min_points": 2, "rest_points": 10}
    assert merged([0, 1, 10, 11, 12, 13], **rule) == [0, 0, -1, -1, 1, 1]
    assert merged([0, 1, 10, 11, 12], **rule) == [0, 0, -1, -1, -1]


def test_no_rest_follows_what_is_too_short_to_be_an_event():
    rule = {"merge_gap": 0, "min_points": 2, "rest_points": 10}
    assert merged([0, 5, 6], **rule) == [-1, 0, 0]


def test_each_entity_has_its_own_rest():
    rule = {"merge_gap": 0, "min_points": 1, "rest_points": 10}
    assert merged([0, 3, 3, 9], [0, 0, 1, 1], **rule) == [0, -1, 1, -1]


def test_events_with_a_rest_are_counted_at_levels_as_they_are_merged():
    rng = np.random.default_rng(0)
    scores, entity = rng.standard_normal(300), np.repeat([0, 1], 150)
    position = np.tile(np.arange(150), 2)
    rule = {"merge_gap": 2, "min_points": 1, "rest_points": 20}
    shuffled = rng.permutation(300)
    counts = list(iter_event_counts(scores[shuffled], position[shuffled], entity[shuffled], **rule))
    assert [points for _, points, _ in counts[:5]] == [1, 2, 3, 4, 5]
    for level, points, events in counts:
        found = find_events(scores >= level, position, entity, **rule)
        assert (points, events) == ((scores >= level).sum(), found.max() + 1)


@pytest.mark.parametrize(
    "rule",
    [
        {"merge_gap": -1, "min_points": 1},
        {"merge_gap": 0, "min_points": 0},
        {"merge_gap": 0, "min_points": 1, "rest_points": -1},
    ],
)
def test_a_rule_outside_its_range_is_refused(rule):
    with pytest.raises(InputError, match="merge_gap"):
        merged([1], **rule)


def test_a_point_between_two_halves_of_one_event_adds_no_event():
    """The halves already belong together across the gap; linking both must not count twice."""
    scores = np.array([5.0, 4.0, 3.0])
    counts = list(iter_event_counts(scores, np.array([0, 2, 1]), np.zeros(3, int), merge_gap=1, min_points=1))
    assert counts == [(5.0, 1, 1), (4.0, 2, 1), (3.0, 3, 1)]


def test_a_gap_that_is_bridged_within_an_entity_is_not_bridged_between_two():
    """The last point of the first entity and the first of the second lie at 5 and 0."""
    scores, entity, position = np.array([2.0, 1.0]), np.array([0, 1]), np.array([5, 0])
    counts = list(iter_event_counts(scores, position, entity, merge_gap=3, min_points=1))
    assert counts == [(2.0, 1, 1), (1.0, 2, 2)]
