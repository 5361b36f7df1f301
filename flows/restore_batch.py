"""What the network makes of a batch's items: denoised, filled in, enlarged; and whether that helps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeflow.exceptions import InputError
from aeflow.representations.spoiling import parse_corruption
from flows.restore_images import restore_images
from flows.restore_series import restore_series
from flows.side_task import of_items, side_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True)
class Restored:
    """What came of it. quality: figure -> mean over the `compared` items or values whose clean form is
    known, of the input, the plainest restoration (if known) and the network's."""

    pipeline: str
    batch: str
    version: int
    folder: Path
    items: int
    left_out: int
    compared: int
    quality: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"folder": str(self.folder)}


def restore_batch(
    config: Path,
    batch: str,
    *,
    version: int | None = None,
    spoil: Sequence[str] = (),
    clean: Path | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Restored:
    """Write what the network makes of every item of a batch.

    Args:
        config: the pipeline's YAML file.
        batch: which batch.
        version: of the detector; None: the champion.
        spoil: `KIND=NUMBER` each: the items are spoiled first, one after the other, so that the clean ones
            are known.
        clean: a folder with the clean images, of the same names.
        progress: told how far it is.

    Raises:
        UserError: see `aeflow.exceptions`: what has to be mended is in the message.
    """
    if spoil and clean is not None:
        raise InputError(
            "expected --spoil or --clean, not both: items that are spoiled here are their own clean ones",
            where="aeflow restore",
        )
    with side_task(config, "restoring", version=version) as task:
        corruptions = tuple(parse_corruption(text, task.config.kind) for text in spoil)
        if clean is not None and task.config.kind != "images":
            raise InputError("--clean names images; spoil a series with --spoil", where="aeflow restore")
        if clean is not None and not clean.is_dir():
            raise InputError("expected a folder of clean images, there is none", where=str(clean))
        staged = task.stage(batch)

        tell = of_items(progress, staged.valid)

        if task.config.kind == "images":
            found = restore_images(task, staged, corruptions, clean, tell)
        else:
            found = restore_series(task, staged, corruptions, tell)
        folder = task.paths.restored(batch)
        task.deliver(folder)
        return Restored(
            pipeline=task.config.name,
            batch=batch,
            version=task.ref.version,
            folder=folder,
            items=found.items,
            left_out=staged.rows_in - found.items,
            compared=found.compared,
            quality=found.quality,
        )
