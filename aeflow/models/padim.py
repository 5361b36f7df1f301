"""Patch distribution modelling: at each place of an image, how far what a frozen encoder sees lies from what
it saw there in normal images, by their mean and covariance.

Nothing is trained. Several scales are compared, each by itself; features are averaged over 3 x 3 places
first, so that a place knows its neighbourhood. Defard, Setkov, Loesch and Audigier, "PaDiM: a patch
distribution modeling framework for anomaly detection and localization", 2021; here with all channels of
the deeper scales in place of a random choice from all.

Legend: N items, F features of a place, h x w places of a scale, P = h w, D numbers of a code, C bands,
H x W pixels.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from aeflow.exceptions import InputError
from aeflow.models.autoencoder import ClosedForm, Comparison, Stage
from aeflow.models.efficientnet_lite import EfficientNetLite0

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aeflow.config import ErrorKind
    from aeflow.config import Padim as PadimConfig

_NEIGHBOURHOOD = 3
# A covariance for each place: more places a side cost memory and no longer help.
_MOST_PLACES = 16
# The picture of what is expected is read off the code on at most so many cells a side.
_PICTURE_CELLS = 32
# Of the variance that is usual: what never varied must not be infinitely far away.
_LEAST_VARIANCE = 1e-6
# Of the mean variance of the code's numbers: with less, a reading of a few hundred images follows each of them.
_RIDGE = 1.0


class Padim(ClosedForm):
    """Frozen encoder, and for each place of its deeper scales what is usual there.

    The error of a pixel is the squared Mahalanobis distance of the features around it, divided by their
    number, averaged over the scales. The code of an image is the mean of its features; the image that is
    expected is read off the code linearly, shows its brightness roughly, and counts for nothing.
    """

    code_mean: Tensor
    picture_mean: Tensor
    picture: Tensor

    def __init__(self, config: PadimConfig, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        self.encoder = EfficientNetLite0(self.item_shape, config.last_scale)
        self._first = config.first_scale - 1
        channels = self.encoder.channels[self._first :]
        self._grids = [
            (min(height, _MOST_PLACES), min(width, _MOST_PLACES))
            for height, width in self.encoder.sizes[self._first :]
        ]
        self.places = nn.ModuleList(
            Places(features, grid, config.shrinkage)
            for features, grid in zip(channels, self._grids, strict=True)
        )
        self.code_size = sum(channels)
        bands, *size = self.item_shape
        self._cells = (bands, min(size[0], _PICTURE_CELLS), min(size[1], _PICTURE_CELLS))
        self.register_buffer("code_mean", torch.zeros(self.code_size))
        self.register_buffer("picture_mean", torch.zeros(prod(self._cells)))
        self.register_buffer("picture", torch.zeros(self.code_size, prod(self._cells)))

    def stages(self) -> Iterable[Stage]:
        """None; but the weights of the encoder have to be there."""
        self.encoder.load_pretrained()
        return ()

    def fit_closed_form(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Take the weights of the encoder; measure what is usual at each place, and how codes go with
        brightness, in float64.

        Raises:
            InputError: fewer than two images, or the encoder's weights are not installed.
        """
        self.encoder.load_pretrained()
        together = _Moments()
        for place in self._places():
            place.begin()
        for x, _ in batches:
            seen = self._seen(x.float())
            for place, maps in zip(self._places(), seen, strict=True):
                place.add(maps)
            brightness = functional.adaptive_avg_pool2d(x.float(), self._cells[1:]).flatten(1)
            together.add(_means(seen).double(), brightness.double())
        if together.count < 2:
            raise InputError(f"expected at least two images to measure features of, got {together.count}")
        for place in self._places():
            place.finish()
        code_mean, picture_mean, reading = together.reading()
        self.code_mean.copy_(code_mean)
        self.picture_mean.copy_(picture_mean)
        self.picture.copy_(reading)

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:  # noqa: ARG002 - pixels are all there
        """The mean features of images, `(N, D)`."""
        return _means(self._seen(x))

    def decode(self, code: Tensor) -> Tensor:
        """Roughly the images `(N, C, H, W)` that codes stand for."""
        cells = self.picture_mean + (code - self.code_mean) @ self.picture
        size = self.item_shape[1:]
        return functional.interpolate(
            cells.reshape(-1, *self._cells), size=size, mode="bilinear", align_corners=False
        )

    def compare(self, x: Tensor, observed: Tensor | None, error: ErrorKind) -> Comparison:  # noqa: ARG002
        """The images that are expected, and how unusual the features around each pixel are, shared by the
        bands alike. `error` is one of pixels: it does not count."""
        seen = self._seen(x)
        bands, *size = self.item_shape
        whole = x.new_zeros(len(x), 1, *size)
        for place, maps in zip(self._places(), seen, strict=True):
            distance = place.distance(maps).unsqueeze(1)
            whole = whole + functional.interpolate(distance, size=size, mode="bilinear", align_corners=False)
        error_map = whole / (len(seen) * bands)
        return Comparison(self.decode(_means(seen)), error_map.expand(-1, bands, -1, -1))

    def _places(self) -> Sequence[Places]:
        return cast("Sequence[Places]", self.places)

    def _seen(self, x: Tensor) -> list[Tensor]:
        """Features `(N, F, h, w)` of each scale that is compared."""
        with torch.no_grad():
            found = self.encoder(x)[self._first :]
            return [
                functional.adaptive_avg_pool2d(_averaged(maps.float()), grid)
                for maps, grid in zip(found, self._grids, strict=True)
            ]


