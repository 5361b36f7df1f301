import gzip
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aeflow.data.intake import Intake
from aeflow.data.series_intake import list_series_batches, take_in_history, take_in_series
from aeflow.exceptions import BatchNotFound, SourceError, StorageError
from aeflow.schemas import QUARANTINE
from tests.unit.data.series_pipeline import quarantine, rows, series_pipeline, write

DAY = {"by": "period", "period": "day"}


def take(config, tmp_path, batch="all", **options):
    return take_in_series(config, batch, tmp_path / "staged", **options)


def times(intake, *, context=False):
    return [r["time"].strftime("%d %H:%M") for r in rows(intake) if r["context"] == context]


def test_rows_are_staged_in_canonical_order_with_their_place(tmp_path):
    write(tmp_path, "two.csv", "time,m,a,b\n2026-11-20 00:01,y,1,2\n2026-11-20 00:00,y,3,\n")
    write(tmp_path, "one.csv", "time,m,a,b\n2026-11-20 00:00,x,5,6\n")
    intake = take(series_pipeline(tmp_path, entity_column="m"), tmp_path)
    staged = rows(intake)
    assert [(r["entity"], r["time"].minute, r["file"], r["row"]) for r in staged] == [
        ("x", 0, "one.csv", 1),
        ("y", 0, "two.csv", 2),
        ("y", 1, "two.csv", 1),
    ]
    assert staged[2]["values"] == [1.0, 2.0]
    assert np.isnan(staged[1]["values"][1])
    assert (intake.rows_in, intake.valid, intake.out_of_order) == (3, 3, 1)
    assert intake.entities == ("x", "y")
    assert Intake.load(intake.folder) == intake
    assert sorted(p.name for p in intake.folder.iterdir()) == [
        "intake.json",
        "quarantine.parquet",
        "rows.parquet",
    ]


def test_each_fault_sets_its_row_aside_with_reason_rule_and_place(tmp_path):
    lines = [
        "time,m,a,b",
        "2026-11-20 00:00,x,1,2",
        "2026-11-20 00:01,x,1",
        "later,x,1,2",
        ",x,1,2",
        "2026-11-20 00:04,,1,2",
        "2026-11-20 00:05,x,high,2",
        "2026-11-20 00:06,x,inf,2",
        "2026-11-20 00:07,x,,NaN",
        "2026-11-20 00:08,x,1,99.5",
        "2026-11-20 00:00,x,7,7",
    ]
    write(tmp_path, "x.csv", "\n".join(lines))
    intake = take(series_pipeline(tmp_path, entity_column="m", limits={"b": (0, 50)}), tmp_path)
    aside = {r["row"]: r for r in quarantine(intake)}
    assert {row: r["reason"] for row, r in aside.items()} == {
        2: "malformed_row",
        3: "bad_timestamp",
        4: "bad_timestamp",
        5: "no_entity",
        6: "bad_number",
        7: "not_finite",
        8: "no_value",
        9: "out_of_limits",
        10: "duplicate_timestamp",
    }
    assert aside[3]["detail"] == "time = 'later'"
    assert aside[3]["timestamp"] is None
    assert aside[4]["detail"] == "time is missing"
    assert aside[6]["detail"] == "a = 'high'"
    assert (aside[9]["rule"], aside[9]["detail"]) == ("0 <= b <= 50", "b = 99.5")
    assert aside[9]["timestamp"] == datetime(2026, 11, 20, 0, 8, tzinfo=UTC)
    assert all(
        r["rule"] and r["detail"] and r["file"] == "x.csv" and r["batch"] == "all" for r in aside.values()
    )
    assert pq.read_schema(intake.quarantine_path).equals(QUARANTINE)
    assert intake.valid == 1
    assert intake.rows_in == 10


