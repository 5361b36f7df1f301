"""`one_ahead`: the same items in the same order, errors in their place, one thread."""

from __future__ import annotations

import threading

import pytest

from aeflow.data.ordered_map import one_ahead


def test_items_come_in_their_order_and_none_is_lost():
    assert list(one_ahead(iter(range(100)))) == list(range(100))
    assert list(one_ahead(iter(()))) == []
    assert list(one_ahead(iter([None, 0, None]))) == [None, 0, None]


def test_the_next_item_is_made_while_one_is_handled():
    made = threading.Event()

    def items():
        yield 1
        made.set()
        yield 2

    for item in one_ahead(items()):
        if item == 1:
            assert made.wait(timeout=10)


def test_at_most_one_more_is_made_than_was_asked_for():
    begun = []

    def items():
        for number in range(10):
            begun.append(number)
            yield number

    ahead = one_ahead(items())
    next(ahead)
    ahead.close()
    assert begun in ([0], [0, 1])


def test_an_error_is_raised_after_the_items_before_it():
    def items():
        yield 1
        raise ValueError("broken here")

    ahead = one_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="broken here"):
        next(ahead)
