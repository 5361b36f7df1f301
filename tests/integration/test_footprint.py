"""What the commands import, where they write, and whom they call: nothing that was not asked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import DIGITS, WATER

HEAVY = (
    "torch",
    "pandas",
    "numpy",
    "prefect",
    "mlflow",
    "great_expectations",
    "pyarrow",
    "duckdb",
    "sqlalchemy",
)

# Python imports it before anything else: every attempt to reach another machine is written down and refused.
GUARD = """
import os, socket
_LOCAL = {"127.0.0.1", "::1", "localhost", "0.0.0.0", "", None}
def _check(host):
    host = host.decode() if isinstance(host, bytes) else host
    if host not in _LOCAL:
        with open(os.environ["NETWORK_LOG"], "a") as file:
            print(host, file=file)
        raise PermissionError(f"no network: {host}")
def _guard(name):
    real = getattr(socket.socket, name)
    def call(self, address, *rest):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _check(address[0])
        return real(self, address, *rest)
    setattr(socket.socket, name, call)
for _name in ("connect", "connect_ex", "sendto"):
    _guard(_name)
_lookup = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    _check(host)
    return _lookup(host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""

ALL = """
import sys
from aeflow.cli.entry import run
for line in sys.stdin:
    code = run(line.split())
    if code:
        sys.exit(f"{line.strip()}: {code}")
"""


def test_the_command_line_imports_nothing_heavy():
    code = f"import sys, aeflow.cli.entry; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_help_and_reading_a_status_import_no_torch_and_no_prefect(trained):
    code = (
        "import sys; from aeflow.cli.entry import run; assert run(sys.argv[1:]) == 0;"
        "print(sorted({'torch', 'prefect', 'mlflow', 'great_expectations'} & set(sys.modules)))"
    )
    for arguments in (["--help"], ["score", "--help"], ["status", "water"]):
        found = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=True,
            cwd=trained.folder,
            env={**os.environ, "AEFLOW_HOME": str(trained.home)},
        )
        assert found.stdout.splitlines()[-1] == "[]", arguments


@pytest.mark.slow
def test_commands_write_only_below_home_and_beside_the_config_and_call_nobody(untrained, tmp_path):
    project, home = tmp_path / "project", tmp_path / "home"
    empty = {name: tmp_path / name for name in ("user", "temporary")}
    guard = tmp_path / "guard"
    for folder in (project, guard, *empty.values()):
        folder.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD)
    shutil.copytree(untrained.folder / "data", tmp_path / "data")
    shutil.copytree(untrained.folder / "configs", project / "configs")
    labels = project / "labels.csv"
    labels.write_text("timestamp,label\n2022-04-27T18:00:00+02:00,1\n2022-04-26T18:00:00+02:00,0\n")
    for config in (WATER, DIGITS):
        path = project / "configs" / f"{config['name']}.yaml"
        path.write_text(path.read_text().replace("../data", "../../data"))
    commands = [
        "init fresh --table ../data/water/flow.csv",
        "init pictures --images ../data/digits",
        "check fresh",
        "check digits",
        "train water",
        "score water --batch 2022-W17",
        "status water",
        "report water",
        "quarantine water",
        "models water",
        "verify water --batch 2022-W17",
        "evaluate water --labels labels.csv",
        "doctor",
        "schema",
    ]
    network = tmp_path / "network.log"
    before = listing(tmp_path / "data")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(empty["user"]),
        "TMPDIR": str(empty["temporary"]),
        "AEFLOW_HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(guard), str(Path(__file__).parents[2])]),
        "NETWORK_LOG": str(network),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    calling = [sys.executable, "-c", "import socket; socket.getaddrinfo('example.org', 80)"]
    assert subprocess.run(calling, env=environment, stderr=subprocess.DEVNULL, check=False).returncode == 1
    assert network.read_text() == "example.org\n", "the guard is at its post"
    network.unlink()
    done = subprocess.run(
        [sys.executable, "-c", ALL],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        check=False,
        cwd=project,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    # Nothing but our own messages comes out: no log lines of libraries, no warnings.
    assert [line for line in done.stderr.splitlines() if line] == []
    assert {name: listing(folder) for name, folder in empty.items()} == {"user": [], "temporary": []}
    written = {"configs/fresh.yaml", "configs/pictures.yaml"}
    assert set(listing(project)) == written | {"configs/water.yaml", "configs/digits.yaml", "labels.csv"}
    assert listing(tmp_path / "data") == before
    assert not network.exists(), network.read_text()
    receipt = json.loads((home / "reports/water/batch=2022-W17/receipt.json").read_text())
    assert str(tmp_path) not in json.dumps(receipt)


def listing(folder):
    """Every file below a folder."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())
