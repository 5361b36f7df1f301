from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflow.exceptions import InputError
from aeflow.training import items as module
from aeflow.training.items import ImageItems, WindowItems

CPU = torch.device("cpu")


def series(points, channels):
    values = np.arange(points * channels, dtype=np.float32).reshape(points, channels)
    observed = values % 3 != 0
    return values, observed


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.lists(st.integers(4, 19), min_size=1, max_size=8))
def test_a_window_is_the_slice_that_ends_at_its_point(window, channels, ends):
    values, observed = series(20, channels)
    drawn = WindowItems(values, observed, np.array(ends), window)
    x, mask = drawn.take(torch.arange(len(ends)))
    for n, end in enumerate(ends):
        part = slice(end - window + 1, end + 1)
        assert np.array_equal(x[n].numpy(), values[part])
        assert np.array_equal(mask[n].numpy(), observed[part])
    assert x.dtype == torch.float32
    assert mask.dtype == torch.bool


def test_where_everything_is_observed_there_is_no_mask():
    values, observed = series(10, 2)
    assert WindowItems(values, np.ones_like(observed), np.array([4]), 3).take(torch.tensor([0]))[1] is None


@pytest.mark.parametrize("ends", [[1], [10], [5, -1]])
def test_a_window_that_reaches_beyond_the_series_is_refused(ends):
    values, observed = series(10, 2)
    with pytest.raises(InputError, match=r"to end at 2\.\.9, got ends"):
        WindowItems(values, observed, np.array(ends), 3)


def test_arrays_that_do_not_fit_are_refused():
    values, observed = series(10, 2)
    ends = np.array([5])
    with pytest.raises(InputError, match=r"expected values \(L, C\) float32, got \(10, 2\) float64"):
        WindowItems(values.astype(np.float64), observed, ends, 3)
    with pytest.raises(InputError, match=r"expected observed \(10, 2\) bool"):
        WindowItems(values, observed[:5], ends, 3)
    with pytest.raises(InputError, match=r"expected images \(N, C, H, W\) of uint8 or float32"):
        ImageItems(values)
    with pytest.raises(InputError, match="float64"):
        ImageItems(np.zeros((1, 1, 2, 2)))


def test_bytes_are_divided_only_when_drawn():
    images = np.arange(3 * 2 * 2, dtype=np.uint8).reshape(3, 1, 2, 2)
    x, mask = ImageItems(images).take(torch.tensor([2, 0]))
    assert mask is None
    assert np.array_equal(x.numpy(), images[[2, 0]].astype(np.float32) / np.float32(255))


def test_floats_are_drawn_as_they_are():
    images = np.random.default_rng(0).random((3, 1, 2, 2)).astype(np.float32)
    assert np.array_equal(ImageItems(images).take(torch.tensor([1]))[0].numpy(), images[[1]])


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_are_taken_without_a_warning():
    values, observed = series(10, 2)
    images = np.zeros((2, 1, 3, 3), dtype=np.uint8)
    for array in (values, observed, images):
        array.flags.writeable = False
    assert len(WindowItems(values, observed, np.array([5]), 3)) == 1
    assert len(ImageItems(images)) == 2


def test_moving_gives_new_items_and_leaves_the_old_ones(monkeypatch):
    values, observed = series(10, 2)
    windows = WindowItems(values, observed, np.array([4, 6]), 3)
    images = ImageItems(np.zeros((2, 1, 3, 3), dtype=np.uint8))
    for items in (windows, images):
        moved = items.resident(torch.device("meta"))
        assert moved.take(torch.tensor([0], device="meta"))[0].device.type == "meta"
        assert items.take(torch.tensor([0]))[0].device.type == "cpu"


def test_what_does_not_fit_stays_and_is_sent_batch_by_batch(monkeypatch):
    monkeypatch.setattr(module, "_fits", lambda _tensors, _device: False)
    values, observed = series(10, 2)
    windows = WindowItems(values, observed, np.array([4, 6]), 3).resident(torch.device("meta"))
    assert windows._values.device.type == "cpu"
    x, mask = windows.take(torch.tensor([1]))
    assert (x.device.type, mask.device.type) == ("meta", "meta")