class Places(nn.Module):
    """Mean and covariance of the features at each place of one scale.

    shrinkage: the share of a multiple of the identity in each covariance: images are fewer than features.
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, features: int, grid: tuple[int, int], shrinkage: float) -> None:
        super().__init__()
        self._shrinkage = shrinkage
        places = prod(grid)
        self.register_buffer("mean", torch.zeros(places, features))
        self.register_buffer("whitening", torch.eye(features).repeat(places, 1, 1))
        self._sums: tuple[Tensor, Tensor, Tensor] | None = None
        self._count = 0

    def begin(self) -> None:
        """Forget what was measured."""
        self._sums, self._count = None, 0

    def add(self, maps: Tensor) -> None:
        """Measure maps `(N, F, h, w)` too."""
        values = maps.flatten(2).permute(2, 0, 1).double()  # (P, N, F)
        if self._sums is None:
            # About a value of their own, lest a small spread be lost beside a large mean.
            shift = values[:, :1].clone()
            self._sums = shift, torch.zeros_like(shift), torch.zeros_like(self.whitening, dtype=torch.float64)
        shift, first, second = self._sums
        moved = values - shift
        first += moved.sum(dim=1, keepdim=True)
        second += moved.transpose(1, 2) @ moved
        self._count += len(maps)

    def finish(self) -> None:
        """What was measured becomes what is usual."""
        assert self._sums is not None
        shift, first, second = self._sums
        mean = first / self._count
        covariance = second / self._count - mean.transpose(1, 2) @ mean
        features = covariance.shape[-1]
        size = covariance.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(0)
        # Where hardly anything ever varied, what varies elsewhere is the measure.
        usual = size.mean()
        size = size.clamp_min(_LEAST_VARIANCE * float(usual) if usual > 0 else 1.0)
        identity = torch.eye(features, dtype=covariance.dtype, device=covariance.device)
        kept = self._shrinkage
        shrunk = (1 - kept) * covariance + kept * size.reshape(-1, 1, 1) * identity
        lower = torch.linalg.cholesky(shrunk)
        whitening = torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False)
        self.mean.copy_((mean + shift).squeeze(1))
        self.whitening.copy_(whitening)
        self.begin()

    def distance(self, maps: Tensor) -> Tensor:
        """Squared Mahalanobis distance by the number of features, `(N, h, w)`."""
        items, features, height, width = maps.shape
        away = maps.flatten(2).transpose(1, 2) - self.mean  # (N, P, F)
        whitened = torch.einsum("npf,pgf->npg", away, self.whitening)
        return whitened.square().sum(dim=2).reshape(items, height, width) / features


class _Moments:
    """Sums of codes and brightness, for a ridge regression of the one on the other."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, code: Tensor, brightness: Tensor) -> None:
        if self.count == 0:
            self._shift = code[:1], brightness[:1]
            self._code, self._brightness = code[:1] * 0, brightness[:1] * 0
            self._codes = code[:1].T @ code[:1] * 0
            self._both = code[:1].T @ brightness[:1] * 0
        code, brightness = code - self._shift[0], brightness - self._shift[1]
        self.count += len(code)
        self._code += code.sum(dim=0, keepdim=True)
        self._brightness += brightness.sum(dim=0, keepdim=True)
        self._codes += code.T @ code
        self._both += code.T @ brightness

    def reading(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean code, mean brightness, and what of the code tells the brightness `(D, cells)`."""
        code, brightness = self._code / self.count, self._brightness / self.count
        covariance = self._codes / self.count - code.T @ code
        both = self._both / self.count - code.T @ brightness
        floor = torch.finfo(torch.float32).tiny
        penalty = _RIDGE * covariance.diagonal().mean().clamp_min(floor)
        identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
        reading = torch.linalg.solve(covariance + penalty * identity, both)
        return (self._shift[0] + code)[0], (self._shift[1] + brightness)[0], reading


def _averaged(maps: Tensor) -> Tensor:
    """Each place averaged with its neighbours; fewer of them at the border."""
    return functional.avg_pool2d(
        maps, _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2, count_include_pad=False
    )


def _means(seen: list[Tensor]) -> Tensor:
    return torch.cat([maps.mean(dim=(2, 3)) for maps in seen], dim=1)
