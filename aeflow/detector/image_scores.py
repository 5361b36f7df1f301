"""Scores of images: the error of the worst regions of their reconstruction.

Legend: N arrays (images or tiles), C bands, H x W pixels of the network's input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from aeflow.numerics.reconstruction_error import image_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aeflow.models.autoencoder import Autoencoder

ImageArrays: TypeAlias = "NDArray[np.uint8] | NDArray[np.float32]"
"""`(N, C, H, W)`: bytes, or float32 in 0..1."""

# Defects cover a few per cent of a picture: the mean over all pixels would drown them, the single
# worst pixel is noise.
_TOP_SHARE = 0.02
_SMOOTH_PX = 3


@dataclass(frozen=True)
class ImageNormal:
    """What was learnt of the images beside the network.

    spread: `(C,)` float32, root mean square of the held-out residuals of each band, in 0..1 units.
    """

    spread: NDArray[np.float32]


@dataclass(frozen=True)
class ArrayScores:
    """score `(N,)`, contributions `(N, C)` that sum to it, error_map `(N, H, W)` summed over bands,
    reconstruction `(N, C, H, W)` in 0..1."""

    score: NDArray[np.float32]
    contributions: NDArray[np.float32]
    error_map: NDArray[np.float32]
    reconstruction: NDArray[np.float32]


def as_unit(pixels: ImageArrays) -> NDArray[np.float32]:
    """ImageArrays as float32 in 0..1; bytes are divided by 255."""
    if pixels.dtype == np.uint8:
        return np.divide(pixels, np.float32(255), dtype=np.float32)
    return np.asarray(pixels, dtype=np.float32)


def reconstruct(
    network: Autoencoder, images: NDArray[np.float32], *, device: torch.device, chunk_items: int
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Reconstructions of `images` `(N, C, H, W)`, and the additive parts of the latent statistic or
    None, of the same shape."""
    outputs: list[NDArray[np.float32]] = []
    latent: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for begin in range(0, len(images), chunk_items):
            x = torch.from_numpy(images[begin : begin + chunk_items]).to(device)
            outputs.append(network(x).items.float().cpu().numpy())
            parts = network.latent_contributions(x, None)
            if parts is not None:
                latent.append((parts / network.code_size).float().cpu().numpy())
    if not outputs:
        return np.empty_like(images), None
    return np.concatenate(outputs), np.concatenate(latent) if latent else None


def score_images(
    normal: ImageNormal,
    network: Autoencoder,
    pixels: ImageArrays,
    *,
    device: torch.device,
    chunk_items: int,
) -> ArrayScores:
    """Score each array `(N, C, H, W)` as bytes or in 0..1; nothing depends on `chunk_items` or on the
    other arrays."""
    images = as_unit(pixels)
    reconstruction, latent = reconstruct(network, images, device=device, chunk_items=chunk_items)
    error = ((images - reconstruction) / normal.spread[:, None, None]) ** 2
    if latent is not None:
        error = error + latent * np.float32(images[0].size)
    score, contributions = image_scores(error, smooth_px=_SMOOTH_PX, top_share=_TOP_SHARE)
    return ArrayScores(score, contributions, error.sum(axis=1), np.clip(reconstruction, 0, 1))
