"""Restored images as PNG files beside copies of what came in, with PSNR and SSIM, and a sheet of some.

Legend: M images of a chunk, C bands, H x W pixels of the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from aeflow import schemas
from aeflow.config import ImagePrepare, ImageSource
from aeflow.data.decoding import DecodeError, decode
from aeflow.data.image_files import root_of
from aeflow.data.image_intake import open_image
from aeflow.data.images import iter_images
from aeflow.detector.image_scores import as_unit
from aeflow.exceptions import SourceError
from aeflow.report.contact_sheet import image_sheet
from aeflow.representations.restoring import in_original, quality, restore_arrays, spoil_images
from aeflow.scoring.judged import table_writer
from aeflow.scoring.pictures import image_png
from aeflow.store.files import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from aeflow.config import Corruption, PipelineConfig
    from aeflow.data.image_intake import StagedImage
    from aeflow.data.images import ImageInputs
    from aeflow.data.intake import Intake
    from flows.side_task import SideTask

RESTORED_FILE = "restored.parquet"
SHEET_FILE = "some.png"
_SHOWN = 8


@dataclass(frozen=True)
class RestoredItems:
    """How many items were restored, of how many the clean one is known, and how good they are in the mean."""

    items: int
    compared: int
    quality: Mapping[str, float]


@dataclass
class _Sums:
    """Sums of figures over the images whose clean one is known."""

    compared: int = 0
    total: dict[str, float] = field(default_factory=dict)

    def add(self, figures: Mapping[str, NDArray[np.float32]]) -> None:
        for name, values in figures.items():
            known = values[~np.isnan(values)]
            if known.size:
                self.total[name] = self.total.get(name, 0.0) + float(known.sum(dtype=np.float64))
        self.compared += int((~np.isnan(figures["psnr_restored"])).sum())

    def means(self) -> dict[str, float]:
        return {name: total / self.compared for name, total in self.total.items()}


def restore_images(
    task: SideTask,
    staged: Intake,
    corruptions: Sequence[Corruption],
    clean: Path | None,
    tell: Callable[[int], None],
) -> RestoredItems:
    """Write `restored.parquet`, a sheet of some, and a PNG of every image below `restored/`, beside what
    came in, below `input/`, and what was made of that, below `spoiled/`."""
    config = task.config.model_copy(update={"prepare": task.detector.config.prepare}).at(task.config.folder)
    shown = _Shown(staged.valid)
    sums, items = _Sums(), 0
    with table_writer(task.build / RESTORED_FILE, schemas.RESTORED_IMAGES) as writer:
        for inputs in iter_images(config, staged):
            if not inputs.items:
                continue
            truth = as_unit(inputs.pixels)
            seen, trivial = (
                spoil_images(inputs, corruptions, task.detector.config.seed) if corruptions else (truth, None)
            )
            if not corruptions:
                truth = _clean_arrays(config, clean, inputs)
            restored = restore_arrays(
                task.detector.image_normal,
                task.detector.network,
                seen,
                device=task.device,
                chunk_items=config.compute.chunk_items,
            )
            figures = _figures({"input": seen, "trivial": trivial, "restored": restored}, truth, inputs)
            writer.write_table(_table(inputs, figures))
            sums.add(figures)
            _write_pngs(task, config, inputs, seen if corruptions else None, restored)
            shown.add(inputs, truth, seen, restored, figures["psnr_restored"])
            items += len(inputs.items)
            tell(items)
    if clean is not None and not sums.compared:
        raise SourceError(
            "expected clean images of the names of the batch's, found none",
            where=str(clean),
            remedy="They lie there by their path below the source's root, or by their file name alone.",
        )
    if shown.items:
        title = f"{config.name}, batch {staged.batch}: restored by detector {task.ref.version}"
        (task.build / SHEET_FILE).write_bytes(shown.sheet(title, corruptions))
    return RestoredItems(items, sums.compared, sums.means())


def _clean_arrays(config: PipelineConfig, folder: Path | None, inputs: ImageInputs) -> NDArray[np.float32]:
    """The clean images of a chunk, prepared as it is; NaN where there is none.

    Raises:
        SourceError: a clean image cannot be decoded, or is of another size though it is cut into tiles.
    """
    found = np.full(inputs.pixels.shape, np.nan, dtype=np.float32)
    if folder is None:
        return found
    assert isinstance(config.prepare, ImagePrepare)
    assert isinstance(config.source, ImageSource)
    for image in inputs.items:
        path = next((p for p in (folder / image.item, folder / Path(image.item).name) if p.is_file()), None)
        if path is None:
            continue
        try:
            decoded = decode(
                path.read_bytes(), color=config.prepare.color, max_pixels=config.source.max_pixels
            )
        except DecodeError as error:
            raise SourceError(f"the clean image cannot be read: {error}", where=str(path)) from error
        mine = np.flatnonzero(inputs.item == image.index)
        if config.prepare.fit == "resize":
            pixels = decoded.resized(config.prepare.height_px, config.prepare.width_px)
            cuts = np.array([[0, 0, config.prepare.width_px, config.prepare.height_px]])
        else:
            pixels, cuts = decoded.pixels, inputs.origin[mine]
            if pixels.shape[:2] != (image.height_px, image.width_px):
                raise SourceError(
                    f"expected a clean image of {image.width_px} x {image.height_px} pixels as {image.item}, "
                    f"got {pixels.shape[1]} x {pixels.shape[0]}",
                    where=str(path),
                )
        white = np.float32(np.iinfo(pixels.dtype).max)
        for number, (x, y, width, height) in zip(mine, cuts.tolist(), strict=True):
            found[number] = pixels[y : y + height, x : x + width].transpose(2, 0, 1) / white
    return found


def _figures(
    shown: Mapping[str, NDArray[np.float32] | None], clean: NDArray[np.float32], inputs: ImageInputs
) -> dict[str, NDArray[np.float32]]:
    """PSNR and SSIM of each way `(M,)`, NaN where nothing is known."""
    figures: dict[str, NDArray[np.float32]] = {}
    for name, arrays in shown.items():
        if arrays is None:
            nothing = np.full(len(inputs.items), np.nan, dtype=np.float32)
            figures |= {f"psnr_{name}": nothing, f"ssim_{name}": nothing}
            continue
        found = quality(arrays, clean, inputs)
        figures |= {f"psnr_{name}": found.psnr.astype(np.float32), f"ssim_{name}": found.ssim}
    return figures


def _table(inputs: ImageInputs, figures: Mapping[str, NDArray[np.float32]]) -> pa.Table:
    schema = schemas.RESTORED_IMAGES
    columns = {
        "item": pa.array([image.item for image in inputs.items], pa.string()),
        "sha256": pa.array([image.sha256 for image in inputs.items], pa.string()),
        **{name: pa.array(values, from_pandas=True) for name, values in figures.items()},
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _write_pngs(
    task: SideTask,
    config: PipelineConfig,
    inputs: ImageInputs,
    spoiled: NDArray[np.float32] | None,
    restored: NDArray[np.float32],
) -> None:
    assert isinstance(config.prepare, ImagePrepare)
    tiled = config.prepare.fit == "tile"
    root = root_of(config)
    for image in inputs.items:
        with storage_errors(task.build, f"write the restored {image.item}"):
            with open_image(root, image.item) as file:
                _write(task.build / "input" / image.item, file.read())
            for name, arrays in (("spoiled", spoiled), ("restored", restored)):
                if arrays is not None:
                    content = image_png(in_original(arrays, inputs, image, tiled=tiled))
                    _write(task.build / name / _as_png(image), content)


def _as_png(image: StagedImage) -> str:
    return image.item if image.item.lower().endswith(".png") else f"{image.item}.png"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


class _Shown:
    """A few of the batch's images, evenly spread over it: the first tile of each where there are tiles."""

    def __init__(self, valid: int) -> None:
        self._wanted = set(np.unique(np.linspace(0, max(valid - 1, 0), _SHOWN).astype(int)).tolist())
        self.items: list[tuple[NDArray[np.float32], ...]] = []
        self._captions: list[str] = []

    def add(
        self,
        inputs: ImageInputs,
        clean: NDArray[np.float32],
        seen: NDArray[np.float32],
        restored: NDArray[np.float32],
        figure: NDArray[np.float32],
    ) -> None:
        for number, image in enumerate(inputs.items):
            if image.index in self._wanted:
                first = int(np.searchsorted(inputs.item, image.index))
                self.items.append((clean[first], seen[first], restored[first]))
                self._captions.append("" if np.isnan(figure[number]) else f"{figure[number]:.1f} dB")

    def sheet(self, title: str, corruptions: Sequence[Corruption]) -> bytes:
        stack = np.stack([np.stack(item) for item in self.items], axis=1)  # (3, items, C, H, W)
        rows = ["clean", "spoiled" if corruptions else "as it came", "restored"]
        if np.isnan(stack[0]).all():
            stack, rows = stack[1:], rows[1:]
        note = " ".join(f"{c.kind} {list(c.model_dump().values())[-1]:g}" for c in corruptions)
        captions = self._captions if any(self._captions) else ()
        return image_sheet(np.nan_to_num(stack, nan=1.0), title=title, note=note, rows=rows, columns=captions)
