"""Where tiles lie in an image, and the way back from the model's pixels to the stored image.

Legend: C channels, H x W pixels of the model, K tiles of an image, B boxes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def tile_origins(
    width_px: int, height_px: int, *, tile_width_px: int, tile_height_px: int, overlap_px: int
) -> NDArray[np.int32]:
    """(K, 4) x, y, width, height of the tiles that cover an image, row by row. The last tile of a row
    or column is flush with the border and may overlap its neighbour by more than `overlap_px`.

    Raises:
        InputError: the image is smaller than a tile, or the overlap is not smaller than one.
    """
    xs = _starts(width_px, tile_width_px, overlap_px)
    ys = _starts(height_px, tile_height_px, overlap_px)
    y, x = np.meshgrid(ys, xs, indexing="ij")
    width, height = np.full(x.size, tile_width_px), np.full(x.size, tile_height_px)
    return np.stack([x.ravel(), y.ravel(), width, height], axis=1).astype(np.int32)


def to_original(boxes: ArrayLike, origin: ArrayLike, *, height_px: int, width_px: int) -> NDArray[np.int32]:
    """Boxes found in arrays of `height_px` x `width_px`, in pixels of the stored image.

    Args:
        boxes: (B, 4) x, y, width, height in pixels of the array.
        origin: (4,) or (B, 4) of `ImageInputs`.
        height_px: H of the model.
        width_px: W of the model.

    Returns:
        (B, 4) int32: rounded outwards to whole pixels, inside of `origin`.

    Raises:
        InputError: the shapes do not fit.
    """
    box = np.asarray(boxes, dtype=np.float64)
    area = np.asarray(origin, dtype=np.float64)
    if box.ndim != 2 or box.shape[1] != 4 or area.shape not in {(4,), box.shape}:
        msg = f"expected boxes (B, 4) and origin (4,) or (B, 4), got {box.shape} and {area.shape}"
        raise InputError(msg)
    corner, extent = area[..., :2], area[..., 2:]
    scale = extent / np.array([width_px, height_px], dtype=np.float64)
    # A border that lies on a pixel's edge must not spill over for a rounding error.
    low = np.clip(np.floor(box[:, :2] * scale + 1e-6), 0, extent)
    high = np.clip(np.ceil((box[:, :2] + box[:, 2:]) * scale - 1e-6), 0, extent)
    return np.concatenate([corner + low, high - low], axis=1).astype(np.int32)


def stitch(
    maps: NDArray[np.float32], origins: ArrayLike, *, height_px: int, width_px: int
) -> NDArray[np.float32]:
    """One map of the whole image from those of its tiles; where tiles overlap, their mean.

    Args:
        maps: (K, H, W) or (K, C, H, W), finite.
        origins: (K, 4) of `ImageInputs`.
        height_px: of the stored image.
        width_px: of the stored image.

    Returns:
        (height_px, width_px) or (C, height_px, width_px), float32.

    Raises:
        InputError: the shapes do not fit, or some pixel lies under no tile.
    """
    areas = np.asarray(origins, dtype=np.int64)
    if maps.ndim not in {3, 4} or areas.shape != (len(maps), 4):
        msg = f"expected maps (K, [C,] H, W) and origins (K, 4), got {maps.shape} and {areas.shape}"
        raise InputError(msg)
    if (areas[:, 2:] != maps.shape[:-3:-1]).any():
        msg = f"expected maps in the resolution of their tiles, got {maps.shape} for tiles {areas[0, 2:]}"
        raise InputError(msg)
    total = np.zeros((*maps.shape[1:-2], height_px, width_px), dtype=np.float64)
    count = np.zeros((height_px, width_px), dtype=np.int32)
    for one, (x, y, width, height) in zip(maps, areas, strict=True):
        total[..., y : y + height, x : x + width] += one
        count[y : y + height, x : x + width] += 1
    if not count.all():
        msg = f"the tiles leave {int((count == 0).sum())} of {count.size} pixels uncovered"
        raise InputError(msg)
    return (total / count).astype(np.float32)


def _starts(length: int, tile: int, overlap: int) -> NDArray[np.int64]:
    if not 0 <= overlap < tile <= length:
        msg = f"expected 0 <= overlap < tile <= image, got {overlap}, {tile} and {length} pixels"
        raise InputError(msg)
    starts = np.arange(0, length - tile + 1, tile - overlap, dtype=np.int64)
    return starts if starts[-1] == length - tile else np.append(starts, length - tile)
