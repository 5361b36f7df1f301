"""What comes from the environment: read here and nowhere else.

Everything that aeflow or its dependencies write lies under one folder, `AEFLOW_HOME`.
"""

from __future__ import annotations

import contextlib
import os
from contextvars import ContextVar
from pathlib import Path

_home_in_use: ContextVar[Path | None] = ContextVar("home", default=None)

_QUIET = {
    # No dependency reports home.
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    # Nor draws a progress bar for each small file, or prints addresses amid what a command prints.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # No pickle is ever loaded or written.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    # Prefect on SQLite writes one task run at a time by default, and locks its database for seconds.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "60",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "aeflow",
    # MLflow asks git for the revision of the working directory, and warns where there is none.
    "GIT_PYTHON_REFRESH": "quiet",
}


def home_for(config: Path | None = None) -> Path:
    """The folder under which everything is written: `AEFLOW_HOME`, or `.aeflow` beside the folder
    in which the config lies (`project/.aeflow` for `project/configs/x.yaml`)."""
    named = os.environ.get("AEFLOW_HOME")
    if named:
        return Path(named).expanduser().resolve()
    if config is None:
        return Path(".aeflow").resolve()
    return config.resolve().parent.parent / ".aeflow"


def prepare_environment(home: Path) -> None:
    """Point every dependency at `home` and switch its telemetry off, unless the user chose otherwise.

    Must run before prefect, mlflow, great_expectations or matplotlib are imported: they read the
    environment when imported.
    """
    _home_in_use.set(home)
    folders = {
        "PREFECT_HOME": home / "prefect",
        "MPLCONFIGDIR": home / "cache" / "matplotlib",
        "NUMBA_CACHE_DIR": home / "cache" / "numba",
        "TORCHINDUCTOR_CACHE_DIR": home / "cache" / "torch",
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
    }
    for key, value in {**_QUIET, **{k: str(v) for k, v in folders.items()}}.items():
        os.environ.setdefault(key, value)
    # Dependencies write temporary files too. A home that cannot be written is told of by whoever needs it.
    with contextlib.suppress(OSError):
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("TMPDIR", str(home / "tmp"))


def home_in_use() -> Path:
    """The home that this process was prepared for, or that of no config."""
    return _home_in_use.get() or home_for()


def ledger_url() -> str | None:
    """The database of the ledger: `AEFLOW_LEDGER_URL`, such as `postgresql://user@host/db`. None: the
    embedded one, a SQLite file in the home folder."""
    return os.environ.get("AEFLOW_LEDGER_URL") or None


def registry_uri() -> str | None:
    """Where MLflow keeps registered models: `MLFLOW_REGISTRY_URI`, else `MLFLOW_TRACKING_URI`."""
    return os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI") or None


def prefect_api_configured() -> bool:
    """Whether flows report to a Prefect server. Without one they run as plain functions."""
    return bool(os.environ.get("PREFECT_API_URL"))


def environment_value(name: str) -> str | None:
    """The value of a variable that a pipeline's YAML names as `${NAME}`; None if it is not set."""
    return os.environ.get(name)
