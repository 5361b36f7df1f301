import os

import pytest

from aeflow.data.below_root import any_glob
from aeflow.data.image_files import (
    ImageRef,
    history_images,
    images_of,
    list_image_batches,
    survey_images,
)
from aeflow.exceptions import BatchNotFound, ConfigError, InputError, SourceError
from tests.image_samples import pipeline, write


def files(*names):
    return dict.fromkeys(names, b"x")


def items(refs):
    return [ref.item for ref in refs]


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("**/*.jpg", "a.jpg", True),
        ("**/*.jpg", "a/b/c.jpg", True),
        ("**/*.jpg", "a/b/C.JPG", True),
        ("**/*.jpg", "a/b.jpg/c.png", False),
        ("*.jpg", "a.jpg", True),
        ("*.jpg", "a/b.jpg", False),
        ("a/*/c.png", "a/b/c.png", True),
        ("a/*/c.png", "a/b/b/c.png", False),
        ("a/**/c.png", "a/c.png", True),
        ("a/**/c.png", "a/b/b/c.png", True),
        ("masks/**", "masks/a/b.png", True),
        ("masks/**", "my_masks/b.png", False),
        ("**/thumbs/*", "x/thumbs/b.png", True),
        ("img?.png", "img1.png", True),
        ("img?.png", "img/.png", False),
        ("[ab]*.png", "beta.png", True),
        ("[!ab]*.png", "beta.png", False),
        ("[!ab]x.png", "/x.png", False),
        ("a.png", "axpng", False),
        ("a+(1).png", "a+(1).png", True),
        ("./a.png", "a.png", True),
    ],
)
def test_a_glob_fits_as_people_expect(glob, path, fits):
    assert bool(any_glob([glob]).fullmatch(path)) is fits


def test_no_glob_fits_nothing():
    assert any_glob([]).fullmatch("a.png") is None


@pytest.mark.parametrize("glob", ["", "/a/*.png", "../*.png", "a/../b", "[z-a].png"])
def test_a_glob_that_leads_nowhere_is_refused(glob):
    with pytest.raises(ConfigError, match="expected a glob below the source's root"):
        any_glob([glob])


def test_batches_by_folder_are_the_folders_with_images(tmp_path):
    write(tmp_path, files("b/x.png", "a/deep/x.JPG", "c/notes.txt", "stray.png"))
    config = pipeline(tmp_path, batch="folder")
    assert list_image_batches(config) == ["a", "b"]
    assert images_of(config, "a") == [ImageRef("a/deep/x.JPG")]


def test_everything_is_one_batch_by_source(tmp_path):
    write(tmp_path, files("b/x.png", "stray.png", "notes.txt"))
    config = pipeline(tmp_path)
    assert list_image_batches(config) == ["all"]
    assert items(images_of(config, "all")) == ["b/x.png", "stray.png"]


def test_excluded_files_are_left_out(tmp_path):
    write(tmp_path, files("a/x.png", "a/x_MASK.png", "thumbs/y.png"))
    config = pipeline(tmp_path, source={"exclude": ["**/*_mask.png", "thumbs/**"]})
    assert items(images_of(config, "all")) == ["a/x.png"]


def test_odd_names_are_names(tmp_path):
    odd = ["-rf.png", "a b/ü 雪.png", "a b/100%.png", "new\nline.png", "{x}.png"]
    write(tmp_path, files(*odd))
    assert items(images_of(pipeline(tmp_path), "all")) == sorted(odd)


@pytest.mark.parametrize("batch", ["2026-11-21", "..", ".", "", "a/b", "/"])
def test_an_unknown_batch_is_refused_and_the_known_are_named(tmp_path, batch):
    write(tmp_path, files("2026-11-20/x.png", "a/b/x.png", "empty/notes.txt"))
    with pytest.raises(BatchNotFound, match="Batches: 2026-11-20, a"):
        images_of(pipeline(tmp_path, batch="folder"), batch)


def test_an_unknown_batch_is_told_the_nearest(tmp_path):
    write(tmp_path, files("MT_Free/x.png", "MT_Fray/x.png"))
    with pytest.raises(BatchNotFound, match="Did you mean 'MT_Free'"):
        images_of(pipeline(tmp_path, batch="folder"), "MT_Fre")


