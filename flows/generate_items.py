"""Items that a variational model draws: samples, ways from one item to another, traversals of its code.

Series are given back in the units of their channels, at the scale of an entity that is new.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.config import SeriesPrepare
from aeflow.data.images import iter_images
from aeflow.data.labels import key_in_words, parse_key
from aeflow.data.series import iter_series
from aeflow.detector.codes import scaled_windows
from aeflow.detector.image_scores import look_at_pixels
from aeflow.detector.series_scores import SeriesNormal
from aeflow.exceptions import InputError, SourceError
from aeflow.report.contact_sheet import image_sheet, window_sheet
from aeflow.representations.embedding_table import embeddings_schema, portions, write_codes
from aeflow.representations.generating import (
    codes_along,
    codes_between,
    decode_codes,
    mean_divergence,
    prior_codes,
    variational_bottleneck,
)
from flows.side_task import side_task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from numpy.typing import NDArray

    from aeflow.config import Kind
    from aeflow.data.intake import Intake
    from aeflow.data.labels import Key
    from flows.side_task import SideTask

# Of a sheet. Windows are plots of their own, which take longer to draw and more room to be read.
_MOST_ROWS, _MOST_ACROSS = {"images": 12, "series": 8}, {"images": 10, "series": 6}
_LOOKED_AT = 2_048  # items of the history, to learn which numbers of the code are used


@dataclass(frozen=True)
class Generated:
    """What came of it: what was made, in words, and the files."""

    pipeline: str
    version: int
    folder: Path
    what: tuple[str, ...]
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"folder": str(self.folder)}


def generate_items(
    config: Path,
    *,
    count: int = 64,
    between: tuple[str, str] | None = None,
    batch: str | None = None,
    traverse: bool = False,
    steps: int = 9,
    seed: int = 0,
    version: int | None = None,
) -> Generated:
    """Draw items, and what else is asked for, as pictures and as arrays (`.npz`).

    Args:
        config: the pipeline's YAML file.
        count: items to draw from the prior.
        between: two items of `batch` to go between.
        batch: see there.
        traverse: vary each number of the code by itself, those with the largest divergence first.
        steps: of these two.
        seed: of the drawing.
        version: of the detector; None: the champion.

    Raises:
        UserError: see `aeflow.exceptions`: what has to be mended is in the message.
    """
    if count < 1 or steps < 2:
        raise InputError(f"expected --count of at least 1 and --steps of at least 2, got {count} and {steps}")
    if (between is None) != (batch is None):
        raise InputError("--between ITEM ITEM and --batch ID belong together", where="aeflow generate")
    with side_task(config, "generating", version=version) as task:
        network, bottleneck = variational_bottleneck(
            task.detector.network, where=f"detector {task.ref.version} of {task.config.name}"
        )
        sheets = [_samples(prior_codes(count, network.code_size, seed=seed), seed, task.config.kind)]
        if between is not None and batch is not None:
            sheets.append(_way_between(task, batch, between, steps))
        if traverse:
            divergence = mean_divergence(network, bottleneck, _some_items(task, task.stage_history()))
            sheets.append(_traversal(divergence, steps, task.config.kind))
        for sheet in sheets:
            sheet.write(task)
        folder = task.paths.generated
        task.deliver(folder)
        return Generated(
            pipeline=task.config.name,
            version=task.ref.version,
            folder=folder,
            what=tuple(sheet.what for sheet in sheets),
            files=tuple(f"{sheet.name}.{end}" for sheet in sheets for end in ("png", "npz")),
        )


@dataclass(frozen=True)
class _Sheet:
    """Codes `(A, B, D)` to be shown in rows and columns; those that are not shown follow in `more` `(N, D)`."""

    name: str
    what: str
    note: str
    codes: NDArray[np.float32]
    more: NDArray[np.float32]
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()

    def write(self, task: SideTask) -> None:
        """Picture and arrays: `items` and `codes`, and what the rows and columns are."""
        network = task.detector.network
        shown = _in_units(task, decode_codes(network, self.codes, device=task.device))
        title = f"{task.config.name}, detector {task.ref.version}: {self.what}"
        words = {"title": title, "note": self.note, "rows": self.rows, "columns": self.columns}
        if task.config.kind == "images":
            picture = image_sheet(shown, **words)  # type: ignore[arg-type]
        else:
            picture = window_sheet(shown, channels=task.config.channels, **words)  # type: ignore[arg-type]
        (task.build / f"{self.name}.png").write_bytes(picture)
        arrays = {"items": shown, "codes": self.codes}
        if len(self.more):
            rest = _in_units(task, decode_codes(network, self.more, device=task.device))
            flat = shown.reshape(-1, *shown.shape[2:])
            arrays = {
                "items": np.concatenate([flat, rest]),
                "codes": np.concatenate([self.codes.reshape(-1, self.codes.shape[-1]), self.more]),
            }
        if self.rows:
            arrays["rows"] = np.array(self.rows)
        np.savez(task.build / f"{self.name}.npz", allow_pickle=False, **arrays)


def _in_units(task: SideTask, items: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decoded items as people know them: images in 0..1, windows in the channels' units."""
    normal = task.detector.normal
    if not isinstance(normal, SeriesNormal):
        return np.clip(items, 0, 1)
    flat = items.reshape(-1, *items.shape[-2:])
    return normal.scale.invert(flat, np.full(len(flat), -1)).reshape(items.shape)


