import numpy as np
import pytest

from aeflow.data.tiling import stitch, tile_origins, to_original
from aeflow.exceptions import InputError


def origins(width, height, tile=8, overlap=0):
    return tile_origins(width, height, tile_width_px=tile, tile_height_px=tile, overlap_px=overlap)


def test_the_last_tile_is_flush_with_the_border():
    assert origins(20, 8).tolist() == [[0, 0, 8, 8], [8, 0, 8, 8], [12, 0, 8, 8]]
    assert origins(20, 8, overlap=2).tolist() == [[0, 0, 8, 8], [6, 0, 8, 8], [12, 0, 8, 8]]
    assert origins(8, 17)[:, 1].tolist() == [0, 8, 9]


@pytest.mark.parametrize(("size", "tile", "overlap"), [((7, 20), 8, 0), ((20, 7), 8, 0), ((20, 20), 8, 8)])
def test_tiles_that_do_not_fit_are_refused(size, tile, overlap):
    with pytest.raises(InputError, match="overlap < tile <= image"):
        origins(*size, tile, overlap)


def test_boxes_of_a_resized_image_are_scaled_back_and_rounded_outwards():
    boxes = [[0, 0, 64, 64], [16, 32, 1, 1], [3, 5, 2, 2]]
    found = to_original(boxes, [0, 0, 320, 128], height_px=64, width_px=64)
    assert found.tolist() == [[0, 0, 320, 128], [80, 64, 5, 2], [15, 10, 10, 4]]
    odd = to_original([[1, 1, 1, 1]], [0, 0, 100, 100], height_px=64, width_px=64)
    assert odd.tolist() == [[1, 1, 3, 3]]  # 1.56 .. 3.13


def test_boxes_of_a_tile_are_moved():
    found = to_original([[1, 2, 3, 4], [0, 0, 8, 8]], [[10, 20, 8, 8], [0, 8, 8, 8]], height_px=8, width_px=8)
    assert found.tolist() == [[11, 22, 3, 4], [0, 8, 8, 8]]


def test_a_box_stays_inside_of_what_its_array_shows():
    assert to_original([[-2, 6, 20, 20]], [10, 10, 8, 8], height_px=8, width_px=8).tolist() == [
        [10, 16, 8, 2]
    ]


@pytest.mark.parametrize(("boxes", "origin"), [([1, 2, 3, 4], [0, 0, 8, 8]), ([[1, 2, 3, 4]], [0, 0, 8])])
def test_boxes_of_a_wrong_shape_are_refused(boxes, origin):
    with pytest.raises(InputError, match="expected boxes"):
        to_original(boxes, origin, height_px=8, width_px=8)


def test_overlapping_tiles_are_averaged():
    maps = np.stack([np.zeros((8, 8)), np.ones((8, 8))]).astype(np.float32)
    whole = stitch(maps, [[0, 0, 8, 8], [4, 0, 8, 8]], height_px=8, width_px=12)
    assert whole.dtype == np.float32
    assert whole[0].tolist() == [0] * 4 + [0.5] * 4 + [1] * 4


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        ([[0, 0, 8, 8]], "64 of 128 pixels uncovered"),
        ([[0, 0, 16, 8]], "resolution of their tiles"),
        ([[0, 0, 8, 8]] * 2, "expected maps"),
    ],
)
def test_maps_that_do_not_cover_the_image_are_refused(origin, message):
    with pytest.raises(InputError, match=message):
        stitch(np.zeros((1, 8, 8), dtype=np.float32), origin, height_px=8, width_px=16)
