"""The leading principal components of more items than fit in memory, or of more values than a matrix.

Three ways to one answer, chosen by size. The covariance and the Gram matrix give it to rounding; where
both would be too large, randomised subspace iteration (Halko, Martinsson and Tropp, "Finding structure
with randomness", SIAM Review 2011) finds the leading components in a few passes.

Legend: N items, D values of an item (flattened), K components.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Batches = Iterable[tuple[Tensor, Tensor | None]]

# The eigenvectors of a larger matrix take longer than the passes of the subspace iteration.
_LARGEST_MATRIX = 2048
# A Gram matrix needs all items at once; 2^26 numbers in float64 are half a gigabyte.
_LARGEST_RESIDENT = 2**26
_EXTRA_DIRECTIONS = 16
_PASSES = 4


class PrincipalComponents(NamedTuple):
    """mean: `(D,)`. directions: `(K, D)`, orthonormal rows, the largest variance first. variance:
    `(K,)` along each. total_variance: scalar, along all D. All float64."""

    mean: Tensor
    directions: Tensor
    variance: Tensor
    total_variance: Tensor


def principal_components(batches: Batches, count: int) -> PrincipalComponents:
    """The `count` leading components (fewer where the items have fewer) of batches of (items
    `(B, *item_shape)`, observed: bool of the same shape or None).

    The mean of a value is that of its observed entries; entries that are missing count as the mean.

    Args:
        batches: gone through several times, so not a generator.
        count: K, at least 1.

    Raises:
        InputError: fewer than two items, or an iterator that can be gone through only once.
    """
    if iter(batches) is batches:
        raise InputError("expected batches that can be gone through more than once, got an iterator")
    items, mean, total_variance = _moments(batches)
    size = mean.numel()
    centered = _Centered(batches, mean)
    if size <= min(items, _LARGEST_MATRIX):
        variance, directions = _by_covariance(centered, items)
    elif items <= _LARGEST_MATRIX and items * size <= _LARGEST_RESIDENT:
        variance, directions = _by_gram(centered, items)
    else:
        variance, directions = _by_subspace_iteration(centered, items, min(count, items, size))
    variance, directions = variance[:count].clamp_min(0), directions[:count]
    # The sign of a direction is free; fix it so that the same items give the same bytes.
    signs = torch.sign(directions.gather(1, directions.abs().argmax(dim=1, keepdim=True)))
    return PrincipalComponents(mean, directions * signs, variance, total_variance)


class _Centered:
    """Batches `(B, D)` float64 around the mean, missing entries 0; on the device of the items."""

    def __init__(self, batches: Batches, mean: Tensor) -> None:
        self._batches, self._mean = batches, mean

    def __iter__(self) -> Iterator[Tensor]:
        for x, observed in self._batches:
            centered = x.flatten(1).double() - self._mean
            yield centered if observed is None else centered.mul_(observed.flatten(1))


def _moments(batches: Batches) -> tuple[int, Tensor, Tensor]:
    """N, the mean `(D,)` and the sum of the variances. Sums are taken around the first batch's mean:
    squares around 0 would lose the digits of a small variance."""
    items = 0
    shift = seen = total = squares = torch.zeros(())
    for x, observed in batches:
        flat = x.flatten(1).double()
        mask = torch.ones_like(flat) if observed is None else observed.flatten(1).double()
        if items == 0:
            shift = (flat * mask).sum(dim=0) / mask.sum(dim=0).clamp_min(1)
            seen, total, squares = (torch.zeros_like(shift) for _ in range(3))
        items += len(flat)
        around = (flat - shift) * mask
        seen += mask.sum(dim=0)
        total += around.sum(dim=0)
        squares += around.square().sum(dim=0)
    if items < 2:
        raise InputError(
            f"expected at least two items to find components, got {items}", remedy="Give more history."
        )
    offset = total / seen.clamp_min(1)
    # What is missing lies at the mean, so it adds nothing to the squares but counts as an item.
    variance = (squares - seen * offset.square()).clamp_min(0) / (items - 1)
    return items, shift + offset, variance.sum()


def _by_covariance(centered: _Centered, items: int) -> tuple[Tensor, Tensor]:
    products: Tensor | None = None
    for flat in centered:
        products = flat.T @ flat if products is None else products.addmm_(flat.T, flat)
    assert products is not None
    variance, directions = torch.linalg.eigh(products / (items - 1))
    return variance.flip(0), directions.flip(1).T


def _by_gram(centered: _Centered, items: int) -> tuple[Tensor, Tensor]:
    """N - 1 components at most: centered items span no more."""
    flat = torch.cat(list(centered))
    squares, coordinates = torch.linalg.eigh(flat @ flat.T)
    squares, coordinates = squares.flip(0)[:-1].clamp_min(0), coordinates.flip(1)[:, :-1]
    # Directions of no variance come out as rounding noise; the floor and orthonormalising keep it harmless.
    lengths = squares.sqrt()
    floor = (lengths[0] * torch.finfo(flat.dtype).eps).clamp_min(torch.finfo(flat.dtype).tiny)
    scaled = flat.T @ coordinates / lengths.clamp_min(floor)
    return squares / (items - 1), torch.linalg.qr(scaled).Q.T


def _by_subspace_iteration(centered: _Centered, items: int, count: int) -> tuple[Tensor, Tensor]:
    first = next(iter(centered))
    size = first.shape[1]
    width = min(count + _EXTRA_DIRECTIONS, items, size)
    # A fixed start: the same items give the same components.
    start = torch.randn(size, width, dtype=first.dtype, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(start.to(first.device)).Q
    for _ in range(_PASSES):
        basis = torch.linalg.qr(_times_covariance(centered, basis)).Q
    small = basis.T @ _times_covariance(centered, basis)
    variance, rotation = torch.linalg.eigh(small / (items - 1))
    return variance.flip(0), (basis @ rotation.flip(1)).T


def _times_covariance(centered: _Centered, basis: Tensor) -> Tensor:
    product = torch.zeros_like(basis)
    for flat in centered:
        product.addmm_(flat.T, flat @ basis)
    return product