def test_a_folder_without_images_is_no_batch(tmp_path):
    write(tmp_path, files("a/x.png", "b/notes.txt"))
    with pytest.raises(BatchNotFound, match="no batch 'b'"):
        images_of(pipeline(tmp_path, batch="folder"), "b")


def test_a_source_has_only_the_batch_all(tmp_path):
    with pytest.raises(BatchNotFound, match="Batches: all"):
        images_of(pipeline(tmp_path), "a")


def test_a_root_that_is_not_there_is_refused(tmp_path):
    config = pipeline(tmp_path, source={"root": "nowhere"})
    with pytest.raises(SourceError, match=r"nowhere: .*there is nothing\n.*source.root"):
        list_image_batches(config)


def test_a_root_that_is_a_file_is_refused(tmp_path):
    write(tmp_path, files("a.png"))
    with pytest.raises(SourceError, match="there is a file"):
        images_of(pipeline(tmp_path, source={"root": "a.png"}), "all")


def test_a_folder_without_rights_is_refused(tmp_path, monkeypatch):
    write(tmp_path, files("a/x.png"))

    def refused(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("aeflow.data.below_root.os.scandir", refused)
    with pytest.raises(SourceError, match="cannot be listed: Permission denied"):
        list_image_batches(pipeline(tmp_path, batch="folder"))


def test_a_pipeline_of_series_has_no_images(tmp_path):
    config = pipeline(tmp_path)
    series = config.model_copy(update={"source": type("Other", (), {"kind": "table"})()})
    with pytest.raises(InputError, match="source of images"):
        list_image_batches(series)


# --- links ---


def outside_and_root(tmp_path):
    return write(tmp_path / "outside", files("x.png")), write(tmp_path / "root", files("a/x.png"))


@pytest.mark.parametrize(("batch", "id_"), [("folder", "a"), ("source", "all")])
def test_a_link_to_a_file_outside_is_an_image_of_its_batch(tmp_path, batch, id_):
    outside, root = outside_and_root(tmp_path)
    (root / "a" / "y.png").symlink_to(outside / "x.png")
    assert items(images_of(pipeline(root, batch=batch), id_)) == ["a/x.png", "a/y.png"]


def test_a_link_to_a_folder_outside_counts_as_one_file_and_is_not_looked_into(tmp_path):
    outside, root = outside_and_root(tmp_path)
    (root / "b").symlink_to(outside)
    (root / "a" / "more").symlink_to(outside)
    assert items(images_of(pipeline(root), "all")) == ["a/more/", "a/x.png", "b/"]
    by_folder = pipeline(root, batch="folder")
    assert list_image_batches(by_folder) == ["a", "b"]
    assert items(images_of(by_folder, "a")) == ["a/more/", "a/x.png"]
    assert items(images_of(by_folder, "b")) == ["b/"]
    excluded = pipeline(root, source={"exclude": ["b/**", "a/more/**"]})
    assert items(images_of(excluded, "all")) == ["a/x.png"]


def test_a_folder_that_may_not_be_listed_counts_as_one_file_of_its_batch(tmp_path, monkeypatch):
    write(tmp_path, files("a/x.png", "a/in/y.png", "b/x.png"))
    real = os.scandir

    def guarded(folder):
        if str(folder).endswith("/a/in") or str(folder).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr("aeflow.data.below_root.os.scandir", guarded)
    config = pipeline(tmp_path, batch="folder")
    assert list_image_batches(config) == ["a", "b"]
    assert items(images_of(config, "a")) == ["a/in/", "a/x.png"]
    assert items(images_of(config, "b")) == ["b/"]


def test_links_inside_the_root_are_followed_to_files_only(tmp_path):
    _, root = outside_and_root(tmp_path)
    (root / "same.png").symlink_to(root / "a" / "x.png")
    (root / "b").symlink_to(root / "a")
    (root / "circle.png").symlink_to(root / "circle.png")
    assert items(images_of(pipeline(root), "all")) == ["a/x.png", "circle.png", "same.png"]
    assert list_image_batches(pipeline(root, batch="folder")) == ["a"]


def test_a_root_that_is_itself_a_link_is_fine(tmp_path):
    _, root = outside_and_root(tmp_path)
    (tmp_path / "link").symlink_to(root)
    assert items(images_of(pipeline(tmp_path, source={"root": "link"}), "all")) == ["a/x.png"]


# --- manifests ---

TILES = b"class,file,tile\nfree,1.jpg,7\nfree,2.jpg,7\nhole,3.webp,\n"
PATTERNS = {"path": "tiles.csv", "item": "{class}/{file}", "batch": "night-{class}", "group": "{tile}"}


def listed(tmp_path, csv=TILES, batch="manifest", *, history=None, exclude=(), **patterns):
    write(tmp_path, {"tiles.csv": csv})
    source = {"manifest": {**PATTERNS, **patterns}, "exclude": exclude}
    return pipeline(tmp_path, source=source, batch=batch, history=history)


def test_a_manifest_says_item_batch_and_group(tmp_path):
    config = listed(tmp_path)
    assert list_image_batches(config) == ["night-free", "night-hole"]
    assert images_of(config, "night-free") == [ImageRef("free/1.jpg", "7"), ImageRef("free/2.jpg", "7")]


def test_what_a_manifest_lists_counts_whatever_its_suffix_and_whether_or_not_it_exists(tmp_path):
    assert images_of(listed(tmp_path), "night-hole") == [ImageRef("hole/3.webp", None)]


def test_exclude_holds_for_a_manifest(tmp_path):
    assert list_image_batches(listed(tmp_path, exclude=["hole/**"])) == ["night-free"]


def test_a_manifest_gives_groups_to_batches_by_folder(tmp_path):
    config = listed(tmp_path, batch="folder")
    assert list_image_batches(config) == ["free", "hole"]
    assert images_of(config, "free")[0].group == "7"


def test_a_manifest_from_a_spreadsheet_with_a_byte_order_mark_is_read(tmp_path):
    assert list_image_batches(listed(tmp_path, b"\xef\xbb\xbf" + TILES)) == ["night-free", "night-hole"]


def test_a_missing_column_is_named_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"item: .*'klass'.*\n.*Did you mean 'class'.*class, file, tile"):
        list_image_batches(listed(tmp_path, item="{klass}/{file}"))


