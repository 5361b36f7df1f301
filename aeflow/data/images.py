"""From staged images to arrays `(N, C, H, W)`: the one door for training and for scoring images.

Files are read and decoded by threads ahead of the one who asks, by a bounded number, and arrive in the
order of the staged table: neither order nor values depend on the number of threads or on the portions.

fit: resize brings each whole image to the model's size; fit: tile cuts it into tiles of that size in
its own resolution; see `tiling` for the way back to the stored image.

Legend: N arrays (images or tiles), C channels, H x W pixels of the model, K arrays of one image.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aeflow.config import ImagePrepare, ImageSource
from aeflow.data.decoding import DecodeError, Pixels, decode
from aeflow.data.image_files import image_source, root_of
from aeflow.data.image_intake import StagedImage, has_sixteen_bit, iter_items, open_image
from aeflow.data.image_quarantine import SetAside
from aeflow.data.ordered_map import cores, map_in_order
from aeflow.data.tiling import tile_origins
from aeflow.exceptions import InputError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from aeflow.config import PipelineConfig
    from aeflow.data.intake import Intake

# One task of a thread: so few pixels that a chunk is shared out well, so many that handing it over
# does not cost more than a small image.
_TASK_PIXELS = 1 << 20
_TASK_IMAGES = 32


@dataclass(frozen=True)
class ImageInputs:
    """Some images of a batch, ready for the model. The tiles of one image are never parted."""

    pixels: NDArray[np.uint8] | NDArray[np.float32]
    """(N, C, H, W): bytes, black 0 and white 255, or float32, white 1, in all chunks of a batch in which
    some image has 16 bits. Bytes divided by 255 are the same numbers."""
    item: NDArray[np.int64]
    """(N,): row of the staged table that the array shows; not decreasing."""
    origin: NDArray[np.int32]
    """(N, 4): x, y, width, height of what the array shows, in pixels of the stored image."""
    items: tuple[StagedImage, ...]
    """The decoded images, in order, each once."""
    set_aside: tuple[SetAside, ...]
    """Images that turned out not to be fit to score while they were read, in order."""


def iter_images(
    config: PipelineConfig,
    intake: Intake,
    *,
    chunk_items: int | None = None,
    workers: int | None = None,
    only: ArrayLike | None = None,
) -> Iterator[ImageInputs]:
    """The staged images as chunks, each with at most `chunk_items` arrays unless one image alone has
    more tiles. Each image comes once: in `items` of a chunk or in its `set_aside`.

    A file that is gone or has other content than was taken in is set aside as unreadable, and the rest
    goes on; taking the batch in again finds its new digest.

    Args:
        config: what to read and how to prepare it.
        intake: of `take_in_images`.
        chunk_items: None: `compute.chunk_items`.
        workers: threads; None: `compute.workers`, 0: one per core.
        only: rows of the staged table to read, in any order; None: all.

    Raises:
        InputError: `chunk_items` is not positive, or `only` names a row that does not exist.
        SourceError: the source's root is gone.
        StorageError: the staged table cannot be read.
    """
    prepare, source, root = _prepare_of(config), image_source(config), root_of(config)
    size = config.compute.chunk_items if chunk_items is None else chunk_items
    threads = cores(config.compute.workers if workers is None else workers)
    if size < 1 or threads < 1:
        msg = f"expected chunk_items of at least 1 and workers of at least 0, got {size} and {workers}"
        raise InputError(msg)
    wanted = iter_items(intake) if only is None else _chosen(intake, only)
    reader = _Reader(root, source, prepare)
    # Two chunks may wait in memory; a whole image in tiles is as large as the source allows.
    ahead = threads + -(-2 * size // _TASK_IMAGES) if prepare.fit == "resize" else threads + 1
    shape = (len(config.channels), prepare.height_px, prepare.width_px)
    as_float = has_sixteen_bit(intake)
    chunk = _Chunk(shape, as_float=as_float)
    results = map_in_order(reader.read, _tasks(wanted), workers=threads, ahead=ahead)
    with contextlib.closing(results):
        for result in itertools.chain.from_iterable(results):
            if isinstance(result, SetAside):
                full = len(chunk.set_aside) >= size
            else:
                full = bool(chunk.arrays) and chunk.arrays + len(result.origin) > size
            if full:
                yield chunk.assembled()
                chunk = _Chunk(shape, as_float=as_float)
            chunk.add(result)
    if chunk.arrays or chunk.set_aside:
        yield chunk.assembled()


@dataclass(frozen=True, slots=True)
class _Prepared:
    image: StagedImage
    pixels: Pixels
    """What the arrays are cut from: the resized image, or the stored one."""
    cuts: NDArray[np.int32]
    """(K, 4) in `pixels`."""
    origin: NDArray[np.int32]
    """(K, 4) in the stored image."""


@dataclass(frozen=True)
class _Reader:
    root: Path
    source: ImageSource
    prepare: ImagePrepare

    def read(self, images: list[StagedImage]) -> list[_Prepared | SetAside]:
        return [self._read_one(image) for image in images]

    def _read_one(self, image: StagedImage) -> _Prepared | SetAside:
        prepare = self.prepare
        width, height = image.width_px, image.height_px
        if prepare.fit == "tile" and (width < prepare.width_px or height < prepare.height_px):
            return SetAside(image.item, "too_small", f"{width} x {height} pixels")
        try:
            with open_image(self.root, image.item) as file:
                data = file.read()
        except OSError as error:
            if not self.root.is_dir():
                msg = "expected the folder of images, but it is gone"
                raise SourceError(
                    msg, where=str(self.root), remedy="Make it reachable, run again."
                ) from error
            return SetAside(image.item, "unreadable", error.strerror or str(error))
        if hashlib.sha256(data).hexdigest() != image.sha256:
            return SetAside(image.item, "unreadable", "the file has changed since it was taken in")
        try:
            decoded = decode(data, color=prepare.color, max_pixels=self.source.max_pixels)
        except DecodeError as error:
            return SetAside(image.item, error.reason, error.detail)
        if prepare.fit == "resize":
            pixels = decoded.resized(prepare.height_px, prepare.width_px)
            cuts = np.array([[0, 0, prepare.width_px, prepare.height_px]], dtype=np.int32)
            return _Prepared(image, pixels, cuts, np.array([[0, 0, width, height]], dtype=np.int32))
        tiles = tile_origins(
            width,
            height,
            tile_width_px=prepare.width_px,
            tile_height_px=prepare.height_px,
            overlap_px=prepare.tile_overlap_px,
        )
        return _Prepared(image, decoded.pixels, tiles, tiles)


class _Chunk:
    """Collects prepared images until they are copied into one array."""

    def __init__(self, shape: tuple[int, int, int], *, as_float: bool) -> None:
        self._shape = shape
        self._as_float = as_float
        self._images: list[_Prepared] = []
        self.set_aside: list[SetAside] = []
        self.arrays = 0

    def add(self, result: _Prepared | SetAside) -> None:
        if isinstance(result, SetAside):
            self.set_aside.append(result)
            return
        self._images.append(result)
        self.arrays += len(result.origin)

    def assembled(self) -> ImageInputs:
        pixels = np.empty((self.arrays, *self._shape), dtype=np.float32 if self._as_float else np.uint8)
        n = 0
        for image in self._images:
            white = np.float32(np.iinfo(image.pixels.dtype).max)
            for x, y, width, height in image.cuts:
                cut = image.pixels[y : y + height, x : x + width].transpose(2, 0, 1)
                if self._as_float:
                    np.divide(cut, white, out=pixels[n])
                else:
                    pixels[n] = cut
                n += 1
        counts = [len(image.origin) for image in self._images]
        rows = np.array([image.image.index for image in self._images], dtype=np.int64)
        none = np.empty((0, 4), dtype=np.int32)
        return ImageInputs(
            pixels=pixels,
            item=np.repeat(rows, counts),
            origin=np.concatenate([none, *(image.origin for image in self._images)]),
            items=tuple(image.image for image in self._images),
            set_aside=tuple(self.set_aside),
        )


def _prepare_of(config: PipelineConfig) -> ImagePrepare:
    if not isinstance(config.prepare, ImagePrepare):
        msg = f"expected a pipeline of images, got one of {config.kind}"
        raise InputError(msg, where=config.name)
    return config.prepare


def _chosen(intake: Intake, only: ArrayLike) -> Iterator[StagedImage]:
    rows = np.unique(np.asarray(only, dtype=np.int64))
    if rows.size and (rows[0] < 0 or rows[-1] >= intake.valid):
        msg = f"expected rows of the staged table (0 to {intake.valid - 1}), got {rows[0]} to {rows[-1]}"
        raise InputError(msg, where=intake.batch)
    wanted = np.zeros(intake.valid, dtype=np.bool_)
    wanted[rows] = True
    return (image for image in iter_items(intake) if wanted[image.index])


def _tasks(images: Iterable[StagedImage]) -> Iterator[list[StagedImage]]:
    task: list[StagedImage] = []
    pixels = 0
    for image in images:
        task.append(image)
        pixels += image.width_px * image.height_px
        if pixels >= _TASK_PIXELS or len(task) >= _TASK_IMAGES:
            yield task
            task, pixels = [], 0
    if task:
        yield task
