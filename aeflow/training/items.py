"""What the training loop draws from: items gathered by their numbers, resident on the device where
they fit. Legend: N items, T points, C channels, L grid points, H x W pixels, B items of a batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Items = TypeVar("_Items")
View = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
"""Items `(B, *item_shape)` and their mask into others, of the same number."""

# The rest of a GPU's free memory is for weights, activations and the optimizer.
_RESIDENT_SHARE = 0.5


class TrainingItems(Protocol):
    """Items that can be drawn by number."""

    def __len__(self) -> int:
        """N."""

    def take(self, numbers: Tensor) -> tuple[Tensor, Tensor | None]:
        """The items `(B, *item_shape)` float32 of `numbers` `(B,)` int64, and what was observed of
        them (bool, the same shape; None: everything), on the device of `resident`."""

    def resident(self, device: torch.device) -> Self:
        """The same items, drawn on `device`; they lie there if they fit."""

    def seen_as(self, view: View) -> TrainingItems:
        """What `view` makes of the items, when they are drawn."""


@dataclass(frozen=True)
class SeenItems:
    """Items through a view, such as the codes of a layer below. Nothing is kept of what the view makes."""

    items: TrainingItems
    view: View

    def __len__(self) -> int:
        """N."""
        return len(self.items)

    def take(self, numbers: Tensor) -> tuple[Tensor, Tensor | None]:
        """The view of items."""
        with torch.no_grad():
            return self.view(*self.items.take(numbers))

    def resident(self, device: torch.device) -> Self:
        """The same, of resident items."""
        return replace(self, items=self.items.resident(device))

    def seen_as(self, view: View) -> SeenItems:
        """A view of the view."""
        return SeenItems(self, view)


class WindowItems:
    """Windows of flat series, gathered when drawn: memory is that of the series, not T times as much."""

    def __init__(
        self, values: NDArray[np.float32], observed: NDArray[np.bool_], ends: NDArray[np.int64], window: int
    ) -> None:
        """`values` `(L, C)` scaled, 0 where nothing is known; `observed` `(L, C)`; `ends` `(N,)`: last
        point of each window of `window` points.

        Raises:
            InputError: the arrays do not fit together, or a window reaches beyond them.
        """
        if values.ndim != 2 or values.dtype != np.float32:
            raise InputError(f"expected values (L, C) float32, got {values.shape} {values.dtype}")
        if observed.shape != values.shape or observed.dtype != np.bool_:
            raise InputError(
                f"expected observed {values.shape} bool as the values, got {observed.shape} {observed.dtype}"
            )
        if ends.size and (ends.min() < window - 1 or ends.max() >= len(values)):
            raise InputError(
                f"expected windows of {window} points to end at {window - 1}..{len(values) - 1}, "
                f"got ends {ends.min()}..{ends.max()}"
            )
        self._values = _tensor(values)
        # A mask that says nothing costs as much to gather as the values.
        self._observed = None if observed.all() else _tensor(observed)
        self._first = _tensor(ends.astype(np.int64) - (window - 1))
        self._steps = torch.arange(window)
        self._device = torch.device("cpu")

    def __len__(self) -> int:
        """N."""
        return len(self._first)

    def take(self, numbers: Tensor) -> tuple[Tensor, Tensor | None]:
        """Windows `(B, T, C)` and their mask."""
        first = self._first[numbers.to(self._first.device)]
        # One gather of whole rows: several times as fast as from a strided view of all windows.
        rows = (first[:, None] + self._steps).flatten()
        return self._gather(self._values, rows), (
            None if self._observed is None else self._gather(self._observed, rows)
        )

    def resident(self, device: torch.device) -> Self:
        """The same windows, drawn on `device`."""
        tensors = [t for t in (self._values, self._observed, self._first) if t is not None]
        fits = _fits(tensors, device)
        return _changed(
            self,
            _device=device,
            _values=self._values.to(device) if fits else self._values,
            _observed=self._observed.to(device) if fits and self._observed is not None else self._observed,
            _first=self._first.to(device) if fits else self._first,
            _steps=self._steps.to(device) if fits else self._steps,
        )

    def seen_as(self, view: View) -> SeenItems:
        """What `view` makes of the windows."""
        return SeenItems(self, view)

    def _gather(self, flat: Tensor, rows: Tensor) -> Tensor:
        drawn = flat.index_select(0, rows).view(-1, len(self._steps), flat.shape[1])
        return _sent(drawn, self._device)


class ImageItems:
    """Images `(N, C, H, W)` in 0..1, float32; or bytes, which are divided by 255 when drawn."""

    def __init__(self, images: NDArray[np.float32] | NDArray[np.uint8]) -> None:
        """Keep `images`, which are not copied.

        Raises:
            InputError: another shape or type.
        """
        if images.ndim != 4 or images.dtype not in (np.uint8, np.float32):
            raise InputError(
                f"expected images (N, C, H, W) of uint8 or float32, got {images.shape} {images.dtype}"
            )
        self._images = _tensor(images)
        self._device = torch.device("cpu")

    def __len__(self) -> int:
        """N."""
        return len(self._images)

    def take(self, numbers: Tensor) -> tuple[Tensor, None]:
        """Images `(B, C, H, W)`; all of them is observed."""
        x = _sent(self._images.index_select(0, numbers.to(self._images.device)), self._device)
        return (x.float() / 255 if x.dtype == torch.uint8 else x), None

    def resident(self, device: torch.device) -> Self:
        """The same images, drawn on `device`."""
        images = self._images.to(device) if _fits([self._images], device) else self._images
        return _changed(self, _device=device, _images=images)

    def seen_as(self, view: View) -> SeenItems:
        """What `view` makes of the images."""
        return SeenItems(self, view)


def _tensor(array: NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.bool_] | NDArray[np.int64]) -> Tensor:
    # torch has no read-only tensors and warns of a read-only array; it is copied, once.
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _changed(items: _Items, **attributes: object) -> _Items:
    """A copy that shares all but `attributes`."""
    other = copy.copy(items)
    vars(other).update(attributes)
    return other


def _sent(drawn: Tensor, device: torch.device) -> Tensor:
    """`drawn` on `device`; to a GPU from pinned memory, so that the copy does not hold up the host."""
    if drawn.device == device or device.type == "cpu":
        return drawn
    if device.type == "cuda" and drawn.device.type == "cpu":
        return drawn.pin_memory().to(device, non_blocking=True)
    return drawn.to(device)


def _fits(tensors: list[Tensor], device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return sum(t.nbytes for t in tensors) <= _RESIDENT_SHARE * free
