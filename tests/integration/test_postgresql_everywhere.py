"""PostgreSQL under everything at once: the source, the ledger, MLflow and Prefect, on a real server."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
import urllib.request

import pytest
import yaml

from tests.integration.conftest import WATER, copy_of
from tests.integration.postgresql import postgresql_server
from tests.integration.test_prefect import ask
from tests.integration.test_up import free_port

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

QUERY = """
select time, flow from flow
where time >= :start and time < :end
order by time
"""


@pytest.fixture(scope="module")
def database():
    """The address of a server with an empty database for each."""
    import psycopg

    with postgresql_server() as server:
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            for name in ("plant", "ledger", "mlflow", "prefect"):
                connection.execute(f"create database {name}")
        yield server


def fill(database, rows):
    import psycopg

    with psycopg.connect(f"{database}/plant") as connection:
        connection.execute("create table flow (time timestamptz, flow double precision)")
        with connection.cursor().copy("copy flow from stdin") as copy:
            for row in rows:
                copy.write_row((row["Time"], float(row["Water flow [l/s]"])))


@pytest.fixture(scope="module")
def prefect_api(database, tmp_path_factory):
    """A Prefect server whose database is PostgreSQL's."""
    port, folder = free_port(), tmp_path_factory.mktemp("prefect")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "AEFLOW"))}
    address = f"{database}/prefect".replace("postgresql://", "postgresql+asyncpg://")
    own = {
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": address,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
        server = subprocess.Popen(
            [*command, "--port", str(port)], env=kept | own, stdout=log, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{port}/api"
    try:
        end = time.monotonic() + 180
        while True:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
            except OSError:
                time.sleep(0.2)
            else:
                break
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_source_ledger_registry_and_prefect_on_postgresql_give_the_report_of_files(
    database, prefect_api, untrained, trained, tmp_path
):
    import psycopg

    space = copy_of(untrained, tmp_path / "space", same_data=True)
    with (space.folder / "data" / "water" / "flow.csv").open() as file:
        fill(database, csv.DictReader(file))
    (space.folder / "configs" / "flow.sql").write_text(QUERY)
    source = {
        "kind": "sql",
        "query": "flow.sql",
        "url": "${PLANT}",
        "time_column": "time",
        "channels": ["flow"],
    }
    (space.folder / "configs" / "water.yaml").write_text(yaml.safe_dump(WATER | {"source": source}))
    environment = {
        "PLANT": f"{database}/plant",
        "AEFLOW_LEDGER_URL": f"{database}/ledger",
        "MLFLOW_TRACKING_URI": f"{database}/mlflow".replace("postgresql://", "postgresql+psycopg://"),
        "PREFECT_API_URL": prefect_api,
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "AEFLOW"))}
    command = [sys.executable, "-c", "from aeflow.cli import main; main()"]
    for arguments in (["train", "water"], ["score", "water", "--from", "2022-W17", "--to", "2022-W18"]):
        done = subprocess.run(
            [*command, *arguments],
            cwd=space.folder,
            env=kept | environment | {"AEFLOW_HOME": str(space.home), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    plain = copy_of(trained, tmp_path / "plain", same_data=True)
    plain.ok("score", "water", "--from", "2022-W17", "--to", "2022-W18")
    for batch in ("2022-W17", "2022-W18"):
        mine, theirs = space.scores("water", batch), plain.scores("water", batch)
        assert [row["score"] for row in mine] == pytest.approx([row["score"] for row in theirs])
    with psycopg.connect(f"{database}/ledger") as connection:
        rows = connection.execute("select batch, state, revision from batches order by batch").fetchall()
    assert rows == [("2022-W17", "published", 1), ("2022-W18", "published", 1)]
    with psycopg.connect(f"{database}/mlflow") as connection:
        aliases = connection.execute("select name, alias from registered_model_aliases").fetchall()
    assert ("aeflow-water", "champion") in aliases
    runs = ask(prefect_api, "flow_runs", flows={"name": {"any_": ["score-batch"]}})
    assert {(run["name"], run["state"]["name"]) for run in runs} == {
        ("2022-W17", "Completed"),
        ("2022-W18", "Completed"),
    }
    assert not list(space.folder.rglob("*.db"))
    assert not (space.folder / "mlruns").exists()
