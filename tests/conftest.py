"""Fixtures of all tests: no outside network, one torch thread, a home of its own for each test."""

from __future__ import annotations

import gzip
import logging
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from numpy.typing import NDArray

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# 127.0.0.2 is this machine too: it stands for another one where that must be let in or refused.
_LOOPBACK = {"127.0.0.1", "127.0.0.2", "::1", "localhost", "0.0.0.0", ""}


@pytest.fixture(autouse=True)
def nothing_of_the_test_before():
    """What a command run in this process leaves behind must not reach the next test: the folders that
    `settings.prepare_environment` named, and prefect's hold on our log."""
    names = ("TMPDIR", "MLFLOW_TRACKING_URI", "PREFECT_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR")
    before = {name: os.environ.get(name) for name in names}
    temporary = tempfile.tempdir
    # Alembic, which MLflow's migrations run, switches every logger off that it does not know.
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if name.split(".")[0] == "aeflow" and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True
    yield
    tempfile.tempdir = temporary
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(autouse=True, scope="session")
def no_outside_network():
    """Any connection to other than this machine fails the test that tried it."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(host: object) -> None:
        if isinstance(host, bytes):
            host = host.decode()
        if host is not None and str(host) not in _LOOPBACK:
            raise PermissionError(f"a test tried to reach {host!r}")

    def guarded(function):
        def call(self, address):
            if self.family in (socket.AF_INET, socket.AF_INET6):
                check(address[0])
            return function(self, address)

        return call

    def guarded_lookup(host, *args, **kwargs):
        check(host)
        return getaddrinfo(host, *args, **kwargs)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded(connect))
    patch.setattr(socket.socket, "connect_ex", guarded(connect_ex))
    patch.setattr(socket, "getaddrinfo", guarded_lookup)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real labelled data sets; the test is skipped where it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the labelled data sets of ../shared/data are not on this machine")
    return folder


@pytest.fixture(scope="session")
def handwritten_digits(shared_data) -> NDArray[np.uint8]:
    """The first 3000 training digits of MNIST, `(N, 1, 28, 28)`."""
    packed = (shared_data / "mnist" / "train-images-idx3-ubyte.gz").read_bytes()
    return np.frombuffer(gzip.decompress(packed), np.uint8, 3000 * 784, offset=16).reshape(-1, 1, 28, 28)


@pytest.fixture(scope="session")
def heartbeats(shared_data) -> NDArray[np.float32]:
    """The normal beats of the training part of ECG5000, `(N, 140, 1)`."""
    beats = np.loadtxt(shared_data / "ecg5000" / "ECG5000_TRAIN.txt", dtype=np.float32)
    return beats[beats[:, 0] == 1, 1:, None]


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An AEFLOW_HOME of the test's own, with every dependency pointed at it."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AEFLOW_HOME", str(folder))
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_HOME", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    return folder
