"""Real `aeflow` processes at the price of a fork: one process imports everything once, and each command
runs in a child of it, with an environment and a working folder of its own.

A child may be told to end itself with SIGKILL before its n-th operation: whatever changes a file or a
database. Before each operation it writes down what a reader would find published at that instant.

Run as a script it reads one command a line on standard input, as JSON, and answers each with a line.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a command ended. operations: the names of those it came to; seen: what each found published,
    the manifest's digest or None."""

    code: int
    out: str
    err: str
    operations: tuple[str, ...]
    seen: frozenset[str | None]


class Commands:
    """Runs commands, one at a time."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes what the commands print, and what their libraries keep for themselves."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MPLCONFIGDIR": str(folder / "matplotlib"),
            "PREFECT_HOME": str(folder / "prefect"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        for name in ("AEFLOW_HOME", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
            environment.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=folder,
        )

    def run(
        self,
        *arguments: str,
        home: Path,
        folder: Path,
        deadly: int = 0,
        published: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> Ended:
        """Run `aeflow ARGUMENTS` in `folder`, with AEFLOW_HOME at `home`.

        deadly: it is killed before this operation, counted from 1; 0: never.
        published: the report to look at before each operation.
        """
        files = {name: str(self._folder / name) for name in ("out", "err", "operations")}
        command = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": {"AEFLOW_HOME": str(home), **(environment or {})},
            "deadly": deadly,
            "published": str(published) if published else None,
            **files,
        }
        code = self._ask(command)
        out, err, noted = (Path(f).read_text(encoding="utf-8") for f in files.values())
        operations = [json.loads(line) for line in noted.splitlines()]
        return Ended(
            code,
            out,
            err,
            tuple(name for name, _ in operations),
            frozenset(digest for _, digest in operations),
        )

    def warm_up(self, *arguments: str, home: Path, folder: Path) -> None:
        """Run a command in the process that forks, so that its children find everything in place that
        is made once a process: contexts, templates, expressions."""
        self._ask({"arguments": arguments, "folder": str(folder), "environment": {"AEFLOW_HOME": str(home)}})

    def close(self) -> None:
        """End the process that forks, without the seconds in which it would tidy up."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, command: dict) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


def _serve() -> None:
    _import_everything()
    # Libraries may print while they are imported and run: the answers have a channel of their own.
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        command = json.loads(line)
        if "deadly" not in command:
            print(_run_here(command), file=answers, flush=True)
            gc.freeze()  # what is shared with the children stays so
            continue
        child = os.fork()
        if child == 0:
            _become(command)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _import_everything() -> None:
    import great_expectations  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import sklearn.linear_model
    import sklearn.manifold  # noqa: F401
    import torch

    import flows.check_pipeline
    import flows.embed_batch
    import flows.evaluate_detector
    import flows.generate_items
    import flows.restore_batch
    import flows.score_batch
    import flows.train_detector
    import flows.verify_batch  # noqa: F401
    from aeflow.cli import entry  # noqa: F401

    torch.set_num_threads(1)


def _run_here(command: dict) -> int:
    from aeflow.cli import entry

    environment, folder = dict(os.environ), Path.cwd()
    os.environ.update(command["environment"])
    os.chdir(command["folder"])
    try:
        with contextlib.redirect_stdout(None):
            return entry.run(command["arguments"])
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)


def _become(command: dict) -> None:
    """Run the command as this process, and end with its exit code."""
    from aeflow.cli import entry

    for name, descriptor in (("out", 1), ("err", 2)):
        file = os.open(command[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
    os.environ.update(command["environment"])
    os.chdir(command["folder"])
    code = 1
    try:
        with Path(command["operations"]).open("w", encoding="utf-8", buffering=1) as notes:
            _watch(command["deadly"], command["published"], notes)
            _forbid(os.environ.get("AEFLOW_TEST_FORBIDDEN"))
            code = entry.run(command["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _watch(deadly: int, published: str | None, notes) -> None:
    import pyarrow.parquet as pq
    import sqlalchemy as sa

    from aeflow.store.digests import sha256_folder

    count, turn = 0, threading.Lock()

    def note(name: str) -> None:
        nonlocal count
        with turn:  # the checks run beside the scoring
            count += 1
            mine = count
        seen = sha256_folder(Path(published)) if published and Path(published).exists() else None
        print(json.dumps([name, seen]), file=notes)
        if mine == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(owner, name):
        real = getattr(owner, name)

        def call(*args, **kwargs):
            note(f"{name} {Path(args[1]).name}" if name in {"rename", "replace"} else name)
            return real(*args, **kwargs)

        setattr(owner, name, call)

    for name in ("rename", "replace", "fsync", "mkdir", "unlink", "rmdir", "truncate"):
        watched(os, name)
    for name in ("write_table", "write_batch", "close"):
        watched(pq.ParquetWriter, name)
    sa.event.listen(sa.Engine, "commit", lambda _connection: note("commit"))


def _forbid(folder: str | None) -> None:
    """Refuse what would make something in a folder, as the operating system does where a right is
    missing: root, as who tests may run, has them all."""

    def guarded(owner, name):
        real = getattr(owner, name)

        def call(path, *args, **kwargs):
            if str(path).startswith(str(folder)) or (args and str(args[0]).startswith(str(folder))):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real(path, *args, **kwargs)

        setattr(owner, name, call)

    if folder:
        for name in ("rename", "replace", "mkdir"):
            guarded(os, name)


if __name__ == "__main__":
    _serve()
