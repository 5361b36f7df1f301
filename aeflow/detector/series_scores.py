"""Scores of series windows: what the network did not expect of each window's last point.

A score looks back only: the window that ends at a point decides it, and where so configured the scores of the
entity before it; so where a batch ends changes nothing. Legend: N windows, T points, C channels, L grid points, E entities, G kinds of views of a network
(`Autoencoder.view_kinds`; mostly 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch

from aeflow.config import Entities
from aeflow.detector.fusing import weighted_sum
from aeflow.detector.side_by_side import map_portions, portion_of
from aeflow.models.errors import error_map
from aeflow.models.fused import fused_networks
from aeflow.numerics.expected_band import tolerance
from aeflow.numerics.reconstruction_error import limited_ratio, series_scores
from aeflow.numerics.trailing import at_two_scales, moving_baseline, trailing_mean
from aeflow.numerics.whitening import whiten

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aeflow.config import ErrorKind, Scoring
    from aeflow.data.series import Cadences, SeriesInputs
    from aeflow.detector.fusing import Fusing
    from aeflow.models.autoencoder import Autoencoder
    from aeflow.numerics.scaling import RobustScale


_NO_COHORTS = Entities()


@dataclass(frozen=True)
class UsualErrors:
    """What is usual of the errors of one network or bank, in rows as those of `SeriesNormal`.

    spread: `(E + K + 1, G C)` float32, K cohorts, root mean square of the held-out residuals in scaled units.
    usual_level: `(E + K + 1,)` float32, what scores usually are before they are taken against a level of the
        entity's own past; see `numerics.trailing`.
    whitening: `(E + K + 1, G C, G C)` float32, of residuals in units of their spread; None where channels are
        taken each by itself.
    """

    spread: NDArray[np.float32]
    usual_level: NDArray[np.float32]
    whitening: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class SeriesNormal:
    """What was learnt of the series beside the network.

    entities: the names behind the first rows of what follows. After them comes a row for each cohort of
        `cohorts`, for its new entities, and last one of all together.
    errors: of each of the networks whose scores are fused; mostly of one.
    fusing: what makes one score of theirs; None where there is one.
    member: `(E + K + 1,)` the network of a bank that serves each of the rows; None where there is one.
    """

    entities: tuple[str, ...]
    cadences: Cadences
    scale: RobustScale
    errors: tuple[UsualErrors, ...]
    fusing: Fusing | None = None
    cohorts: Entities = _NO_COHORTS
    member: NDArray[np.int64] | None = None

    def codes(self, names: tuple[str, ...]) -> NDArray[np.int64]:
        """Row of each entity in `scale` and `spread`: of a new one that of its cohort, or -1, the last."""
        return np.array([self._code(name) for name in names], dtype=np.int64)

    def members(self, code: NDArray[np.int64]) -> NDArray[np.int64]:
        """The network of each of the codes `(N,)`; 0 where there is one."""
        return np.zeros(code.shape, dtype=np.int64) if self.member is None else self.member[code]

    def _code(self, name: str) -> int:
        code = self._rows.get(name)
        if code is None:
            cohort = self.cohorts.cohort_of(name)
            code = -1 if cohort is None else len(self.entities) + list(self.cohorts.cohorts).index(cohort)
        return code

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.entities)}

    def tolerance(self, entity: str, score: float, error: ErrorKind) -> NDArray[np.float32]:
        """Half the width of the expected band of each channel of an entity, `(C,)` in the channel's unit,
        where `score` is at the cut and its entity's level is the usual one; of several kinds of views, and of
        several networks that find it equally rare, the mean."""
        (code,) = self.codes((entity,))
        scale = self.scale.scale[code]
        assert error in ("mse", "mae", "huber")  # which the config makes sure of
        at = [score] if self.fusing is None else self.fusing.members_at(score, int(code))
        of_kinds = [
            tolerance(one * usual.usual_level[code], spread, scale, error)
            for one, usual in zip(at, self.errors, strict=True)
            for spread in usual.spread[code].reshape(-1, scale.size)
        ]
        return np.asarray(np.mean(of_kinds, axis=0), dtype=np.float32)


@dataclass(frozen=True)
class WindowScores:
    """score `(N,)`, contributions `(N, C)` that sum to it, expected `(N, C)` in the channel's unit."""

    score: NDArray[np.float32]
    contributions: NDArray[np.float32]
    expected: NDArray[np.float32]


