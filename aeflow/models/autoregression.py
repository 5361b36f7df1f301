"""Linear vector autoregression: the last point of a window from all points before it, in closed form.

Ridge regression of every channel on all channels at the points before and a constant (Luetkepohl, "New
introduction to multiple time series analysis", 2005; Hoerl and Kennard, "Ridge regression", Technometrics
1970). The code of a window is what is read of it, so that the decoder is the prediction.

Legend: N items, T points, C channels, F = (T - 1) C numbers that are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeflow.exceptions import InputError
from aeflow.models.autoencoder import ClosedForm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aeflow.config import Autoregression as AutoregressionConfig

# A plane may be followed far out, as a curve may not; only what would overflow is cut off.
_FAR = 1e6


class Autoregression(ClosedForm):
    """Coefficients `(F, C)` and a constant `(C,)`, learnt from windows whose last point was observed whole."""

    input_limit = _FAR
    coefficients: Tensor
    constant: Tensor

    def __init__(self, config: AutoregressionConfig, item_shape: tuple[int, ...]) -> None:
        """Of windows `(T, C)`.

        Raises:
            InputError: there is no point before the last.
        """
        super().__init__()
        points, channels = item_shape
        if points < 2:
            raise InputError(
                f"windows of {points} point leave none to foretell the last from",
                remedy="Give prepare.window_points of 2 or more.",
            )
        self.item_shape = tuple(item_shape)
        self.code_size = (points - 1) * channels
        self._ridge = config.ridge
        weight = torch.zeros(points, 1)
        weight[-1] = 1.0
        self.register_buffer("loss_weight", weight, persistent=False)  # what was read is no finding
        self.register_buffer("coefficients", torch.zeros(self.code_size, channels))
        self.register_buffer("constant", torch.zeros(channels))

    def fit_closed_form(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Solve the normal equations in float64. Windows that miss a value at their last point do not count,
        unless fewer than two are whole: then what is missing counts as 0.

        Raises:
            InputError: fewer than two items.
        """
        if iter(batches) is batches:
            raise InputError("expected batches that can be gone through more than once, got an iterator")
        items, products, targets = self._products(batches, whole=True)
        if items < 2:
            items, products, targets = self._products(batches, whole=False)
        if items < 2:
            raise InputError(
                f"expected at least two items to fit coefficients, got {items}", remedy="Give more history."
            )
        held_back = torch.full(
            (self.code_size + 1,), self._ridge, dtype=torch.float64, device=products.device
        )
        held_back[-1] = 0.0  # the constant is free
        # Least norm where channels say the same and nothing is held back.
        found = torch.linalg.pinv(products + torch.diag(held_back), hermitian=True) @ targets
        self.coefficients.copy_(found[:-1])
        self.constant.copy_(found[-1])

    def _products(
        self, batches: Iterable[tuple[Tensor, Tensor | None]], *, whole: bool
    ) -> tuple[int, Tensor, Tensor]:
        items = 0
        device = self.coefficients.device
        products = torch.zeros(self.code_size + 1, self.code_size + 1, dtype=torch.float64, device=device)
        targets = torch.zeros(self.code_size + 1, self.item_shape[1], dtype=torch.float64, device=device)
        for x, observed in batches:
            kept = x if observed is None or not whole else x[observed[:, -1].all(dim=1)]
            values = kept.double()
            read = torch.cat([values[:, :-1].flatten(1), values.new_ones(len(values), 1)], dim=1)
            products += read.T @ read
            targets += read.T @ values[:, -1]
            items += len(values)
        return items, products, targets

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:  # noqa: ARG002 - 0 where missing
        """All but the last point, `(N, F)`."""
        return x[:, :-1].flatten(1)

    def decode(self, code: Tensor) -> Tensor:
        """What was read, and after it what it foretells, `(N, T, C)`."""
        foretold = code @ self.coefficients + self.constant
        return torch.cat([code, foretold], dim=1).reshape(-1, *self.item_shape)
