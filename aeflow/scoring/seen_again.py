"""A flagged item that a report kept, seen by another detector than the one that flagged it.

Codes of two detectors cannot be compared. So where a new detector went live, what was reviewed is shown to
it again: the window of a series as it was kept, or the picture of an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from aeflow.config import ImagePrepare, SeriesPrepare
from aeflow.data.series import SeriesInputs
from aeflow.data.tiling import tile_origins
from aeflow.detector.codes import encode_arrays, encode_windows, window_members
from aeflow.detector.series_scores import SeriesNormal
from aeflow.numerics.likeness import direction

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from aeflow.detector import Detector


@dataclass(frozen=True, eq=False)
class Seen:
    """What a detector makes of an item: score, direction `(C,)` (`numerics.likeness.direction`) and
    signature `(S,)`."""

    score: float
    direction: NDArray[np.float64]
    signature: NDArray[np.float32]


def see_window(
    detector: Detector, entity: str, window: Sequence[float | None], *, device: torch.device
) -> Seen | None:
    """The last point of a kept window of `schemas.FLAGS`, by this detector; None where it takes windows of
    another size, or saw nothing there. What was not observed is bridged as far as the window tells.
    Where scores are smoothed or measured against a trailing level (`Detector.look_back`), the score is that of the
    window alone, and cannot be compared with scores of a batch."""
    prepare, normal = detector.config.prepare, detector.normal
    assert isinstance(prepare, SeriesPrepare)
    assert isinstance(normal, SeriesNormal)
    points, channels = detector.network.item_shape
    if detector.code_space is None or len(window) != points * channels:
        return None
    values = np.array([np.nan if v is None else v for v in window], dtype=np.float32)
    values = values.reshape(points, channels)
    inputs = _one_window(entity, values, prepare.max_gap_points)
    found = detector.score_series(inputs, device=device, chunk_items=1)
    if np.isnan(found.score[0]):
        return None
    code = encode_windows(normal, detector.network, inputs, device=device, chunk_items=1)
    deviation = values[-1] - found.expected[0]
    return Seen(
        float(found.score[0]),
        direction(found.contributions[0], deviation),
        detector.code_space.signatures(code, window_members(normal, inputs))[0],
    )


def see_picture(detector: Detector, png: bytes, *, device: torch.device) -> Seen | None:
    """A kept picture of `schemas.FLAGS`, by this detector: of one in tiles the worst tile. None where it
    takes images of another size or other colours."""
    prepare = detector.config.prepare
    assert isinstance(prepare, ImagePrepare)
    with Image.open(BytesIO(png), formats=["PNG"]) as image:
        levels = np.asarray(image)
    pixels = levels[np.newaxis] if levels.ndim == 2 else np.moveaxis(levels, -1, 0)
    bands, height, width = detector.network.item_shape
    too_small = pixels.shape[1] < height or pixels.shape[2] < width
    other_size = prepare.fit == "resize" and pixels.shape[1:] != (height, width)
    if detector.code_space is None or pixels.shape[0] != bands or too_small or other_size:
        return None
    origins = tile_origins(
        pixels.shape[2],
        pixels.shape[1],
        tile_width_px=width,
        tile_height_px=height,
        overlap_px=prepare.tile_overlap_px,
    )
    arrays = np.stack([pixels[:, y : y + height, x : x + width] for x, y, _, _ in origins])
    chunk = detector.config.compute.chunk_items
    found = detector.score_images(arrays, device=device, chunk_items=chunk)
    worst = int(np.argmax(found.score))
    code = encode_arrays(
        detector.image_normal, detector.network, arrays[[worst]], device=device, chunk_items=1
    )
    return Seen(
        float(found.score[worst]),
        direction(found.contributions[worst]),
        detector.code_space.signatures(code)[0],
    )


def _one_window(entity: str, values: NDArray[np.float32], max_gap: int) -> SeriesInputs:
    """A window `(T, C)` with NaN where nothing was observed, as the detector takes it."""
    observed = ~np.isnan(values)
    index = np.arange(len(values))[:, np.newaxis]
    last = np.maximum.accumulate(np.where(observed, index, -1), axis=0)
    held = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    bridged = (last >= 0) & (index - last <= max_gap)
    nothing: dict[str, Any] = {
        name: np.zeros(1, dtype=kind)
        for name, kind in (("row_window", np.int64), ("row_entity", np.int32), ("row_slot", np.int64))
    }
    return SeriesInputs(
        entities=(entity,),
        window=len(values),
        values=np.where(bridged, held, np.nan).astype(np.float32),
        observed=observed,
        grid_entity=np.zeros(len(values), dtype=np.int32),
        grid_slot=np.arange(len(values)),
        ends=np.array([len(values) - 1]),
        row_time_us=np.zeros(1, dtype=np.int64),
        row_values=values[-1:],
        **nothing,
    )
