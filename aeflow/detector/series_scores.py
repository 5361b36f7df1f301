"""Scores of series windows: what the network did not expect of each window's last point.

A score looks back only: the window that ends at a point decides it, so where a batch ends changes
nothing. Legend: N windows, T points, C channels, L grid points, E entities, G kinds of views of a network
(`Autoencoder.view_kinds`; mostly 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from aeflow.detector.side_by_side import map_portions
from aeflow.models.errors import error_map
from aeflow.numerics.expected_band import tolerance
from aeflow.numerics.reconstruction_error import series_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aeflow.config import ErrorKind
    from aeflow.data.series import Cadences, SeriesInputs
    from aeflow.models.autoencoder import Autoencoder
    from aeflow.numerics.scaling import RobustScale

# The network sees no value beyond so many robust deviations: far outside what it learnt, its output
# says nothing. The error is taken against the value itself, so a large fault keeps a large score.
_INPUT_LIMIT = 8.0


@dataclass(frozen=True)
class SeriesNormal:
    """What was learnt of the series beside the network.

    entities: the names behind the rows of `scale` and `spread`; their last row serves new entities.
    spread: `(E + 1, G C)` float32, root mean square of the held-out residuals in scaled units.
    """

    entities: tuple[str, ...]
    cadences: Cadences
    scale: RobustScale
    spread: NDArray[np.float32]

    def codes(self, names: tuple[str, ...]) -> NDArray[np.int64]:
        """Row of each entity in `scale` and `spread`; -1, the last row, for new ones."""
        known = {name: code for code, name in enumerate(self.entities)}
        return np.array([known.get(name, -1) for name in names], dtype=np.int64)

    def tolerance(self, entity: str, score: float, error: ErrorKind) -> NDArray[np.float32]:
        """Half the width of the expected band of each channel of an entity, `(C,)` in the channel's unit,
        where `score` is at the cut; of several kinds of views the mean."""
        (code,) = self.codes((entity,))
        scale = self.scale.scale[code]
        kinds = self.spread[code].reshape(-1, scale.size)
        assert error in ("mse", "mae", "huber")  # which the config makes sure of
        of_kinds = [tolerance(score, spread, scale, error) for spread in kinds]
        return np.asarray(np.mean(of_kinds, axis=0), dtype=np.float32)


@dataclass(frozen=True)
class WindowScores:
    """score `(N,)`, contributions `(N, C)` that sum to it, expected `(N, C)` in the channel's unit."""

    score: NDArray[np.float32]
    contributions: NDArray[np.float32]
    expected: NDArray[np.float32]


@dataclass(frozen=True)
class Residuals:
    """Of the last point of each window, in scaled units: residual and the additive parts of the latent
    statistic, each `(N, G C)` float32; reconstruction `(N, C)` float32; observed `(N, G C)` bool. Columns
    are the channels for the first kind of views, then for the next: each kind has a spread of its own,
    lest the largest errors drown the others. The square of a residual is the error: where that is not the
    square of a difference, the residual is its signed root."""

    residual: NDArray[np.float32]
    reconstruction: NDArray[np.float32]
    latent: NDArray[np.float32] | None
    observed: NDArray[np.bool_]


