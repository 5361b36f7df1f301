"""Codes hang on their item alone; figures of restored images are those of the formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aeflow.config import Conv2d, Pca, VariationalCode
from aeflow.data.image_intake import StagedImage
from aeflow.data.images import ImageInputs
from aeflow.detector.codes import encode_arrays
from aeflow.detector.image_scores import ImageNormal, look_at_pixels
from aeflow.exceptions import DetectorError
from aeflow.models.catalog import build
from aeflow.models.contrast import LocalContrast
from aeflow.models.errors import ssim_map
from aeflow.representations.encoding import is_variational, mean_by_image
from aeflow.representations.generating import (
    codes_along,
    codes_between,
    decode_codes,
    mean_divergence,
    prior_codes,
    variational_bottleneck,
)
from aeflow.representations.restoring import in_original, quality, restore_arrays, spoil_images

CPU = torch.device("cpu")
AS_THEY_ARE = ImageNormal(np.ones((1, 1), dtype=np.float32))
VARIATIONAL = Conv2d(width=4, levels=2, code_size=5, code=VariationalCode())


def network(options=VARIATIONAL, shape=(1, 12, 10)):
    return build(options, shape).eval()


def inputs_of(counts=(1, 3, 2), shape=(1, 12, 10)) -> ImageInputs:
    """Images of so many tiles each, side by side."""
    rng = np.random.default_rng(0)
    _, height, width = shape
    items = tuple(
        StagedImage(n, f"{n}.png", f"{n:064x}", width * count, height, None) for n, count in enumerate(counts)
    )
    origin = [[width * tile, 0, width, height] for count in counts for tile in range(count)]
    return ImageInputs(
        pixels=rng.integers(0, 256, (sum(counts), *shape), dtype=np.uint8),
        item=np.repeat(np.arange(len(counts)), counts),
        origin=np.array(origin, dtype=np.int32),
        items=items,
        set_aside=(),
    )


def test_codes_do_not_depend_on_the_portions():
    pixels = np.random.default_rng(0).random((23, 1, 12, 10), dtype=np.float32)
    whole = encode_arrays(AS_THEY_ARE, network(), pixels, device=CPU, chunk_items=100)
    assert whole.shape == (23, 5)
    for chunk in (1, 7):
        parted = encode_arrays(AS_THEY_ARE, network(), pixels, device=CPU, chunk_items=chunk)
        assert parted == pytest.approx(whole, rel=1e-5, abs=1e-6)


def test_the_code_of_an_image_in_tiles_is_the_mean_of_its_tiles():
    inputs = inputs_of()
    codes = np.random.default_rng(1).random((6, 4), dtype=np.float32)
    found = mean_by_image(codes, inputs)
    expected = [codes[:1].mean(axis=0), codes[1:4].mean(axis=0), codes[4:].mean(axis=0)]
    assert found == pytest.approx(np.stack(expected))


def test_psnr_and_ssim_are_those_of_the_formulas_over_all_tiles():
    inputs = inputs_of()
    rng = np.random.default_rng(2)
    clean, shown = rng.random((2, 6, 1, 12, 10), dtype=np.float32)
    found = quality(shown, clean, inputs)
    error = np.square(shown[1:4].astype(np.float64) - clean[1:4]).mean()
    assert found.psnr[1] == pytest.approx(10 * np.log10(1 / error), rel=1e-5)
    similar = ssim_map(torch.from_numpy(shown[1:4]), torch.from_numpy(clean[1:4])).mean()
    assert found.ssim[1] == pytest.approx(float(similar), rel=1e-4)
    assert quality(clean, clean, inputs).ssim == pytest.approx(np.ones(3))


def test_where_the_clean_image_is_not_known_nothing_is_said():
    inputs = inputs_of()
    clean = np.full((6, 1, 12, 10), np.nan, dtype=np.float32)
    found = quality(np.zeros_like(clean), clean, inputs)
    assert np.isnan(found.psnr).all()
    assert np.isnan(found.ssim).all()


def test_how_an_image_is_spoiled_hangs_on_its_content_alone():
    from dataclasses import replace

    from aeflow.config import GaussianNoise

    inputs = inputs_of()
    mine = inputs.item == 1
    alone = replace(inputs, pixels=inputs.pixels[mine], item=inputs.item[mine], items=inputs.items[1:2])
    whole, part = (spoil_images(some, [GaussianNoise()], 0)[0] for some in (inputs, alone))
    assert (whole[mine] == part).all()


def test_restored_images_come_back_in_their_own_size_or_enlarged():
    inputs = inputs_of((1,))
    arrays = np.random.default_rng(0).random((1, 1, 12, 10), dtype=np.float32)
    small = StagedImage(0, "0.png", "", 5, 6, None)
    large = StagedImage(0, "0.png", "", 40, 24, None)
    assert (in_original(arrays, inputs, small, tiled=False) == arrays[0]).all()
    assert in_original(arrays, inputs, large, tiled=False).shape == (1, 24, 40)


def test_tiles_are_put_together():
    inputs = inputs_of((3,))
    arrays = np.random.default_rng(0).random((3, 1, 12, 10), dtype=np.float32)
    found = in_original(arrays, inputs, inputs.items[0], tiled=True)
    assert found == pytest.approx(np.concatenate(list(arrays), axis=2))


def test_restored_arrays_are_what_is_expected_within_0_and_1():
    pixels = np.random.default_rng(0).random((5, 1, 12, 10), dtype=np.float32)
    restored = restore_arrays(AS_THEY_ARE, network(), pixels, device=CPU, chunk_items=2)
    with torch.inference_mode():
        expected = network().views(torch.from_numpy(pixels)).mean(dim=0).clamp(0, 1)
    assert restored == pytest.approx(expected.numpy(), abs=1e-5)


def test_arrays_seen_by_their_contrast_are_restored_as_pixels():
    seen_so = ImageNormal(np.ones((1, 1), dtype=np.float32), LocalContrast(5))
    pixels = np.random.default_rng(0).random((3, 1, 12, 10), dtype=np.float32)
    restored = restore_arrays(seen_so, network(), pixels, device=CPU, chunk_items=2)
    look = look_at_pixels(seen_so, pixels, CPU)
    with torch.inference_mode():
        expected = look.pixels(network().views(look.seen).mean(dim=0)).clamp(0, 1)
    assert restored == pytest.approx(expected.numpy(), abs=1e-5)
    assert restored != pytest.approx(
        restore_arrays(AS_THEY_ARE, network(), pixels, device=CPU, chunk_items=2), abs=1e-2
    )


def test_codes_are_decoded_in_their_order_whatever_their_shape():
    codes = prior_codes(6, 5, seed=0)
    flat = decode_codes(network(), codes, device=CPU)
    grid = decode_codes(network(), codes.reshape(2, 3, 5), device=CPU)
    assert grid.shape == (2, 3, 1, 12, 10)
    assert grid.reshape(flat.shape) == pytest.approx(flat, abs=1e-6)


def test_only_codes_that_are_distributions_can_be_drawn_from():
    assert is_variational(network())
    for options in (Conv2d(width=4, levels=2, code_size=5), Pca()):
        assert not is_variational(network(options))
        with pytest.raises(DetectorError, match="variational code"):
            variational_bottleneck(network(options), where="here")


def test_codes_of_the_prior_are_standard_normal_and_seeded():
    codes = prior_codes(4000, 3, seed=1)
    assert codes.mean(axis=0) == pytest.approx(np.zeros(3), abs=0.1)
    assert codes.std(axis=0) == pytest.approx(np.ones(3), abs=0.1)
    assert (codes == prior_codes(4000, 3, seed=1)).all()


def test_a_way_begins_and_ends_at_its_items():
    one, other = prior_codes(2, 6, seed=0)
    codes = codes_between(one, other, 5)
    assert (codes[0] == one).all()
    assert (codes[-1] == other).all()
    assert codes[2] == pytest.approx((one + other) / 2, abs=1e-6)


def test_a_traversal_changes_one_number_at_a_time():
    codes, values = codes_along(np.array([2, 0]), 4, 3)
    assert codes.shape == (2, 3, 4)
    assert (codes[0, :, 2] == values).all()
    assert (codes[1, :, 0] == values).all()
    assert np.count_nonzero(codes) == 4


def test_the_divergence_of_each_number_sums_to_that_of_the_code():
    from aeflow.models.bottleneck import kl_divergence

    net, bottleneck = variational_bottleneck(network(), where="here")
    x = torch.rand(7, 1, 12, 10, generator=torch.Generator().manual_seed(0))
    found = mean_divergence(net, bottleneck, [(x[:3], None), (x[3:], None)])
    whole = kl_divergence(*bottleneck.distribution(net.features(x))).mean()
    assert found.shape == (5,)
    assert found.sum() == pytest.approx(float(whole.detach()), rel=1e-4)
