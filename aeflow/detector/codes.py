"""Items to codes: the encoder of a detector by itself.

Legend: N arrays or windows, B of a portion, D numbers of a code, T points, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from aeflow.data.splits import VALIDATION, spread_out
from aeflow.detector.image_fitting import ImageHistory
from aeflow.detector.image_scores import ImageNormal, look_at_pixels
from aeflow.detector.series_scores import SeriesNormal, Windows, network_input
from aeflow.detector.side_by_side import map_portions, portion_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aeflow.data.series import SeriesInputs
    from aeflow.detector.image_scores import ImageArrays
    from aeflow.detector.series_fitting import SeriesHistory
    from aeflow.models.autoencoder import Autoencoder

_ITEMS = 400  # held-out ones, spread out, tell how far apart codes usually lie
_ITEMS_OF_EACH = 20  # of many networks


def encode_arrays(
    normal: ImageNormal,
    network: Autoencoder,
    pixels: ImageArrays,
    *,
    device: torch.device,
    chunk_items: int,
) -> NDArray[np.float32]:
    """The codes `(N, D)` of arrays `(N, C, H, W)`; nothing depends on `chunk_items`."""

    def encode(portion: slice) -> NDArray[np.float32]:
        return _numbers(network.encode(look_at_pixels(normal, pixels[portion], device).seen, None))

    size = portion_of(pixels.shape[1:], chunk_items, device)
    nothing = np.empty((0, network.code_size), dtype=np.float32)
    return np.concatenate([nothing, *map_portions(encode, len(pixels), size, device)])


def encode_windows(
    normal: SeriesNormal,
    network: Autoencoder,
    inputs: SeriesInputs,
    *,
    device: torch.device,
    chunk_items: int,
) -> NDArray[np.float32]:
    """The codes `(N, D)` of the windows of `inputs`; nothing depends on `chunk_items`."""
    windows = scaled_windows(normal, network, inputs, device=device, chunk_items=chunk_items)
    member = torch.from_numpy(window_members(normal, inputs))
    with torch.inference_mode():
        codes = [
            _numbers(network.at(member[number * chunk_items : (number + 1) * chunk_items]).encode(*items))
            for number, items in enumerate(windows)
        ]
    return np.concatenate([np.empty((0, network.code_size), dtype=np.float32), *codes])


def window_members(normal: SeriesNormal, inputs: SeriesInputs) -> NDArray[np.int64]:
    """The network of each window `(N,)` of `inputs`; 0 where there is one."""
    return normal.members(normal.codes(inputs.entities)[inputs.grid_entity[inputs.ends]])


def scaled_windows(
    normal: SeriesNormal,
    network: Autoencoder,
    inputs: SeriesInputs,
    *,
    device: torch.device,
    chunk_items: int,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The windows `(B, T, C)` of a chunk as the network takes them, and what was observed of them."""
    entity = normal.codes(inputs.entities)[inputs.grid_entity]
    values = network_input(network, normal.scale.apply(inputs.values, entity))
    windows = Windows.of(values, inputs.observed, inputs.ends, inputs.window, device)
    for begin in range(0, len(windows), chunk_items):
        yield windows[begin : begin + chunk_items]


def usual_items(
    history: SeriesHistory | ImageHistory,
    normal: SeriesNormal | ImageNormal,
    window: int,
    *,
    count: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Some items that trained no weights, spread over the history, `(N,)`: numbers of arrays, or of series the
    ends of windows of `window` points on the grid, of each of `count` networks some; and their networks `(N,)`."""
    if isinstance(history, ImageHistory):
        items = spread_out(np.flatnonzero(history.part == VALIDATION), _ITEMS)
        return items, np.zeros(items.size, dtype=np.int64)
    assert isinstance(normal, SeriesNormal)
    ends = history.grid.window_ends(window, part=history.part == VALIDATION, inside=False)
    member = normal.members(history.grid.entity[ends].astype(np.int64))
    order = np.argsort(member, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(member[order])) + 1)
    each = max(_ITEMS // len(parts), _ITEMS_OF_EACH)
    chosen = [np.sort(np.concatenate([spread_out(part, each) for part in parts]))]
    networks = [member[chosen[0]]]
    # Those that serve new entities alone are told by what all entities look like to them.
    for other in np.setdiff1d(np.arange(count), member).tolist():
        chosen.append(spread_out(np.arange(ends.size), each))
        networks.append(np.full(chosen[-1].size, other))
    return ends[np.concatenate(chosen)], np.concatenate(networks)


def usual_codes(
    network: Autoencoder,
    normal: SeriesNormal | ImageNormal,
    history: SeriesHistory | ImageHistory,
    items: NDArray[np.int64],
    networks: NDArray[np.int64],
    window: int,
    *,
    device: torch.device,
    chunk_items: int,
) -> NDArray[np.float32]:
    """The codes `(N, D)` of the `items` `(N,)` of `usual_items` by their `networks` `(N,)`."""
    if isinstance(history, ImageHistory):
        assert isinstance(normal, ImageNormal)
        return encode_arrays(normal, network, history.pixels[items], device=device, chunk_items=chunk_items)
    assert isinstance(normal, SeriesNormal)
    grid = history.grid
    points = items[:, np.newaxis] + np.arange(1 - window, 1)
    scaled = network_input(network, normal.scale.apply(grid.values[points], grid.entity[items]))
    x, observed = torch.from_numpy(scaled), torch.from_numpy(grid.observed[points])
    member = torch.from_numpy(networks)

    def encode(portion: slice) -> NDArray[np.float32]:
        own = network.at(member[portion])
        return _numbers(own.encode(x[portion].to(device), observed[portion].to(device)))

    return np.concatenate(map_portions(encode, len(items), chunk_items, device))


def _numbers(values: torch.Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = values.float().cpu().numpy()
    return found
