"""The cells of a benchmark: each measured by itself, kept at once, never measured twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

COSTS = ("training_seconds", "parameters", "flops")
"""Figures of what a cell cost, not of how good it is; cells without training have none."""
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Cell:
    """One measurement.

    part: of the benchmark. data: the data set. task: what is done there; empty where there is one task.
    method: a variant, or what it is compared with. group: what means are taken over, such as the class;
    empty where there is one. seed: what is drawn. setting: all else that decides the figures, as text:
    a cell of another setting is another cell.
    """

    part: str
    data: str
    task: str
    method: str
    group: str
    seed: int
    scale: float
    setting: str

    @property
    def name(self) -> str:
        """What it is, for people."""
        parts = (self.part, self.data, self.task, self.method, self.group, f"seed {self.seed}")
        return " / ".join(filter(None, parts))

    @property
    def own_seed(self) -> int:
        """A seed that cells of other groups do not share."""
        return 1_000 * self.seed + (int(self.group) if self.group else 0)


@dataclass(frozen=True)
class Found:
    """A measured cell: figure -> value, and the CPU seconds that it took."""

    cell: Cell
    figures: dict[str, float]
    seconds: float


def measure_all(
    cells: Sequence[Cell], measure: Callable[[Cell], dict[str, float]], kept: Path, *, workers: int
) -> list[Found]:
    """Measure the cells that `kept` does not hold yet, in `workers` processes of one thread each.

    Args:
        cells: in the order in which they are begun.
        measure: a function of a module, so that another process can import it.
        kept: a file of JSON lines, to which each cell is added when it is done.
        workers: processes.

    Returns:
        All of `cells` that were measured, now or before, in their order. One that fails is told with its
        traceback, and left out.
    """
    done = read_kept(kept)
    missing = [cell for cell in cells if cell not in done]
    print(f"{len(cells)} cells, {len(cells) - len(missing)} of them measured before", flush=True)
    if missing:
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Spawned processes read them before numpy is imported.
        os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
        begun = time.monotonic()
        pool = ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread
        )
        try:
            running = {pool.submit(_timed, measure, cell): cell for cell in missing}
            with kept.open("a", encoding="utf-8") as file:
                for number, future in enumerate(as_completed(running), start=1):
                    cell = running[future]
                    progress = f"{number}/{len(missing)} {time.monotonic() - begun:5.0f} s"
                    error = future.exception()
                    if error is not None:
                        told = "".join(traceback.format_exception(error))
                        print(f"{progress}  FAILED {cell.name}\n{told}", flush=True)
                        continue
                    found = future.result()
                    done[cell] = found
                    file.write(json.dumps(asdict(found)) + "\n")
                    file.flush()
                    shown = ", ".join(f"{k} {v:.4g}" for k, v in found.figures.items() if k not in COSTS)
                    print(f"{progress}  {cell.name}: {shown} ({found.seconds:.1f} s)", flush=True)
        finally:
            # Stopped half-way, it begins no further cell.
            pool.shutdown(cancel_futures=True)
    return [done[cell] for cell in cells if cell in done]


def read_kept(kept: Path) -> dict[Cell, Found]:
    """What a file of cells holds; a line cut short by a kill is passed over, and its cell measured anew."""
    done: dict[Cell, Found] = {}
    for line in _whole_lines(kept):
        record = json.loads(line)
        cell = Cell(**record["cell"])
        done[cell] = Found(cell, record["figures"], record["seconds"])
    return done


def _whole_lines(kept: Path) -> Iterable[str]:
    if not kept.exists():
        return []
    text = kept.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        kept.write_text(whole, encoding="utf-8")
    return whole.splitlines()


def _timed(measure: Callable[[Cell], dict[str, float]], cell: Cell) -> Found:
    begun = _cpu_seconds()
    figures = measure(cell)
    return Found(cell, figures, _cpu_seconds() - begun)


def _cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _one_thread() -> None:
    import torch  # noqa: PLC0415 - the parent has no need of it here

    torch.set_num_threads(1)
