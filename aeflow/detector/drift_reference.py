"""What the channels and the codes of a history were like: what a batch is held against for drift.

Learnt once with the detector and kept in it. Of a series the quantities are its channels in the entity's robust
units; of images brightness, contrast and sharpness of each band, so that a lamp, a lens or a dirty glass
shows. The codes of items are looked at along the directions in which those of the history vary most.

Legend: N items, E entities, F quantities, C channels or bands, H x W pixels, D numbers of a code, K directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.data.splits import CALIBRATION
from aeflow.detector.image_fitting import ImageHistory
from aeflow.detector.image_scores import ImageArrays, ImageNormal, as_unit, look_at_pixels
from aeflow.detector.series_scores import SeriesNormal, Windows, network_input
from aeflow.detector.side_by_side import map_portions, portion_of
from aeflow.models.bank import NetworkBank
from aeflow.numerics.drift import Profile, learn_profile, spread_over
from aeflow.numerics.scaling import RobustScale, fit_robust_scale

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from aeflow.data.series import SeriesInputs
    from aeflow.detector.detector import Detector
    from aeflow.detector.series_fitting import SeriesHistory
    from aeflow.models.autoencoder import Autoencoder

SAMPLED_ITEMS = 20_000
"""About so many rows or images of a batch, and of a history ten times as many, are looked at, but at least
`LEAST_OF_ENTITY` of each entity: distributions need no more, and the cost does not grow with the batch."""
LEAST_OF_ENTITY = 200
CODED_ITEMS = 4_000
"""About so many of them are encoded as well."""
_DIRECTIONS = 6
_CODE_NUMBERS = 512  # of longer codes evenly spread ones are looked at
_LEAST_BLOCKS = 4
IMAGE_QUANTITIES = ("brightness", "contrast", "sharpness")


@dataclass(frozen=True, eq=False)
class CodeDirections:
    """From codes `(N, D)` to places along K directions, in robust units.

    chosen `(D',)` numbers of the code that are looked at; center `(D',)`; axes `(D', K)`; scale: of the places.
    """

    chosen: NDArray[np.int64]
    center: NDArray[np.float32]
    axes: NDArray[np.float32]
    scale: RobustScale

    def places(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(N, K)`; NaN for a code with a number that is none."""
        placed = (codes[:, self.chosen] - self.center) @ self.axes
        return self.scale.apply(placed, np.zeros(len(codes), dtype=np.int64))


@dataclass(frozen=True, eq=False)
class DriftReference:
    """See the module.

    quantities: `(F,)` names. scale: of images' quantities; None for series, whose scale is that of the scores.
    leads: of series, the share of held-out readings in which each channel has the largest error, `(F,)`; even
    shares where nothing was held out, None for images.
    inputs: profile `(E + 1, F)`. directions, codes: profile `(2, K)`; None for a model without usable codes.
    """

    quantities: tuple[str, ...]
    scale: RobustScale | None
    leads: NDArray[np.float64] | None
    inputs: Profile
    directions: CodeDirections | None
    codes: Profile | None


def learn_drift_reference(
    detector: Detector, history: SeriesHistory | ImageHistory, *, items_per_batch: float, device: torch.device
) -> DriftReference:
    """The reference of a history, over all of its parts: what is looked at is the data, not the fit."""
    detector.network.to(device)
    if isinstance(history, ImageHistory):
        return _of_images(detector, history, items_per_batch, device)
    return _of_series(detector, history, items_per_batch, device)


