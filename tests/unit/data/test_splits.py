import numpy as np
import pytest

from aeflow.config import Split
from aeflow.data.splits import CALIBRATION, TEST, TRAIN, VALIDATION, split_groups, split_time, stretches
from aeflow.exceptions import InputError

SHARES = Split(train=0.6, validation=0.1, calibration=0.2, test=0.1)


def alone(number):
    return [None] * number, [str(i) for i in range(number)]


def counts(parts):
    return np.bincount(parts, minlength=4).tolist()


def test_images_without_groups_are_shared_out_exactly():
    assert counts(split_groups(*alone(100), SHARES, 0)) == [60, 10, 20, 10]


def test_a_part_without_a_share_stays_empty():
    shares = Split(train=0.5, validation=0.25, calibration=0.25, test=0)
    assert counts(split_groups(*alone(40), shares, 0)) == [20, 10, 10, 0]


def test_the_seed_decides_who_goes_where_and_nothing_else():
    first, again, other = (split_groups(*alone(100), SHARES, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert counts(first) == counts(other)


def test_a_group_is_never_parted():
    groups = [str(i % 13) for i in range(130)]
    parts = split_groups(groups, alone(130)[1], SHARES, 0)
    for group in set(groups):
        assert len({int(p) for p, g in zip(parts, groups, strict=True) if g == group}) == 1


def test_the_same_content_is_never_parted_across_groups():
    groups = ["a", "a", "b", "b", None, "c", "d", "e", "f"]
    contents = ["1", "2", "2", "3", "3", "4", "5", "6", "7"]
    parts = split_groups(groups, contents, SHARES, 0)
    assert len(set(parts[:5].tolist())) == 1


def test_no_part_with_a_share_is_empty_even_if_one_group_holds_nearly_all():
    groups = ["large"] * 100 + ["a", "b", "c"]
    parts = split_groups(groups, alone(103)[1], SHARES, 0)
    assert counts(parts) == [100, 1, 1, 1]


def test_too_few_groups_are_refused():
    with pytest.raises(InputError, match="at least 4 groups of images, one for each part, got 3"):
        split_groups(["a", "b", "c", "c"], alone(4)[1], SHARES, 0)


def test_lengths_that_differ_are_refused():
    with pytest.raises(InputError, match="as many contents as groups"):
        split_groups([None, None], ["1"], SHARES, 0)


def test_time_is_shared_out_in_blocks():
    parts = split_time(np.zeros(10, dtype=int), SHARES)
    assert parts.tolist() == [TRAIN] * 6 + [VALIDATION] + [CALIBRATION] * 2 + [TEST]


def test_each_entity_is_shared_out_by_itself_even_when_they_alternate():
    entity = np.array([3, 5] * 10)
    parts = split_time(entity, SHARES)
    for one in (3, 5):
        np.testing.assert_array_equal(parts[entity == one], split_time(np.zeros(10, dtype=int), SHARES))


def test_points_that_do_not_count_go_with_the_one_before_them():
    counted = np.array([False, True, True, False, False, True, True])
    shares = Split(train=0.5, validation=0.25, calibration=0.25, test=0)
    assert split_time(np.zeros(7, dtype=int), shares, counted=counted).tolist() == [0, 0, 0, 0, 0, 1, 2]


def test_an_empty_series_has_no_parts():
    assert split_time(np.zeros(0, dtype=int), SHARES).shape == (0,)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="one shape"):
        split_time(np.zeros(3, dtype=int), SHARES, counted=np.ones(2, dtype=bool))


@pytest.mark.real_data
def test_the_magnetic_tiles_are_split_by_tile(shared_data):
    rows = (shared_data / "magnetic_tile" / "tiles.csv").read_text().splitlines()[1:]
    groups = [row.split(",")[2] for row in rows]
    parts = split_groups(groups, rows, SHARES, 0)
    shares = np.array(counts(parts)) / len(rows)
    np.testing.assert_allclose(shares, [0.6, 0.1, 0.2, 0.1], atol=0.01)
    assert all(len({p for p, g in zip(parts, groups, strict=True) if g == tile}) == 1 for tile in set(groups))


def test_stretches_put_every_time_of_each_entity_into_every_part():
    entity = np.repeat([0, 1], [300, 120])
    counted = np.ones(420, dtype=bool)
    counted[5::7] = False
    block = stretches(entity, counted, 3)
    assert np.unique(block[entity == 0]).tolist() == [0, 1, 2]
    assert np.unique(block[entity == 1]).tolist() == [3, 4, 5]
    assert (np.diff(block) >= 0).all()
    parts = split_time(block, Split(), counted=counted)
    for code in range(6):
        assert set(parts[block == code]) == {0, 1, 2, 3}
    one = stretches(entity, counted, 1)
    np.testing.assert_array_equal(
        split_time(one, Split(), counted=counted), split_time(entity, Split(), counted=counted)
    )
