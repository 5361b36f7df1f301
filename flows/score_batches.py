"""Score many batches, one after the other or several at once, each as if it were the only one.

A batch that cannot be scored does not keep the others. Each process of several computes with its share
of the cores; which process took which batch changes no byte of a report.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aeflow.exceptions import AeflowError, InputError
from flows.io_tasks import run
from flows.score_batch import ScoredBatch, score_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Attempt:
    """What became of one batch: it was scored, or why it could not be."""

    batch: str
    scored: ScoredBatch | None = None
    error: Exception | None = None

    @property
    def complaint(self) -> str:
        """Why it could not be scored; names the batch, and once."""
        named = self.batch in getattr(self.error, "where", "")
        return str(self.error) if named else f"batch {self.batch}: {self.error}"


def score_batches(
    config: Path,
    batches: Sequence[str],
    *,
    jobs: int = 1,
    version: int | None = None,
    force: bool = False,
    other_data_only: bool = False,
    ended: Callable[[Attempt], None] | None = None,
    progress: Callable[[str], AbstractContextManager[Progress]] | None = None,
) -> list[Attempt]:
    """Score each batch and publish its report.

    Args:
        config: the pipeline's YAML file.
        batches: which ones.
        jobs: so many processes.
        version: of the detector; None: the champion.
        force: score again although nothing changed.
        other_data_only: as in `flows.score_batch.score_batch`.
        ended: told of each batch as it ends, in whatever order they do.
        progress: opened for each batch with what to call it, where one process does them all.

    Returns:
        The attempts, in the order of `batches`.

    Raises:
        InputError: fewer than one job.
    """
    if jobs < 1:
        raise InputError(f"expected at least one job, got {jobs}", where="--jobs")
    score = partial(_attempt, config, version=version, force=force, other_data_only=other_data_only)
    if jobs == 1 or len(batches) < 2:
        return [
            _told(_alone(score, name, f"{name} ({number}/{len(batches)})", progress), ended)
            for number, name in enumerate(batches, start=1)
        ]
    found: dict[str, Attempt] = {}
    elsewhere = partial(_picklable, score)
    with _pool(min(jobs, len(batches))) as pool:
        for future in as_completed([pool.submit(elsewhere, name) for name in batches]):
            attempt = _told(future.result(), ended)
            found[attempt.batch] = attempt
    return [found[name] for name in batches]


def _alone(
    score: Callable[..., Attempt],
    batch: str,
    what: str,
    progress: Callable[[str], AbstractContextManager[Progress]] | None,
) -> Attempt:
    with progress(what) if progress is not None else nullcontext() as bar:
        return score(batch, progress=bar)


def _attempt(
    config: Path,
    batch: str,
    *,
    version: int | None,
    force: bool,
    other_data_only: bool,
    progress: Progress | None = None,
) -> Attempt:
    try:
        scored = run(
            score_batch,
            config,
            batch,
            version=version,
            force=force,
            other_data_only=other_data_only,
            progress=progress,
        )
    except Exception as error:  # noqa: BLE001 - whoever asked for the batches says what becomes of it
        return Attempt(batch, error=error)
    return Attempt(batch, scored)


def _picklable(score: Callable[[str], Attempt], batch: str) -> Attempt:
    """The attempt as it can be sent to another process: some libraries' errors cannot."""
    attempt = score(batch)
    if attempt.error is None or isinstance(attempt.error, AeflowError):
        return attempt
    details = "".join(traceback.format_exception(attempt.error))
    return Attempt(batch, error=RuntimeError(f"{type(attempt.error).__name__}: {attempt.error}\n{details}"))


def _told(attempt: Attempt, ended: Callable[[Attempt], None] | None) -> Attempt:
    if ended is not None:
        ended(attempt)
    return attempt


def _pool(processes: int) -> ProcessPoolExecutor:
    """Processes that share the cores, begun anew: forking this one would copy the threads of its
    libraries in the middle of their work, and a fork server needs a socket, whose path may be too long."""
    context = multiprocessing.get_context("spawn")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, cores // processes)
    return ProcessPoolExecutor(processes, mp_context=context, initializer=_share_cores, initargs=(threads,))


def _share_cores(threads: int) -> None:
    import torch  # noqa: PLC0415 - in the process of the pool

    torch.set_num_threads(threads)