@pytest.mark.parametrize("pattern", ["{class", "class}", "{class:>10}", "{class!r}"])
def test_a_malformed_pattern_is_refused(tmp_path, pattern):
    with pytest.raises(ConfigError, match=r"source.manifest.item: expected (a pattern|plain column names)"):
        list_image_batches(listed(tmp_path, item=pattern))


@pytest.mark.parametrize("item", ["../secret.png", "/etc/passwd", "a/../../b.png", ""])
def test_an_item_that_leads_outside_is_refused_with_its_line(tmp_path, item):
    csv = f'item,night\nok.png,1\n"{item}",1\n'.encode()
    write(tmp_path, {"list.csv": csv})
    config = pipeline(tmp_path, source={"manifest": {"path": "list.csv"}})
    with pytest.raises(SourceError, match=r"line 3: expected a path below the source's root"):
        images_of(config, "all")


@pytest.mark.parametrize("night", ["", "..", "2026/11/20", "a\nb"])
def test_a_batch_that_cannot_name_a_folder_is_refused(tmp_path, night):
    write(tmp_path, {"list.csv": f'item,night\na.png,"{night}"\n'.encode()})
    manifest = {"path": "list.csv", "batch": "{night}"}
    with pytest.raises(SourceError, match="batch id that can name a folder"):
        list_image_batches(pipeline(tmp_path, source={"manifest": manifest}, batch="manifest"))


@pytest.mark.parametrize(("line", "came"), [(b"free,4.jpg\n", "fewer"), (b"free,4.jpg,7,8\n", "more")])
def test_a_row_that_does_not_fit_the_header_is_refused(tmp_path, line, came):
    with pytest.raises(SourceError, match=f"line 5: expected 3 cells, as the header has, got {came}"):
        list_image_batches(listed(tmp_path, TILES + line))


