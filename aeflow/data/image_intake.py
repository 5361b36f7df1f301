"""Take in the images of a batch: who they are, and whether their headers are fit to decode.

The images stay where they are; staged is a table of what was found, one row an image. Preparing them
later reads the files again and holds them against the digests found here.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import stat
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from aeflow import schemas
from aeflow.data.below_root import is_utf8, outside, readable
from aeflow.data.decoding import SIXTEEN_BIT, DecodeError, read_header
from aeflow.data.image_files import ImageRef, image_source, root_of
from aeflow.data.image_quarantine import SetAside, quarantine_table
from aeflow.data.intake import ACCOUNT_FILE, QUARANTINE_FILE, Intake
from aeflow.data.left_out import NOTHING
from aeflow.data.ordered_map import cores, map_in_order
from aeflow.exceptions import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from io import BufferedReader
    from pathlib import Path

    from aeflow.config import PipelineConfig
    from aeflow.data.left_out import LeftOut

T = TypeVar("T")

ITEMS_FILE = "items.parquet"

ITEMS = pa.schema(
    [
        ("item", pa.string()),  # path below the source's root
        ("sha256", pa.string()),  # of the file, hex
        ("bytes", pa.int64()),
        ("format", pa.string()),  # PNG, JPEG, TIFF or BMP
        ("mode", pa.string()),  # Pillow's name of the stored pixel format
        ("width_px", pa.int32()),
        ("height_px", pa.int32()),
        ("group", pa.string()),  # null: the image is alone
    ],
    metadata={"aeflow.table": "items", "aeflow.schema_version": schemas.VERSION},
)

# Opening a pipe must not wait for somebody to write into it.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_FILES_A_TASK = 32  # handing work to a thread costs as much as a small file
_ROWS_A_WRITE = 8192


@dataclass(frozen=True, slots=True)
class StagedImage:
    """One row of the staged table."""

    index: int
    """Number of the row, from 0."""
    item: str
    sha256: str
    width_px: int
    height_px: int
    group: str | None


def take_in_images(
    config: PipelineConfig,
    batch: str,
    refs: Sequence[ImageRef],
    folder: Path,
    *,
    left_out: LeftOut = NOTHING,
) -> Intake:
    """Stage `refs` (sorted by item, each once) as a batch in `folder`. Files of a content that is `left_out`
    are set aside.

    Each file is hashed and its header checked, in threads; no pixel is decoded. A file may still turn
    out cut off when it is decoded. The digest is that of the lines "item NUL sha256" of the valid
    images, in order; the same content under two names is two items.

    Writes `items.parquet` (`ITEMS`, sorted by item), `quarantine.parquet` (`schemas.QUARANTINE`) and,
    last, `intake.json`. Memory does not grow with the batch.

    Raises:
        SourceError: the source's root does not exist.
        StorageError: `folder` cannot be written.
        AccountingError: some image was neither staged nor set aside.
    """
    root, max_pixels = root_of(config), image_source(config).max_pixels
    workers = cores(config.compute.workers)

    def look_at(some: tuple[ImageRef, ...]) -> list[_Row | SetAside]:
        leading_out = outside(root, [ref.item for ref in some])
        looked = [
            SetAside(ref.item, "outside_root", f"it leads to {leading_out[ref.item]}")
            if ref.item in leading_out and is_utf8(ref.item)
            else _look_at(root, ref, max_pixels)
            for ref in some
        ]
        return [_unless_left_out(one, left_out) for one in looked] if left_out.images else looked

    looks = map_in_order(look_at, _portions(refs, _FILES_A_TASK), workers=workers, ahead=4 * workers)
    digest = hashlib.sha256()
    reasons: Counter[str] = Counter()
    valid = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ACCOUNT_FILE).unlink(missing_ok=True)  # what it accounts for is overwritten now
        with (
            contextlib.closing(looks),
            pq.ParquetWriter(folder / ITEMS_FILE, ITEMS) as items,
            pq.ParquetWriter(folder / QUARANTINE_FILE, schemas.QUARANTINE) as quarantine,
        ):
            for rows in _portions(itertools.chain.from_iterable(looks), _ROWS_A_WRITE):
                good = [row for row in rows if isinstance(row, _Row)]
                bad = [row for row in rows if isinstance(row, SetAside)]
                for row in good:
                    digest.update(f"{row.item}\0{row.sha256}\n".encode())
                valid += len(good)
                reasons.update(row.reason for row in bad)
                if good:
                    items.write_table(_items_table(good))
                if bad:
                    quarantine.write_table(quarantine_table(config, batch, bad))
    except OSError as error:
        msg = f"the staged images cannot be written: {error.strerror or error}"
        raise StorageError(msg, where=str(folder), remedy="Check the disk's space and the rights.") from error
    intake = Intake(
        folder=folder,
        batch=batch,
        kind="images",
        rows_in=len(refs),
        valid=valid,
        quarantined=dict(sorted(reasons.items())),
        digest=digest.hexdigest(),
        channels=config.channels,
    )
    intake.save()
    return intake


def items_path(intake: Intake) -> Path:
    """The staged table of `ITEMS`."""
    return intake.folder / ITEMS_FILE


def iter_items(intake: Intake) -> Iterator[StagedImage]:
    """The staged images in order.

    Raises:
        StorageError: the staged table cannot be read.
    """
    columns = ("item", "sha256", "width_px", "height_px", "group")
    for index, values in enumerate(_rows_of(intake, columns)):
        yield StagedImage(index, *values)


def has_sixteen_bit(intake: Intake) -> bool:
    """Whether any staged image has 16 bits a pixel; raises as `iter_items`."""
    return any(mode in SIXTEEN_BIT for (mode,) in _rows_of(intake, ("mode",)))


def open_image(root: Path, item: str) -> BufferedReader:
    """The file of an image, open for reading.

    Raises:
        OSError: it does not exist, is no regular file (a pipe would never end), or may not be read.
    """
    file = os.open(f"{root}/{item}", _OPEN_FLAGS)
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(file, "rb")
    os.close(file)
    raise OSError(0, "is a folder" if stat.S_ISDIR(mode) else "is no regular file")


@dataclass(frozen=True, slots=True)
class _Row:
    item: str
    sha256: str
    bytes: int
    format: str
    mode: str
    width_px: int
    height_px: int
    group: str | None


def _look_at(root: Path, ref: ImageRef, max_pixels: int) -> _Row | SetAside:
    if not is_utf8(ref.item):
        return SetAside(readable(ref.item), "unreadable", "the file's name is no UTF-8")
    try:
        with open_image(root, ref.item) as file:
            # Hashing in blocks holds no large file in memory; the header comes from the same open file.
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            if size == 0:
                return SetAside(ref.item, "zero_bytes", "0 bytes")
            file.seek(0)
            header = read_header(file, max_pixels=max_pixels)
    except DecodeError as error:
        return SetAside(ref.item, error.reason, error.detail)
    except OSError as error:
        return SetAside(ref.item, "unreadable", error.strerror or str(error))
    return _Row(
        ref.item, sha256, size, header.format, header.mode, header.width_px, header.height_px, ref.group
    )


def _unless_left_out(one: _Row | SetAside, left_out: LeftOut) -> _Row | SetAside:
    reason = left_out.images.get(one.sha256) if isinstance(one, _Row) else None
    return one if reason is None else SetAside(one.item, reason, "")


def _rows_of(intake: Intake, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    try:
        with pq.ParquetFile(items_path(intake), pre_buffer=False) as file:
            for part in file.iter_batches(_ROWS_A_WRITE, columns=list(columns)):
                yield from zip(*(part.column(name).to_pylist() for name in columns), strict=True)
    except OSError as error:
        msg = f"the staged images cannot be read: {error.strerror or error}"
        raise StorageError(msg, where=str(items_path(intake)), remedy="Take the batch in again.") from error


def _items_table(rows: list[_Row]) -> pa.Table:
    return pa.table({name: [getattr(row, name) for row in rows] for name in ITEMS.names}, schema=ITEMS)


def _portions(values: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    iterator = iter(values)
    while portion := tuple(itertools.islice(iterator, size)):
        yield portion