def test_a_row_set_aside_makes_no_later_row_a_duplicate(tmp_path):
    write(tmp_path, "x.csv", "time,a,b\n2026-11-20,inf,1\n2026-11-20,2,2\n2026-11-20,3,3\n")
    intake = take(series_pipeline(tmp_path), tmp_path)
    assert [r["values"] for r in rows(intake)] == [[2.0, 2.0]]
    assert [r["reason"] for r in quarantine(intake)] == ["not_finite", "duplicate_timestamp"]


def test_times_without_offset_are_set_aside_where_most_have_one(tmp_path):
    write(tmp_path, "x.csv", "time,a,b\n2026-11-20T00:00Z,1,1\n2026-11-20 00:01,1,1\n2026-11-20T00:02Z,1,1\n")
    write(tmp_path, "y.csv", "time,a,b\n2026-11-21T00:00Z,1,1\n2026-11-21 00:01,1,1\n2026-11-21 00:02,1,1\n")
    intake = take(series_pipeline(tmp_path), tmp_path)
    assert [(r["file"], r["row"], r["reason"]) for r in quarantine(intake)] == [
        ("x.csv", 2, "mixed_time_zone")
    ]


def test_a_local_time_that_is_not_clear_is_set_aside(tmp_path):
    write(tmp_path, "x.csv", "time,a,b\n2026-10-25 01:30,1,1\n2026-10-25 02:30,1,1\n2026-10-25 03:30,1,1\n")
    config = series_pipeline(tmp_path, batch=DAY | {"time_zone": "Europe/Berlin"})
    intake = take(config, tmp_path, "2026-10-25")
    assert [r["reason"] for r in quarantine(intake)] == ["ambiguous_local_time"]
    assert times(intake) == ["24 23:30", "25 02:30"]
    assert intake.end - intake.start == timedelta(hours=25)


def minutes(day, hours, extra=""):
    return "".join(f"2026-11-{day} {h:02d}:00,{h},1{extra}\n" for h in hours)


def test_a_period_takes_its_rows_and_the_context_before_them(tmp_path):
    write(
        tmp_path,
        "x.csv",
        "time,a,b\n" + minutes(19, range(20, 24)) + minutes(20, range(3)) + minutes(21, range(2)),
    )
    config = series_pipeline(tmp_path, batch=DAY)
    assert list_series_batches(config) == ["2026-11-19", "2026-11-20", "2026-11-21"]
    intake = take(config, tmp_path, "2026-11-20", context_points=2, cadence_seconds=3600)
    assert times(intake) == ["20 00:00", "20 01:00", "20 02:00"]
    assert times(intake, context=True) == ["19 22:00", "19 23:00"]
    assert (intake.rows_in, intake.valid, intake.context_rows) == (3, 3, 2)
    without_cadence = take(config, tmp_path, "2026-11-20", context_points=3)
    assert times(without_cadence, context=True) == ["19 21:00", "19 22:00", "19 23:00"]
    # What the first scores look back at is an input of the batch as its own rows are.
    assert len({without_cadence.digest, intake.digest, take(config, tmp_path, "2026-11-20").digest}) == 3
    again = take(config, tmp_path, "2026-11-20", context_points=2, cadence_seconds=3600)
    assert again.digest == intake.digest


def test_faulty_context_is_left_out_and_not_counted_again(tmp_path):
    bad = "2026-11-19 22:00,high,1\n2026-11-19 23:00,inf,1\n2026-11-19 23:30,1\nlater,1,1\n"
    write(tmp_path, "x.csv", "time,a,b\n" + bad + minutes(20, range(2)))
    config = series_pipeline(tmp_path, batch=DAY)
    intake = take(config, tmp_path, "2026-11-20", context_points=9, cadence_seconds=3600)
    assert (intake.rows_in, intake.context_rows, intake.quarantined) == (2, 0, {})
    before = take(config, tmp_path, "2026-11-19")
    assert before.quarantined == {"bad_number": 1, "bad_timestamp": 1, "malformed_row": 1, "not_finite": 1}


