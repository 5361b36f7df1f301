"""`aeflow up`: start everything, deploy, keep it alive and caught up, stop it."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aeflow.settings import prepare_environment
from aeflow.store.claims import claim, holder
from aeflow.store.files import atomic_file
from flows.up.services import Addresses, choose_services, is_loopback, without_user_info
from flows.up.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flows.up.services import Services

_STATE_FILE = "up.json"
_LOOK_SECONDS = 1.0
_CATCH_UP_EVERY = 5
"""Looks between two of the server."""


def run_up(
    home: Path,
    configs: Sequence[Path],
    addresses: Addresses,
    *,
    score_workers: int = 1,
    train_workers: int = 1,
    say: Callable[[str], None],
) -> None:
    """Run until the process is interrupted or asked to end.

    Args:
        home: where everything is written that belongs to no single pipeline.
        configs: pipelines to deploy; those deployed before stay so.
        addresses: where to listen.
        score_workers: nightly runs and backfills at once.
        train_workers: trainings at once: one for each GPU.
        say: told what happens, in sentences.

    Raises:
        AlreadyRunning: it runs in this home already.
        InputError: a port is taken.
        StorageError: a server did not start.
    """
    prepare_environment(home)
    with claim(_claim(home), "aeflow up", now=datetime.now(UTC)), _signals() as stopping:
        services = choose_services(
            home, configs, addresses, score_workers=score_workers, train_workers=train_workers
        )
        os.environ.update(services.environment)
        supervisor = Supervisor(say)
        try:
            if supervisor.start(services.servers, stopping=stopping.is_set):
                _deploy(configs, say)
                supervisor.start(services.workers)
                write_state(home, addresses, supervisor)
                tell_addresses(home, configs, addresses, say)
                _tend(supervisor, services, home, addresses, stopping, say)
        finally:
            say("Stopping.")
            supervisor.stop([worker.name for worker in services.workers])
            supervisor.stop()
            (home / _STATE_FILE).unlink(missing_ok=True)


def running_api(home: Path) -> str | None:
    """The API address of the `aeflow up` that runs in this home; None where none does."""
    if holder(_claim(home)) is None:
        return None
    with suppress(OSError, ValueError, KeyError):
        return str(json.loads((home / _STATE_FILE).read_text(encoding="utf-8"))["prefect_api"])
    return None


def _tend(
    supervisor: Supervisor,
    services: Services,
    home: Path,
    addresses: Addresses,
    stopping: threading.Event,
    say: Callable[[str], None],
) -> None:
    """Until it is to stop: start again what ended, and make good what was missed."""
    alone = is_loopback(addresses.host) and any(s.name == "prefect-server" for s in services.servers)
    looks = 0
    while not stopping.wait(_LOOK_SECONDS):
        if supervisor.keep_alive():
            write_state(home, addresses, supervisor)
        if alone and looks % _CATCH_UP_EVERY == 0:
            _catch_up(say)
        looks += 1


def _catch_up(say: Callable[[str], None]) -> None:
    import httpx  # noqa: PLC0415 - with prefect
    from prefect.exceptions import PrefectException  # noqa: PLC0415 - two seconds, once a server is there

    from flows.up.catching_up import catch_up  # noqa: PLC0415

    try:
        done = catch_up()
    except (httpx.HTTPError, PrefectException, RuntimeError):  # the server is being started again
        return
    for run in done.crashed:
        say(f"Run {run} has no process any more: it is marked as crashed.")
    for pipeline in done.begun:
        say(f"{pipeline}: the nightly run that should have come is made good now.")


def _deploy(configs: Sequence[Path], say: Callable[[str], None]) -> None:
    from flows.deployments import deploy, make_pools  # noqa: PLC0415 - once the server's address is set

    make_pools()
    for config in configs:
        done = deploy(config)
        say(f"{done.pipeline}: {'; '.join(f'{name} {when}' for name, when in done.deployments.items())}")
        for warning in done.warnings:
            say(f"  Note: {warning}")


def tell_addresses(
    home: Path, configs: Sequence[Path], addresses: Addresses, say: Callable[[str], None]
) -> None:
    """Say where everything is to be found; no password of an address."""
    say(f"Prefect  {without_user_info(addresses.prefect_ui)}")
    say(f"MLflow   {without_user_info(addresses.mlflow)}")
    for number, config in enumerate(configs):
        say(f"Review   {addresses.review(number)}  ({config.stem})")
    say(f"Logs     {home / 'logs'}")
    if not is_loopback(addresses.host):
        say(f"Note: whoever reaches {addresses.host} can start runs; neither server asks who it is.")
    say("Ready. Stop with Ctrl-C.")


def write_state(home: Path, addresses: Addresses, supervisor: Supervisor) -> None:
    """Keep where the servers listen, without passwords, and which processes run, for other commands."""
    content = {
        "prefect_api": without_user_info(addresses.prefect_api),
        "mlflow": without_user_info(addresses.mlflow),
        "processes": supervisor.pids,
    }
    with atomic_file(home / _STATE_FILE) as file:
        file.write(json.dumps(content, indent=1).encode())


def _claim(home: Path) -> Path:
    return home / "claims" / "up.claim"


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and a request to end set; a second Ctrl-C interrupts at once."""
    stopping = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