def network_input(scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network sees of scaled values with NaN where nothing is known: limited, NaN as 0."""
    return np.nan_to_num(np.clip(scaled, -_INPUT_LIMIT, _INPUT_LIMIT), nan=0.0).astype(np.float32)


def residuals(
    network: Autoencoder,
    scaled: NDArray[np.float32],
    observed: NDArray[np.bool_],
    ends: NDArray[np.int64],
    window: int,
    error: ErrorKind,
    *,
    device: torch.device,
    chunk_items: int,
) -> Residuals:
    """Run the windows that end at `ends` `(N,)` of the flat grid `(L, C)` through the network."""
    channels, kinds = scaled.shape[1], network.view_kinds
    if ends.size == 0:
        nothing = np.empty((0, kinds * channels), dtype=np.float32)
        return Residuals(nothing, nothing[:, :channels], None, nothing.astype(bool))
    windows = Windows.of(network_input(scaled), observed, ends, window, device)

    def view(portion: slice) -> tuple[torch.Tensor, torch.Tensor | None]:
        x, mask = windows[portion]
        parts = network.latent_contributions(x, mask)
        return (
            network.views(x, mask)[:, :, -1].float().cpu(),
            None if parts is None else (parts.sum(dim=1) / network.code_size).float().cpu(),
        )

    found = map_portions(view, ends.size, chunk_items, device)
    views = torch.cat([last for last, _ in found], dim=1)
    latent = [parts.numpy() for _, parts in found if parts is not None]
    seen = observed[ends]
    residual = [
        np.where(seen, _signed_root(error, scaled[ends], kind), np.float32(0)).astype(np.float32)
        for kind in views.chunk(kinds)
    ]
    return Residuals(
        np.hstack(residual),
        views.mean(dim=0).numpy(),
        np.hstack([np.concatenate(latent) / np.float32(kinds)] * kinds) if latent else None,
        np.hstack([seen] * kinds),
    )


def _signed_root(
    error: ErrorKind, values: NDArray[np.float32], views: torch.Tensor
) -> NDArray[np.floating[Any]]:
    """The root of the mean error of `values` `(N, C)` against each view `(V, N, C)`, with the sign of the
    difference. Against the values as they came, not as the network saw them: see `_INPUT_LIMIT`."""
    difference: NDArray[np.floating[Any]] = values - views.mean(dim=0).numpy()
    if error == "mse" and len(views) == 1:
        return difference
    came = torch.from_numpy(values).double()
    mean = torch.stack([error_map(error, view.double(), came) for view in views]).mean(dim=0)
    root: NDArray[np.floating[Any]] = np.copysign(mean.sqrt().numpy(), difference)
    return root


@dataclass(frozen=True)
class Windows:
    """Windows of flat arrays, each gathered only when it is asked for: values `(L, C)`, what was observed
    of them, and the first point `(N,)` of each window of `window` points."""

    values: torch.Tensor
    observed: torch.Tensor
    first: torch.Tensor
    window: int

    @classmethod
    def of(
        cls,
        values: NDArray[np.float32],
        observed: NDArray[np.bool_],
        ends: NDArray[np.int64],
        window: int,
        device: torch.device,
    ) -> Windows:
        """Those that end at `ends` `(N,)`."""
        values_, observed_, first = (
            torch.from_numpy(array).to(device) for array in (values, observed, ends - window + 1)
        )
        return cls(values_, observed_, first, window)

    def __len__(self) -> int:
        """N."""
        return len(self.first)

    def __getitem__(self, portion: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Some windows `(B, T, C)` as the network takes them, and their masks."""
        steps = torch.arange(self.window, device=self.first.device)
        # One gather of whole rows: several times as fast as from a strided view of all windows.
        rows = (self.first[portion, None] + steps).flatten()
        shape = (-1, self.window, self.values.shape[1])
        return self.values.index_select(0, rows).view(shape), self.observed.index_select(0, rows).view(shape)


def score_series(
    normal: SeriesNormal,
    network: Autoencoder,
    inputs: SeriesInputs,
    error: ErrorKind,
    *,
    device: torch.device,
    chunk_items: int,
) -> WindowScores:
    """Score every window of `inputs`; nothing depends on `chunk_items` or on the other windows."""
    codes = normal.codes(inputs.entities)
    grid_codes = codes[inputs.grid_entity]
    scaled = normal.scale.apply(inputs.values, grid_codes)
    found = residuals(
        network,
        scaled,
        inputs.observed,
        inputs.ends,
        inputs.window,
        error,
        device=device,
        chunk_items=chunk_items,
    )
    of_window = grid_codes[inputs.ends]
    score, contributions = series_scores(
        found.residual, found.observed, normal.spread[of_window], extra=found.latent
    )
    contributions = contributions.reshape(-1, network.view_kinds, scaled.shape[1]).sum(axis=1)
    return WindowScores(score, contributions, normal.scale.invert(found.reconstruction, of_window))
