"""Verdicts go out in three forms and come back as they were; what is not of the form is refused whole."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from aeflow.exceptions import InputError, SourceError
from aeflow.report.build import build_report
from aeflow.review.exchange import Form, export_verdicts, form_of, import_verdicts
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Verdict, Word, open_verdicts
from tests.unit.report import samples
from tests.unit.report.stores import CONFIG, write_store

NOW = datetime(2026, 11, 20, 9, 0, 0, tzinfo=UTC)
ODD = 'odd "quotes", =formula\nand <script>'


@pytest.fixture
def images(tmp_path, home):
    """Config of a pipeline of images with one report of three flags, two regions in the first."""
    config = tmp_path / "digits.yaml"
    config.write_text(
        yaml.safe_dump(
            CONFIG
            | {
                "name": "digits",
                "source": {"kind": "images", "root": "."},
                "batch": {"by": "folder"},
                "prepare": {"kind": "images"},
                "model": {"family": "pca"},
            }
        ),
        encoding="utf-8",
    )
    folder = Paths(home, "digits").report("b1")
    folder.mkdir(parents=True)
    rows = samples.write_images(folder, samples.digits(30))
    build_report(folder, samples.facts(rows), samples.PROVENANCE)
    return config


def say(config, home, *said):
    open_verdicts(Paths(home, config.stem)).append(said)


def kept(config, home):
    return open_verdicts(Paths(home, config.stem)).all()


def flags_of(config, tmp_path):
    export_verdicts(config, tmp_path / "tasks.json", Form.LABEL_STUDIO)
    return [task["data"]["flag_id"] for task in json.loads((tmp_path / "tasks.json").read_text())]


def opinions(first, second):
    return (
        Verdict(first, "b1", Word.TRUE, "ann", NOW, ODD, 3),
        Verdict(first, "b1", Word.FALSE, "bob", NOW + timedelta(minutes=1), "", 3),
        Verdict(first, "b1", Word.RETRACTED, "bob", NOW + timedelta(minutes=2), "", 3),
        Verdict(second, "b1", Word.UNSURE, "ann", NOW + timedelta(minutes=3), "", 3),
    )


@pytest.mark.parametrize("form", list(Form))
def test_what_was_said_comes_back_as_it_was(form, images, tmp_path, home):
    first, second, _ = flags_of(images, tmp_path)
    said = opinions(first, second)
    say(images, home, *said)
    file = tmp_path / "out.file"
    assert export_verdicts(images, file, form) >= 3
    before = file.read_bytes()
    (home / "ledger.db").unlink()
    assert import_verdicts(images, file, form, reviewer="me") == len(said)
    assert sorted(kept(images, home), key=lambda v: v.at) == list(said)
    assert import_verdicts(images, file, form, reviewer="me") == 0
    export_verdicts(images, file, form)
    assert file.read_bytes() == before


def test_the_regions_are_those_of_the_flags(images, tmp_path):
    export_verdicts(images, tmp_path / "coco.json", Form.COCO)
    export_verdicts(images, tmp_path / "tasks.json", Form.LABEL_STUDIO)
    coco = json.loads((tmp_path / "coco.json").read_text())
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert (coco["images"][0]["width"], coco["images"][0]["height"]) == (32, 40)
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert {names[a["category_id"]] for a in coco["annotations"]} == {"open"}
    for annotation, task in zip(coco["annotations"], tasks, strict=True):
        x, y, width, height = annotation["bbox"]
        assert annotation["area"] == width * height == 80
        (region,) = task["predictions"][0]["result"]
        value = region["value"]
        assert value["x"] * 32 / 100 == pytest.approx(x)
        assert value["y"] * 40 / 100 == pytest.approx(y)
        assert value["width"] * 32 / 100 == pytest.approx(width)
        assert value["height"] * 40 / 100 == pytest.approx(height)


def test_a_saying_in_label_studio_is_taken_with_its_author_and_time(images, tmp_path, home):
    flag = flags_of(images, tmp_path)[0]
    choice = {"from_name": "verdict", "type": "choices", "value": {"choices": ["False"]}}
    note = {"from_name": "note", "type": "textarea", "value": {"text": "only a reflection"}}
    annotations = [
        {"result": [choice, note], "created_at": "2026-11-20T10:00:00.5Z", "completed_by": {"email": "c@x"}},
        {"result": [choice], "created_at": "2026-11-20T11:00:00Z", "completed_by": 7},
        {"result": [choice], "created_at": "2026-11-20T11:00:00Z", "was_cancelled": True},
        {"result": [{"from_name": "region", "value": {}}]},
        {"result": [choice]},
    ]
    file = tmp_path / "in.json"
    file.write_text(json.dumps([{"id": 9, "data": {"flag_id": flag}, "annotations": annotations}]))
    assert import_verdicts(images, file, Form.LABEL_STUDIO, reviewer="me", now=NOW) == 3
    found = sorted(kept(images, home), key=lambda v: v.reviewer)
    assert [(v.word, v.reviewer, v.note) for v in found] == [
        (Word.FALSE, "c@x", "only a reflection"),
        (Word.FALSE, "me", ""),
        (Word.FALSE, "user 7", ""),
    ]
    assert found[1].at == NOW
    assert import_verdicts(images, file, Form.LABEL_STUDIO, reviewer="me") == 0


def test_a_flag_is_true_if_one_of_its_regions_is(images, tmp_path, home):
    export_verdicts(images, tmp_path / "coco.json", Form.COCO)
    coco = json.loads((tmp_path / "coco.json").read_text())
    ids = {category["name"]: category["id"] for category in coco["categories"]}
    region = coco["annotations"][0]
    coco["annotations"] = [
        region | {"category_id": ids["false"]},
        region | {"category_id": ids["true"]},
        coco["annotations"][1] | {"category_id": ids["false"]},
    ]
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    assert import_verdicts(images, tmp_path / "coco.json", Form.COCO, reviewer="me", now=NOW) == 2
    assert [(v.word, v.reviewer) for v in kept(images, home)] == [(Word.TRUE, "me"), (Word.FALSE, "me")]


def test_an_annotation_without_attributes_is_known_by_its_image(images, tmp_path, home):
    flag = flags_of(images, tmp_path)[0]
    export_verdicts(images, tmp_path / "coco.json", Form.COCO)
    coco = json.loads((tmp_path / "coco.json").read_text())
    coco["annotations"] = [{"id": 1, "image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1]}]
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    import_verdicts(images, tmp_path / "coco.json", Form.COCO, reviewer="me", now=NOW)
    assert [(v.flag_id, v.word) for v in kept(images, home)] == [(flag, Word.TRUE)]


def changed(document, *steps, to):
    """A copy with another value at the end of a path."""
    copied = copy.deepcopy(document)
    place = copied
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = to
    return copied


HOSTILE_TASKS = [
    ((0,), 7, "expected an object, got 7"),
    ((0, "data"), None, "data: expected an object"),
    ((0, "data", "flag_id"), "elsewhere", "expected the id of a published flag"),
    ((0, "data", "flag_id"), {"a": 1}, "expected the id of a published flag"),
    ((0, "annotations"), "x", "annotations: expected a list"),
    ((0, "annotations", 0), [], "annotations: expected an object"),
    ((0, "annotations", 0, "result"), {"a": 1}, "result: expected a list"),
    ((0, "annotations", 0, "result", 0, "value"), None, "verdict: expected an object"),
    ((0, "annotations", 0, "result", 0, "value", "choices"), ["guilty"], "expected true, false or unsure"),
    ((0, "annotations", 0, "result", 0, "value", "choices"), [["true"]], "expected a text"),
    ((0, "annotations", 0, "created_at"), "yesterday", "expected a time such as"),
    ((0, "annotations", 0, "created_at"), "2026-11-20T10:00:00", "with its offset"),
    ((0, "annotations", 0, "created_at"), 5, "expected a text"),
    ((0, "annotations", 0, "created_at"), "0001-01-01T00:00:00+23:00", "of these centuries"),
    ((0, "annotations", 0, "detector_version"), 10**30, "expected a whole number"),
    ((0, "annotations", 0, "detector_version"), True, "expected a whole number"),
]


@pytest.mark.parametrize(("steps", "to", "message"), HOSTILE_TASKS)
def test_tasks_of_another_form_are_refused_with_the_place(steps, to, message, images, tmp_path, home):
    first, second, _ = flags_of(images, tmp_path)
    say(images, home, *opinions(first, second))
    file = tmp_path / "tasks.json"
    export_verdicts(images, file, Form.LABEL_STUDIO)
    (home / "ledger.db").unlink()
    file.write_text(json.dumps(changed(json.loads(file.read_text()), *steps, to=to)))
    with pytest.raises(SourceError, match=message) as refused:
        import_verdicts(images, file, Form.LABEL_STUDIO, reviewer="me")
    assert str(file) in str(refused.value)
    assert kept(images, home) == []


HOSTILE_COCO = [
    (("images",), None, "images: expected a list"),
    (("images", 0), 1, "images 1: expected an object"),
    (("images", 0, "file_name"), 7, "file_name: expected a text"),
    (("categories",), {}, "categories: expected a list"),
    (("categories", 0, "id"), "one", "id: expected a whole number"),
    (("annotations",), 3, "annotations: expected a list"),
    (("annotations", 0), "x", "annotation 1: expected an object"),
    (("annotations", 0, "category_id"), 99, "one of the category entries, got 99"),
    (("annotations", 0, "image_id"), None, "one of the image entries, got None"),
    (("annotations", 0, "attributes"), [1], "attributes: expected an object"),
    (("annotations", 0, "attributes", "flag_id"), "other", "expected the id of a published flag"),
    (("annotations", 0, "attributes", "reviewer"), 5, "attributes.reviewer: expected a text"),
    (("annotations", 0, "attributes", "at"), "noon", "expected a time such as"),
    (("categories", 2, "name"), "guilty", "expected true, false or unsure, got 'guilty'"),
]


@pytest.mark.parametrize(("steps", "to", "message"), HOSTILE_COCO)
def test_data_sets_of_another_form_are_refused_with_the_place(steps, to, message, images, tmp_path, home):
    first, second, _ = flags_of(images, tmp_path)
    say(images, home, *opinions(first, second))
    file = tmp_path / "coco.json"
    export_verdicts(images, file, Form.COCO)
    (home / "ledger.db").unlink()
    file.write_text(json.dumps(changed(json.loads(file.read_text()), *steps, to=to)))
    with pytest.raises(SourceError, match=message):
        import_verdicts(images, file, Form.COCO, reviewer="me")
    assert kept(images, home) == []


@pytest.mark.parametrize("form", [Form.LABEL_STUDIO, Form.COCO])
@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ufeffnull", "NaN", '{"a": 1}', "[1]", "3"])
def test_what_is_no_document_of_the_form_is_refused(form, text, images, tmp_path):
    file = tmp_path / "in.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match="expected"):
        import_verdicts(images, file, form, reviewer="me")


def test_bytes_that_are_no_text_and_a_missing_file_are_refused(images, tmp_path):
    (tmp_path / "in.json").write_bytes(b"\xff\xfe\x00[")
    for name in ("in.json", "gone.json"):
        with pytest.raises(SourceError, match=name):
            import_verdicts(images, tmp_path / name, Form.COCO, reviewer="me")


def test_characters_that_cannot_be_shown_keep_all_out(images, tmp_path, home):
    first, second, _ = flags_of(images, tmp_path)
    bad = replace(opinions(first, second)[0], note="fine")
    say(images, home, bad)
    file = tmp_path / "tasks.json"
    export_verdicts(images, file, Form.LABEL_STUDIO)
    (home / "ledger.db").unlink()
    file.write_text(file.read_text().replace("fine", "a\\u0000\\ud800"))
    with pytest.raises(InputError, match="can be shown"):
        import_verdicts(images, file, Form.LABEL_STUDIO, reviewer="me")
    assert kept(images, home) == []


def test_events_of_a_series_are_tasks_of_text_and_no_regions(tmp_path, home):
    store = write_store(tmp_path, home, 2, seed=2)
    for batch in store.paths.published():
        folder = store.paths.report(batch)
        (folder / "receipt.json").write_text(json.dumps(RECEIPT | {"batch": batch}))
    export_verdicts(store.config, tmp_path / "tasks.json", Form.LABEL_STUDIO)
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert len(tasks) == len(store.flags)
    assert all("pump-" in task["data"]["what"] and task["predictions"] == [] for task in tasks)
    with pytest.raises(SourceError, match="COCO is for regions of images"):
        export_verdicts(store.config, tmp_path / "coco.json", Form.COCO)
    assert not (tmp_path / "coco.json").exists()


RECEIPT = {
    "pipeline": "pumps",
    "batch": "",
    "detector_version": 1,
    "seed": 0,
    "device": "cpu",
    "files": {},
    "versions": {},
    **dict.fromkeys(("input_digest", "config_digest", "detector_digest", "calibration_digest"), "0"),
}


@pytest.mark.parametrize(
    ("name", "named", "form"),
    [("a.csv", None, Form.CSV), ("a.txt", None, Form.CSV), ("a.json", "coco", Form.COCO)],
)
def test_the_form_is_told_by_its_name_or_the_file(name, named, form, tmp_path):
    assert form_of(tmp_path / name, named) is form


@pytest.mark.parametrize(("name", "named"), [("a.json", None), ("a.csv", "excel")])
def test_a_form_that_is_not_clear_is_asked_for(name, named, tmp_path):
    with pytest.raises(SourceError, match="expected --format csv, label-studio, coco"):
        form_of(tmp_path / name, named)


@pytest.mark.parametrize("form", [Form.CSV, Form.LABEL_STUDIO])
def test_what_was_said_of_an_event_goes_out_with_it_when_a_newer_report_renamed_it(form, tmp_path, home):
    store = write_store(tmp_path, home, 3, seed=2)
    for batch in store.paths.published():
        (store.paths.report(batch) / "receipt.json").write_text(json.dumps(RECEIPT | {"batch": batch}))
    mine = store.verdicts[0]
    report, file = store.paths.report(mine.batch), tmp_path / "out.file"
    shutil.copytree(report, store.paths.revisions(mine.batch) / "rev=1")
    export_verdicts(store.config, tmp_path / "older.file", form)
    rows = pq.read_table(report / "flags.parquet", partitioning=None)
    changed = [
        row | {"flag_id": "renamed"} if row["flag_id"] == mine.flag_id else row for row in rows.to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(changed, schema=rows.schema), report / "flags.parquet")

    export_verdicts(store.config, file, form)
    told = file.read_text(encoding="utf-8")
    assert mine.flag_id not in told
    for given in (file, tmp_path / "older.file"):
        assert import_verdicts(store.config, given, form, reviewer="me") == 0
    (home / "ledger.db").unlink()
    assert import_verdicts(store.config, file, form, reviewer="me") == len(store.verdicts)
    assert [v.flag_id for v in open_verdicts(store.paths).all()].count("renamed") == sum(
        v.flag_id == mine.flag_id for v in store.verdicts
    )