def image_quantities(
    pixels: ImageArrays, bands: tuple[str, ...]
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names `(F,)` and values `(N, F)` of the quantities of arrays `(N, C, H, W)`: mean, standard deviation, and
    mean absolute difference of neighbouring pixels, of each band, in 0..1 units."""
    unit = as_unit(pixels)
    across = np.abs(np.diff(unit, axis=3)).mean(axis=(2, 3)) + np.abs(np.diff(unit, axis=2)).mean(axis=(2, 3))
    values = [unit.mean(axis=(2, 3)), unit.std(axis=(2, 3)), across]
    names = [f"{band} {what}" for what in IMAGE_QUANTITIES for band in bands]
    return tuple(names), np.concatenate(values, axis=1).astype(np.float64)


def one_in(rows: int, entities: int) -> float:
    """Of how many rows one is looked at, of a batch of `rows` rows and so many entities."""
    return max(1.0, rows / max(SAMPLED_ITEMS, LEAST_OF_ENTITY * max(entities, 1)))


def window_codes(
    network: Autoencoder,
    normal: SeriesNormal,
    inputs: SeriesInputs,
    chosen: NDArray[np.int64],
    device: torch.device,
) -> NDArray[np.float32]:
    """The codes `(N, D)` of some windows of a chunk, by their numbers `(N,)`."""
    codes = normal.codes(inputs.entities)[inputs.grid_entity]
    scaled = network_input(network, normal.scale.apply(inputs.values, codes))
    return _encode_ends(network, scaled, inputs.observed, inputs.ends[chosen], inputs.window, device)


def array_codes(
    network: Autoencoder, normal: ImageNormal, pixels: ImageArrays, device: torch.device
) -> NDArray[np.float32]:
    """The codes `(N, D)` of arrays `(N, C, H, W)`."""
    return _encode(
        network,
        lambda portion: (look_at_pixels(normal, pixels[portion], device).seen, None),
        len(pixels),
        portion_of(pixels.shape[1:], 256, device),
        device,
    )


def _of_series(
    detector: Detector, history: SeriesHistory, items_per_batch: float, device: torch.device
) -> DriftReference:
    normal, config = detector.normal, detector.config
    assert isinstance(normal, SeriesNormal)
    grid, entities = history.grid, len(normal.entities)
    scaled = normal.scale.apply(grid.values, grid.entity)
    rows = np.flatnonzero(grid.has_row)
    looked_at = rows[spread_over(rows, one_in(rows.size, entities) / 10)]
    block = _blocks_of_entities(grid.entity, grid.has_row, items_per_batch / max(entities, 1))
    values = np.where(grid.observed[looked_at], scaled[looked_at], np.nan)
    inputs = learn_profile(values, grid.entity[looked_at], block[looked_at], n_entities=entities)
    leads = _usual_leads(detector, history, device)
    if isinstance(detector.network, NetworkBank):  # codes of several networks have no direction in common
        return DriftReference(config.channels, None, leads, inputs, None, None)
    window = config.item_shape[0]
    ends = grid.window_ends(window, part=np.ones(len(grid.values), dtype=bool), inside=False)
    ends = ends[spread_over(ends, ends.size / (2 * CODED_ITEMS))]
    shown = network_input(detector.network, scaled)
    codes = _encode_ends(detector.network, shown, grid.observed, ends, window, device)
    directions, of_codes = _learn_codes(codes, block[ends])
    return DriftReference(config.channels, None, leads, inputs, directions, of_codes)


def _usual_leads(detector: Detector, history: SeriesHistory, device: torch.device) -> NDArray[np.float64]:
    """How often each channel has the largest error in the calibration part, of some entities where they are
    many."""
    grid, channels = history.grid, len(detector.config.channels)
    window = detector.config.item_shape[0]
    ends = grid.window_ends(window, part=history.part == CALIBRATION, inside=False)
    ends = ends[grid.entity[ends] % -(-max(ends.size, 1) // SAMPLED_ITEMS) == 0]
    if not ends.size:
        return np.full(channels, 1 / channels)
    chunk = detector.config.compute.chunk_items
    found = detector.score_series(
        grid.inputs_at(ends, window), device=device, chunk_items=chunk
    ).contributions
    first = np.nan_to_num(found, nan=-np.inf).argmax(axis=1)
    return np.asarray(np.bincount(first, minlength=channels) / first.size)


def _of_images(
    detector: Detector, history: ImageHistory, items_per_batch: float, device: torch.device
) -> DriftReference:
    number = np.arange(len(history.pixels))
    looked_at = number[spread_over(number, one_in(number.size, 1) / 10)]
    names, raw = image_quantities(history.pixels[looked_at], detector.config.channels)
    nobody = np.zeros(len(raw), dtype=np.int64)
    scale = fit_robust_scale(raw, nobody, 1)
    block = _blocks_of_images(history, items_per_batch)
    inputs = learn_profile(scale.apply(raw, nobody), nobody, block[looked_at], n_entities=1)
    coded = number[spread_over(number, number.size / (2 * CODED_ITEMS))]
    codes = array_codes(detector.network, detector.image_normal, history.pixels[coded], device)
    directions, of_codes = _learn_codes(codes, block[coded])
    return DriftReference(names, scale, None, inputs, directions, of_codes)


def _learn_codes(
    codes: NDArray[np.float32], block: NDArray[np.int64]
) -> tuple[CodeDirections | None, Profile | None]:
    whole = np.isfinite(codes).all(axis=1)
    codes, block = codes[whole], block[whole]
    if len(codes) < 2 * _LEAST_BLOCKS or codes.shape[1] == 0:
        return None, None
    step = -(-codes.shape[1] // _CODE_NUMBERS)
    chosen = np.arange(0, codes.shape[1], step)
    center = codes[:, chosen].mean(axis=0, dtype=np.float64).astype(np.float32)
    _, lengths, axes = np.linalg.svd(codes[:, chosen] - center, full_matrices=False)
    kept = min(_DIRECTIONS, int((lengths > 1e-6 * max(float(lengths[0]), 1e-12)).sum()))
    if kept == 0:
        return None, None
    axes = np.ascontiguousarray(axes[:kept].T)
    nobody = np.zeros(len(codes), dtype=np.int64)
    placed = (codes[:, chosen] - center) @ axes
    directions = CodeDirections(chosen, center, axes, fit_robust_scale(placed, nobody, 1))
    return directions, learn_profile(directions.places(codes), nobody, block, n_entities=1)


def _blocks_of_entities(
    entity: NDArray[np.int32], counted: NDArray[np.bool_], rows_per_batch: float
) -> NDArray[np.int64]:
    """The number of the batch-long block of each point within its entity, `(L,)`; shorter ones where an entity
    would have fewer than `_LEAST_BLOCKS`."""
    block = np.zeros(entity.size, dtype=np.int64)
    for code in np.unique(entity):
        mine = entity == code
        rank = np.cumsum(counted[mine]) - 1
        rows = int(rank[-1]) + 1
        length = max(1.0, min(rows_per_batch, rows / _LEAST_BLOCKS))
        block[mine] = np.minimum(np.maximum(rank, 0) // length, max(1, rows // length) - 1)
    return block


def _blocks_of_images(history: ImageHistory, items_per_batch: float) -> NDArray[np.int64]:
    """The batch that each array came with, as a number `(N,)`; where the history tells too few of them, blocks
    as large as a batch to which images are dealt out in turn."""
    folders = np.unique(history.folder)
    if folders.size >= _LEAST_BLOCKS:
        return np.asarray(np.searchsorted(folders, history.folder)[history.item])
    images = int(history.item.max(initial=0)) + 1
    blocks = max(_LEAST_BLOCKS, round(images / max(items_per_batch, 1.0)))
    return history.item % blocks


def _encode_ends(
    network: Autoencoder,
    scaled: NDArray[np.float32],
    observed: NDArray[np.bool_],
    ends: NDArray[np.int64],
    window: int,
    device: torch.device,
) -> NDArray[np.float32]:
    windows = Windows.of(scaled, observed, ends, window, device)
    return _encode(network, lambda portion: windows[portion], ends.size, 512, device)


def _encode(
    network: Autoencoder,
    read: Callable[[slice], tuple[torch.Tensor, torch.Tensor | None]],
    items: int,
    portion: int,
    device: torch.device,
) -> NDArray[np.float32]:
    def encode(part: slice) -> NDArray[Any]:
        found: NDArray[Any] = network.encode(*read(part)).float().cpu().numpy()
        return found.reshape(len(found), -1)

    nothing = np.empty((0, network.code_size), dtype=np.float32)
    return np.concatenate([nothing, *map_portions(encode, items, portion, device)])
