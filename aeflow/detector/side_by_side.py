"""Portions of a batch through the network side by side, each on one core.

Splitting a small operation among cores keeps them waiting for each other; portions of their own do not.
On a GPU, which is filled by one portion, they go one after another.
"""

from __future__ import annotations

from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, TypeVar

import torch

from aeflow.data.ordered_map import map_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

B = TypeVar("B")

# On a CPU a portion's activations should stay in its caches, and memory is held by portions alone: at 128 x 128,
# 16 images at once take 60 % of the time of 512 at once; an LSTM over 60 points of 38 channels takes as long for
# 114 windows at once as for 512, in a tenth less memory.
_VALUES_AT_ONCE = 2**18


def map_portions(function: Callable[[slice], B], items: int, size: int, device: torch.device) -> list[B]:
    """`function` of the slices of at most `size` out of `items`, under inference mode; results in order.

    On a CPU as many at once as torch has threads, and each of one thread, so that neither their number
    nor `torch.set_num_threads` changes a result.
    """

    def call(begin: int) -> B:
        with torch.inference_mode():  # is a state of the thread
            return function(slice(begin, min(begin + size, items)))

    begins = range(0, items, size)
    if device.type != "cpu":
        return [call(begin) for begin in begins]
    with one_thread_each() as workers:
        if min(workers, len(begins)) < 2:
            return [call(begin) for begin in begins]
        return list(map_in_order(call, begins, workers=workers, ahead=2 * workers))


def portion_of(item_shape: tuple[int, ...], chunk_items: int, device: torch.device) -> int:
    """How many items of `item_shape` go through the network at once, at most `chunk_items`."""
    if device.type != "cpu":
        return chunk_items
    return max(1, min(chunk_items, _VALUES_AT_ONCE // prod(item_shape)))


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Operations begun inside use one thread each; yields how many threads torch had before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)
