import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from aeflow.data.series_intake import list_series_batches, take_in_history, take_in_series
from aeflow.exceptions import BatchNotFound, ConfigError, SourceError
from tests.unit.data.series_pipeline import quarantine, rows, series_pipeline

QUERY = """
-- one batch: ':start' in a comment and in a string is text
select machine, stamp, a, b, ':end' as note, a::varchar as text
from readings where stamp >= :start and stamp < :end;  -- done
"""
LITE = "select machine, stamp, a, b from readings where datetime(stamp) >= :start and datetime(stamp) < :end"
CREATE = "create table readings (machine varchar, stamp {time}, a double precision, b double precision)"


def pipeline(folder, url, query=QUERY, **batch):
    (folder / "q.sql").write_text(query)
    source = {
        "kind": "sql",
        "query": "q.sql",
        "url": url,
        "time_column": "stamp",
        "entity_column": "machine",
        "channels": ["a", "b"],
    }
    return series_pipeline(folder, source=source, batch={"by": "period", "period": "day", **batch})


def hourly():
    """49 hours from 2026-11-19 23:00 on, for two machines."""
    first = datetime(2026, 11, 19, 23, tzinfo=UTC)
    return [
        (m, first + timedelta(hours=h), float(h), None if h == 2 else 1.0)
        for h in range(49)
        for m in ("y", "x")
    ]


def duck(folder, kind="timestamptz"):
    with duckdb.connect(str(folder / "r.duckdb")) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(CREATE.format(time=kind))
        connection.executemany("insert into readings values (?, ?, ?, ?)", hourly())
    return "duckdb:///r.duckdb"


def lite(folder, readings):
    connection = sqlite3.connect(folder / "r.db")
    connection.execute(CREATE.format(time="text"))
    connection.executemany("insert into readings values (?, ?, ?, ?)", readings)
    connection.commit()
    connection.close()
    return "sqlite:///r.db"


def check_day(config, folder):
    assert list_series_batches(config) == ["2026-11-19", "2026-11-20", "2026-11-21"]
    intake = take_in_series(config, "2026-11-20", folder, context_points=1, cadence_seconds=3600)
    staged = rows(intake)
    assert (intake.rows_in, intake.valid, intake.context_rows) == (48, 48, 2)
    assert intake.entities == ("x", "y")
    assert staged[0]["context"]
    assert staged[1]["time"] == datetime(2026, 11, 20, tzinfo=UTC)
    assert staged[1]["file"] == "q.sql"
    assert take_in_history(config, folder).rows_in == 98
    with pytest.raises(BatchNotFound, match="its last 2026-11-21"):
        take_in_series(config, "2026-11-23", folder)
    return intake.digest


def test_duckdb_and_sqlite_give_the_same_batch(tmp_path):
    digest = check_day(pipeline(tmp_path, duck(tmp_path)), tmp_path / "s")
    texts = [(m, at.isoformat(), a, b) for m, at, a, b in hourly()]
    assert check_day(pipeline(tmp_path, lite(tmp_path, texts), LITE), tmp_path / "s") == digest


def test_plain_timestamps_are_local_time_of_the_pipeline(tmp_path):
    config = pipeline(tmp_path, duck(tmp_path, "timestamp"), time_zone="Europe/Berlin")
    intake = take_in_series(config, "2026-11-20", tmp_path / "s")
    assert intake.rows_in == 48
    assert rows(intake)[0]["time"] == intake.start == datetime(2026, 11, 19, 23, tzinfo=UTC)


def test_bad_cells_of_a_database_are_faults_of_their_rows(tmp_path):
    readings = [
        ("x", "2026-11-20 00:00:00", 1, 2),
        ("x", "2026-11-20 00:01:00", "high", 2),
        (None, "2026-11-20 00:02:00", 1, 2),
        ("x", "2026-11-20 00:03:00", float("inf"), 2),
        ("x", "2026-11-20 00:03:30", None, None),
    ]
    config = pipeline(tmp_path, lite(tmp_path, readings), LITE)
    intake = take_in_series(config, "2026-11-20", tmp_path / "s")
    assert intake.quarantined == {"bad_number": 1, "no_entity": 1, "no_value": 1, "not_finite": 1}
    assert "a = 'high'" in [r["detail"] for r in quarantine(intake)]


