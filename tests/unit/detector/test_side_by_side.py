from __future__ import annotations

import threading

import pytest
import torch

from aeflow.detector.side_by_side import map_portions

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(("items", "size"), [(0, 4), (3, 4), (4, 4), (23, 4), (23, 1)])
def test_the_portions_are_all_items_in_order(items, size):
    found = map_portions(lambda portion: list(range(items))[portion], items, size, CPU)
    assert [item for portion in found for item in portion] == list(range(items))
    assert all(len(portion) <= size for portion in found)


def test_every_portion_runs_on_one_thread_without_gradients(threads):
    weight = torch.ones(1, requires_grad=True)

    def look(_portion):
        return torch.get_num_threads(), (weight * 2).requires_grad

    assert map_portions(look, 9, 2, CPU) == [(1, False)] * 5
    assert torch.get_num_threads() == threads
    assert not torch.is_inference_mode_enabled()


def test_as_many_portions_run_at_once_as_torch_has_threads(threads):
    together = threading.Barrier(threads)
    assert map_portions(lambda _: together.wait(timeout=20), threads, 1, CPU) is not None


def test_an_error_is_raised_and_the_threads_are_as_before(threads):
    def fail(portion):
        if portion.start == 2:
            raise ValueError("third")

    with pytest.raises(ValueError, match="third"):
        map_portions(fail, 5, 1, CPU)
    assert torch.get_num_threads() == threads
