"""Grades: each planted fault is found, what is as ever is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflow.data.grades import CAUSES, LEVELS, ChannelGrade, Grades, grade_channels, summarise
from aeflow.exceptions import InputError
from aeflow.numerics.profile import ChannelProfile

ROWS = 400


def profile(*entities):
    """Of entities, each (R, C)."""
    table = ChannelProfile(entities[0].shape[1])
    for number, values in enumerate(entities):
        table.feed(values, np.full(len(values), number))
    return table.result()


def noise(seed=0, rows=ROWS, channels=1):
    return np.random.default_rng(seed).normal(size=(rows, channels))


def graded(batch, history, *, low=-10.0, high=10.0, max_null_share=0.2):
    """Level and cause of the one channel of one entity."""
    outside = np.array([[((batch < low) | (batch > high)).sum()]])
    past = None if history is None else profile(history)
    grades = grade_channels(profile(batch), outside, past, max_null_share=max_null_share)
    return LEVELS[grades.level[0, 0]], CAUSES[grades.cause[0, 0]]


def with_(values, rows, value):
    changed = values.copy()
    changed[rows] = value
    return changed


def test_a_channel_as_ever_is_high():
    assert graded(noise(1), noise(0)) == ("HIGH", "")


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.2, ("HIGH", "")),
        (0.21, ("MEDIUM", "missing")),
        (0.5, ("MEDIUM", "missing")),
        (0.51, ("LOW", "missing")),
        (1.0, ("LOW", "missing")),
    ],
)
def test_missing_values_are_graded_by_their_share(share, expected):
    batch = with_(noise(1), slice(0, round(share * ROWS)), np.nan)
    assert graded(batch, noise(0)) == expected


def test_a_configured_share_above_half_is_kept():
    batch = with_(noise(1), slice(0, round(0.6 * ROWS)), np.nan)
    assert graded(batch, noise(0), max_null_share=0.7) == ("HIGH", "")


def test_a_channel_that_never_moved_in_the_batch_is_flat():
    assert graded(np.full((ROWS, 1), 1.5), noise(0)) == ("LOW", "flat")


def test_a_channel_that_never_moves_is_not_flat():
    assert graded(np.ones((ROWS, 1)), np.ones((ROWS, 1))) == ("HIGH", "")


def test_a_channel_that_rested_as_long_before_is_not_flat():
    history = with_(noise(0, rows=2 * ROWS), slice(0, ROWS), 0.0)
    assert graded(np.zeros((ROWS, 1)), history) == ("HIGH", "")


def test_a_few_equal_rows_are_not_flat():
    assert graded(np.zeros((9, 1)), noise(0)) == ("HIGH", "")
    assert graded(np.zeros((10, 1)), noise(0)) == ("LOW", "flat")


def test_a_long_run_is_stuck_and_worse_where_it_fills_half():
    assert graded(with_(noise(1), slice(50, 80), 0.0), noise(0)) == ("MEDIUM", "stuck")
    assert graded(with_(noise(1), slice(50, 260), 0.0), noise(0)) == ("LOW", "stuck")


def test_a_run_is_stuck_only_beyond_three_times_the_longest_of_the_history():
    history = with_(noise(0), slice(0, 10), 0.0)
    assert graded(with_(noise(1), slice(50, 80), 0.0), history) == ("HIGH", "")
    assert graded(with_(noise(1), slice(50, 81), 0.0), history) == ("MEDIUM", "stuck")


def test_values_outside_the_range_are_graded_by_their_share():
    assert graded(with_(noise(1), slice(0, 4), 99.0), noise(0)) == ("HIGH", "")
    far = noise(1) * 0 + np.linspace(50, 60, ROWS)[:, np.newaxis]
    assert graded(with_(noise(1), slice(0, 5), far[:5]), noise(0)) == ("MEDIUM", "out_of_range")
    assert graded(far, noise(0)) == ("LOW", "out_of_range")


def test_a_flat_channel_out_of_range_is_called_flat():
    assert graded(np.full((ROWS, 1), 99.0), noise(0)) == ("LOW", "flat")


def test_without_a_history_only_missing_values_are_graded():
    assert graded(np.full((ROWS, 1), 99.0), None) == ("HIGH", "")
    assert graded(np.full((ROWS, 1), np.nan), None) == ("LOW", "missing")


def test_the_caller_s_arrays_are_left_alone():
    batch, history, outside = profile(noise(1)), profile(noise(0)), np.zeros((1, 1), dtype=np.int64)
    before = {name: array.copy() for name, array in batch.to_arrays().items()}
    grade_channels(batch, outside, history, max_null_share=0.2)
    assert all(np.array_equal(before[name], array) for name, array in batch.to_arrays().items())


def test_counts_of_another_shape_are_refused():
    with pytest.raises(InputError, match="outside"):
        grade_channels(profile(noise()), np.zeros((2, 1), dtype=np.int64), None, max_null_share=0.2)
    with pytest.raises(InputError, match=r"history\.rows"):
        grade_channels(
            profile(noise()), np.zeros((1, 1), dtype=np.int64), profile(noise(), noise()), max_null_share=0.2
        )


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)))
def test_the_grade_of_an_entity_does_not_depend_on_the_others(order):
    faults = [
        noise(1),
        np.full((ROWS, 1), 0.5),
        with_(noise(2), slice(0, 300), np.nan),
        with_(noise(3), slice(0, 40), 1.0),
        noise(4) + 50,
        noise(5),
    ]
    alone = [graded(values, noise(9)) for values in faults]
    batch = profile(*(faults[i] for i in order))
    outside = np.array([[(np.abs(faults[i]) > 10).sum()] for i in order])
    grades = grade_channels(batch, outside, profile(*[noise(9)] * 6), max_null_share=0.2)
    together = [(LEVELS[n], CAUSES[c]) for n, c in zip(grades.level[:, 0], grades.cause[:, 0], strict=True)]
    assert together == [alone[i] for i in order]


def test_the_summary_names_the_worst_grade_of_each_channel_and_whom_it_concerns():
    level = np.array([[0, 2, 1], [0, 2, 0], [0, 1, 0]], dtype=np.int8)
    cause = np.array([[0, 2, 1], [0, 2, 0], [0, 4, 0]], dtype=np.int8)
    found = summarise(Grades(level, cause), ["a", "b", "c"], ["m3", "m1", "m2"])
    assert found == (
        ChannelGrade("a", "HIGH", "", (), 3),
        ChannelGrade("b", "LOW", "flat", ("m1", "m3"), 2),
        ChannelGrade("c", "MEDIUM", "missing", ("m3",), 1),
    )


def test_the_summary_names_few_of_many_entities():
    many = 1000
    grades = Grades(np.full((many, 1), 2, dtype=np.int8), np.full((many, 1), 1, dtype=np.int8))
    (found,) = summarise(grades, ["a"], [f"m{i:04d}" for i in range(many)], max_entities=3)
    assert found == ChannelGrade("a", "LOW", "missing", ("m0000", "m0001", "m0002"), many)


def test_of_several_causes_the_one_of_most_entities_is_named():
    grades = Grades(np.full((3, 1), 2, dtype=np.int8), np.array([[1], [4], [4]], dtype=np.int8))
    (found,) = summarise(grades, ["a"], ["x", "y", "z"])
    assert (found.cause, found.entities) == ("out_of_range", ("y", "z"))


def test_the_summary_refuses_names_that_do_not_fit_and_is_empty_without_entities():
    grades = Grades(np.zeros((1, 1), dtype=np.int8), np.zeros((1, 1), dtype=np.int8))
    with pytest.raises(InputError, match="grades"):
        summarise(grades, ["a", "b"], ["m1"])
    nobody = Grades(np.zeros((0, 1), dtype=np.int8), np.zeros((0, 1), dtype=np.int8))
    assert summarise(nobody, ["a"], []) == ()