def test_a_manifest_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(
        SourceError, match=r"manifest cannot be read: No such file[^\n]*\n.*source.manifest.path"
    ):
        list_image_batches(listed(tmp_path, path="none.csv"))


def test_a_manifest_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(SourceError, match="expected a CSV in UTF-8"):
        list_image_batches(listed(tmp_path, TILES + b"\xff\xfe,1.jpg,7\n"))


def test_an_empty_manifest_has_no_columns(tmp_path):
    with pytest.raises(ConfigError, match="none, the file is empty"):
        list_image_batches(listed(tmp_path, b""))


def test_an_image_listed_twice_counts_once(tmp_path):
    assert len(images_of(listed(tmp_path, TILES + b"free,1.jpg,7\n"), "night-free")) == 2


def test_an_image_of_two_groups_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"free/1.jpg: expected one group.*'7' and '8'"):
        images_of(listed(tmp_path, TILES + b"free,1.jpg,8\n"), "night-free")


# --- history ---


@pytest.mark.parametrize(
    ("history", "chosen"),
    [
        ({}, ["n1", "n2", "n3"]),
        ({"batches": ["n2"]}, ["n2"]),
        ({"batches": ["n[12]"]}, ["n1", "n2"]),
        ({"first": "n2"}, ["n2", "n3"]),
        ({"last": "n2"}, ["n1", "n2"]),
        ({"batches": ["n*"], "first": "n2", "last": "n2"}, ["n2"]),
    ],
)
def test_the_history_is_what_the_config_chooses(tmp_path, history, chosen):
    write(tmp_path, files("n1/x.png", "n2/x.png", "n3/x.png"))
    refs = history_images(pipeline(tmp_path, batch="folder", history=history))
    assert items(refs) == [f"{batch}/x.png" for batch in chosen]


def test_the_history_of_a_manifest_is_chosen_by_batch(tmp_path):
    assert items(history_images(listed(tmp_path, history={"batches": ["*-free"]}))) == [
        "free/1.jpg",
        "free/2.jpg",
    ]


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({"batches": ["n1", "m4"]}, "no batch 'm4'"),
        ({"batches": ["2026-*"]}, r"no batch '2026-\*'"),
        ({"first": "x"}, "chooses none of the 1 batches"),
    ],
)
def test_a_history_that_chooses_nothing_is_refused(tmp_path, history, message):
    write(tmp_path, files("n1/x.png"))
    with pytest.raises(BatchNotFound, match=message):
        history_images(pipeline(tmp_path, batch="folder", history=history))


@pytest.mark.real_data
def test_the_magnetic_tiles_are_found_by_folder_and_by_manifest(shared_data):
    root = shared_data / "magnetic_tile"
    source = {"root": str(root), "include": ["**/*.jpg"]}
    by_folder = pipeline(root, source=source, batch="folder")
    assert list_image_batches(by_folder) == [
        "MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Free", "MT_Uneven",
    ]  # fmt: skip
    manifest = {"path": "tiles.csv", "item": "{class}/{file}", "batch": "{class}", "group": "{tile}"}
    by_manifest = pipeline(root, source={**source, "manifest": manifest}, batch="manifest")
    assert list_image_batches(by_manifest) == list_image_batches(by_folder)
    free = images_of(by_manifest, "MT_Free")
    assert items(free) == items(images_of(by_folder, "MT_Free"))
    assert len(free) == 552
    assert 1 < len({ref.group for ref in free}) < 552


def test_a_folder_whose_name_is_no_utf8_is_told_of_and_keeps_no_other_batch(tmp_path):
    write(tmp_path, files("a/x.png", "b/y.png"))
    (tmp_path / "b").rename(tmp_path / os.fsdecode(b"caf\xe9"))
    config = pipeline(tmp_path, batch="folder")
    batches, nameless = survey_images(config)
    assert batches == list_image_batches(config) == ["a"]
    assert nameless == {"caf\\xe9/": "the folder's name is no UTF-8, and so names no batch"}
    assert items(images_of(config, "a")) == ["a/x.png"]
    assert items(history_images(config)) == ["a/x.png"]
    # By source it is a file of an odd name, which the intake sets aside.
    assert len(images_of(pipeline(tmp_path), "all")) == 2
