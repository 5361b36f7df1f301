"""What the training loop draws from: items gathered by their numbers, resident on the device where
they fit. Legend: N items, T points, C channels, L grid points, H x W pixels, B items of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


class WindowItems:
    """Windows of flat series, gathered when drawn: memory is that of the series, not T times as much."""

    def __init__(
        self, values: NDArray[np.float32], observed: NDArray[np.bool_], ends: NDArray[np.int64], window: int
    ) -> None:
        """`values` `(L, C)` scaled, 0 where nothing is known; `observed` `(L, C)`; `ends` `(N,)`: last
        point of each window of `window` points."""
        self._values = torch.from_numpy(values)
        # A mask that says nothing costs as much to gather as the values.
        self._observed = None if observed.all() else torch.from_numpy(observed)
        self._first = torch.from_numpy(np.ascontiguousarray(ends - window + 1))
        self._window = window
        self._device = torch.device("cpu")

    def __len__(self) -> int:
        """N."""
        return len(self._first)

    def take(self, numbers: Tensor) -> tuple[Tensor, Tensor | None]:
        """Windows `(B, T, C)` and their mask."""
        at = self._first[numbers.to(self._first.device)]
        # A strided view of all windows: gathering from it copies each window once.
        x = self._values.unfold(0, self._window, 1).index_select(0, at).transpose(1, 2).contiguous()
        mask = None
        if self._observed is not None:
            seen = self._observed.unfold(0, self._window, 1).index_select(0, at)
            mask = seen.transpose(1, 2).contiguous().to(self._device)
        return x.to(self._device), mask

    def resident(self, device: torch.device) -> Self:
        """The same windows, drawn on `device`."""
        tensors = [t for t in (self._values, self._observed, self._first) if t is not None]
        self._device = device
        if _fits(tensors, device):
            self._values, self._first = self._values.to(device), self._first.to(device)
            self._observed = None if self._observed is None else self._observed.to(device)
        return self


class ImageItems:
    """Images `(N, C, H, W)` in 0..1; bytes are divided by 255 when drawn."""

    def __init__(self, images: NDArray[np.float32] | NDArray[np.uint8]) -> None:
        self._images = torch.from_numpy(images)
        self._device = torch.device("cpu")

    def __len__(self) -> int:
        """N."""
        return len(self._images)

    def take(self, numbers: Tensor) -> tuple[Tensor, None]:
        """Images `(B, C, H, W)`; all of them is observed."""
        x = self._images.index_select(0, numbers.to(self._images.device)).to(self._device)
        return (x.float() / 255 if x.dtype == torch.uint8 else x), None

    def resident(self, device: torch.device) -> Self:
        """The same images, drawn on `device`."""
        self._device = device
        if _fits([self._images], device):
            self._images = self._images.to(device)
        return self


def _fits(tensors: list[Tensor], device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return sum(t.nbytes for t in tensors) <= _RESIDENT_SHARE * free