def test_every_row_belongs_to_exactly_one_period(tmp_path):
    garbage = "?,1,1\n"
    write(tmp_path, "a.csv", "time,a,b\n" + garbage + minutes(19, [5]) + garbage + minutes(21, [5]) + garbage)
    write(tmp_path, "b.csv", "time,a,b\n" + garbage * 3)
    config = series_pipeline(tmp_path, batch=DAY)
    taken = {batch: take(config, tmp_path, batch) for batch in ("2026-11-19", "2026-11-20", "2026-11-21")}
    assert {batch: intake.rows_in for batch, intake in taken.items()} == {
        "2026-11-19": 3,
        "2026-11-20": 0,
        "2026-11-21": 5,
    }


def test_a_source_without_any_readable_time_is_refused(tmp_path):
    write(tmp_path, "a.csv", "time,a,b\n20.11.2026 06:00,1,1\n")
    with pytest.raises(SourceError, match="none can be read in the whole source"):
        take(series_pipeline(tmp_path, batch=DAY), tmp_path, "2026-11-20")


@pytest.mark.parametrize("batch", ["2026-11-18", "2026-11-30"])
def test_a_period_outside_the_source_is_not_found_and_the_nearest_is_named(tmp_path, batch):
    write(tmp_path, "x.csv", "time,a,b\n" + minutes(19, [1]) + minutes(21, [1]))
    nearest = "2026-11-19" if batch < "2026-11-20" else "2026-11-21"
    with pytest.raises(
        BatchNotFound, match=f"first is 2026-11-19, its last 2026-11-21; the nearest is {nearest}"
    ):
        take(series_pipeline(tmp_path, batch=DAY), tmp_path, batch)
    assert not list((tmp_path / "staged").iterdir())


def test_folders_are_batches_and_the_folder_before_is_context(tmp_path):
    write(tmp_path, "n1/x.csv", "time,a,b\n" + minutes(19, range(22, 24)))
    write(tmp_path, "n2/x.csv", "time,a,b\n" + minutes(20, range(2)))
    write(tmp_path, "n3/notes.md", "no data")
    config = series_pipeline(tmp_path, batch={"by": "folder"}, entity_from_path=True)
    assert list_series_batches(config) == ["n1", "n2"]
    intake = take(config, tmp_path, "n2", context_points=1, cadence_seconds=3600)
    assert times(intake, context=True) == ["19 23:00"]
    assert times(intake) == ["20 00:00", "20 01:00"]
    assert intake.entities == ("x",)
    with pytest.raises(BatchNotFound, match="n3"):
        take(config, tmp_path, "n3")


def test_rows_without_time_are_numbered_by_the_cadence_for_each_entity(tmp_path):
    write(tmp_path, "day/m1.txt", "1,2\n3\n5,6\n")
    (tmp_path / "data" / "day" / "m2.txt.gz").write_bytes(gzip.compress(b"7,8\n"))
    config = series_pipeline(
        tmp_path,
        batch={"by": "folder"},
        prepare={"cadence_seconds": 60},
        time_column=None,
        header=False,
        entity_from_path=True,
        channels=["c01", "c02"],
    )
    intake = take(config, tmp_path, "day")
    assert [(r["entity"], r["time"].minute) for r in rows(intake)] == [("m1", 0), ("m1", 2), ("m2", 0)]
    assert intake.quarantined == {"malformed_row": 1}


def test_an_empty_batch_is_taken_in_with_no_rows(tmp_path):
    write(tmp_path, "n1/x.csv", "time,a,b\n")
    write(tmp_path, "n1/y.csv", "")
    intake = take(series_pipeline(tmp_path, batch={"by": "folder"}), tmp_path, "n1")
    assert (intake.rows_in, intake.valid, rows(intake), quarantine(intake)) == (0, 0, [], [])


