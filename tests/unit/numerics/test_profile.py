from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.profile import ChannelProfile, ProfileTable


def profile(values, entity=None):
    values = np.asarray(values, dtype=np.float64)
    gathered = ChannelProfile(values.shape[1])
    gathered.feed(values, np.zeros(len(values), int) if entity is None else np.asarray(entity))
    return gathered.result()


def test_statistics_of_one_channel():
    table = profile([[1.0], [np.nan], [1.0], [4.0], [2.0]])
    assert (table.rows[0, 0], table.missing[0, 0]) == (5, 1)
    assert (table.minimum[0, 0], table.maximum[0, 0], table.mean[0, 0]) == (1, 4, 2)
    assert table.std[0, 0] == pytest.approx(np.std([1, 1, 4, 2]))
    assert (table.changes[0, 0], table.longest_run[0, 0]) == (2, 2)


def test_a_flat_channel_has_no_change_and_one_long_run():
    table = profile([[7.0]] * 6)
    assert (table.changes[0, 0], table.longest_run[0, 0], table.std[0, 0]) == (0, 6, 0)


def test_entities_are_kept_apart_when_their_rows_are_mixed():
    table = profile([[1.0], [5.0], [1.0], [5.0], [2.0]], [0, 1, 0, 1, 0])
    assert table.longest_run[:, 0].tolist() == [2, 2]
    assert table.changes[:, 0].tolist() == [1, 0]
    assert table.mean[:, 0].tolist() == pytest.approx([4 / 3, 5])


def test_an_entity_without_rows_or_values_is_nan():
    table = profile([[np.nan], [1.0]], [0, 2])
    assert table.rows[:, 0].tolist() == [1, 0, 1]
    assert np.isnan(table.mean[:, 0]).tolist() == [True, True, False]
    assert np.isnan(table.minimum[:2]).all()
    assert table.longest_run[:, 0].tolist() == [0, 0, 1]


def test_a_table_is_not_changed_by_later_portions():
    gathered = ChannelProfile(1)
    gathered.feed(np.array([[1.0]]), np.array([0]))
    before = gathered.result()
    kept = {name: array.copy() for name, array in before.to_arrays().items()}
    gathered.feed(np.array([[9.0]]), np.array([0]))
    for name, array in before.to_arrays().items():
        np.testing.assert_array_equal(array, kept[name])


def test_a_table_comes_back_from_its_arrays():
    table = profile([[1.0], [2.0]])
    again = ProfileTable.from_arrays(table.to_arrays())
    assert again.mean is table.mean
    with pytest.raises(InputError, match="profile has"):
        ProfileTable.from_arrays({"rows": table.rows})


@pytest.mark.parametrize(
    ("values", "entity", "message"),
    [
        (np.zeros((2, 2)), np.zeros(2, int), "shape"),
        (np.zeros((2, 1)), np.array([0, -1]), "codes"),
        (np.full((2, 1), np.inf), np.zeros(2, int), "2 infinities"),
    ],
)
def test_feeding_refuses(values, entity, message):
    with pytest.raises(InputError, match=message):
        ChannelProfile(1).feed(values, entity)