@dataclass(frozen=True)
class Residuals:
    """Of each window, in scaled units: residual and the additive parts of the latent statistic, each `(N, G C)`
    float32; reconstruction `(N, C)` float32, of the last point; observed `(N, G C)` bool. Columns
    are the channels for the first kind of views, then for the next: each kind has a spread of its own,
    lest the largest errors drown the others. The square of a residual is the error: where that is not the
    square of a difference, the residual is its signed root. It is that of the last point, or of all the points
    of the window the root of their mean error."""

    residual: NDArray[np.float32]
    reconstruction: NDArray[np.float32]
    latent: NDArray[np.float32] | None
    observed: NDArray[np.bool_]


def network_input(network: Autoencoder, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network sees of scaled values with NaN where nothing is known: limited, NaN as 0. The error is
    taken against the value itself, so a large fault keeps a large score."""
    limit = network.input_limit
    return np.nan_to_num(np.clip(scaled, -limit, limit), nan=0.0).astype(np.float32)


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
    points: Literal["last", "window"] = "last",
    member: NDArray[np.int64] | None = None,
) -> Residuals:
    """Run the windows that end at `ends` `(N,)` of the flat grid `(L, C)` through the network, or that of a bank
    which `member` `(N,)` says. points: of a window that are compared with what was expected."""
    channels, kinds = scaled.shape[1], network.view_kinds
    if ends.size == 0:
        nothing = np.empty((0, kinds * channels), dtype=np.float32)
        return Residuals(nothing, nothing[:, :channels], None, nothing.astype(bool))
    windows = Windows.of(network_input(network, scaled), observed, ends, window, device)
    came = None
    if points == "window":
        came = Windows.of(np.nan_to_num(scaled).astype(np.float32), observed, ends, window, device)

    of_window = torch.from_numpy(np.zeros(ends.size, dtype=np.int64) if member is None else member)

    def view(portion: slice) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        x, mask = windows[portion]
        own = network.at(of_window[portion])
        parts, views = own.latent_contributions(x, mask), own.views(x, mask)
        return (
            views[:, :, -1].float().cpu().clone(),  # a view of it would keep all points of the windows
            None if parts is None else (parts.sum(dim=1) / network.code_size).float().cpu(),
            None if came is None else _window_roots(error, *came[portion], views, kinds).cpu(),
        )

    found = map_portions(view, ends.size, portion_of((window, channels), chunk_items, device), device)
    views = torch.cat([last for last, _, _ in found], dim=1)
    latent = [parts.numpy() for _, parts, _ in found if parts is not None]
    if came is None:
        seen = observed[ends]
        residual = [
            np.where(seen, _signed_root(error, scaled[ends], kind), np.float32(0)).astype(np.float32)
            for kind in views.chunk(kinds)
        ]
    else:
        seen = _any_before(observed, ends, window)
        residual = [torch.cat([roots for _, _, roots in found if roots is not None]).numpy()]
    return Residuals(
        np.hstack(residual),
        views.mean(dim=0).numpy(),
        np.hstack([np.concatenate(latent) / np.float32(kinds)] * kinds) if latent else None,
        np.hstack([seen] * kinds),
    )


def _window_roots(
    error: ErrorKind, came: torch.Tensor, mask: torch.Tensor, views: torch.Tensor, kinds: int
) -> torch.Tensor:
    """The root of the mean error of windows `(B, T, C)` over their observed points, for each kind of views
    `(V, B, T, C)`: `(B, G C)` float32, 0 where nothing was observed."""
    seen = mask.sum(dim=1).clamp_min(1)
    roots = []
    for kind in views.chunk(kinds):
        mean = torch.stack([error_map(error, view, came) for view in kind]).mean(dim=0)
        roots.append(((mean * mask).sum(dim=1) / seen).sqrt())
    return torch.cat(roots, dim=1).float()


def _any_before(observed: NDArray[np.bool_], ends: NDArray[np.int64], window: int) -> NDArray[np.bool_]:
    """Whether each channel was observed at any point of the windows that end at `ends`, `(N, C)`."""
    last = np.maximum.accumulate(np.where(observed, np.arange(len(observed))[:, None], -1), axis=0)
    found: NDArray[np.bool_] = last[ends] > (ends - window)[:, None]
    return found


def _signed_root(
    error: ErrorKind, values: NDArray[np.float32], views: torch.Tensor
) -> NDArray[np.floating[Any]]:
    """The root of the mean error of `values` `(N, C)` against each view `(V, N, C)`, with the sign of the
    difference. Against the values as they came, not as the network saw them: see `network_input`."""
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
    scoring: Scoring,
    *,
    device: torch.device,
    chunk_items: int,
) -> WindowScores:
    """Score every window of `inputs`; nothing depends on `chunk_items` or on other windows, except on those
    that end at the points before it that `scoring` looks back to."""
    codes = normal.codes(inputs.entities)
    grid_codes = codes[inputs.grid_entity]
    scaled = normal.scale.apply(inputs.values, grid_codes)
    of_window = grid_codes[inputs.ends]
    found = [
        _scores_by(
            one,
            usual,
            scaled,
            inputs,
            of_window,
            error,
            scoring,
            device=device,
            chunk_items=chunk_items,
            member=normal.members(of_window),
            in_usual_levels=normal.fusing is not None,
        )
        for one, usual in zip(fused_networks(network), normal.errors, strict=True)
    ]
    score, contributions, reconstruction = found[0]
    if normal.fusing is not None:
        score, weights = normal.fusing.together([one.score for one in found], of_window)
        contributions = weighted_sum(weights, [one.contributions for one in found])
        reconstruction = np.mean([one.reconstruction for one in found], axis=0, dtype=np.float32)
    return WindowScores(score, contributions, normal.scale.invert(reconstruction, of_window))


class _ScoredBy(NamedTuple):
    """score `(N,)`, contributions `(N, C)`; reconstruction `(N, C)` in scaled units."""

    score: NDArray[np.float32]
    contributions: NDArray[np.float32]
    reconstruction: NDArray[np.float32]


def _scores_by(
    network: Autoencoder,
    usual: UsualErrors,
    scaled: NDArray[np.float32],
    inputs: SeriesInputs,
    code: NDArray[np.int64],
    error: ErrorKind,
    scoring: Scoring,
    *,
    device: torch.device,
    chunk_items: int,
    member: NDArray[np.int64],
    in_usual_levels: bool,
) -> _ScoredBy:
    """The scores by one network or bank. in_usual_levels: where they are not held against a past, they are in
    units of the level that they would be held against were there none, so that they can be compared with such."""
    found = residuals(
        network,
        scaled,
        inputs.observed,
        inputs.ends,
        inputs.window,
        error,
        device=device,
        chunk_items=chunk_items,
        points=scoring.points,
        member=member,
    )
    score, contributions = point_scores(found, usual.spread, usual.whitening, code)
    contributions = contributions.reshape(-1, network.view_kinds, scaled.shape[1]).sum(axis=1)
    entity, slot = inputs.grid_entity[inputs.ends], inputs.grid_slot[inputs.ends]
    score, contributions = smoothed(scoring, score, contributions, entity, slot)
    if scoring.baseline_points or in_usual_levels:
        level = usual.usual_level[code]
        if scoring.baseline_points:
            level = level_before(scoring, score, entity, slot, level)
        score, contributions = score / level, contributions / level[:, None]
    return _ScoredBy(score, contributions, found.reconstruction)


def point_scores(
    found: Residuals,
    spread: NDArray[np.float32],
    whitening: NDArray[np.float32] | None,
    code: NDArray[np.integer[Any]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores `(N,)` and contributions `(N, G C)` of windows of the entities `code` `(N,)`, each by itself."""
    if whitening is None:
        return series_scores(found.residual, found.observed, spread[code], extra=found.latent)
    in_spreads = np.where(found.observed, limited_ratio(found.residual, spread[code]), np.float32(0))
    independent = whiten(in_spreads, whitening, code)
    return series_scores(independent, found.observed, np.ones_like(independent), extra=found.latent)


def smoothed(
    scoring: Scoring,
    score: NDArray[np.float32],
    contributions: NDArray[np.float32],
    entity: NDArray[np.integer[Any]],
    slot: NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores `(N,)` and contributions `(N, K)`, averaged over the last grid points of their entity, with what the
    points themselves weigh beside that."""
    if scoring.smooth_points == 1:
        return score, contributions
    together = trailing_mean(np.column_stack([score, contributions]), entity, slot, scoring.smooth_points)
    mean, parts = together[:, 0], together[:, 1:]
    if not scoring.point_weight:
        return mean, parts
    return at_two_scales(score, contributions, mean, parts, scoring.point_weight)


def level_before(
    scoring: Scoring,
    score: NDArray[np.float32],
    entity: NDArray[np.integer[Any]],
    slot: NDArray[np.int64],
    usual: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The level `(N,)` that scores are taken against."""
    return moving_baseline(
        score, entity, slot, usual, points=scoring.baseline_points, quantile=scoring.baseline_quantile
    )
