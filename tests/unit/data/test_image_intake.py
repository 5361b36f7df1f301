import hashlib
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from aeflow import schemas
from aeflow.data.image_files import ImageRef, images_of
from aeflow.data.image_intake import ITEMS, items_path, iter_items, take_in_images
from aeflow.data.intake import Intake
from aeflow.exceptions import SourceError, StorageError
from tests.image_samples import bomb, colours, encoded, pipeline, ramp, write

GOOD = {
    "a.png": encoded(ramp()),
    "b/ü 雪.jpg": encoded(colours(), "JPEG"),
    "b/-c.bmp": encoded(ramp(), "BMP"),
    "d.tif": encoded(ramp(dtype=np.uint16), "TIFF"),
}
BAD = {
    "empty.png": (b"", "zero_bytes"),
    "text.png": (b"not a picture at all", "not_an_image"),
    "moving.gif.png": (encoded(Image.new("L", (8, 8)), "GIF"), "not_an_image"),
    "bomb.png": (bomb(), "too_many_pixels"),
    "heights.tiff": (encoded(Image.new("F", (8, 8)), "TIFF"), "wrong_mode"),
    "cut.jpg": (encoded(ramp(), "JPEG")[:20], "truncated"),
}


def take_in(root, folder, batch="all", refs=None, **options):
    config = pipeline(root, **options)
    return take_in_images(config, batch, images_of(config, batch) if refs is None else refs, folder)


def set_aside(intake):
    table = pq.read_table(intake.quarantine_path)
    return dict(zip(table["file"].to_pylist(), table["reason"].to_pylist(), strict=True))


def test_images_are_staged_sorted_by_item_with_what_their_headers_say(tmp_path):
    intake = take_in(write(tmp_path / "root", GOOD), tmp_path / "staged")
    table = pq.read_table(items_path(intake))
    assert table.schema.equals(ITEMS, check_metadata=True)
    assert table["item"].to_pylist() == sorted(GOOD)
    assert table["format"].to_pylist() == ["PNG", "BMP", "JPEG", "TIFF"]
    assert table["mode"].to_pylist() == ["L", "L", "RGB", "I;16"]
    assert table["width_px"].to_pylist() == [16] * 4
    assert table["height_px"].to_pylist() == [12] * 4
    assert table["bytes"].to_pylist() == [len(GOOD[item]) for item in sorted(GOOD)]
    assert table["sha256"].to_pylist() == [hashlib.sha256(GOOD[item]).hexdigest() for item in sorted(GOOD)]


def test_what_leads_out_of_the_root_is_set_aside_and_the_rest_goes_on(tmp_path):
    root, elsewhere = write(tmp_path / "root", GOOD), write(tmp_path / "elsewhere", GOOD)
    (root / "link.png").symlink_to(elsewhere / "a.png")
    (root / "folder").symlink_to(elsewhere / "b")
    (root / "gone.png").symlink_to(tmp_path / "gone.png")
    intake = take_in(root, tmp_path / "staged")
    assert set_aside(intake) == dict.fromkeys(("folder/", "gone.png", "link.png"), "outside_root")
    assert (intake.rows_in, intake.valid) == (7, 4)
    listed = take_in(root, tmp_path / "staged", refs=[ImageRef("a.png"), ImageRef("folder/-c.bmp")])
    assert set_aside(listed) == {"folder/-c.bmp": "outside_root"}


def test_what_is_not_fit_is_set_aside_with_its_reason_and_the_rest_goes_on(tmp_path):
    root = write(tmp_path / "root", GOOD | {name: data for name, (data, _) in BAD.items()})
    intake = take_in(root, tmp_path / "staged")
    assert set_aside(intake) == {name: reason for name, (_, reason) in BAD.items()}
    assert (intake.rows_in, intake.valid) == (10, 4)
    assert intake.quarantined == {
        "not_an_image": 2, "too_many_pixels": 1, "truncated": 1, "wrong_mode": 1, "zero_bytes": 1,
    }  # fmt: skip


def test_the_quarantine_says_rule_place_and_what_came(tmp_path):
    root = write(tmp_path / "root", {"bomb.png": bomb(), "text.png": b"hello world"})
    intake = take_in(root, tmp_path / "staged", source={"max_pixels": 1000})
    table = pq.read_table(intake.quarantine_path)
    assert table.schema.equals(schemas.QUARANTINE, check_metadata=True)
    first, second = table.to_pylist()
    assert (first["batch"], first["file"], first["row"]) == ("all", "bomb.png", None)
    assert first["rule"] == "the image is larger than source.max_pixels (1000)"
    assert first["detail"] == "100000 x 100000 = 10000000000 pixels"
    assert second["detail"] == "begins with b'hello wo'"


def test_the_same_content_under_two_names_is_two_items(tmp_path):
    root = write(tmp_path / "root", {"a.png": GOOD["a.png"], "b.png": GOOD["a.png"]})
    assert take_in(root, tmp_path / "staged").valid == 2


