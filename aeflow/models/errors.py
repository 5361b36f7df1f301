"""How far what is expected lies from what came: the training loss, and the error map of a score.

Legend: N items, C bands, H x W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from aeflow.config import ErrorKind

# Where the Huber error turns from a square to a line, in the unit of the items.
_HUBER_DELTA = 1.0
_LEAST_PROBABILITY = 1e-6
# Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004: a Gaussian
# window of 11 pixels and a deviation of 1.5, and constants for values in 0..1.
_SSIM_WINDOW, _SSIM_DEVIATION = 11, 1.5
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
# Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", 2003.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_LEAST_SIDE = 8
# Xue, Zhang, Mou and Bovik, "Gradient magnitude similarity deviation: a highly efficient perceptual image
# quality index", 2014: their constant is for 0..255.
_GMS_C = 170 / 255**2
# Zavrtanik, Kristan and Skocaj, "Reconstruction by inpainting for visual anomaly detection", 2021.
_GMS_SCALES = 4
_LEAST_SQUARED_GRADIENT = 1e-12
# A similarity may be negative, which has no root.
_LEAST_SIMILARITY = 1e-4


def error_map(kind: ErrorKind, expected: Tensor, x: Tensor) -> Tensor:
    """The error of each value, `(N, *item_shape)`, not negative. SSIM, GMS and their multi-scale forms take
    images `(N, C, H, W)` in 0..1; cross-entropy takes what is expected as a probability."""
    return _ERRORS[kind](expected, x)


def mean_error(kind: ErrorKind, expected: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean error, a scalar: over the values of `weight` (what was observed, or how much each counts);
    0 where nothing counts."""
    errors = error_map(kind, expected, x)
    if weight is None:
        return errors.mean()
    weight = weight.to(errors.dtype).expand_as(errors)
    return (errors * weight).sum() / weight.sum().clamp_min(torch.finfo(errors.dtype).tiny)


def ssim_map(expected: Tensor, x: Tensor) -> Tensor:
    """Structural similarity around each pixel, `(N, C, H, W)` in -1..1, 1 where both are alike. At the
    border images go on as in a mirror; the window shrinks to images that are smaller."""
    luminance, structure = _similarities(expected, x)
    return luminance * structure


def multi_scale_ssim_map(expected: Tensor, x: Tensor) -> Tensor:
    """The product over scales of the structure's similarity, each brought back to full size, and of the
    luminance's at the coarsest, `(N, C, H, W)` in 0..1. Images of under 128 pixels a side have fewer than
    five scales, whose weights are those of the first ones, brought to a sum of 1."""
    size = x.shape[2:]
    scales = 1
    while scales < len(_SCALE_WEIGHTS) and min(size) >= _LEAST_SIDE << scales:
        scales += 1
    weights = [weight / sum(_SCALE_WEIGHTS[:scales]) for weight in _SCALE_WEIGHTS[:scales]]
    whole = torch.ones_like(x)
    for number, weight in enumerate(weights):
        luminance, structure = _similarities(expected, x)
        similar = luminance * structure if number == scales - 1 else structure
        small = similar.clamp_min(_LEAST_SIMILARITY) ** weight
        whole = whole * (
            functional.interpolate(small, size=size, mode="bilinear", align_corners=False)
            if number
            else small
        )
        if number < scales - 1:
            expected, x = (functional.avg_pool2d(image, 2) for image in (expected, x))
    return whole


def gradient_difference_map(expected: Tensor, x: Tensor) -> Tensor:
    """One less the similarity of the gradients' magnitudes around each pixel, `(N, C, H, W)` in 0..1, 0 where
    both are alike. Brightness does not count, nor which way an edge goes. At the border images go on as their
    last pixels."""
    one, other = _gradient_magnitude(expected), _gradient_magnitude(x)
    # 1 - (2 a b + c) / (a a + b b + c), without the digits that are lost where a and b are alike.
    return (one - other).square() / (one.square() + other.square() + _GMS_C)


def multi_scale_gradient_difference_map(expected: Tensor, x: Tensor) -> Tensor:
    """The mean over up to four scales, each of half the size of the one before and brought back to full size;
    images of under 64 pixels a side have fewer."""
    size = x.shape[2:]
    scales = 1
    while scales < _GMS_SCALES and min(size) >= _LEAST_SIDE << scales:
        scales += 1
    whole = gradient_difference_map(expected, x)
    for _ in range(scales - 1):
        expected, x = (functional.avg_pool2d(image, 2) for image in (expected, x))
        coarse = gradient_difference_map(expected, x)
        whole = whole + functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return whole / scales


def _gradient_magnitude(image: Tensor) -> Tensor:
    """By Prewitt's filters."""
    image = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    across = (image[..., 2:] - image[..., :-2]) / 3
    down = (image[..., 2:, :] - image[..., :-2, :]) / 3
    across = across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :]
    down = down[..., :-2] + down[..., 1:-1] + down[..., 2:]
    # A root has no gradient at 0.
    return (across.square() + down.square() + _LEAST_SQUARED_GRADIENT).sqrt()


def _similarities(expected: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Of luminance, and of contrast and structure."""
    bands = x.shape[1]
    kernel = [_gaussian(side, x) for side in x.shape[2:]]

    def blurred(image: Tensor) -> Tensor:
        rows, columns = len(kernel[0]) // 2, len(kernel[1]) // 2
        image = functional.pad(image, (columns, columns, rows, rows), mode="reflect")
        image = functional.conv2d(image, kernel[0].reshape(1, 1, -1, 1).expand(bands, 1, -1, 1), groups=bands)
        return functional.conv2d(image, kernel[1].reshape(1, 1, 1, -1).expand(bands, 1, 1, -1), groups=bands)

    means = blurred(expected), blurred(x)
    product = means[0] * means[1]
    squares = means[0].square(), means[1].square()
    variances = blurred(expected.square()) - squares[0], blurred(x.square()) - squares[1]
    covariance = blurred(expected * x) - product
    luminance = (2 * product + _SSIM_C1) / (squares[0] + squares[1] + _SSIM_C1)
    structure = (2 * covariance + _SSIM_C2) / (variances[0] + variances[1] + _SSIM_C2)
    return luminance, structure


def _gaussian(side: int, like: Tensor) -> Tensor:
    """The window along a side; odd, and small enough to be mirrored at the border."""
    length = min(_SSIM_WINDOW, 2 * ((side - 1) // 2) + 1)
    place = torch.arange(length, device=like.device, dtype=like.dtype) - length // 2
    window = (-0.5 * (place / _SSIM_DEVIATION).square()).exp()
    return window / window.sum()


def _excess_cross_entropy(expected: Tensor, x: Tensor) -> Tensor:
    """Cross-entropy beyond that of the value with itself: 0 where both are alike, so that a grey pixel is
    no error; the gradient is that of the cross-entropy."""
    p = expected.clamp(_LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    q = x.clamp(_LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return (q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).clamp_min(0)


_ERRORS: dict[ErrorKind, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": lambda expected, x: (expected - x).square(),
    "mae": lambda expected, x: (expected - x).abs(),
    "huber": lambda expected, x: functional.huber_loss(expected, x, reduction="none", delta=_HUBER_DELTA),
    "bce": _excess_cross_entropy,
    "ssim": lambda expected, x: 1 - ssim_map(expected, x),
    "ms_ssim": lambda expected, x: 1 - multi_scale_ssim_map(expected, x),
    "gms": gradient_difference_map,
    "ms_gms": multi_scale_gradient_difference_map,
}