def test_the_history_is_what_the_config_chooses_in_the_order_of_time(tmp_path):
    header = "time,a,b,m\n"
    write(tmp_path, "x.csv", header + "".join(minutes(d, range(4), ",x") for d in (20, 19, 22)))
    write(tmp_path, "y.csv", header + minutes(19, range(2), ",y"))
    base = {"batch": DAY, "entity_column": "m"}
    whole = take_in_history(series_pipeline(tmp_path, **base), tmp_path / "h")
    assert (whole.batch, whole.rows_in) == ("history", 14)
    chosen = take_in_history(
        series_pipeline(tmp_path, history={"last": "2026-11-20"}, **base), tmp_path / "h"
    )
    assert chosen.rows_in == 10
    first = take_in_history(series_pipeline(tmp_path, history={"first_rows": 3}, **base), tmp_path / "h")
    assert [(r["entity"], r["time"].day, r["time"].hour) for r in rows(first)] == [
        *[("x", 19, h) for h in range(3)],
        *[("y", 19, h) for h in range(2)],
    ]
    share = take_in_history(series_pipeline(tmp_path, history={"first_share": 0.5}, **base), tmp_path / "h")
    assert share.rows_in == 6 + 1
    with pytest.raises(BatchNotFound, match="2027"):
        take_in_history(series_pipeline(tmp_path, history={"batches": ["2027-*"]}, **base), tmp_path / "h")


def test_csv_and_parquet_of_the_same_rows_have_one_digest(tmp_path):
    write(tmp_path, "x.csv", "time,a,b\n2026-11-20 00:00,1.5,\n2026-11-20 00:01,-0.0,2\n")
    table = pa.table(
        {
            "b": pa.array([2, None], pa.float32()),
            "a": [0.0, 1.5],
            "time": pa.array(["2026-11-20 00:01", "2026-11-20"]).cast(pa.timestamp("ns")),
        }
    )
    pq.write_table(table, tmp_path / "data" / "other.parquet")
    one = take(series_pipeline(tmp_path), tmp_path)
    two = take(series_pipeline(tmp_path, format="parquet"), tmp_path)
    assert one.digest == two.digest
    assert one.valid == two.valid == 2
    write(tmp_path, "x.csv", "time,a,b\n2026-11-20 00:00,1.5,\n2026-11-20 00:01,0,2.5\n")
    assert take(series_pipeline(tmp_path), tmp_path).digest != one.digest


def test_row_groups_outside_the_period_are_skipped_and_nothing_is_lost(tmp_path):
    start = datetime(2026, 11, 1, tzinfo=UTC)
    stamps = [start + timedelta(hours=h) if h != 300 else None for h in range(480)]
    table = pa.table({"time": pa.array(stamps, pa.timestamp("us", "UTC")), "a": range(480), "b": range(480)})
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "x.parquet", row_group_size=24)
    config = series_pipeline(tmp_path, batch=DAY, format="parquet")
    counts = [take(config, tmp_path, f"2026-11-{d:02d}") for d in range(1, 21)]
    assert [c.rows_in for c in counts] == [24] * 20
    assert sum(c.quarantined.get("bad_timestamp", 0) for c in counts) == 1
    assert rows(take(config, tmp_path, "2026-11-18"))[0]["row"] == 17 * 24 + 1
    with pytest.raises(BatchNotFound, match="its last 2026-11-20"):
        take(config, tmp_path, "2026-12-24")


def test_hive_partitions_are_columns(tmp_path):
    for machine in ("a", "b%20c"):
        folder = tmp_path / "data" / f"machine={machine}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"time": ["2026-11-20"], "a": [1], "b": [2.0]}), folder / "0.parquet")
    intake = take(series_pipeline(tmp_path, format="parquet", entity_column="machine"), tmp_path)
    assert intake.entities == ("a", "b c")


