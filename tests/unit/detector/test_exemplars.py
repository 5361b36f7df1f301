"""Normal items that a detector keeps."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from aeflow.detector.exemplars import choose_exemplars, exemplar_arrays, exemplars_from
from aeflow.detector.image_fitting import ImageHistory


def history(count, shape=(1, 120, 160)):
    pixels = np.random.default_rng(0).integers(0, 255, (count, *shape), dtype=np.uint8)
    names = tuple(f"normal/{i}.png" for i in range(count))
    return ImageHistory(
        pixels=pixels,
        item=np.arange(count),
        part=np.zeros(count, dtype=np.int8),
        sha256=names,
        groups=(None,) * count,
        names=names,
        folder=np.array(["normal"] * count),
        damaged={},
    )


def choose(data, signatures):
    """Exemplars of all items, by one network."""
    count = len(signatures)
    return choose_exemplars(data, np.arange(count), signatures, np.zeros(count, dtype=np.int64))


@pytest.fixture
def exemplars():
    signatures = np.random.default_rng(1).normal(size=(500, 6)).astype(np.float32) * [5, 2, 1, 1, 1, 1]
    return choose(history(500, (1, 12, 12)), signatures.astype(np.float32))


def test_they_are_few_and_spread_over_the_history(exemplars):
    assert len(exemplars.names) == len(exemplars.pictures) == len(exemplars.signatures) == 200
    assert (exemplars.names[0], exemplars.names[-1]) == ("normal/0.png", "normal/499.png")


def test_pictures_are_small_and_show_the_image():
    found = choose(history(3), np.eye(3, dtype=np.float32))
    image = Image.open(BytesIO(found.pictures[0]))
    assert max(image.size) == 96
    assert image.size == (96, 72)
    assert max(len(picture) for picture in found.pictures) < 12_000  # of noise, which packs worst


def test_small_images_are_kept_to_the_pixel():
    data = history(2, (3, 8, 8))
    found = choose(data, np.eye(2, dtype=np.float32))
    shown = np.asarray(Image.open(BytesIO(found.pictures[1])))
    np.testing.assert_array_equal(np.moveaxis(shown, -1, 0), data.pixels[1])


def test_the_nearest_come_first_with_their_pictures(exemplars):
    near = exemplars.nearest(exemplars.signatures[7], 3)
    assert near[0] == {"item": exemplars.names[7], "distance": 0.0, "picture": exemplars.pictures[7]}
    apart = np.linalg.norm(exemplars.signatures - exemplars.signatures[7], axis=1)
    assert [one["distance"] for one in near] == pytest.approx(np.sort(apart)[:3].tolist(), rel=1e-5)


def test_codes_of_other_networks_are_no_neighbours():
    member = np.arange(10) % 2
    found = choose_exemplars(history(10), np.arange(10), np.eye(10, dtype=np.float32), member)
    assert [one["item"] for one in found.nearest(np.eye(10, dtype=np.float32)[2], 1, member=1)] != [
        found.names[2]
    ]
    assert {one["item"] for one in found.nearest(np.zeros(10, dtype=np.float32), 9, member=1)} == {
        f"normal/{i}.png" for i in (1, 3, 5, 7, 9)
    }
    assert not found.comparable


def test_fewer_items_than_asked_for_are_all(exemplars):
    found = choose(history(2), np.eye(2, dtype=np.float32))
    assert len(found.nearest(np.zeros(2, dtype=np.float32), 3)) == 2


def test_the_axes_are_those_along_which_they_differ_most(exemplars):
    assert np.abs(exemplars.axes[0]).argmax() == 0
    assert np.abs(exemplars.axes[1]).argmax() == 1
    np.testing.assert_allclose(exemplars.axes @ exemplars.axes.T, np.eye(2), atol=1e-5)
    assert exemplars.places(exemplars.signatures).shape == (200, 2)


@pytest.mark.parametrize("size", [1, 2])
def test_codes_of_one_number_or_one_item_make_a_plane_too(size):
    found = choose(history(size), np.ones((size, 1), dtype=np.float32))
    assert found.places(found.signatures).shape == (size, 2)
    assert np.isfinite(found.axes).all()


def test_they_are_stored_and_come_back(exemplars):
    arrays = {k.removeprefix("exemplars."): v for k, v in exemplar_arrays(exemplars).items()}
    again = exemplars_from(list(exemplars.names), arrays)
    assert (again.names, again.pictures) == (exemplars.names, exemplars.pictures)
    np.testing.assert_array_equal(again.signatures, exemplars.signatures)
    np.testing.assert_array_equal(again.axes, exemplars.axes)
