"""Look at a folder of images: how many, of what kind and size, in which folders, and what is no input."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from aeflow.config import ImageSource
from aeflow.data.below_root import any_glob, walk
from aeflow.data.decoding import SIXTEEN_BIT, DecodeError, decode, read_header
from aeflow.exceptions import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOOKED_AT = 400  # headers read, spread over all files
_DECODED = 24  # colour images looked into: many cameras store grey as three equal bands
_MAX_PIXELS = 100_000_000
_GREY_MODES = SIXTEEN_BIT | {"1", "L", "LA"}
# Folders of masks, as public inspection data name them.
_MASK_FOLDERS = ("mask", "masks", "ground_truth", "groundtruth", "gt")
_LISTED_ROWS = 50  # rows of a CSV that are tried as paths


@dataclass(frozen=True)
class ManifestLike:
    """A CSV below the root whose rows name images."""

    path: str
    item: str
    """The pattern that gives the image's path, such as "{class}/{file}"."""
    groups: tuple[str, ...]
    """Columns that several images share and that are no part of the path."""


@dataclass(frozen=True)
class ImageProfile:
    """What a folder of images holds. Sizes are (width, height) in pixels."""

    root: Path
    images: int
    """Files that count as input: those that `exclude` leaves."""
    folders: dict[str, int]
    """First-level folder -> images in it, sorted by name."""
    in_root: int
    """Images directly in the root."""
    looked_at: int
    """Images whose header was read; the following are of them."""
    formats: dict[str, int]
    modes: dict[str, int]
    smallest_px: tuple[int, int]
    median_px: tuple[int, int]
    largest_px: tuple[int, int]
    grey: bool
    """All of them are grey, or colour with three equal bands."""
    unreadable: tuple[str, ...]
    exclude: tuple[str, ...]
    """Globs of what is no input: masks beside the images."""
    excluded: int
    manifests: tuple[ManifestLike, ...]


def profile_images(root: Path) -> ImageProfile:
    """Look at the images below `root`; headers of a few hundred are read, however many there are.

    Raises:
        SourceError: there is no such folder, it cannot be listed, or it holds no image that can be read.
    """
    root = root.expanduser().resolve()
    if not root.is_dir():
        came = "a file" if root.exists() else "nothing"
        msg = f"expected a folder of images, and there is {came}"
        raise SourceError(msg, where=str(root), remedy="Give the folder: --images PATH.")
    wanted = any_glob(ImageSource(root=str(root)).include)
    items = sorted(item for item in walk(root) if not _hidden(item))
    found = [item for item in items if wanted.fullmatch(item)]
    exclude = _masks(found)
    unwanted = any_glob(exclude)
    kept = [item for item in found if not unwanted.fullmatch(item)]
    if not kept:
        msg = f"expected PNG, JPEG, TIFF or BMP files, but among {len(items)} files there is none"
        raise SourceError(msg, where=str(root), remedy="Give the folder that holds the images.")
    chosen = _spread_over(kept, _LOOKED_AT)
    headers, unreadable = [], []
    for item in chosen:
        try:
            with (root / item).open("rb") as file:
                headers.append((item, read_header(file, max_pixels=_MAX_PIXELS)))
        except (DecodeError, OSError):
            unreadable.append(item)
    if not headers:
        msg = f"expected images, but none of the {len(chosen)} looked at can be read, such as {chosen[0]!r}"
        raise SourceError(msg, where=str(root), remedy="Are they PNG, JPEG, TIFF or BMP, and not cut off?")
    sizes = np.array([(header.width_px, header.height_px) for _, header in headers])
    colour = [item for item, header in headers if header.mode not in _GREY_MODES]
    return ImageProfile(
        root=root,
        images=len(kept),
        folders=dict(sorted(Counter(item.split("/", 1)[0] for item in kept if "/" in item).items())),
        in_root=sum("/" not in item for item in kept),
        looked_at=len(chosen),
        formats=dict(Counter(header.format for _, header in headers).most_common()),
        modes=dict(Counter(header.mode for _, header in headers).most_common()),
        smallest_px=_pair(sizes.min(axis=0)),
        median_px=_pair(np.median(sizes, axis=0)),
        largest_px=_pair(sizes.max(axis=0)),
        grey=all(_three_equal_bands(root / item) for item in _spread_over(colour, _DECODED)),
        unreadable=tuple(unreadable),
        exclude=exclude,
        excluded=len(found) - len(kept),
        manifests=_manifests(root, items, set(kept)),
    )


def _masks(items: Sequence[str]) -> tuple[str, ...]:
    """Globs of files that say where something is rather than show it: folders of masks, and PNG files
    that all lie beside an image of another suffix and the same name."""
    folders = {part for item in items for part in item.split("/")[:-1] if part.lower() in _MASK_FOLDERS}
    globs = [f"**/{folder}/**" for folder in sorted(folders)]
    left = [PurePosixPath(item) for item in items if not any_glob(globs).fullmatch(item)]
    others = {path.with_suffix("") for path in left if path.suffix.lower() != ".png"}
    png = [path for path in left if path.suffix.lower() == ".png"]
    if png and all(path.with_suffix("") in others for path in png):
        globs.append("**/*.png")
    return tuple(globs)


def _manifests(root: Path, items: Sequence[str], images: set[str]) -> tuple[ManifestLike, ...]:
    tables = [item for item in items if item.lower().endswith(".csv") and item.count("/") <= 1]
    return tuple(like for item in tables if (like := _as_manifest(root, item, images)))


def _as_manifest(root: Path, item: str, images: set[str]) -> ManifestLike | None:
    try:
        with (root / item).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return None  # whatever it is, it lists no images
    columns = [name for name in (rows[0] if rows else {}) if name]
    for length in (1, 2, 3):
        for some in permutations(columns, length):
            paths = ["/".join(str(row[name]) for name in some) for row in rows[:_LISTED_ROWS]]
            if all(path in images for path in paths):
                shared = (c for c in columns if c not in some and 1 < len({r[c] for r in rows}) < len(rows))
                return ManifestLike(item, "/".join(f"{{{name}}}" for name in some), tuple(shared))
    return None


def _three_equal_bands(path: Path) -> bool:
    try:
        pixels = decode(path.read_bytes(), color="rgb", max_pixels=_MAX_PIXELS).pixels
    except (DecodeError, OSError):
        return True  # it says nothing about colour; taking it in will set it aside
    return bool((pixels == pixels[:, :, :1]).all())


def _spread_over(items: Sequence[str], count: int) -> list[str]:
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).astype(int)]


def _hidden(item: str) -> bool:
    return any(part.startswith(".") for part in item.split("/"))


def _pair(size: np.ndarray) -> tuple[int, int]:
    return int(size[0]), int(size[1])
