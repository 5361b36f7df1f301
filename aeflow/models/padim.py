"""Patch distribution modelling: at each place of an image, how far what a frozen encoder sees lies from what
it saw there in normal images, by their mean and covariance.

Nothing is trained: the encoder has the weights of ImageNet, or is wavelet scattering, which has none. Several maps
are made, of images of several sizes and features of several scales, each by itself; features are averaged over
neighbouring places first, so that a place knows its neighbourhood.
Defard, Setkov, Loesch and Audigier, "PaDiM: a patch distribution modeling framework for anomaly detection
and localization", 2021; here with all channels of a scale in place of a random choice from all.

A map may be relative: each channel less its mean over the image, in its deviation over the image (instance
normalisation; Ulyanov, Vedaldi and Lempitsky, 2016). What the whole part looks like, and how it is lit, then
counts for nothing, and what differs from the rest of the same part for all the more. The covariance of a
place may lean on that of all places together, which is known better (regularised discriminant analysis;
Friedman, 1989).

Legend: N items, F features of a place, h x w places of a map, P = h w, D numbers of a code, C bands,
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
from aeflow.models.efficientnet_lite import EfficientNetLite0, feature_sizes
from aeflow.models.scattering import Scattering

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aeflow.config import ErrorKind, PatchMap
    from aeflow.config import Padim as PadimConfig

# A covariance for each place: more places a side, or more numbers in all of them, cost memory and no
# longer help.
_MOST_PLACES = 16
_MOST_NUMBERS = 2**23
_LEAST_DEVIATION = 1e-3
# The picture of what is expected is read off the code on at most so many cells a side.
_PICTURE_CELLS = 32
# Of the variance that is usual: what never varied must not be infinitely far away.
_LEAST_VARIANCE = 1e-6
# Of the mean variance of the code's numbers: with less, a reading of a few hundred images follows each of them.
_RIDGE = 1.0
# Distances are about 1 where all is normal; one map that sees nothing at all must not outvote the others.
_LEAST_DISTANCE = 0.01
_COMMON_PLACES = 64
_ITEMS_AT_ONCE = 16


class Padim(ClosedForm):
    """Frozen encoder, and for each place of its maps what is usual there.

    The error of a pixel is the geometric mean, over the maps, of the squared Mahalanobis distance of the
    features around it, divided by their number: maps of different spread weigh alike. The code of an image
    is the mean of its features at the size of the first map; the image that is expected is read off the
    code linearly, shows its brightness roughly, and counts for nothing.
    """

    code_mean: Tensor
    picture_mean: Tensor
    picture: Tensor

    def __init__(self, config: PadimConfig, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        bands, height, width = self.item_shape
        self._maps = config.maps
        self._scales = {
            zoom: max(one.scale for one in self._maps if one.zoom == zoom)
            for zoom in dict.fromkeys(one.zoom for one in self._maps)
        }
        self._sizes = {zoom: (_zoomed(height, zoom), _zoomed(width, zoom)) for zoom in self._scales}
        scales = max(self._scales.values())
        self.encoder: EfficientNetLite0 | Scattering
        if config.encoder == "scattering":
            self.encoder = Scattering(self.item_shape, scales)
        else:
            self.encoder = EfficientNetLite0(self.item_shape, scales)
        self._relative, places = [], []
        for one in self._maps:
            features = self.encoder.channels[one.scale - 1]
            size = feature_sizes(self._sizes[one.zoom], one.scale)[-1]
            grid = _grid(size, features)
            # Where a place and its neighbours are the whole image nothing would be left of it.
            self._relative.append(one.relative and min(size) >= config.neighbourhood)
            places.append(Places(features, grid, config.shrinkage, one.pooled))
        self.places = nn.ModuleList(places)
        # Maps are brought together on one grid; finer than each of them, so that nothing is lost.
        self._common = (min(height, _COMMON_PLACES), min(width, _COMMON_PLACES))
        self._neighbourhood = config.neighbourhood
        self._code_zoom = self._maps[0].zoom
        self._code_scales = sorted({one.scale for one in self._maps if one.zoom == self._code_zoom})
        self.code_size = sum(self.encoder.channels[scale - 1] for scale in self._code_scales)
        self._cells = (bands, min(height, _PICTURE_CELLS), min(width, _PICTURE_CELLS))
        self.register_buffer("code_mean", torch.zeros(self.code_size))
        self.register_buffer("picture_mean", torch.zeros(prod(self._cells)))
        self.register_buffer("picture", torch.zeros(self.code_size, prod(self._cells)))

    def stages(self) -> Iterable[Stage]:
        """None; but the weights of the encoder have to be there."""
        self._load_encoder()
        return ()

    def fit_closed_form(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Take the weights of the encoder; measure what is usual at each place, and how codes go with
        brightness, in float64.

        Raises:
            InputError: fewer than two images, or the encoder's weights are not installed.
        """
        self._load_encoder()
        together = _Moments()
        for place in self._places():
            place.begin()
        for x, _ in batches:
            # The features of a few images at several sizes fill as much memory as all the images.
            for part in torch.split(x.float(), _ITEMS_AT_ONCE):
                seen = self._seen(part)
                for number, place in enumerate(self._places()):
                    place.add(self._map(seen, number))
                brightness = functional.adaptive_avg_pool2d(part, self._cells[1:]).flatten(1)
                together.add(self._code(seen).double(), brightness.double())
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
        return self._code({self._code_zoom: self._features(x, self._code_zoom)})

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
        whole = x.new_zeros(len(x), 1, *self._common)
        for number, place in enumerate(self._places()):
            distance = place.distance(self._map(seen, number)).unsqueeze(1)
            distance = functional.interpolate(
                distance, size=self._common, mode="bilinear", align_corners=False
            )
            whole = whole + distance.clamp_min(_LEAST_DISTANCE).log()
        mean = (whole / len(self._maps)).exp()
        error_map = functional.interpolate(mean, size=size, mode="bilinear", align_corners=False) / bands
        return Comparison(self.decode(self._code(seen)), error_map.expand(-1, bands, -1, -1))

    def _load_encoder(self) -> None:
        """Scattering has nothing to load."""
        if isinstance(self.encoder, EfficientNetLite0):
            self.encoder.load_pretrained()

    def _places(self) -> Sequence[Places]:
        return cast("Sequence[Places]", self.places)

    def _seen(self, x: Tensor) -> dict[float, list[Tensor]]:
        """Features `(N, F, h, w)` of each scale, at each zoom."""
        return {zoom: self._features(x, zoom) for zoom in self._scales}

    def _features(self, x: Tensor, zoom: float) -> list[Tensor]:
        size = self._sizes[zoom]
        with torch.no_grad():
            if size != tuple(x.shape[2:]):
                x = functional.interpolate(
                    x, size=size, mode="bilinear", align_corners=False, antialias=zoom < 1
                )
            return [maps.float() for maps in self.encoder(x, self._scales[zoom])]

    def _map(self, seen: dict[float, list[Tensor]], number: int) -> Tensor:
        """The features `(N, F, h, w)` that a map is made of."""
        one: PatchMap = self._maps[number]
        maps = seen[one.zoom][one.scale - 1]
        if self._relative[number]:
            away = maps - maps.mean(dim=(2, 3), keepdim=True)
            deviation = away.square().mean(dim=(2, 3), keepdim=True).sqrt()
            maps = away / deviation.clamp_min(_LEAST_DEVIATION)
        size = self._neighbourhood
        maps = functional.avg_pool2d(maps, size, stride=1, padding=size // 2, count_include_pad=False)
        return functional.adaptive_avg_pool2d(maps, self._places()[number].grid)

    def _code(self, seen: dict[float, list[Tensor]]) -> Tensor:
        found = seen[self._code_zoom]
        return torch.cat([found[scale - 1].mean(dim=(2, 3)) for scale in self._code_scales], dim=1)


class Places(nn.Module):
    """Mean and covariance of the features at each place of one map.

    grid: height and width in places. shrinkage: the share of a multiple of the identity in each covariance:
    images are fewer than features. pooled: the share of what all places have in common in the rest of it.
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, features: int, grid: tuple[int, int], shrinkage: float, pooled: float = 0.0) -> None:
        super().__init__()
        self.grid = grid
        self._shrinkage, self._pooled = shrinkage, pooled
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
        shift, first, covariance = self._sums
        mean = first / self._count
        # In place: the covariances of all places are the most that a detector holds.
        covariance.div_(self._count).sub_(mean.transpose(1, 2) @ mean)
        if self._pooled:
            together = covariance.mean(dim=0)
            covariance.mul_(1 - self._pooled).add_(together, alpha=self._pooled)
        features = covariance.shape[-1]
        size = covariance.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(0)
        # Where hardly anything ever varied, what varies elsewhere is the measure.
        usual = size.mean()
        size = size.clamp_min(_LEAST_VARIANCE * float(usual) if usual > 0 else 1.0)
        covariance.mul_(1 - self._shrinkage)
        covariance.diagonal(dim1=1, dim2=2).add_(self._shrinkage * size[:, None])
        identity = torch.eye(features, dtype=covariance.dtype, device=covariance.device)
        self.mean.copy_((mean + shift).squeeze(1))
        for place, one in enumerate(covariance):
            lower = torch.linalg.cholesky(one)
            self.whitening[place].copy_(torch.linalg.solve_triangular(lower, identity, upper=False))
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


def _zoomed(side: int, zoom: float) -> int:
    return max(1, round(side * zoom))


def _grid(size: tuple[int, int], features: int) -> tuple[int, int]:
    """The places of a map whose features come in `size`."""
    height, width = (min(side, _MOST_PLACES) for side in size)
    while height * width > 1 and height * width * features**2 > _MOST_NUMBERS:
        height, width = max(1, height - 1), max(1, width - 1)
    return height, width
