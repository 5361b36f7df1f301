"""A batch's mark changes with its data and with nothing else; what looks back to it follows."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from aeflow.config import PipelineConfig
from aeflow.data.marks import MarkCache, batch_marks, following

NIGHTS = ("2026-11-19", "2026-11-20", "2026-11-21")


def series(folder, *, by="period", window=3, cadence=3600, period="day", batch=None, **source):
    return PipelineConfig.model_validate(
        {
            "name": "pump",
            "source": {"kind": "table", "path": "data", "time_column": "t", "channels": ["a"], **source},
            "batch": {"by": by, "period": period, **(batch or {})},
            "prepare": {"kind": "series", "window_points": window, "cadence_seconds": cadence},
            "model": {"family": "pca"},
            "calibration": {"false_flags_per_batch": 1},
        }
    ).at(folder)


def write(folder, name, *rows):
    file = folder / "data" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(["t,a", *rows]) + "\n")
    return file


def hours(night, values):
    return [f"{night}T{hour:02d}:00:00Z,{value}" for hour, value in enumerate(values)]


@pytest.fixture
def three_nights(tmp_path):
    rows = [row for night in NIGHTS for row in hours(night, range(24))]
    write(tmp_path, "rows.csv", *rows)
    return tmp_path, rows


def test_one_file_that_grows_marks_only_the_nights_it_grew_by(three_nights):
    folder, rows = three_nights
    before = batch_marks(series(folder), MarkCache())
    assert tuple(before) == NIGHTS
    write(folder, "rows.csv", *rows, *hours("2026-11-22", [1]))
    after = batch_marks(series(folder), MarkCache())
    assert after == before | {"2026-11-22": after["2026-11-22"]}


@pytest.mark.parametrize("change", ["value", "more", "less", "twice"])
def test_a_changed_row_marks_its_night(three_nights, change):
    folder, rows = three_nights
    before = batch_marks(series(folder), MarkCache())
    row = rows[30]
    changed = {
        "value": [*rows[:30], row + "9", *rows[31:]],
        "more": [*rows, "2026-11-20T06:30:00Z,5"],
        "less": [*rows[:30], *rows[31:]],
        "twice": [*rows[:30], row, row, *rows[31:]],
    }[change]
    write(folder, "rows.csv", *changed)
    after = batch_marks(series(folder), MarkCache())
    assert {n for n in NIGHTS if after[n] != before[n]} == {"2026-11-20"}


def test_order_and_files_do_not_matter_and_a_row_of_a_broken_time_does(three_nights):
    folder, rows = three_nights
    before = batch_marks(series(folder), MarkCache())
    write(folder, "rows.csv", *reversed(rows[:40]))
    write(folder, "more.csv", *rows[40:])
    assert batch_marks(series(folder), MarkCache()) == before
    write(folder, "more.csv", "never,1", *rows[40:])
    after = batch_marks(series(folder), MarkCache())
    assert {n for n in NIGHTS if after[n] != before[n]} == {"2026-11-20"}


def test_a_file_that_is_as_it_was_is_not_read_again(three_nights, monkeypatch):
    folder, _ = three_nights
    cache = MarkCache()
    before = batch_marks(series(folder), cache)
    kept = MarkCache.from_json(cache.to_json())

    def refuse(*_args):
        pytest.fail("read again")

    monkeypatch.setattr("aeflow.data.marks._add_row_sums", refuse)
    assert batch_marks(series(folder), kept) == before


@pytest.mark.parametrize(
    "other",
    [
        {"period": "week"},
        {"batch": {"time_zone": "Asia/Tokyo"}},
        {"channels": ["b"]},
        {"time_column": "u"},
        {"entity_column": "e"},
        {"time_format": "%Y-%m-%dT%H:%M:%SZ"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_file_that_is_to_be_read_in_another_way_is_read_again(tmp_path, other):
    times = [f"{night}T{hour:02d}:00:00Z" for night in NIGHTS for hour in range(24)]
    rows = [f'{at},"1,5",2,{at},p' for at in times]
    write(tmp_path, "rows.csv")
    (tmp_path / "data" / "rows.csv").write_text("\n".join(["t,a,b,u,e", *rows]) + "\n")
    cache = MarkCache()
    before = batch_marks(series(tmp_path), cache)
    kept = MarkCache.from_json(cache.to_json())
    after = batch_marks(series(tmp_path, **other), kept)
    assert after == batch_marks(series(tmp_path, **other), MarkCache())
    assert kept.reading != cache.reading
    if "period" in other or "batch" in other:
        assert after.keys() != before.keys()


def test_what_was_kept_of_periods_is_gone_where_batches_are_folders(tmp_path):
    write(tmp_path, "2026-11-19/rows.csv", *hours("2026-11-19", [1]))
    cache = MarkCache()
    batch_marks(series(tmp_path, path="data/2026-11-19"), cache)
    assert cache.files
    assert set(batch_marks(series(tmp_path, by="folder"), cache)) == {"2026-11-19"}
    assert cache.files == {}


def test_folders_and_images_are_marked_by_name_size_and_time(tmp_path):
    for night in NIGHTS:
        write(tmp_path, f"{night}/rows.csv", *hours(night, range(3)))
    config = series(tmp_path, by="folder")
    before = batch_marks(config, MarkCache())
    os.utime(tmp_path / "data" / NIGHTS[1] / "rows.csv", ns=(1, 1))
    after = batch_marks(config, MarkCache())
    assert {n for n in NIGHTS if after[n] != before[n]} == {NIGHTS[1]}

    for night in NIGHTS[:2]:
        (tmp_path / "images" / night).mkdir(parents=True)
        Image.new("L", (9, 9)).save(tmp_path / "images" / night / "a.png")
    images = PipelineConfig.model_validate(
        {
            "name": "parts",
            "source": {"kind": "images", "root": "images"},
            "batch": {"by": "folder"},
            "prepare": {"kind": "images", "height_px": 8, "width_px": 8},
            "model": {"family": "pca"},
            "calibration": {"false_flags_per_batch": 1},
        }
    ).at(tmp_path)
    before = batch_marks(images, MarkCache())
    Image.new("L", (9, 9)).save(tmp_path / "images" / NIGHTS[0] / "b.png")
    after = batch_marks(images, MarkCache())
    assert {n for n in before if after[n] != before[n]} == {NIGHTS[0]}
    assert following(images, [NIGHTS[0]], list(before)) == set()


@pytest.mark.parametrize(("window", "cadence", "reach"), [(3, 3600, 1), (30, 3600, 2), (2, None, 4)])
def test_the_nights_that_look_back_are_as_many_as_the_window_reaches(tmp_path, window, cadence, reach):
    ids = [f"2026-11-{day}" for day in range(10, 15)]
    config = series(tmp_path, window=window, cadence=cadence)
    assert following(config, ["2026-11-10"], ids) == set(ids[1 : 1 + reach])
