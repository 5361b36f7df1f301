"""Which processes `aeflow up` starts, and with what environment."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aeflow.exceptions import InputError
from aeflow.settings import prefect_api_configured, registry_uri
from flows.up.supervisor import Service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True)
class Addresses:
    """Where everything listens. An address of somebody else's server is used as it is."""

    host: str = "127.0.0.1"
    prefect_port: int = 4200
    mlflow_port: int = 5000
    review_port: int = 8765
    """Of the first pipeline's review app; each further one has the next."""

    @property
    def prefect_api(self) -> str:
        """The API that workers and flows talk to."""
        return os.environ.get("PREFECT_API_URL") or f"http://{self._reached}:{self.prefect_port}/api"

    @property
    def prefect_ui(self) -> str:
        """What people open."""
        return self.prefect_api.removesuffix("/api")

    @property
    def mlflow(self) -> str:
        """What people open to see the registry."""
        remote = registry_uri() or ""
        return remote if remote.startswith("http") else f"http://{self._reached}:{self.mlflow_port}"

    def review(self, number: int) -> str:
        """What people open to review the pipeline of that number, from 0."""
        return f"http://{self._reached}:{self.review_port + number}"

    @property
    def _reached(self) -> str:
        """How this machine reaches its own servers."""
        return "127.0.0.1" if self.host in {"0.0.0.0", "::", "localhost"} else self.host  # noqa: S104


@dataclass(frozen=True)
class Services:
    """The processes, in the order in which they are started: stopped the other way round."""

    servers: tuple[Service, ...]
    workers: tuple[Service, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def choose_services(
    home: Path, configs: Sequence[Path], addresses: Addresses, *, score_workers: int, train_workers: int
) -> Services:
    """What is to run: a Prefect server and an MLflow server, unless the environment names others, a
    review app for each pipeline, and the workers of both pools.

    Raises:
        InputError: a port is taken.
    """
    environment = _environment(addresses)
    servers = []
    if not prefect_api_configured():
        _require_free(addresses.host, addresses.prefect_port, "--prefect-port")
        servers.append(_prefect_server(home, addresses, environment))
    if not (registry_uri() or "").startswith("http"):
        _require_free(addresses.host, addresses.mlflow_port, "--mlflow-port")
        servers.append(_mlflow_server(home, addresses, environment))
    for number, config in enumerate(configs):
        _require_free(addresses.host, addresses.review_port + number, "--review-port")
        servers.append(_review_app(home, config, addresses, number, environment))
    workers = [
        *(_worker(home, "score", number, environment) for number in range(1, score_workers + 1)),
        *(_worker(home, "train", number, environment) for number in range(1, train_workers + 1)),
    ]
    return Services(tuple(servers), tuple(workers), environment)


def without_user_info(address: str) -> str:
    """The address without the name and the password of whoever calls: it can be shown."""
    scheme, found, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{found}{host.rpartition('@')[2]}{slash}{path}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    return host in _LOOPBACK


def _environment(addresses: Addresses) -> dict[str, str]:
    """That of every process: this one's, which names the home's folders and is quiet, and addresses."""
    return {
        **os.environ,
        "PREFECT_API_URL": addresses.prefect_api,
        "PREFECT_SERVER_API_HOST": addresses.host,
        "PREFECT_SERVER_API_PORT": str(addresses.prefect_port),
        # Else the page would ask port 4200 of the machine of whoever looks.
        "PREFECT_UI_API_URL": addresses.prefect_api,
        "PREFECT_WORKER_QUERY_SECONDS": os.environ.get("PREFECT_WORKER_QUERY_SECONDS", "2"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONUNBUFFERED": "1",
    }


def _prefect_server(home: Path, addresses: Addresses, environment: Mapping[str, str]) -> Service:
    command = (
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        addresses.host,
        "--port",
        str(addresses.prefect_port),
    )
    return Service(
        "prefect-server",
        (sys.executable, *command),
        environment,
        home / "logs" / "prefect-server.log",
        health=f"{addresses.prefect_api}/health",
    )


def _mlflow_server(home: Path, addresses: Addresses, environment: Mapping[str, str]) -> Service:
    """Over the very store that runs on this machine use directly: it is there to be looked at."""
    command = (
        *("-m", "mlflow", "server", "--host", addresses.host, "--port", str(addresses.mlflow_port)),
        *("--artifacts-destination", str(home / "mlartifacts"), "--workers", "1"),
    )
    return Service(
        "mlflow-server",
        (sys.executable, *command),
        # Not an option: it may hold a password, and everybody on the machine reads command lines.
        {**environment, "MLFLOW_BACKEND_STORE_URI": registry_uri() or f"sqlite:///{home / 'mlflow.db'}"},
        home / "logs" / "mlflow-server.log",
        health=f"{addresses.mlflow}/health",
    )


def _review_app(
    home: Path, config: Path, addresses: Addresses, number: int, environment: Mapping[str, str]
) -> Service:
    port = str(addresses.review_port + number)
    command = ("-c", "from aeflow.cli import main; main()", "review", str(config), "--port", port)
    name = f"review-{config.stem}"
    return Service(
        name,
        (sys.executable, *command, "--host", addresses.host),
        environment,
        home / "logs" / f"{name}.log",
        health=addresses.review(number),
    )


def _worker(home: Path, pool: str, number: int, environment: Mapping[str, str]) -> Service:
    name = f"{pool}-worker-{number}"
    command = (
        *("-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"),
        *("--name", f"{socket.gethostname()}-{name}", "--limit", "1"),
    )
    return Service(name, (sys.executable, *command), environment, home / "logs" / f"{name}.log")


def _require_free(host: str, port: int, option: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"port {port} of {host} cannot be listened on: {error.strerror}",
                where="aeflow up",
                remedy=f"Give another: {option} N. Or stop what listens there.",
            ) from error
