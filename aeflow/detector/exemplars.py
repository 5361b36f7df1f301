"""A few normal items that the detector keeps, so that a flag can be shown beside those most like it.

Legend: N items, S numbers of a signature, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from aeflow.detector.image_fitting import ImageHistory
from aeflow.detector.image_scores import as_unit
from aeflow.numerics.codes import Nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aeflow.detector.series_fitting import SeriesHistory

_ITEMS = 200
_SIDE_PX, _QUALITY = 96, 80  # of a kept picture: two kilobytes each


@dataclass(frozen=True, eq=False)
class Exemplars:
    """Normal items that trained no weights.

    names: `(N,)` path of the image, or the entity. signatures: `(N, S)` float32 of their codes (of an image in
    tiles, of one of its tiles), in the units of `CodeSpace.signatures`. axes: `(2, S)` float32, the directions
    along which they lie farthest apart; of less than two numbers the rest are 0. member: `(N,)` the network that
    made each code: those of two have nothing in common. pictures: of images one WebP each, of series none.
    """

    names: tuple[str, ...]
    signatures: NDArray[np.float32]
    axes: NDArray[np.float32]
    member: NDArray[np.int64]
    pictures: tuple[bytes, ...]

    @property
    def comparable(self) -> bool:
        """Whether one network made all codes, so that they lie on one map."""
        return bool(np.unique(self.member).size == 1)

    def nearest(self, signature: NDArray[np.float32], count: int, *, member: int = 0) -> list[dict[str, Any]]:
        """The normal items most like that of a signature `(S,)` by a network, the most like first, as they are
        stored with a flag (`schemas.FLAGS`, neighbours)."""
        rows = np.flatnonzero(self.member == member)
        known = self.signatures[rows].astype(np.float64)
        found = Nearest.none(1, count).with_codes(signature[np.newaxis].astype(np.float64), known, rows)
        return [
            {
                "item": self.names[row],
                "distance": float(apart),
                "picture": self.pictures[row] if self.pictures else None,
            }
            for row, apart in zip(found.row[0].tolist(), found.distance[0].tolist(), strict=True)
            if row >= 0
        ]

    def places(self, signatures: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Where signatures `(Q, S)` lie on the plane of the axes, `(Q, 2)`."""
        return signatures.astype(np.float64) @ self.axes.astype(np.float64).T


def choose_exemplars(
    history: SeriesHistory | ImageHistory,
    numbers: NDArray[np.int64],
    signatures: NDArray[np.float32],
    member: NDArray[np.int64],
) -> Exemplars:
    """Some of the items with these `numbers` `(M,)` (arrays of images, or ends of windows on the grid),
    signatures `(M, S)` and networks `(M,)`, evenly spread."""
    some = np.linspace(0, numbers.size - 1, min(_ITEMS, numbers.size)).astype(np.int64)
    numbers, signatures, member = numbers[some], signatures[some], member[some].astype(np.int64)
    names: list[str]
    pictures: tuple[bytes, ...] = ()
    if isinstance(history, ImageHistory):
        names = [history.names[item] for item in history.item[numbers].tolist()]
        pictures = tuple(_thumbnail(as_unit(history.pixels[number])) for number in numbers.tolist())
    else:
        names = [history.grid.entities[entity] for entity in history.grid.entity[numbers].tolist()]
    return Exemplars(tuple(names), signatures, _axes(signatures), member, pictures)


def exemplar_arrays(exemplars: Exemplars) -> dict[str, NDArray[Any]]:
    """Names beginning with `exemplars.` -> arrays; the names of the items are stored apart."""
    arrays: dict[str, NDArray[Any]] = {
        "signatures": exemplars.signatures,
        "axes": exemplars.axes,
        "member": exemplars.member,
        "picture_ends": np.cumsum([len(picture) for picture in exemplars.pictures], dtype=np.int64),
        "pictures": np.frombuffer(b"".join(exemplars.pictures), dtype=np.uint8),
    }
    return {f"exemplars.{name}": array for name, array in arrays.items()}


def exemplars_from(names: list[str], arrays: dict[str, NDArray[Any]]) -> Exemplars:
    """Those of which `exemplar_arrays` gave `arrays`, here without `exemplars.`."""
    ends = arrays["picture_ends"].tolist()
    content = arrays["pictures"].tobytes()
    pictures = tuple(content[begin:end] for begin, end in zip([0, *ends], ends, strict=False))
    one_network = np.zeros(len(names), dtype=np.int64)  # which detectors had at first
    member = arrays.get("member", one_network)
    return Exemplars(tuple(names), arrays["signatures"], arrays["axes"], member, pictures)


def _axes(signatures: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = signatures.astype(np.float64) - signatures.mean(axis=0, dtype=np.float64)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    axes = np.zeros((2, signatures.shape[1]))
    axes[: len(directions[:2])] = directions[:2]
    # Either sign would do: the one whose largest number is positive.
    largest = np.abs(axes).argmax(axis=1)
    sign = np.where(axes[np.arange(2), largest] < 0, -1.0, 1.0)
    return (axes * sign[:, np.newaxis]).astype(np.float32)


def _thumbnail(pixels: NDArray[np.float32]) -> bytes:
    """An image `(C, H, W)` in 0..1, small."""
    levels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(levels[0] if levels.shape[0] == 1 else np.moveaxis(levels, 0, -1)).convert("RGB")
    file = BytesIO()
    if max(image.size) <= _SIDE_PX // 2:
        image.save(file, format="WEBP", lossless=True)
    else:
        image.thumbnail((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
        image.save(file, format="WEBP", quality=_QUALITY)
    return file.getvalue()