def _samples(codes: NDArray[np.float32], seed: int, kind: Kind) -> _Sheet:
    across = min(_MOST_ACROSS[kind], max(1, int(np.ceil(len(codes) ** 0.5))))
    down = min(_MOST_ROWS[kind], len(codes) // across)
    shown = codes[: down * across].reshape(down, across, -1)
    what = f"{len(codes):,} samples from the prior"
    note = f"seed {seed}" + (
        "" if shown[..., 0].size == len(codes) else f"; the first {shown[..., 0].size} are shown"
    )
    return _Sheet("samples", what, note, shown, codes[down * across :])


def _way_between(task: SideTask, batch: str, between: tuple[str, str], steps: int) -> _Sheet:
    """In even steps from the code of one item to that of the other; of images in tiles by the mean code."""
    zone = task.config.batch.time_zone
    wanted = [parse_key(text, task.config.kind, time_zone=zone) for text in between]
    staged = task.stage(batch)
    path = task.work / "first-pass.parquet"
    schema = embeddings_schema(task.config, task.detector.network.code_size, {})
    write_codes(task.detector, task.config, staged, path, schema, device=task.device)
    found: dict[Key, NDArray[np.float32]] = {}
    for portion in portions(path):
        known = portion.known
        found |= {k: portion.code[n] for n, k in enumerate(portion.keys) if k in wanted and known[n]}
    missing = [key_in_words(key) for key in wanted if key not in found]
    if missing:
        raise SourceError(
            f"expected items of the batch that have a code, got {', '.join(missing)}",
            where=f"batch {batch}",
            remedy="Images are named by their path below the source's root, time points as [ENTITY@]TIME.",
        )
    codes = codes_between(found[wanted[0]], found[wanted[1]], steps)
    shares = [f"{share:.0%}" for share in np.linspace(0, 1, steps)]
    words = [key_in_words(key) for key in wanted]
    return _Sheet(
        "between", "from one item to another", f"{words[0]} to {words[1]}", codes[None], codes[:0],
        columns=shares,
    )  # fmt: skip


def _traversal(divergence: NDArray[np.float64], steps: int, kind: Kind) -> _Sheet:
    order = np.argsort(-divergence, kind="stable")
    codes, values = codes_along(order, divergence.size, steps)
    shown = min(len(order), _MOST_ROWS[kind])
    note = "one number of the code varied, the others 0; those with the largest divergence (KL, nats) first"
    if shown < len(order):
        note += f"; {shown} of {len(order)}"
    return _Sheet(
        "traversal",
        "traversal of the code",
        note,
        codes[:shown],
        codes[shown:].reshape(-1, divergence.size),
        rows=[f"no. {number}: {divergence[number]:.2f}" for number in order[:shown].tolist()],
        columns=[f"{value:+.1f}" for value in values.tolist()],
    )


def _some_items(task: SideTask, staged: Intake) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """About 2000 first items of a staged batch, as the network takes them."""
    chunk_items, done = task.config.compute.chunk_items, 0
    prepare, normal = task.detector.config.prepare, task.detector.normal
    if isinstance(prepare, SeriesPrepare):
        assert isinstance(normal, SeriesNormal)
        for rows in iter_series(staged.rows_path, prepare, normal.cadences):
            for windows in scaled_windows(
                normal, task.detector.network, rows, device=task.device, chunk_items=chunk_items
            ):
                yield windows
                done += len(windows[0])
                if done >= _LOOKED_AT:
                    return
        return
    config = task.config.model_copy(update={"prepare": prepare}).at(task.config.folder)
    for images in iter_images(config, staged, chunk_items=min(chunk_items, _LOOKED_AT)):
        yield look_at_pixels(task.detector.image_normal, images.pixels, task.device).seen, None
        done += len(images.pixels)
        if done >= _LOOKED_AT:
            return