def test_numbers_for_times_are_refused(tmp_path):
    query = "select machine, 1795132800 as stamp, a, b from readings where :start < :end"
    config = pipeline(tmp_path, lite(tmp_path, [("x", "", 1, 2)]), query)
    with pytest.raises(SourceError, match=r"int64[\s\S]*no unit"):
        take_in_series(config, "2026-11-20", tmp_path / "s")


def test_rows_outside_the_bounds_are_dropped(tmp_path):
    query = "select machine, stamp, a, b from readings where :start < :end"
    config = pipeline(tmp_path, duck(tmp_path), query)
    assert take_in_series(config, "2026-11-20", tmp_path / "s").rows_in == 48


def test_a_database_file_is_opened_for_reading_only(tmp_path):
    url = lite(tmp_path, [("x", "2026-11-20", 1, 2)])
    before = (tmp_path / "r.db").read_bytes()
    take_in_series(pipeline(tmp_path, url, LITE), "2026-11-20", tmp_path / "s")
    assert (tmp_path / "r.db").read_bytes() == before


@pytest.mark.parametrize(
    ("url", "query", "error", "message"),
    [
        ("duckdb:///r.duckdb", "select 1", ConfigError, ":start and :end does not stand in it"),
        ("duckdb:///r.duckdb", "select ':end' where x > :start", ConfigError, ":end does not stand in it"),
        ("duckdb:///r.duckdb", "select nothing where :start < :end", SourceError, "the query failed"),
        ("duckdb:///gone.duckdb", QUERY, SourceError, "there is none"),
        ("sqlite:///q.sql", LITE, SourceError, "the query failed"),
        (
            "mysql://host/db",
            QUERY,
            ConfigError,
            "expected duckdb:///, sqlite:/// or postgresql://, got mysql://",
        ),
        ("postgresql://u:${NOT_SET_ANYWHERE}@h/db", QUERY, ConfigError, "NOT_SET_ANYWHERE, which is not set"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path, url, query, error, message):
    duck(tmp_path)
    with pytest.raises(error, match=message):
        take_in_series(pipeline(tmp_path, url, query), "2026-11-20", tmp_path / "s")


def test_a_password_stands_in_no_message(tmp_path, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "s3cr%20et")
    pytest.importorskip("adbc_driver_postgresql")
    config = pipeline(tmp_path, "postgresql://u:${DB_PASSWORD}@127.0.0.1:1/db")
    with pytest.raises(SourceError, match="the query failed") as caught:
        take_in_series(config, "2026-11-20", tmp_path / "s")
    assert "s3cr" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """The url of a PostgreSQL server of the test's own on loopback."""
    pytest.importorskip("adbc_driver_postgresql", reason="the extra aeflow[postgresql] is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(found[-1]) if found else None)
    if initdb is None:
        pytest.skip("there is no PostgreSQL server on this machine")
    folder = tmp_path_factory.mktemp("postgres")
    as_user = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        as_user = {"user": "postgres"}
        for parent in (folder, *folder.parents[:3]):
            parent.chmod(0o755)
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(folder / "data")
    options = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **as_user}
    subprocess.run([initdb, "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"], check=True, **options)
    command = [
        str(Path(initdb).with_name("postgres")),
        "-D",
        data,
        "-p",
        str(port),
        "-h",
        "127.0.0.1",
        "-k",
        data,
    ]
    server = subprocess.Popen([*command, "-F"], **options)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        _wait_until_ready(url)
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # the fast shutdown
        server.wait(timeout=20)


def _wait_until_ready(url):
    from adbc_driver_postgresql import dbapi

    for _ in range(200):
        try:
            dbapi.connect(url).close()
        except dbapi.Error:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the PostgreSQL server did not start within 20 seconds")


def test_postgresql_gives_the_same_batch_as_duckdb(tmp_path, postgres):
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(postgres) as connection, connection.cursor() as cursor:
        cursor.execute(CREATE.format(time="timestamptz"))
        for machine, at, a, b in hourly():
            cursor.execute("insert into readings values ($1, $2::timestamptz, $3, $4)", (machine, at, a, b))
        connection.commit()
    digest = check_day(pipeline(tmp_path, postgres), tmp_path / "s")
    assert digest == check_day(pipeline(tmp_path, duck(tmp_path)), tmp_path / "s")
