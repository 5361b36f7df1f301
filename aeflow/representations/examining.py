"""What a detector's network is worth by itself: how well it gives normal items back, how much of its code it
uses, and how well a linear classifier reads classes from that.

Legend: N items, D numbers of a code, F numbers of an item.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from aeflow.config import SeriesPrepare
from aeflow.data.images import iter_images
from aeflow.data.series import iter_series
from aeflow.detector.codes import scaled_windows
from aeflow.detector.image_scores import as_unit, look_at_pixels
from aeflow.detector.series_scores import SeriesNormal
from aeflow.detector.side_by_side import portion_of
from aeflow.exceptions import InputError
from aeflow.models.errors import error_map
from aeflow.numerics.codes import CodeMoments, active_units
from aeflow.numerics.linear_reading import (
    fit_reading,
    fold_edges,
    folds_of_names,
    folds_of_times,
    near_folds,
)
from aeflow.representations.encoding import is_variational, mean_by_image
from aeflow.representations.restoring import quality

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.data.images import ImageInputs
    from aeflow.data.intake import Intake
    from aeflow.data.labels import Key
    from aeflow.data.series import SeriesInputs
    from aeflow.detector import Detector

_MOST_ITEMS = 5_000
_MOST_RAW_VALUES = 20_000_000  # of all items together: 80 MB
_NEVER = -(2**62)


@dataclass(frozen=True)
class _Named:
    """An item with a class: its code `(D,)`, itself `(F,)`, and what keeps it from being told by a classifier
    that saw it: the name of its group, or its time in microseconds."""

    order: bytes
    name: str
    code: NDArray[np.float32]
    raw: NDArray[np.float32]
    group: str
    time_us: int


@dataclass
class Examination:
    """Gathers over batches. Items that the detector was fitted on are passed over.

    normal: keys of the items that are normal; classes: key -> class of some items, normal or not.
    """

    detector: Detector
    config: PipelineConfig
    normal: frozenset[Key]
    classes: Mapping[Key, str]
    device: torch.device
    _moments: CodeMoments = field(init=False)
    _sums: dict[str, float] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _named: list[_Named] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Nothing has been seen yet."""
        self._moments = CodeMoments.none(self.detector.network.code_size)

    def add(self, staged: Intake) -> None:
        """The items of a staged batch."""
        detector = self.detector
        detector.network.to(self.device)
        if isinstance(detector.config.prepare, SeriesPrepare):
            assert isinstance(detector.normal, SeriesNormal)
            for rows in iter_series(staged.rows_path, detector.config.prepare, detector.normal.cadences):
                self._add_rows(rows, detector.normal, staged.batch)
            return
        source = self.config.model_copy(update={"prepare": detector.config.prepare}).at(self.config.folder)
        for inputs in iter_images(source, staged):
            self._add_images(inputs)

    def figures(self) -> dict[str, float]:
        """Name -> value, of what there is: `reconstruction_error` (the pipeline's own, mean of a value),
        `psnr` and `ssim` of images, `active_units` (share of the code's numbers), and with classes
        `class_accuracy` from the codes, `class_accuracy_raw` from the items and `class_majority`.

        Raises:
            InputError: too few items have a class, or of too few classes.
        """
        found = {name: total / self._counts[name] for name, total in self._sums.items()}
        if self._moments.count:
            active = active_units(self._moments.variance, variational=is_variational(self.detector.network))
            found["active_units"] = active / self.detector.network.code_size
        if self.classes:
            found |= self._class_figures()
        return found

    def _add_images(self, inputs: ImageInputs) -> None:
        fitted = self.detector.fitted_on
        chosen = [
            image
            for image in inputs.items
            if (image.item in self.normal or image.item in self.classes)
            and not fitted.knows(image.sha256, image.group)
        ]
        if not chosen:
            return
        mine = np.isin(inputs.item, [image.index for image in chosen])
        some = replace(inputs, pixels=inputs.pixels[mine], item=inputs.item[mine], items=tuple(chosen))
        pixels = as_unit(some.pixels)
        size = portion_of(pixels.shape[1:], self.config.compute.chunk_items, self.device)
        codes, items, errors = [], [], []
        with torch.inference_mode():
            for begin in range(0, len(pixels), size):
                portion = pixels[begin : begin + size]
                look = look_at_pixels(self.detector.image_normal, portion, self.device)
                found = self.detector.network(look.seen, None)
                away = error_map(self.detector.config.error, found.items, look.seen)
                errors.append(away.mean(dim=(1, 2, 3)).float().cpu().numpy())
                codes.append(found.code.float().cpu().numpy())
                items.append(look.pixels(found.items.float()).cpu().numpy())
        code = mean_by_image(np.concatenate(codes), some)
        error = mean_by_image(np.concatenate(errors), some)
        close = quality(np.concatenate(items), pixels, some)
        normal = np.array([image.item in self.normal for image in chosen], dtype=bool)
        self._moments = self._moments.with_codes(code[normal])
        self._count("reconstruction_error", error[normal])
        self._count("psnr", close.psnr[normal])
        self._count("ssim", close.ssim[normal])
        if self.classes:
            raw = mean_by_image(pixels, some).reshape(len(chosen), -1)
            for number, image in enumerate(chosen):
                self._keep(image.item, code[number], raw[number], image.group or image.sha256, 0)

    def _add_rows(self, inputs: SeriesInputs, normal: SeriesNormal, batch: str) -> None:
        fitted = self.detector.fitted_on
        learnt = batch in fitted.batches
        windows: dict[int, Key] = {}
        for entity, time, window in zip(
            inputs.row_entity.tolist(), inputs.row_time_us.tolist(), inputs.row_window.tolist(), strict=True
        ):
            name = inputs.entities[entity]
            key: Key = (name, time)
            if window < 0 or (learnt and time <= fitted.until_us.get(name, _NEVER)):
                continue
            if key in self.normal or key in self.classes:
                windows.setdefault(window, key)
        if not windows:
            return
        chosen = sorted(windows)
        some = replace(inputs, ends=inputs.ends[chosen])
        begin = 0
        for x, observed in scaled_windows(
            normal,
            self.detector.network,
            some,
            device=self.device,
            chunk_items=self.config.compute.chunk_items,
        ):
            with torch.inference_mode():
                found = self.detector.network(x, observed)
                counts = observed.to(x.dtype) * self._weight(x)
                away = error_map(self.detector.config.error, found.items, x) * counts
                total = counts.sum(dim=(1, 2)).clamp_min(torch.finfo(x.dtype).tiny)
                errors = (away.sum(dim=(1, 2)) / total).float().cpu().numpy()
            keys = [windows[window] for window in chosen[begin : begin + len(x)]]
            is_normal = np.array([key in self.normal for key in keys], dtype=bool)
            code = found.code.float().cpu().numpy()
            self._moments = self._moments.with_codes(code[is_normal])
            self._count("reconstruction_error", errors[is_normal])
            if self.classes:
                raw = x.flatten(1).cpu().numpy()
                for number, key in enumerate(keys):
                    self._keep(key, code[number], raw[number], "", int(key[1]))
            begin += len(x)

    def _weight(self, x: torch.Tensor) -> torch.Tensor:
        """How much each value of a window counts in training: of some, only those that are foretold."""
        weight = self.detector.network.loss_weight
        return torch.ones_like(x) if weight is None else weight.to(x).expand_as(x)

    def _count(self, name: str, values: NDArray[np.floating[Any]]) -> None:
        if values.size:
            self._sums[name] = self._sums.get(name, 0.0) + float(values.sum(dtype=np.float64))
            self._counts[name] = self._counts.get(name, 0) + values.size

    def _keep(
        self, key: Key, code: NDArray[np.float32], raw: NDArray[np.float32], group: str, time_us: int
    ) -> None:
        """Keep an item if it has a class; of too many those whose names' digests come first."""
        name = self.classes.get(key)
        if name is None:
            return
        order = hashlib.sha256(f"{self.detector.config.seed} {key}".encode()).digest()
        self._named.append(_Named(order, name, code, raw.copy(), group, time_us))
        most = max(1, min(_MOST_ITEMS, _MOST_RAW_VALUES // max(raw.size, 1)))
        if len(self._named) >= 2 * most:
            self._named = sorted(self._named, key=lambda one: one.order)[:most]

    def _class_figures(self) -> dict[str, float]:
        some = sorted(self._named, key=lambda one: one.order)[:_MOST_ITEMS]
        if not some:
            raise InputError(
                "expected items with a class among those of the labelled batches that the detector was not fitted on",
                where="--classes",
                remedy="Items are paths below the source's root; entities and times must be those of the source.",
            )
        names = [one.name for one in some]
        fold, unseen = _folds(some, self.detector)
        truth = np.array(names, dtype=object)

        def accuracy(values: NDArray[np.float32]) -> float:
            reading = fit_reading(values, names, fold, unseen=unseen)
            best = reading.probabilities(values, fold).argmax(axis=1)
            return float((np.array(reading.classes, dtype=object)[best] == truth).mean())

        return {
            "class_accuracy": accuracy(np.stack([one.code for one in some])),
            "class_accuracy_raw": accuracy(np.stack([one.raw for one in some])),
            "class_majority": float(np.unique(names, return_counts=True)[1].max() / len(names)),
        }


def _folds(some: Sequence[_Named], detector: Detector) -> tuple[NDArray[np.int8], NDArray[np.bool_] | None]:
    """The fold of each item, and what a fold's classifier must not see besides: windows that reach into it."""
    context = detector.context
    if context.cadence_seconds is None:
        return folds_of_names([one.group for one in some]), None
    times = np.array([one.time_us for one in some], dtype=np.int64)
    edges = fold_edges(times)
    reach = round(context.points * context.cadence_seconds * 1e6)
    return folds_of_times(times, edges), near_folds(times, edges, reach)
