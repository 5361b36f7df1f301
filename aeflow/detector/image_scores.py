"""Scores of images: the error of the worst regions of their reconstruction.

Legend: N arrays (images or tiles), C bands, H x W pixels of the network's input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import torch

from aeflow.detector.fusing import weighted_sum
from aeflow.detector.side_by_side import map_portions, portion_of
from aeflow.models.contrast import look_at
from aeflow.models.fused import fused_networks
from aeflow.numerics.reconstruction_error import image_scores, smooth_error_map

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aeflow.config import ErrorKind
    from aeflow.detector.fusing import Fusing
    from aeflow.models.autoencoder import Autoencoder
    from aeflow.models.contrast import LocalContrast, Look

B = TypeVar("B")

ImageArrays: TypeAlias = "NDArray[np.uint8] | NDArray[np.float32]"
"""`(N, C, H, W)`: bytes, or float32 in 0..1."""

# Defects cover a few per cent of a picture: the mean over all pixels would drown them, the single
# worst pixel is noise.
_TOP_SHARE = 0.02
_SMOOTH_PX = (3,)


@dataclass(frozen=True)
class ImageNormal:
    """What was learnt of the images beside the network.

    spread: float32, of each of the networks whose scores are fused, mostly of one: square root of the mean error
        of held-out pixels: in each band `(M, C)`, or at each pixel `(M, C, H, W)`; for squared errors the root mean
        square of the residuals, in 0..1 units.
    contrast: how the networks are shown images; None: as they are.
    fusing: what makes one score of theirs; None where there is one.
    smooth_px: sides of the squares that errors are averaged over for a score.
    """

    spread: NDArray[np.float32]
    contrast: LocalContrast | None = None
    fusing: Fusing | None = None
    smooth_px: tuple[int, ...] = _SMOOTH_PX


@dataclass(frozen=True)
class ArrayScores:
    """score `(N,)`, contributions `(N, C)` that sum to it."""

    score: NDArray[np.float32]
    contributions: NDArray[np.float32]


@dataclass(frozen=True)
class ArrayMaps:
    """error_map `(N, H, W)` summed over bands, reconstruction `(N, C, H, W)` in 0..1."""

    error_map: NDArray[np.float32]
    reconstruction: NDArray[np.float32]


def as_unit(pixels: ImageArrays) -> NDArray[np.float32]:
    """ImageArrays as float32 in 0..1; bytes are divided by 255."""
    if pixels.dtype == np.uint8:
        return np.divide(pixels, np.float32(255), dtype=np.float32)
    return np.asarray(pixels, dtype=np.float32)


@dataclass(frozen=True)
class Reconstructed:
    """What was expected of some images, as pixels; the error of the network in what it was shown; and the
    additive parts of the latent statistic or None, `(N, C, H, W)` each."""

    expected: NDArray[np.float32]
    error: NDArray[np.float32]
    latent: NDArray[np.float32] | None


def look_at_pixels(normal: ImageNormal, pixels: ImageArrays, device: torch.device) -> Look:
    """`pixels` `(N, C, H, W)` as every network of the detector is shown them, on `device`."""
    return look_at(torch.from_numpy(as_unit(pixels)).to(device), normal.contrast)


def reconstruct(
    normal: ImageNormal, network: Autoencoder, pixels: ImageArrays, error: ErrorKind, device: torch.device
) -> Reconstructed:
    """Run `pixels` `(N, C, H, W)` through the network, all at once."""
    look = look_at_pixels(normal, pixels, device)
    found = network.compare(look.seen, None, error)
    parts = network.latent_contributions(look.seen, None)
    return Reconstructed(
        look.pixels(found.expected.float()).cpu().numpy(),
        found.error.float().cpu().numpy(),
        None if parts is None else (parts / network.code_size).float().cpu().numpy(),
    )


def map_reconstructed(
    function: Callable[[Reconstructed], B],
    normal: ImageNormal,
    network: Autoencoder,
    pixels: ImageArrays,
    error: ErrorKind,
    *,
    device: torch.device,
    chunk_items: int,
) -> list[B]:
    """`function` of what the network makes of each portion of `pixels` `(N, C, H, W)`, at most
    `chunk_items` of them at a time; results in order."""
    return map_portions(
        lambda portion: function(reconstruct(normal, network, pixels[portion], error, device)),
        len(pixels),
        portion_of(pixels.shape[1:], chunk_items, device),
        device,
    )


def score_images(
    normal: ImageNormal,
    network: Autoencoder,
    pixels: ImageArrays,
    error: ErrorKind,
    *,
    device: torch.device,
    chunk_items: int,
) -> ArrayScores:
    """Score each array `(N, C, H, W)` as bytes or in 0..1; nothing depends on `chunk_items` or on the
    other arrays."""
    found = _map_scored(
        lambda one: one.scores, normal, network, pixels, error, device=device, chunk_items=chunk_items
    )
    return _joined(found, pixels.shape[1])


def map_errors(
    normal: ImageNormal,
    network: Autoencoder,
    pixels: ImageArrays,
    error: ErrorKind,
    *,
    device: torch.device,
    chunk_items: int,
) -> tuple[ArrayScores, ArrayMaps]:
    """As `score_images`, and where the errors lie."""

    def examine(one: _Scored) -> tuple[ArrayScores, NDArray[np.float32], NDArray[np.float32]]:
        errors = one.errors()
        if len(normal.smooth_px) > 1:  # what is told by several sizes is to be seen so
            errors = smooth_error_map(errors, normal.smooth_px)
        return one.scores, errors.sum(axis=1), np.clip(one.expected(), 0, 1)

    found = _map_scored(examine, normal, network, pixels, error, device=device, chunk_items=chunk_items)
    nothing = np.empty((0, *pixels.shape[1:]), dtype=np.float32)
    return _joined([scores for scores, _, _ in found], pixels.shape[1]), ArrayMaps(
        np.concatenate([nothing[:, 0], *(error_map for _, error_map, _ in found)]),
        np.concatenate([nothing, *(expected for _, _, expected in found)]),
    )


@dataclass(frozen=True)
class _Scored:
    """What one network or several that are fused make of a portion of images.

    weights: `(M, N)` of each network's scores in the fused ones; None where there is one.
    """

    scores: ArrayScores
    weights: NDArray[np.float32] | None
    of_each: list[Reconstructed]
    errors_of_each: list[NDArray[np.float32]]

    def errors(self) -> NDArray[np.float32]:
        """Errors `(N, C, H, W)`: of several those of each as far as its score counts."""
        if self.weights is None:
            return self.errors_of_each[0]
        return weighted_sum(self.weights, self.errors_of_each)

    def expected(self) -> NDArray[np.float32]:
        """What was expected `(N, C, H, W)`: of several the mean."""
        if self.weights is None:
            return self.of_each[0].expected
        return np.asarray(np.mean([one.expected for one in self.of_each], axis=0, dtype=np.float32))


def _map_scored(
    function: Callable[[_Scored], B],
    normal: ImageNormal,
    network: Autoencoder,
    pixels: ImageArrays,
    error: ErrorKind,
    *,
    device: torch.device,
    chunk_items: int,
) -> list[B]:
    """`function` of each scored portion, results in order."""
    networks = fused_networks(network)

    def score(portion: slice) -> B:
        found = [reconstruct(normal, one, pixels[portion], error, device) for one in networks]
        return function(_scored(normal, found))

    return map_portions(score, len(pixels), portion_of(pixels.shape[1:], chunk_items, device), device)


def _scored(normal: ImageNormal, found: list[Reconstructed]) -> _Scored:
    errors = [_errors(spread, one) for spread, one in zip(normal.spread, found, strict=True)]
    scores = [_scores(normal, of_one) for of_one in errors]
    if normal.fusing is None:
        return _Scored(scores[0], None, found, errors)
    of_all = np.zeros(len(scores[0].score), dtype=np.int64)
    score, weights = normal.fusing.together([one.score for one in scores], of_all)
    contributions = weighted_sum(weights, [one.contributions for one in scores])
    return _Scored(ArrayScores(score, contributions), weights, found, errors)


def _errors(spread: NDArray[np.float32], found: Reconstructed) -> NDArray[np.float32]:
    """The errors in units of what is normal, `(N, C, H, W)`."""
    unit = np.square(spread)
    if unit.ndim == 1:
        unit = unit[:, None, None]
    errors: NDArray[np.float32] = np.divide(found.error, unit, dtype=np.float32)
    if found.latent is not None:
        errors += found.latent * np.float32(errors[0].size)
    return errors


def _scores(normal: ImageNormal, errors: NDArray[np.float32]) -> ArrayScores:
    return ArrayScores(*image_scores(errors, normal.smooth_px, _TOP_SHARE))


def _joined(scores: list[ArrayScores], bands: int) -> ArrayScores:
    nothing = np.empty((0, bands), dtype=np.float32)
    return ArrayScores(
        np.concatenate([nothing[:, 0], *(one.score for one in scores)]),
        np.concatenate([nothing, *(one.contributions for one in scores)]),
    )
