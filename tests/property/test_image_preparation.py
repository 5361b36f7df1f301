import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeflow.config import Split
from aeflow.data.image_files import images_of
from aeflow.data.image_intake import take_in_images
from aeflow.data.images import iter_images
from aeflow.data.splits import split_groups, split_time
from aeflow.data.tiling import stitch, tile_origins, to_original
from tests.image_samples import colours, encoded, pipeline, ramp, write

SHARES = Split(train=0.6, validation=0.1, calibration=0.2, test=0.1)


def whole(chunks):
    chunks = list(chunks)
    return (
        np.concatenate([c.pixels for c in chunks]),
        np.concatenate([c.item for c in chunks]),
        np.concatenate([c.origin for c in chunks]),
        [image for c in chunks for image in c.items],
        [one for c in chunks for one in c.set_aside],
    )


@pytest.fixture(scope="module", params=["resize", "tile"])
def batch(request, tmp_path_factory):
    """A batch of images of many sizes and kinds, some of them damaged, and what it is as one chunk."""
    rng = np.random.default_rng(3)
    files = {}
    for i in range(70):
        height, width = rng.integers(6, 40, 2)
        kind = ("PNG", "JPEG", "BMP", "TIFF")[i % 4]
        data = encoded(colours(height, width, i), kind)
        files[f"{i:02}.{kind.lower()}"] = data[:-60] if i % 9 == 4 else data
    files["deep.png"] = encoded(ramp(20, 20, np.uint16))
    folder = tmp_path_factory.mktemp("batch")
    config = pipeline(write(folder / "root", files), prepare={"fit": request.param, "tile_overlap_px": 2})
    intake = take_in_images(config, "all", images_of(config, "all"), folder / "staged")
    return config, intake, whole(iter_images(config, intake, chunk_items=100_000, workers=1))


@given(chunk_items=st.integers(1, 90), workers=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_neither_chunks_nor_threads_change_anything(batch, chunk_items, workers):
    config, intake, expected = batch
    found = whole(iter_images(config, intake, chunk_items=chunk_items, workers=workers))
    for one, other in zip(found[:3], expected[:3], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[3:] == expected[3:]
    assert len(found[3]) + len(found[4]) == intake.valid


@given(only=st.sets(st.integers(0, 60)))
@settings(max_examples=10, deadline=None)
def test_an_image_is_the_same_whatever_else_is_read(batch, only):
    config, intake, (pixels, item, *_) = batch
    rows = sorted(row for row in only if row < intake.valid)
    chunks = list(iter_images(config, intake, only=rows))
    found = [c.pixels for c in chunks]
    np.testing.assert_array_equal(np.concatenate([pixels[:0], *found]), pixels[np.isin(item, rows)])


sizes = st.tuples(
    st.integers(4, 40), st.integers(4, 40), st.integers(2, 4), st.integers(2, 4), st.integers(0, 1)
)


@given(size=sizes, seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_cutting_into_tiles_and_stitching_gives_the_image_back(size, seed):
    width, height, tile_width, tile_height, overlap = size
    image = np.random.default_rng(seed).random((2, height, width)).astype(np.float32)
    tiles = tile_origins(
        width, height, tile_width_px=tile_width, tile_height_px=tile_height, overlap_px=overlap
    )
    maps = np.stack([image[:, y : y + h, x : x + w] for x, y, w, h in tiles])
    np.testing.assert_allclose(stitch(maps, tiles, height_px=height, width_px=width), image, rtol=1e-6)


@given(
    box=st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 4), st.integers(1, 4)),
    width=st.integers(1, 500),
    height=st.integers(1, 500),
)
@settings(max_examples=100, deadline=None)
def test_a_box_covers_in_the_original_what_it_covers_in_the_array(box, width, height):
    x, y, w, h = to_original([box], [5, 7, width, height], height_px=64, width_px=64)[0].tolist()
    assert 5 <= x <= 5 + box[0] * width / 64 + 1e-6
    assert 7 <= y <= 7 + box[1] * height / 64 + 1e-6
    assert (box[0] + box[2]) * width / 64 - 1e-4 <= x + w - 5 <= width
    assert (box[1] + box[3]) * height / 64 - 1e-4 <= y + h - 7 <= height
    assert w * h >= 1


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 60)), min_size=30, max_size=80), st.integers(0, 9)
)
@settings(max_examples=50, deadline=None)
def test_neither_a_group_nor_a_content_is_ever_parted(images, seed):
    images = [*images, *((100 + i, 100 + i) for i in range(4))]
    groups = [str(group) for group, _ in images]
    contents = [str(content) for _, content in images]
    parts = split_groups(groups, contents, SHARES, seed)
    for keys in (groups, contents):
        assert len(set(zip(keys, parts.tolist(), strict=True))) == len(set(keys))
    assert set(parts.tolist()) == {0, 1, 2, 3}


@given(entity=st.lists(st.integers(0, 3), max_size=120))
@settings(max_examples=50, deadline=None)
def test_time_only_moves_on_through_the_parts_and_shares_are_met_to_one_point(entity):
    entity = np.array(entity, dtype=np.int64)
    parts = split_time(entity, SHARES)
    for one in set(entity.tolist()):
        mine = parts[entity == one]
        assert (np.diff(mine) >= 0).all()
        expected = len(mine) * np.array([0.6, 0.1, 0.2, 0.1])
        assert (np.abs(np.bincount(mine, minlength=4) - expected) <= 1).all()