def test_a_glob_and_a_single_file_are_sources_too(tmp_path):
    for name in ("s1.csv", "s2.csv", "t1.csv"):
        write(tmp_path, name, "time,a,b\n2026-11-20,1,1\n")
    glob = take(series_pipeline(tmp_path, path="data/s*.csv", entity_from_path=True), tmp_path)
    single = take(series_pipeline(tmp_path, path="data/t1.csv", entity_from_path=True), tmp_path)
    assert glob.entities == ("s1", "s2")
    assert single.entities == ("t1",)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            "time,aa,b\n1,1,1\n",
            {},
            r"expected 'a' among the columns.*'time', 'aa', 'b'; the nearest to 'a' is 'aa'",
        ),
        ("time,a,b,b\n1,1,1,1\n", {}, "'b' comes twice"),
        ("no parquet", {"format": "parquet", "path": "data/x.csv"}, "whole Parquet file"),
        ("", {"format": "parquet", "path": "data/x.csv"}, "whole Parquet file"),
        ("time,a,b\n", {"path": "nowhere"}, "there is nothing"),
        ("time,a,b\n", {"path": "data/*.dat"}, "none does"),
        ("time,a,b\n", {"format": "parquet"}, "expected parquet files"),
    ],
)
def test_a_source_that_is_not_as_the_config_says_is_refused(tmp_path, content, options, message):
    write(tmp_path, "x.csv", content)
    with pytest.raises(SourceError, match=message):
        take(series_pipeline(tmp_path, **options), tmp_path)
    assert not (tmp_path / "staged" / "intake.json").exists()


def test_a_killed_intake_looks_unfinished_and_the_next_one_starts_from_scratch(tmp_path, monkeypatch):
    write(tmp_path, "x.csv", "time,a,b\n2026-11-20,1,1\n")
    config = series_pipeline(tmp_path)
    whole = take(config, tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("aeflow.data.staged_files._valid_rows", killed)
        with pytest.raises(KeyboardInterrupt):
            take(config, tmp_path)
    with pytest.raises(StorageError, match="expected a finished intake"):
        Intake.load(tmp_path / "staged")
    assert take(config, tmp_path) == whole


def test_a_full_disk_is_a_clear_message(tmp_path, monkeypatch):
    write(tmp_path, "x.csv", "time,a,b\n2026-11-20,1,1\n")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aeflow.data.staged_files._Writer.write", full)
    with pytest.raises(StorageError, match="No space left on device"):
        take(series_pipeline(tmp_path), tmp_path)


@pytest.mark.real_data
def test_skab_is_taken_in_whole(shared_data, tmp_path):
    source = shared_data / "skab" / "valve1" / "0.csv"
    channels = source.open().readline().strip().split(";")[1:9]
    config = series_pipeline(
        shared_data,
        path="skab",
        delimiter=";",
        time_column="datetime",
        channels=channels,
        batch={"by": "folder"},
        entity_from_path=True,
        history={"first_rows": 400, "batches": ["valve*"]},
    )
    assert list_series_batches(config) == ["anomaly-free", "other", "valve1", "valve2"]
    intake = take(config, tmp_path, "valve1")
    lines = sum(len(p.read_text().splitlines()) - 1 for p in (shared_data / "skab" / "valve1").glob("*.csv"))
    assert intake.rows_in == intake.valid == lines
    assert intake.entities == tuple("01234567")


@pytest.mark.real_data
def test_smd_is_taken_in_whole(shared_data, tmp_path):
    config = series_pipeline(
        shared_data,
        path="smd",
        time_column=None,
        header=False,
        channels=[f"c{i:02d}" for i in range(1, 39)],
        batch={"by": "folder"},
        entity_from_path=True,
        prepare={"cadence_seconds": 60},
    )
    intake = take(config, tmp_path, "train")
    assert intake.entities == ("machine-1-6", "machine-2-1", "machine-2-7", "machine-3-3")
    assert intake.rows_in == intake.valid
    labels = take(config, tmp_path, "test_label")
    assert labels.valid == 0
    assert labels.quarantined == {"missing_column": labels.rows_in}


@pytest.mark.real_data
def test_nab_is_taken_in_whole(shared_data, tmp_path):
    config = series_pipeline(
        shared_data, path="nab/data", time_column="timestamp", channels=["value"], entity_from_path=True
    )
    intake = take(config, tmp_path)
    assert len(intake.entities) == 37
    assert set(intake.quarantined) == {"duplicate_timestamp"}  # some files hold a summer-time hour twice
    assert "realKnownCause/nyc_taxi" in intake.entities
