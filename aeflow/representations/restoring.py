"""What a network makes of items that were spoiled, or came so, beside the clean ones where they are known.

Legend: N arrays, M images, C bands, H x W pixels of the network, h x w pixels of the stored image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from aeflow.data.tiling import stitch
from aeflow.detector.image_scores import as_unit, look_at_pixels
from aeflow.detector.side_by_side import map_portions, portion_of
from aeflow.models.errors import ssim_map
from aeflow.numerics.image_quality import psnr
from aeflow.representations.encoding import mean_by_image
from aeflow.representations.spoiling import spoil

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aeflow.config import Corruption
    from aeflow.data.image_intake import StagedImage
    from aeflow.data.images import ImageInputs
    from aeflow.detector.image_scores import ImageNormal
    from aeflow.models.autoencoder import Autoencoder


@dataclass(frozen=True)
class Quality:
    """PSNR in dB and mean structural similarity of images, `(M,)` each, NaN where the clean one is not
    known; of an image in tiles, over all of them."""

    psnr: NDArray[np.float64]
    ssim: NDArray[np.float32]


def spoil_images(
    inputs: ImageInputs, corruptions: Sequence[Corruption], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The arrays `(N, C, H, W)` of a chunk as the network is to see them, and as the plainest restoration
    gives them back. How an image is spoiled hangs on its content alone."""
    clean = as_unit(inputs.pixels)
    seen, trivial = clean.copy(), clean.copy()
    for image in inputs.items:
        mine = inputs.item == image.index
        found = spoil(torch.from_numpy(clean[mine]), None, corruptions, f"{seed} {image.sha256}")
        seen[mine], trivial[mine] = found.seen.numpy(), np.clip(found.trivial.numpy(), 0, 1)
    return seen, trivial


def restore_arrays(
    normal: ImageNormal,
    network: Autoencoder,
    seen: NDArray[np.float32],
    *,
    device: torch.device,
    chunk_items: int,
) -> NDArray[np.float32]:
    """What the network expects in place of arrays `(N, C, H, W)`, as in a report: the mean of its views, cut
    to 0..1."""

    def restore(portion: slice) -> NDArray[np.float32]:
        look = look_at_pixels(normal, seen[portion], device)
        items = network.views(look.seen, None).mean(dim=0)
        return look.pixels(items.float()).clamp(0, 1).cpu().numpy()

    size = portion_of(seen.shape[1:], chunk_items, device)
    nothing = np.empty((0, *seen.shape[1:]), dtype=np.float32)
    return np.concatenate([nothing, *map_portions(restore, len(seen), size, device)])


def quality(shown: NDArray[np.float32], clean: NDArray[np.float32], inputs: ImageInputs) -> Quality:
    """How close each image of the arrays `shown` `(N, C, H, W)` is to the one of `clean`, both in 0..1."""
    shown = np.clip(shown, 0, 1)
    if not len(shown):
        return Quality(np.empty(0), np.empty(0, dtype=np.float32))
    error = np.square(shown.astype(np.float64) - clean).mean(axis=(1, 2, 3))
    with torch.inference_mode():
        similar = ssim_map(torch.from_numpy(shown).double(), torch.from_numpy(clean).double())
    mean = similar.mean(dim=(1, 2, 3)).float().numpy()
    return Quality(psnr(mean_by_image(error, inputs)), mean_by_image(mean, inputs))


def in_original(
    arrays: NDArray[np.float32], inputs: ImageInputs, image: StagedImage, *, tiled: bool
) -> NDArray[np.float32]:
    """An image `(C, h, w)` of its arrays: in its own size, or in the network's if that is larger, so that what
    was enlarged stays so."""
    mine = inputs.item == image.index
    if tiled:
        size = {"height_px": image.height_px, "width_px": image.width_px}
        return stitch(arrays[mine], inputs.origin[mine], **size)
    bands = arrays[mine][0]
    height, width = bands.shape[1:]
    if (height >= image.height_px and width >= image.width_px) or bands.size == 0:
        return np.asarray(bands)
    size_px = (image.width_px, image.height_px)
    large = [Image.fromarray(band).resize(size_px, Image.Resampling.BICUBIC) for band in bands]
    return np.clip(np.stack([np.asarray(band, dtype=np.float32) for band in large]), 0, 1)
