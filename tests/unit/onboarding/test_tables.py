from __future__ import annotations

import gzip
import sqlite3
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aeflow.config import load_config
from aeflow.data.series_intake import list_series_batches, take_in_history
from aeflow.data.take_in import Context, take_in
from aeflow.exceptions import ConfigError, SourceError
from aeflow.onboarding import FROM_PATH, profile_sql, profile_table, write_config

START = datetime(2026, 11, 1)  # noqa: DTZ001 - a file without offsets


def hours(count, start=START):
    return [(start + timedelta(hours=i)).isoformat(sep=" ") for i in range(count)]


def write(path, header, rows, delimiter=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ([delimiter.join(header)] if header else []) + [delimiter.join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def readings(path, count=240, **kwargs):
    rows = [(time, i % 24, (i * 7) % 5, 0) for i, time in enumerate(hours(count))]
    return write(path, ("time", "flow", "load", "anomaly"), rows, **kwargs)


def test_finds_delimiter_time_channels_and_cadence(tmp_path):
    found = profile_table(readings(tmp_path / "a.csv", delimiter=";"))
    assert (found.delimiter, found.header) == (";", True)
    assert found.readings.roles.time == "time"
    assert found.readings.roles.channels == ("flow", "load")
    assert found.readings.cadence_seconds == 3600
    assert (found.readings.rows, found.readings.whole) == (240, True)


def test_a_label_column_is_no_channel_and_that_is_said(tmp_path):
    found = profile_table(readings(tmp_path / "a.csv"))
    assert "label" in found.readings.roles.left_out["anomaly"]
    text = write_config(found, "a", tmp_path / "configs").read_text()
    assert "Left out are anomaly: a label" in text


def test_a_column_named_label_that_holds_measurements_stays(tmp_path):
    rows = [(time, i, i * 0.5 % 7) for i, time in enumerate(hours(50))]
    found = profile_table(write(tmp_path / "a.csv", ("time", "flow", "label"), rows))
    assert "label" in found.readings.roles.channels


def test_days_of_an_hourly_series_become_batches(tmp_path):
    path = write_config(profile_table(readings(tmp_path / "a.csv", 720)), "a", tmp_path / "configs")
    config = load_config(path)
    assert (config.batch.by, config.batch.period) == ("period", "day")
    assert config.history.last == "2026-11-21"
    assert config.calibration.false_flags_per_batch == 1
    assert list_series_batches(config)[-1] == "2026-11-30"


@pytest.mark.parametrize(("step_seconds", "shortest"), [(60, 10), (3600, 1)])
def test_where_scores_are_means_one_normal_row_that_leaps_is_no_event(tmp_path, step_seconds, shortest):
    step = timedelta(seconds=step_seconds)
    random = np.random.default_rng(0)
    values = random.standard_normal((9_000, 2)).cumsum(axis=0)
    rows = [(str(START + i * step), *row) for i, row in enumerate(values.round(3).tolist())]
    found = profile_table(write(tmp_path / "a.csv", ("time", "flow", "heat"), rows))
    path = write_config(found, "a", tmp_path / "configs")
    config = load_config(path)
    assert (config.batch.by, config.scoring.smooth_points) == ("period", 20)
    assert config.calibration.min_event_points == shortest
    assert ("one normal row that leapt" in path.read_text(encoding="utf-8").replace("\n  # >", "")) == (
        shortest > 1
    )


def test_gaps_are_counted(tmp_path):
    times = [*hours(30), *hours(30, START + timedelta(hours=40))]
    found = profile_table(write(tmp_path / "a.csv", ("time", "x"), [(t, i) for i, t in enumerate(times)]))
    (entity,) = found.readings.entities
    assert (entity.gaps, entity.longest_gap_seconds) == (1, 11 * 3600)


def test_names_that_come_again_and_again_are_entities(tmp_path):
    rows = [(time, name, i) for i, time in enumerate(hours(60)) for name in ("north", "south")]
    found = profile_table(write(tmp_path / "a.csv", ("time", "site", "x"), rows))
    assert found.readings.roles.entity == "site"
    assert [(e.name, e.rows) for e in found.readings.entities] == [("north", 60), ("south", 60)]


def test_files_of_the_same_time_are_entities_and_files_in_a_row_are_one_series(tmp_path):
    for name in ("p1", "p2"):
        readings(tmp_path / "side" / f"{name}.csv")
    assert profile_table(tmp_path / "side").entity_from_path
    for day in range(2):
        rows = [(t, i) for i, t in enumerate(hours(24, START + timedelta(days=day)))]
        write(tmp_path / "row" / f"{day}.csv", ("time", "x"), rows)
    assert not profile_table(tmp_path / "row").entity_from_path
    assert profile_table(tmp_path / "row", entity=FROM_PATH).entity_from_path


def test_rows_without_time_in_train_and_test_folders_are_batches(tmp_path):
    for folder in ("train", "test"):
        for name in ("m1", "m2"):
            path = tmp_path / "data" / folder / f"{name}.txt.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                gzip.compress(b"".join(b"0.%d,0.5,1.%d\n" % (i % 10, i % 7) for i in range(300)))
            )
    found = profile_table(tmp_path / "data")
    assert (found.header, found.folders_are_batches, found.entity_from_path) == (False, True, True)
    config = load_config(write_config(found, "m", tmp_path / "configs"))
    assert (config.batch.by, config.history.batches) == ("folder", ("train",))
    intake = take_in_history(config, tmp_path / "intake")
    assert (intake.valid, intake.entities) == (600, ("m1", "m2"))


def test_folders_named_by_dates_are_batches_and_the_files_in_them_entities(tmp_path):
    for day in range(10):
        for machine in ("m1", "m2"):
            rows = [(t, i % 7) for i, t in enumerate(hours(24, START + timedelta(days=day)))]
            write(tmp_path / "data" / f"2026-11-{day + 1:02d}" / f"{machine}.csv", ("time", "x"), rows)
    found = profile_table(tmp_path / "data")
    assert (found.folders_are_batches, found.entity_from_path) == (True, True)
    assert [e.name for e in found.readings.entities] == ["m1", "m2"]
    config = load_config(write_config(found, "m", tmp_path / "configs"))
    assert (config.batch.by, config.history.last) == ("folder", "2026-11-07")
    intake = take_in_history(config, tmp_path / "intake")
    assert (intake.valid, intake.entities) == (7 * 2 * 24, ("m1", "m2"))


def test_a_column_that_some_files_lack_is_told_of(tmp_path):
    for name, columns in (("a", ("time", "x", "y")), ("b", ("time", "x"))):
        write(
            tmp_path / "data" / f"{name}.csv", columns, [(t, *(1.0,) * (len(columns) - 1)) for t in hours(24)]
        )
    text = write_config(profile_table(tmp_path / "data"), "m", tmp_path / "configs").read_text()
    head = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    assert "Not in every file that was looked at, and so no channel: y." in head


def test_parquet_is_read_by_its_types(tmp_path):
    table = pa.table(
        {"at": [START + timedelta(minutes=i) for i in range(90)], "x": [float(i) for i in range(90)]}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    found = profile_table(tmp_path / "a.parquet")
    assert (found.format, found.readings.roles.time, found.readings.cadence_seconds) == ("parquet", "at", 60)


@pytest.mark.parametrize(
    ("header", "rows", "kwargs", "says"),
    [
        (("time", "name"), [(t, "x") for t in hours(5)], {}, "at least one column of numbers"),
        (("time", "x"), [(t, 1) for t in hours(5)], {"time": "tiem"}, "'tiem'"),
        (("time", "x"), [(t, 1) for t in hours(5)], {"time": "x"}, "--time-format"),
        (("time", "x"), [(t, 1) for t in hours(5)], {"time_format": "seconds"}, "epoch_seconds"),
        (("time", "x"), [(t, 1) for t in hours(5)], {"time_format": "%d/%m"}, "Mend --time-format"),
        (("t", "x"), [(f"0{d}/02/2026", d) for d in (1, 2, 3)], {}, "Say which it is: --time-format"),
        (("time", "x"), [(t, 1) for t in hours(5)], {"entity": "machine"}, "'machine'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, header, rows, kwargs, says):
    write(tmp_path / "a.csv", header, rows)
    with pytest.raises(SourceError, match=says):
        profile_table(tmp_path / "a.csv", **kwargs)


@pytest.mark.parametrize(
    ("name", "cell", "given", "form"),
    [
        ("ts", lambda t: int(t.timestamp()), None, "epoch_seconds"),
        ("epoch", lambda t: int(t.timestamp() * 1000), None, "epoch_milliseconds"),
        ("when", lambda t: int(t.timestamp()), "epoch_seconds", "epoch_seconds"),
        ("Zeit", lambda t: t.strftime("%d.%m.%Y %H:%M"), None, "%d.%m.%Y %H:%M"),
        ("Zeit", lambda t: t.strftime("%y/%d/%m %H.%M"), "%y/%d/%m %H.%M", "%y/%d/%m %H.%M"),
    ],
)
def test_times_of_other_forms_are_found_or_named_and_make_batches(tmp_path, name, cell, given, form):
    start = datetime(2026, 11, 1, tzinfo=UTC)
    rows = [(cell(start + timedelta(hours=i)), i % 24) for i in range(30 * 24)]
    write(tmp_path / "a.csv", (name, "flow"), rows)
    found = profile_table(tmp_path / "a.csv", time=name if given else None, time_format=given)
    assert (found.time_format, found.readings.roles.time) == (form, name)
    config = load_config(write_config(found, "a", tmp_path / "configs"))
    assert list_series_batches(config)[0] == "2026-11-01"
    staged = take_in(config, "2026-11-02", tmp_path / "staged", context=Context())
    assert (staged.valid, sum(staged.quarantined.values())) == (24, 0)


def test_decimal_commas_are_recognised_and_taken_in(tmp_path):
    rows = [(time, f"{i % 24},{i % 10}", i % 7) for i, time in enumerate(hours(240))]
    found = profile_table(write(tmp_path / "a.csv", ("time", "flow", "load"), rows, delimiter=";"))
    assert (found.decimal, found.readings.roles.channels) == (",", ("flow", "load"))
    config = load_config(write_config(found, "a", tmp_path / "configs"))
    staged = take_in(config, "2026-11-02", tmp_path / "staged", context=Context())
    assert (staged.valid, sum(staged.quarantined.values())) == (24, 0)
    assert profile_table(readings(tmp_path / "b.csv", delimiter=";")).decimal == "."


@pytest.mark.parametrize(("header", "names"), [("", ("c01", "c02")), ("  load   flow\n", ("load", "flow"))])
def test_cells_parted_by_runs_of_blanks_are_recognised(tmp_path, header, names):
    path = tmp_path / "a.txt"
    path.write_text(header + "".join(f"  {i % 24:.7e}  {-i % 5:.7e}\n" for i in range(60)))
    found = profile_table(path)
    assert (found.delimiter, found.header) == ("whitespace", bool(header))
    assert found.readings.roles.channels == names
    assert found.readings.rows == 60


@pytest.mark.parametrize("content", [None, b""])
def test_a_table_that_is_missing_or_empty_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(SourceError):
        profile_table(tmp_path / "a.csv")


def test_a_query_is_looked_at_with_its_bounds_wide_open(tmp_path):
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("create table readings (at text, site text, flow real)")
        rows = [(t, site, i) for i, t in enumerate(hours(120)) for site in ("north", "south")]
        database.executemany("insert into readings values (?, ?, ?)", rows)
    query = tmp_path / "extract.sql"
    query.write_text("select * from readings where datetime(at) >= :start and datetime(at) < :end")
    found = profile_sql(query, f"sqlite:///{tmp_path / 'a.db'}")
    roles = found.readings.roles
    assert (roles.time, roles.entity, roles.channels) == ("at", "site", ("flow",))
    config = load_config(write_config(found, "q", tmp_path / "configs"))
    assert list_series_batches(config) == [f"2026-11-0{day}" for day in range(1, 6)]


def test_a_query_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is none"):
        profile_sql(tmp_path / "none.sql", "sqlite:///none.db")


def test_a_database_named_from_here_is_found_from_the_folder_of_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with sqlite3.connect(tmp_path / "data" / "a.db") as database:
        database.execute("create table readings (time text, x real)")
        database.executemany("insert into readings values (?, ?)", [(t, i) for i, t in enumerate(hours(240))])
    query = tmp_path / "q.sql"
    query.write_text("select time, x from readings where time >= :start and time < :end")
    config = load_config(write_config(profile_sql(query, "sqlite:///data/a.db"), "a", tmp_path / "configs"))
    assert config.source.url == "sqlite:///../data/a.db"
    assert list_series_batches(config)[0] == "2026-11-01"


def beats(path, count=120, seed=0):
    """Rows of 24 columns: bumps of any height, one after the other in no order."""
    rng = np.random.default_rng(seed)
    bump = np.exp(-(((np.arange(24) - 12) / 4) ** 2))
    rows = rng.gamma(4, size=(count, 1)) * bump + 0.1 * rng.normal(size=(count, 24))
    return write(path, [f"r{i}" for i in range(24)], rows.round(4).tolist())


def test_rows_without_time_that_are_like_no_neighbour_are_items(tmp_path):
    for folder in ("train", "test"):
        beats(tmp_path / "beats" / folder / "a.csv", seed=len(folder))
    found = profile_table(tmp_path / "beats")
    assert found.readings.rows_are_items
    assert found.readings.columns_follow
    config = load_config(write_config(found, "beats", tmp_path / "configs"))
    assert (config.model.family, config.prepare.window_points) == ("kernel_regression", 1)
    assert config.prepare.scale == "common"
    assert (config.batch.by, config.history.batches) == ("folder", ("train",))


def test_rows_that_follow_each_other_or_carry_a_time_or_are_few_are_no_items(tmp_path):
    walk = np.cumsum(np.random.default_rng(0).normal(size=(120, 4)), axis=0).round(4).tolist()
    assert not profile_table(write(tmp_path / "walk.csv", list("abcd"), walk)).readings.rows_are_items
    assert not profile_table(beats(tmp_path / "few.csv", count=40)).readings.rows_are_items
    noise = np.random.default_rng(1).normal(size=(120, 2)).round(4).tolist()
    timed = [(time, *row) for time, row in zip(hours(120), noise, strict=True)]
    found = profile_table(write(tmp_path / "timed.csv", ("time", "a", "b"), timed))
    assert not found.readings.rows_are_items


def test_items_of_many_quantities_are_scaled_one_by_one(tmp_path):
    rng = np.random.default_rng(2)
    rows = (rng.normal(size=(120, 24)) + 10 * rng.normal(size=24)).round(4).tolist()
    found = profile_table(write(tmp_path / "parts.csv", [f"m{i}" for i in range(24)], rows))
    assert found.readings.rows_are_items
    assert not found.readings.columns_follow
    assert load_config(write_config(found, "parts", tmp_path / "configs")).prepare.scale == "deviation"


def test_days_begin_where_the_times_say(tmp_path):
    rows = [(f"{time.replace(' ', 'T')}+01:00", i % 24) for i, time in enumerate(hours(240))]
    found = profile_table(write(tmp_path / "a.csv", ("time", "flow"), rows))
    config = load_config(write_config(found, "a", tmp_path / "configs"))
    assert config.batch.time_zone == "Etc/GMT-1"
    assert list_series_batches(config)[0] == "2026-11-01"
    assert (config.history.last, len(list_series_batches(config))) == ("2026-11-07", 10)
