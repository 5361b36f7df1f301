"""What is installed, reachable, and would be used."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from aeflow import settings
from aeflow.exceptions import AeflowError
from aeflow.store.ledger import open_ledger
from aeflow.store.paths import Paths
from aeflow.training.devices import choose_device

if TYPE_CHECKING:
    from pathlib import Path

_PACKAGES = ("aeflow", "torch", "prefect", "mlflow", "great-expectations", "pandas", "pyarrow", "duckdb")
_OPTIONAL = ("adbc-driver-postgresql",)
_LEAST_FREE_GB = 2.0
_LITTLE_SPACE = "little space left"
FINE = frozenset({"ok", "optional", _LITTLE_SPACE})
"""States in which everything works."""


def examine(home: Path) -> list[tuple[str, str, str]]:
    """Rows of (what, what was found, ok | missing | the trouble)."""
    rows = [(name, _version(name), "ok" if _version(name) else "missing") for name in _PACKAGES]
    rows += [
        (name, _version(name) or "not installed", "ok" if _version(name) else "optional")
        for name in _OPTIONAL
    ]
    rows.append(("device", str(choose_device("auto")), "ok"))
    rows.append(_home(home))
    rows.append(_ledger(home))
    rows.append(("registry", _without_password(settings.registry_uri() or "embedded"), "ok"))
    server = os.environ.get("PREFECT_API_URL")
    rows.append(
        ("prefect", _without_password(server) if server else "no server: flows run as plain functions", "ok")
    )
    return rows


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _home(home: Path) -> tuple[str, str, str]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".writable"
        probe.touch()
        probe.unlink()
        free = shutil.disk_usage(home).free / 1e9
    except OSError as error:
        return "home", str(home), f"cannot be written: {error.strerror}"
    return "home", f"{home} ({free:.0f} GB free)", "ok" if free > _LEAST_FREE_GB else _LITTLE_SPACE


def _ledger(home: Path) -> tuple[str, str, str]:
    shown = _without_password(settings.ledger_url() or "embedded")
    try:
        open_ledger(Paths(home, "doctor")).all()
    except AeflowError as error:
        return "ledger", shown, str(error).splitlines()[0]
    return "ledger", shown, "ok"


def _without_password(url: str) -> str:
    head, _, tail = url.rpartition("@")
    scheme = head.split("//", 1)[0]
    return f"{scheme}//...@{tail}" if head else url
