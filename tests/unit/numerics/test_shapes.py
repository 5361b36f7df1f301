from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_binary, expect_entities, expect_finite, expect_shape


@pytest.mark.parametrize("shape", [(2, 3), (None, 3), (2, None), (None, None)])
def test_an_array_of_the_shape_is_let_through(shape):
    expect_shape("values", np.zeros((2, 3)), shape)


@pytest.mark.parametrize("shape", [(2, 4), (1, 3), (None, 4), (2,), (2, 3, 1), ()])
def test_an_array_that_differs_in_one_length_is_refused_with_both_shapes(shape):
    expected = ", ".join("any" if n is None else str(n) for n in shape)
    with pytest.raises(InputError, match=rf"values must have the shape \({expected}\), got \(2, 3\)"):
        expect_shape("values", np.zeros((2, 3)), shape)


def test_entity_codes_are_integers_within_their_bounds():
    expect_entities(np.array([0, 2]), 3)
    expect_entities(np.array([-1, 2]), 3, lowest=-1)
    with pytest.raises(InputError, match=r"0 .. 2, got \[-1, 3\] in 3 rows"):
        expect_entities(np.array([-1, 0, 3, 3]), 3)
    with pytest.raises(InputError, match="integer codes, got float64"):
        expect_entities(np.array([0.0]), 1)


def test_labels_are_two_values_and_no_other():
    assert expect_binary("labels", np.array([0.0, 1.0])).tolist() == [False, True]
    with pytest.raises(InputError, match=r"got \[2\]"):
        expect_binary("labels", np.array([0, 1, 2]))


def test_values_that_are_not_finite_are_counted_and_refused():
    expect_finite("scores", np.zeros(3))
    with pytest.raises(InputError, match="got 2 of 3 values"):
        expect_finite("scores", np.array([np.nan, np.inf, 0.0]))
