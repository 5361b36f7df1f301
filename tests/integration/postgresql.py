"""A PostgreSQL server of the tests' own, where one is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@contextmanager
def postgresql_server():
    """Its address without a database, such as postgresql://postgres@127.0.0.1:5433; listens on loopback
    alone."""
    pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed: aeflow[postgresql]")
    found = [shutil.which("initdb"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    installed = [Path(p).parent for p in found if p]
    if not installed:
        pytest.skip("no PostgreSQL server is installed")
    # pytest shuts its own folders to other users, again and again while several of it run.
    with TemporaryDirectory(prefix="aeflow-postgresql-", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield from _running(Path(name), installed[-1])


def _running(folder, programs):
    user = []
    if os.getuid() == 0:  # the server refuses to run as root
        if not shutil.which("runuser"):
            pytest.skip("a PostgreSQL server does not run as root, and there is no runuser")
        user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")

    def run(program, *arguments):
        subprocess.run(
            [*user, str(programs / program), *arguments], check=True, stdout=subprocess.DEVNULL, cwd=folder
        )

    data = str(folder / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
    options = f"-k {folder} -c listen_addresses=127.0.0.1 -c port={port} -c fsync=off"
    run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