def test_the_digest_is_that_of_items_and_contents(tmp_path):
    def digest(number, files):
        root = write(tmp_path / f"root{number}", files)
        return take_in(root, tmp_path / f"staged{number}").digest

    first = digest(1, GOOD)
    assert digest(2, GOOD) == first
    assert digest(3, GOOD | {"text.png": b"no image"}) == first  # set aside: not part of what is scored
    assert digest(4, GOOD | {"a.png": encoded(ramp() // 2)}) != first
    assert digest(5, GOOD | {"e.png": GOOD["a.png"]}) != first
    lines = "".join(f"{item}\0{hashlib.sha256(GOOD[item]).hexdigest()}\n" for item in sorted(GOOD))
    assert first == hashlib.sha256(lines.encode()).hexdigest()


def test_the_account_is_found_again(tmp_path):
    intake = take_in(write(tmp_path / "root", GOOD), tmp_path / "staged")
    assert Intake.load(tmp_path / "staged") == intake
    assert (intake.kind, intake.batch, intake.channels) == ("images", "all", ("grey",))


def test_groups_are_staged(tmp_path):
    root = write(tmp_path / "root", GOOD)
    refs = [ImageRef("a.png", "7"), ImageRef("d.tif")]
    intake = take_in(root, tmp_path / "staged", refs=refs)
    assert [(image.index, image.item, image.group) for image in iter_items(intake)] == [
        (0, "a.png", "7"),
        (1, "d.tif", None),
    ]


def test_a_listed_image_that_does_not_exist_is_unreadable(tmp_path):
    root = write(tmp_path / "root", {"list.csv": b"item\na.png\ngone.png\n", "a.png": GOOD["a.png"]})
    intake = take_in(root, tmp_path / "staged", source={"manifest": {"path": "list.csv"}})
    assert set_aside(intake) == {"gone.png": "unreadable"}
    assert pq.read_table(intake.quarantine_path)["detail"].to_pylist() == ["No such file or directory"]


def test_a_folder_or_a_pipe_in_place_of_an_image_is_unreadable(tmp_path):
    root = write(tmp_path / "root", {"list.csv": b"item\nfolder.png\n", "folder.png/x.txt": b""})
    os.mkfifo(root / "pipe.png")
    intake = take_in(root, tmp_path / "staged", refs=[ImageRef("folder.png"), ImageRef("pipe.png")])
    details = pq.read_table(intake.quarantine_path)["detail"].to_pylist()
    assert details == ["is a folder", "is no regular file"]
    assert intake.quarantined == {"unreadable": 2}


def test_an_image_without_rights_is_unreadable(tmp_path, monkeypatch):
    root = write(tmp_path / "root", GOOD)
    opened = os.open

    def guarded(path, *args, **kwargs):
        if str(path).endswith("/a.png"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", guarded)
    intake = take_in(root, tmp_path / "staged")
    assert set_aside(intake) == {"a.png": "unreadable"}
    assert intake.valid == 3


def test_a_file_name_that_is_no_utf8_is_set_aside_readably(tmp_path):
    root = write(tmp_path / "root", GOOD)
    (root / os.fsdecode(b"caf\xe9.png")).write_bytes(GOOD["a.png"])
    assert set_aside(take_in(root, tmp_path / "staged")) == {"caf\\xe9.png": "unreadable"}


def test_an_empty_batch_is_staged_as_such(tmp_path):
    root = write(tmp_path / "root", {"notes.txt": b""})
    intake = take_in(root, tmp_path / "staged")
    assert (intake.rows_in, intake.valid, intake.quarantined) == (0, 0, {})
    assert list(iter_items(intake)) == []


def test_taking_in_again_gives_the_same_bytes_whatever_the_number_of_threads(tmp_path):
    files = GOOD | {f"more/{i:03}.png": encoded(ramp() // (i + 1)) for i in range(80)} | {"text.png": b"x"}
    root = write(tmp_path / "root", files)
    for name, workers in (("one", 1), ("three", 3)):
        take_in(root, tmp_path / name, compute={"workers": workers})
    for file in ("items.parquet", "quarantine.parquet", "intake.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "three" / file).read_bytes()


def test_a_killed_intake_leaves_no_account(tmp_path, monkeypatch):
    root, staged = write(tmp_path / "root", GOOD), tmp_path / "staged"
    take_in(root, staged)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("aeflow.data.image_intake._items_table", killed)
    with pytest.raises(KeyboardInterrupt):
        take_in(root, staged)
    with pytest.raises(StorageError, match="finished intake"):
        Intake.load(staged)


def test_a_full_disk_is_a_clear_message(tmp_path, monkeypatch):
    root = write(tmp_path / "root", GOOD)

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aeflow.data.image_intake.pq.ParquetWriter.write_table", full)
    with pytest.raises(StorageError, match=r"staged: .*No space left on device\n.*disk's space"):
        take_in(root, tmp_path / "staged")


def test_a_staging_folder_that_is_a_file_is_a_clear_message(tmp_path):
    root = write(tmp_path / "root", GOOD)
    with pytest.raises(StorageError, match="cannot be written"):
        take_in(root, write(tmp_path, {"staged": b""}) / "staged")


def test_a_source_that_is_gone_is_refused(tmp_path):
    with pytest.raises(SourceError, match="there is nothing"):
        take_in(tmp_path / "nowhere", tmp_path / "staged", refs=[ImageRef("a.png")])


def test_a_staged_table_that_is_gone_is_a_clear_message(tmp_path):
    intake = take_in(write(tmp_path / "root", GOOD), tmp_path / "staged")
    items_path(intake).unlink()
    with pytest.raises(StorageError, match=r"staged images cannot be read[^\n]*\n.*Take the batch in again"):
        list(iter_items(intake))


@pytest.mark.real_data
def test_a_batch_of_magnetic_tiles_is_taken_in_whole(shared_data, tmp_path):
    root = shared_data / "magnetic_tile"
    config = pipeline(root, batch="folder", source={"include": ["**/*.jpg"]})
    refs = images_of(config, "MT_Blowhole")
    intake = take_in_images(config, "MT_Blowhole", refs, tmp_path / "staged")
    assert (intake.rows_in, intake.valid) == (len(refs), len(refs))
    assert {image.item.split("/")[0] for image in iter_items(intake)} == {"MT_Blowhole"}
