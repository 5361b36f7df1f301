"""Local contrast normalisation: what a network is shown of an image in place of its pixels.

Each pixel is taken less the mean of the square around it, in units of the deviation there, of all bands
together so that colours keep their proportions. Slow changes of light and of contrast over an image, and its
brightness as a whole, then count for nothing. Where an image hardly varies, its own mean deviation is the
unit, lest noise be made as loud as what is to be seen. Jarrett, Kavukcuoglu, Ranzato and LeCun, "What is the
best multi-stage architecture for object recognition?", 2009; here with a square window in place of a Gaussian.

Legend: N images, C bands, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from aeflow.config import ImagePrepare

# Networks take 0..1: so many deviations to each side of the mean. What lies beyond is cut off.
_DEVIATIONS = 4.0
# Of an image that is the same all over; half a step of 8 bits.
_LEAST_DEVIATION = 0.5 / 255


@dataclass(frozen=True)
class Look:
    """Images as a network is shown them, `seen` `(N, C, H, W)` in 0..1, and the way back to pixels.

    surroundings: mean `(N, C, H, W)` around each pixel and the span `(N, 1, H, W)` of pixels that 0..1 stands
    for there; None: what is seen are the pixels.
    """

    seen: Tensor
    surroundings: tuple[Tensor, Tensor] | None = None

    def pixels(self, made: Tensor) -> Tensor:
        """What a network made of the images, `(N, C, H, W)`, as pixels: at the brightness and the contrast
        that the images themselves have around each."""
        if self.surroundings is None:
            return made
        mean, span = self.surroundings
        return mean + (made - 0.5) * span


@dataclass(frozen=True)
class LocalContrast:
    """size_px: side of the square, odd; at the border it is what lies inside the image."""

    size_px: int

    def look(self, x: Tensor) -> Look:
        """At images `(N, C, H, W)` in 0..1: a pixel like its surroundings is seen as 0.5."""
        mean = self._averaged(x)
        away = x - mean
        # Of the squares of what is left, not the mean square less the square of the mean: where an image
        # hardly varies these two are alike to the last digits.
        deviation = self._averaged(away.square().mean(dim=1, keepdim=True)).sqrt()
        usual = deviation.mean(dim=(2, 3), keepdim=True).clamp_min(_LEAST_DEVIATION)
        span = 2 * _DEVIATIONS * deviation.maximum(usual)
        return Look((0.5 + away / span).clamp(0, 1), (mean, span))

    def _averaged(self, x: Tensor) -> Tensor:
        """Over the square around each pixel: along one side, then along the other."""
        size, border = self.size_px, self.size_px // 2
        x = functional.avg_pool2d(x, (size, 1), stride=1, padding=(border, 0), count_include_pad=False)
        return functional.avg_pool2d(x, (1, size), stride=1, padding=(0, border), count_include_pad=False)


def look_at(x: Tensor, contrast: LocalContrast | None) -> Look:
    """Images `(N, C, H, W)` as networks are shown them; without a contrast as they are."""
    return Look(x) if contrast is None else contrast.look(x)


def contrast_of(prepare: ImagePrepare) -> LocalContrast | None:
    """How a pipeline's networks see images; None: as they are."""
    return LocalContrast(prepare.contrast_px) if prepare.contrast == "local" else None
