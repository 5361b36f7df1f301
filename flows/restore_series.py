"""Restored series: of each row what is expected at the end of the window that ends there, as in scores.

Legend: N windows, R rows, C channels, T points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from aeflow import schemas
from aeflow.config import SeriesPrepare
from aeflow.data.labels import key_in_words
from aeflow.data.series import iter_series
from aeflow.detector.codes import scaled_windows
from aeflow.detector.series_scores import SeriesNormal
from aeflow.report.contact_sheet import overlaid_windows
from aeflow.representations.spoiling import spoil
from aeflow.scoring.judged import described, lists_where, table_writer
from flows.restore_images import RESTORED_FILE, SHEET_FILE, RestoredItems

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from aeflow.config import Corruption
    from aeflow.data.intake import Intake
    from aeflow.data.series import SeriesInputs
    from flows.side_task import SideTask

_SHOWN, _SHOWN_CHANNELS = 4, 6
_WAYS = ("input", "trivial", "restored")


@dataclass(frozen=True)
class _Windows:
    """The windows of a chunk, scaled, `(N, T, C)` each, NaN where nothing is known."""

    clean: NDArray[np.float32]
    seen: NDArray[np.float32]
    trivial: NDArray[np.float32]
    restored: NDArray[np.float32]


def restore_series(
    task: SideTask, staged: Intake, corruptions: Sequence[Corruption], tell: Callable[[int], None]
) -> RestoredItems:
    """Write `restored.parquet` and a picture of some windows. With corruptions, the quality is the root mean
    square error of the last points, in robust standard deviations of their channels."""
    prepare, normal = task.detector.config.prepare, task.detector.normal
    assert isinstance(prepare, SeriesPrepare)
    assert isinstance(normal, SeriesNormal)
    channels = task.config.channels
    schema = described(schemas.RESTORED_SERIES, "series", channels)
    squares, values = dict.fromkeys(_WAYS, 0.0), 0
    done = with_window = 0
    shown = _Shown(staged.valid, channels)
    with table_writer(task.build / RESTORED_FILE, schema) as writer:
        # Every window stands whole in memory here: so fewer rows at once than in scoring.
        for inputs in iter_series(staged.rows_path, prepare, normal.cadences, chunk_rows=8_192):
            found = _restored(task, normal, inputs, corruptions)
            writer.write_table(_table(normal, inputs, found, corruptions, schema))
            if corruptions:
                known = ~np.isnan(found.clean[:, -1])
                values += int(known.sum())
                for name, way in zip(_WAYS, (found.seen, found.trivial, found.restored), strict=True):
                    away = np.nan_to_num(way[:, -1]) - found.clean[:, -1]
                    squares[name] += float(np.square(away[known], dtype=np.float64).sum())
            shown.add(normal, inputs, found, done)
            done += inputs.row_window.size
            with_window += int((inputs.row_window >= 0).sum())
            tell(done)
    if shown.captions:
        title = f"{task.config.name}, batch {staged.batch}: restored by detector {task.ref.version}"
        (task.build / SHEET_FILE).write_bytes(shown.picture(title, spoiled=bool(corruptions)))
    quality = {f"rmse_{name}": (total / values) ** 0.5 for name, total in squares.items()} if values else {}
    return RestoredItems(with_window, values, quality)


def _restored(
    task: SideTask, normal: SeriesNormal, inputs: SeriesInputs, corruptions: Sequence[Corruption]
) -> _Windows:
    """Every window of a chunk. How one is spoiled hangs on its entity and its last grid point alone."""
    parts: list[tuple[torch.Tensor, ...]] = []
    begin = 0
    names = _window_names(inputs)
    chunk_items = task.config.compute.chunk_items
    for x, observed in scaled_windows(
        normal, task.detector.network, inputs, device=torch.device("cpu"), chunk_items=chunk_items
    ):
        seen, told, trivial = x, observed, x
        if corruptions:
            spoiled = [
                spoil(x[i : i + 1], observed[i : i + 1], corruptions, f"{task.detector.config.seed} {name}")
                for i, name in enumerate(names[begin : begin + len(x)])
            ]
            seen = torch.cat([one.seen for one in spoiled])
            told = torch.cat(
                [observed[i : i + 1] if s.told is None else s.told for i, s in enumerate(spoiled)]
            )
            trivial = torch.cat([one.trivial for one in spoiled])
        with torch.inference_mode():
            restored = task.detector.network.views(seen.to(task.device), told.to(task.device)).mean(dim=0)
        gap = torch.tensor(torch.nan)
        parts.append(
            (torch.where(observed, x, gap), torch.where(told, seen, gap), trivial, restored.float().cpu())
        )
        begin += len(x)
    if not parts:
        nothing = np.empty((0, inputs.window, inputs.values.shape[1]), dtype=np.float32)
        return _Windows(nothing, nothing, nothing, nothing)
    return _Windows(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))


def _window_names(inputs: SeriesInputs) -> list[str]:
    """Entity and number of the last grid point of each window."""
    names = [""] * inputs.ends.size
    for window, entity, slot in zip(
        inputs.row_window.tolist(), inputs.row_entity.tolist(), inputs.row_slot.tolist(), strict=True
    ):
        if window >= 0:
            names[window] = f"{inputs.entities[entity]} {slot}"
    return names


def _table(
    normal: SeriesNormal,
    inputs: SeriesInputs,
    found: _Windows,
    corruptions: Sequence[Corruption],
    schema: pa.Schema,
) -> pa.Table:
    has_window = inputs.row_window >= 0
    window = np.maximum(inputs.row_window, 0)
    entity = normal.codes(inputs.entities)[inputs.row_entity]

    def of_rows(windows: NDArray[np.float32], present: NDArray[np.bool_]) -> pa.Array:
        last = np.full(inputs.row_values.shape, np.nan, dtype=np.float32)
        if len(windows):
            last = normal.scale.invert(windows[window, -1], entity)
        return lists_where(present, last)

    names = pa.DictionaryArray.from_arrays(
        pa.array(inputs.row_entity), pa.array(inputs.entities, pa.string())
    )
    columns = {
        "entity": names.cast(pa.string()),
        "timestamp": pa.array(inputs.row_time_us).cast(pa.timestamp("us")).cast(schemas.TIME),
        "observed": lists_where(np.ones_like(has_window), inputs.row_values),
        "spoiled": of_rows(found.seen, has_window & bool(corruptions)),
        "restored": of_rows(found.restored, has_window),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


class _Shown:
    """A few windows, evenly spread over the rows of the batch."""

    def __init__(self, valid: int, channels: tuple[str, ...]) -> None:
        self._wanted = np.linspace(0, max(valid - 1, 0), _SHOWN + 1).astype(int)[1:]
        self._channels = channels[:_SHOWN_CHANNELS]
        self._lines: list[NDArray[np.float32]] = []
        self.captions: list[str] = []

    def add(self, normal: SeriesNormal, inputs: SeriesInputs, found: _Windows, first_row: int) -> None:
        for row in (self._wanted - first_row).tolist():
            if not 0 <= row < inputs.row_window.size or inputs.row_window[row] < 0:
                continue
            window = int(inputs.row_window[row])
            name = inputs.entities[inputs.row_entity[row]]
            entity = normal.codes((name,))
            lines = np.stack([way[window] for way in (found.clean, found.seen, found.restored)])
            self._lines.append(normal.scale.invert(lines, np.repeat(entity, 3)))
            self.captions.append(f"to {key_in_words((name, int(inputs.row_time_us[row])))[:-9]}")

    def picture(self, title: str, *, spoiled: bool) -> bytes:
        stack = np.stack(self._lines, axis=1)[..., : len(self._channels)]  # (3, windows, T, C)
        lines = list(zip(("observed", "spoiled", "restored"), stack, strict=True))
        if not spoiled:
            del lines[1]
        shown, all_of_them = len(self._channels), self._lines[0].shape[-1]
        note = f"the first {shown} of {all_of_them} channels" if shown < all_of_them else ""
        return overlaid_windows(lines, channels=self._channels, columns=self.captions, title=title, note=note)
