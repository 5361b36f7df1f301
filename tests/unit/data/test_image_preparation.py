import threading

import numpy as np
import pytest
from PIL import Image

from aeflow.data.image_files import images_of
from aeflow.data.image_intake import take_in_images
from aeflow.data.images import iter_images
from aeflow.data.ordered_map import cores, map_in_order
from aeflow.exceptions import InputError, SourceError
from tests.image_samples import colours, encoded, pipeline, ramp, write


def staged(tmp_path, files, **options):
    """A pipeline over these files, and their intake."""
    config = pipeline(write(tmp_path / "root", files), **options)
    return config, take_in_images(config, "all", images_of(config, "all"), tmp_path / "staged")


def images(number, height=20, width=30):
    return {f"{i:03}.png": encoded(colours(height, width, i)) for i in range(number)}


def test_each_image_is_resized_whole(tmp_path):
    config, intake = staged(tmp_path, {"a.png": encoded(ramp(20, 30))})
    (chunk,) = iter_images(config, intake)
    expected = Image.fromarray(ramp(20, 30)).resize((8, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(chunk.pixels[0, 0], np.asarray(expected))
    assert (chunk.pixels.dtype, chunk.pixels.shape) == (np.uint8, (1, 1, 8, 8))
    assert chunk.origin.tolist() == [[0, 0, 30, 20]]
    assert chunk.items[0].item == "a.png"


def test_colours_come_as_channels(tmp_path):
    config, intake = staged(tmp_path, {"a.png": encoded(colours(8, 8))}, prepare={"color": "rgb"})
    (chunk,) = iter_images(config, intake)
    np.testing.assert_array_equal(chunk.pixels[0], colours(8, 8).transpose(2, 0, 1))


def test_with_one_sixteen_bit_image_all_chunks_are_shares_of_white(tmp_path):
    deep = ramp(8, 8, np.uint16)
    config, intake = staged(tmp_path, {"a.png": encoded(ramp(8, 8)), "b.png": encoded(deep)})
    first, second = iter_images(config, intake, chunk_items=1)
    assert first.pixels.dtype == second.pixels.dtype == np.float32
    np.testing.assert_array_equal(first.pixels[0, 0], ramp(8, 8) / np.float32(255))
    np.testing.assert_array_equal(second.pixels[0, 0], deep / np.float32(65535))


def test_a_chunk_holds_at_most_so_many(tmp_path):
    config, intake = staged(tmp_path, images(7))
    chunks = list(iter_images(config, intake, chunk_items=3))
    assert [len(chunk.pixels) for chunk in chunks] == [3, 3, 1]
    assert np.concatenate([chunk.item for chunk in chunks]).tolist() == list(range(7))


def test_only_some_rows_can_be_read_in_their_order(tmp_path):
    config, intake = staged(tmp_path, images(5))
    (chunk,) = iter_images(config, intake, only=[4, 1, 4])
    assert chunk.item.tolist() == [1, 4]
    assert [image.item for image in chunk.items] == ["001.png", "004.png"]
    assert list(iter_images(config, intake, only=[])) == []


@pytest.mark.parametrize("only", [[5], [-1]])
def test_a_row_that_is_not_staged_is_refused(tmp_path, only):
    config, intake = staged(tmp_path, images(5))
    with pytest.raises(InputError, match="rows of the staged table"):
        list(iter_images(config, intake, only=only))


@pytest.mark.parametrize("bad", [{"chunk_items": 0}, {"workers": -1}])
def test_senseless_portions_are_refused(tmp_path, bad):
    config, intake = staged(tmp_path, images(1))
    with pytest.raises(InputError, match="chunk_items of at least 1"):
        list(iter_images(config, intake, **bad))


def test_an_image_cut_off_after_its_header_is_set_aside_and_the_rest_goes_on(tmp_path):
    files = images(4)
    files["001.png"] = files["001.png"][:-40]
    config, intake = staged(tmp_path, files)
    assert intake.valid == 4
    (chunk,) = iter_images(config, intake)
    assert [image.item for image in chunk.items] == ["000.png", "002.png", "003.png"]
    assert chunk.item.tolist() == [0, 2, 3]
    assert [(one.item, one.reason) for one in chunk.set_aside] == [("001.png", "truncated")]


def test_a_batch_of_which_nothing_can_be_decoded_still_says_so(tmp_path):
    config, intake = staged(tmp_path, {name: data[:-40] for name, data in images(3).items()})
    chunks = list(iter_images(config, intake, chunk_items=2))
    assert [len(chunk.set_aside) for chunk in chunks] == [2, 1]
    assert chunks[0].pixels.shape == (0, 1, 8, 8)
    assert chunks[0].origin.shape == (0, 4)
    assert chunks[0].item.shape == (0,)


@pytest.mark.parametrize("change", ["other content", "gone"])
def test_a_file_that_changed_since_it_was_taken_in_is_unreadable(tmp_path, change):
    config, intake = staged(tmp_path, images(2))
    path = tmp_path / "root" / "001.png"
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(encoded(ramp()))
    (chunk,) = iter_images(config, intake)
    assert [(one.item, one.reason) for one in chunk.set_aside] == [("001.png", "unreadable")]
    assert len(chunk.items) == 1


def test_a_root_that_goes_away_meanwhile_ends_the_run(tmp_path):
    config, intake = staged(tmp_path, images(200))
    chunks = iter_images(config, intake, chunk_items=1, workers=1)
    next(chunks)
    (tmp_path / "root").rename(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="but it is gone"):
        list(chunks)


def test_tiles_cover_the_image_in_its_own_resolution(tmp_path):
    stored = colours(20, 30)
    options = {"prepare": {"fit": "tile", "color": "rgb", "tile_overlap_px": 2}}
    config, intake = staged(tmp_path, {"a.png": encoded(stored)}, **options)
    (chunk,) = iter_images(config, intake)
    for tile, (x, y, width, height) in zip(chunk.pixels, chunk.origin, strict=True):
        np.testing.assert_array_equal(tile, stored[y : y + height, x : x + width].transpose(2, 0, 1))
    assert set(chunk.item) == {0}
    assert len(chunk.items) == 1


def test_the_tiles_of_an_image_stay_together(tmp_path):
    config, intake = staged(tmp_path, images(3, 16, 24), prepare={"fit": "tile"})
    chunks = list(iter_images(config, intake, chunk_items=4))
    assert [chunk.item.tolist() for chunk in chunks] == [[0] * 6, [1] * 6, [2] * 6]
    (both, last) = iter_images(config, intake, chunk_items=13)
    assert (len(both.pixels), len(last.pixels)) == (12, 6)


def test_an_image_smaller_than_a_tile_is_set_aside(tmp_path):
    files = {"a.png": encoded(ramp(7, 30)), "b.png": encoded(ramp(8, 8))}
    config, intake = staged(tmp_path, files, prepare={"fit": "tile"})
    (chunk,) = iter_images(config, intake)
    assert [(one.item, one.reason, one.detail) for one in chunk.set_aside] == [
        ("a.png", "too_small", "30 x 7 pixels")
    ]
    assert [image.item for image in chunk.items] == ["b.png"]


def test_decoding_runs_ahead_by_a_bounded_number_of_images(tmp_path, monkeypatch):
    config, intake = staged(tmp_path, images(400, 8, 8))
    begun = []
    read_one = "aeflow.data.images._Reader._read_one"
    from aeflow.data.images import _Reader

    original = _Reader._read_one
    monkeypatch.setattr(read_one, lambda self, image: begun.append(image.index) or original(self, image))
    chunks = iter_images(config, intake, chunk_items=20, workers=2)
    next(chunks)
    chunks.close()
    assert 20 <= len(begun) <= 32 * (2 + 2 + 2)


# --- ordered_map ---


def test_results_come_in_the_order_of_the_arguments():
    gate = threading.Event()

    def slow_first(number):
        if number == 0:
            gate.wait(5)
        else:
            gate.set()
        return number

    assert list(map_in_order(slow_first, range(20), workers=2, ahead=4)) == list(range(20))


def test_an_error_comes_in_its_place_and_ends_the_work():
    done = []

    def work(number):
        if number == 3:
            raise ValueError("three")
        done.append(number)
        return number

    results = map_in_order(work, range(1000), workers=1, ahead=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert max(done) < 10


def test_no_workers_means_as_many_as_there_are_cores():
    assert cores(3) == 3
    assert cores(0) >= 1


@pytest.mark.real_data
def test_the_magnetic_tiles_are_prepared_whole(shared_data, tmp_path):
    root = shared_data / "magnetic_tile"
    manifest = {"path": "tiles.csv", "item": "{class}/{file}", "batch": "{class}", "group": "{tile}"}
    config = pipeline(
        root, batch="manifest", source={"manifest": manifest}, prepare={"height_px": 64, "width_px": 64}
    )
    refs = images_of(config, "MT_Crack")
    intake = take_in_images(config, "MT_Crack", refs, tmp_path)
    chunks = list(iter_images(config, intake, chunk_items=16))
    assert sum(len(chunk.items) for chunk in chunks) == len(refs)
    assert not any(chunk.set_aside for chunk in chunks)
    shown = chunks[0].items[0]
    with Image.open(root / shown.item) as image:
        assert chunks[0].origin[0].tolist() == [0, 0, *image.size]
