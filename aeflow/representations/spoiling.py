"""Items spoiled on purpose, so that the clean ones are known, and the plainest way to restore them: what a
network must do better than. See `aeflow.models.corruption`.

Legend: N items, T points, C channels or bands, H x W pixels.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import torch
from pydantic import ValidationError
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from aeflow.config import Corruption, Downsampling, GaussianNoise, SaltAndPepper
from aeflow.exceptions import InputError
from aeflow.models.corruption import corrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aeflow.config import Kind

_KINDS: dict[str, type[Corruption]] = {
    member.model_fields["kind"].default: member for member in get_args(get_args(Corruption)[0])
}


@dataclass(frozen=True)
class Spoiled:
    """Items `(N, *item_shape)`: as the network sees them, what it is told was observed (None: everything),
    and as the plainest restoration gives them back."""

    seen: Tensor
    told: Tensor | None
    trivial: Tensor


def parse_corruption(text: str, kind: Kind) -> Corruption:
    """The corruption that `KIND=NUMBER` names; the number is its share, deviation, side share or factor.

    Raises:
        InputError: there is no such corruption for this kind of data, or the number is out of range.
    """
    name, _, number = text.partition("=")
    known = {key: member for key, member in _KINDS.items() if kind in member.kinds}
    if name not in known:
        close = difflib.get_close_matches(name, list(known), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"expected one of {', '.join(known)}, got {name!r}{hint}", where="--spoil")
    member = known[name]
    field = list(member.model_fields)[-1]  # the number that says how much
    try:
        return member.model_validate({field: number})
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise InputError(
            f"expected {name}={field.upper()}: {message[0].lower() + message[1:]}, got {number!r}",
            where="--spoil",
            remedy=f"Such as --spoil {name}={member.model_fields[field].default:g}.",
        ) from error


def spoil(x: Tensor, observed: Tensor | None, corruptions: Sequence[Corruption], seed: str) -> Spoiled:
    """Items `(N, *item_shape)` on the CPU, spoiled together: the same items and seed are spoiled alike.

    The plainest restoration undoes one corruption after the other, the last one first: it enlarges what
    was made small (bicubic; of windows linear), fills what was hidden with the mean of the rest, and takes
    the median of neighbours where there is noise. It is told what was hidden, even where a network is not.
    """
    digest = hashlib.sha256(seed.encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
    seen, told = x, observed
    hidden: list[Tensor] = []
    for corruption in corruptions:
        state = generator.get_state()
        seen, told = corrupt(seen, told, [corruption], generator)
        hidden.append(_hidden_by(corruption, x, state))
    trivial = seen
    for corruption, places in zip(reversed(corruptions), reversed(hidden), strict=True):
        trivial = _restored(corruption, trivial, places if observed is None else places | ~observed)
    if observed is not None:
        seen = seen * observed
    return Spoiled(seen, told, trivial)


def _hidden_by(corruption: Corruption, x: Tensor, state: Tensor) -> Tensor:
    """Where a corruption drawn from `state` puts another value, whatever was there."""
    # Ones and twos by turns: neither is 0 nor their mean, which is what hidden values become.
    probe = (1 + torch.arange(x[0].numel()) % 2).reshape(x[0].shape).expand(x.shape).to(x.dtype)
    generator = torch.Generator()
    generator.set_state(state)
    after, _ = corrupt(probe, None, [corruption], generator)
    return after != probe


def _restored(corruption: Corruption, x: Tensor, hidden: Tensor) -> Tensor:
    if isinstance(corruption, Downsampling):
        return _enlarged(x, corruption.factor)
    if isinstance(corruption, GaussianNoise | SaltAndPepper):
        # Around a pixel; of a window the last three points, since its last one is what counts.
        size, origin = ((1, 1, 3, 3), 0) if x.ndim == 4 else ((1, 3, 1), (0, 1, 0))
        return torch.from_numpy(ndimage.median_filter(x.numpy(), size=size, mode="nearest", origin=origin))
    inner = tuple(range(1, x.ndim))
    seen = (~hidden).to(x.dtype)
    mean = (x * seen).sum(inner, keepdim=True) / seen.sum(inner, keepdim=True).clamp_min(1)
    return torch.where(hidden, mean, x)


def _enlarged(x: Tensor, factor: int) -> Tensor:
    """Each cell of so many equal neighbours was one value: between these."""
    if x.ndim == 4:
        _, _, height, width = x.shape
        cells = x[:, :, ::factor, ::factor]
        large = functional.interpolate(cells, scale_factor=factor, mode="bicubic", align_corners=False)
        return large[:, :, :height, :width]
    cells = x[:, ::factor].transpose(1, 2)
    large = functional.interpolate(cells, scale_factor=factor, mode="linear", align_corners=False)
    return large.transpose(1, 2)[:, : x.shape[1]]
