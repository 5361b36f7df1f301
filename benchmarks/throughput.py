"""What aeflow costs beside the bare model, measured on real data: `make bench`.

    python -m benchmarks.throughput [--only PART ...] [--json FILE] [--scale 1.0]

README.md beside this file says what each figure is. Nothing is asserted: the table tells which goals
are met on this machine, today.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from aeflow.config import load_config
from aeflow.detector.side_by_side import portion_of
from aeflow.models.catalog import build
from aeflow.store.paths import Paths
from aeflow.training.items import ImageItems, WindowItems
from aeflow.training.loop import fit_network
from benchmarks.outcome import Figure, print_figures, write_figures
from benchmarks.plain_loops import items_in_memory, load_detector, score_plainly, train_plainly
from benchmarks.processes import Measured, aeflow, environment, prefect_server, python
from benchmarks.workload import (
    CONV2D,
    HISTORY,
    LSTM,
    SMALL_CONV2D,
    SMALL_PCA,
    Workload,
    add_images,
    add_rows,
    image_workload,
    series_workload,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aeflow.models.autoencoder import Autoencoder

PARTS = ("series", "images", "overhead", "training", "memory")
_BARE_SECONDS = (
    45.0  # the batch is so large that the bare model alone needs this long: a run of about a minute
)
_MOST = {"series": 900_000, "images": 20_000}
_SMALL = {"series": 2_000, "images": 100}
_IN_MEMORY = {"series": 8_192, "images": 2_048}
_REPEATS = 2
_PREFECT_REPEATS = 3
_TRAINED_ITEMS = {"series": 3_200, "images": 640}
_MEMORY_ITEMS = {"series": 100_000, "images": 3_000}
_MINUTE_S = 60.0
_NOUN = {"series": "rows", "images": "images"}
# All that a scoring run imports before it looks at the batch; it leaves as the command does.
_START = "import os, flows.score_batch; os._exit(0)"


@dataclass
class Bench:
    """One run of the benchmark: where it works, and how large its batches are."""

    folder: Path
    scale: float
    env: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """All that aeflow writes lies below the folder."""
        self.env = environment(self.folder / "home")
        os.environ["AEFLOW_HOME"] = self.env["AEFLOW_HOME"]

    def sized(self, count: float) -> int:
        """A number of items, scaled."""
        return max(64, int(count * self.scale))

    def trained(self, workload: Workload) -> Workload:
        """Train the workload's detector and let it go live, deserved or not."""
        aeflow("train", workload.config, "--challenger", env=self.env)
        aeflow("promote", workload.config, "1", env=self.env)
        return workload

    def score(self, workload: Workload, batch: str, **env: str) -> Measured:
        """Score a batch as a user would, once more if it has a report."""
        return aeflow("score", workload.config, "--batch", batch, "--force", "--json", env=self.env | env)

    def paths(self, workload: Workload) -> Paths:
        """Where the pipeline's things lie."""
        return Paths(self.folder / "home", workload.config.stem)


def scoring(bench: Bench, workload: Workload, kind: str) -> list[Figure]:
    """The whole score run against the bare model on items in memory, interleaved."""
    network = load_detector(bench.paths(workload)).network
    plain = load_config(workload.config).compute.chunk_items
    best = _best_for_images(network, plain) if kind == "images" else plain
    add = add_rows if kind == "series" else add_images
    add(workload, "1-sample", bench.sized(_IN_MEMORY[kind] * 1.2))
    x, observed = items_in_memory(
        workload.config,
        "1-sample",
        load_detector(bench.paths(workload)),
        bench.folder / "sample",
        count=_IN_MEMORY[kind],
    )

    def bare(chunk: int = plain) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        score_plainly(network, x, observed, chunk=chunk)
        return (time.perf_counter() - wall) / len(x), (time.process_time() - cpu) / len(x)

    bare()  # the first pass allocates
    seconds, _ = bare()
    count = max(min(bench.sized(_BARE_SECONDS / seconds), _MOST[kind]), 4 * _SMALL[kind])
    add(workload, "2-whole", count)
    add(workload, "3-small", _SMALL[kind])
    bares, tuned, wholes, starts, smalls = [], [], [], [], []
    for _ in range(_REPEATS):
        bares.append(bare())
        tuned.append(bare(best))
        starts.append(python(_START, env=bench.env))
        wholes.append(bench.score(workload, "2-whole"))
        bares.append(bare())
        tuned.append(bare(best))
        smalls.append(bench.score(workload, "3-small"))

    bare_wall, bare_cpu = (statistics.median(column) for column in zip(*bares, strict=True))
    tuned_wall = statistics.median(wall for wall, _ in tuned)
    whole = statistics.median(m.wall_s for m in wholes)
    begun = statistics.median(m.wall_s for m in starts)
    work_cpu = statistics.median(m.cpu_s for m in wholes) - statistics.median(m.cpu_s for m in starts)
    more = count - _SMALL[kind]
    each = (whole - statistics.median(m.wall_s for m in smalls)) / more
    each_cpu = statistics.median(w.cpu_s - s.cpu_s for w, s in zip(wholes, smalls, strict=True)) / more
    noun = _NOUN[kind]
    return [
        Figure(f"{noun} in the batch", count),
        Figure("whole run, wall time", whole, "s"),
        Figure("of it, process start and imports", begun, "s"),
        Figure("bare model, plain loop in memory", 1 / bare_wall, f"{noun}/s"),
        Figure("whole run", count / whole, f"{noun}/s"),
        Figure("whole run without start and imports", count / (whole - begun), f"{noun}/s"),
        Figure("ratio, whole run to bare model", count / whole * bare_wall, at_least=0.8),
        Figure("ratio, without start and imports", count / (whole - begun) * bare_wall, at_least=0.8),
        Figure("ratio, each further item", bare_wall / each, at_least=0.8),
        Figure("ratio in CPU time, without start and imports", bare_cpu * count / work_cpu),
        Figure("ratio in CPU time, each further item", bare_cpu / each_cpu),
        *(
            [
                Figure("bare model, in portions that fit the caches", 1 / tuned_wall, f"{noun}/s"),
                Figure("ratio, whole run to that", count / whole * tuned_wall),
                Figure("ratio, each further item to that", tuned_wall / each),
            ]
            if best != plain
            else []
        ),
        Figure("peak memory", max(m.peak_mb for m in wholes), "MB"),
    ]


def _best_for_images(network: Autoencoder, chunk_items: int) -> int:
    """How many images aeflow takes at once, which is faster than a whole chunk."""
    return portion_of(network.item_shape, chunk_items, torch.device("cpu"))


def training(bench: Bench, workload: Workload, kind: str) -> list[Figure]:
    """An epoch of `fit_network` against a plain loop, interleaved, on the same items."""
    config = load_config(workload.config)
    detector = load_detector(bench.paths(workload))
    count = bench.sized(_TRAINED_ITEMS[kind])
    x, _ = items_in_memory(
        workload.config, HISTORY, detector, bench.folder / "training", count=_IN_MEMORY[kind]
    )
    x = x.repeat(-(-count // len(x)), *[1] * (x.ndim - 1))[:count]
    shape = tuple(x.shape[1:])
    items, few = _training_items(x), _training_items(x[:2])
    options = config.training.model_copy(
        update={"epochs": 1, "max_train_windows": count, "precision": "float32"}
    )
    ours, plain = [], []
    for _ in range(3):
        plain.append(train_plainly(build(config.model, shape), x, config, items=count))
        result = fit_network(
            build(config.model, shape), items, few, training=options, seed=0, device=torch.device("cpu")
        )
        ours.append(result.samples_per_second)
    mine, theirs = statistics.median(ours), statistics.median(plain)
    ratio = statistics.median(a / b for a, b in zip(ours, plain, strict=True))
    return [
        Figure(f"{config.model.family}, plain loop in memory", theirs, "items/s"),
        Figure(f"{config.model.family}, aeflow", mine, "items/s"),
        Figure(f"{config.model.family}, ratio", ratio, at_least=0.95),
    ]


def memory(bench: Bench, workload: Workload, kind: str) -> list[Figure]:
    """Peak memory of scoring N items and ten times as many."""
    count = bench.sized(_MEMORY_ITEMS[kind])
    for batch, many in (("1-once", count), ("2-tenfold", 10 * count)):
        if kind == "series":
            add_rows(workload, batch, many)
        else:
            add_images(workload, batch, many, digits=True)
    once, tenfold = (bench.score(workload, batch) for batch in ("1-once", "2-tenfold"))
    noun = _NOUN[kind]
    return [
        Figure(f"{count:,} {noun}", once.peak_mb, "MB"),
        Figure(f"{10 * count:,} {noun}", tenfold.peak_mb, "MB"),
        Figure(f"ratio, 10 times the {noun}", tenfold.peak_mb / once.peak_mb, at_most=1.1),
    ]


def overhead(bench: Bench, workload: Workload) -> list[Figure]:
    """What Prefect and MLflow add to a run: seconds, and the share of a run of a minute."""
    nothing = python("pass", env=bench.env)
    imports = statistics.median(
        python("import prefect", env=bench.env).wall_s - nothing.wall_s for _ in range(_PREFECT_REPEATS)
    )
    added = []
    add_rows(workload, "4-tiny", _SMALL["series"])
    with prefect_server(bench.folder / "home") as address:
        bench.score(workload, "4-tiny", PREFECT_API_URL=address)  # the first makes its blocks
        for _ in range(_PREFECT_REPEATS):
            alone = bench.score(workload, "4-tiny")
            added.append(bench.score(workload, "4-tiny", PREFECT_API_URL=address).wall_s - alone.wall_s)
    config = str(workload.config)
    registry = (
        "from pathlib import Path\nimport torch, pyarrow.parquet\n"
        "from aeflow import registry\nfrom aeflow.settings import home_for, prepare_environment\n"
        "from aeflow.store.paths import Paths\n"
        f"config = Path({config!r})\nprepare_environment(home_for(config))\n"
        f"paths = Paths(home_for(config), {workload.config.stem!r})\n"
    )
    asked = (
        registry + "ref = registry.resolve(paths)\nregistry.fetch(paths, ref.version, digest=ref.digest)\n"
    )
    mlflow = statistics.median(
        python(asked, env=bench.env).wall_s - python(registry, env=bench.env).wall_s
        for _ in range(_PREFECT_REPEATS)
    )
    server = statistics.median(added)
    mlflow = max(mlflow, 0.0)
    return [
        Figure("Prefect, run followed by a server", server, "s"),
        Figure("of it, the import, which no other run pays", imports, "s"),
        Figure("MLflow, finding and fetching the champion", mlflow, "s"),
        Figure("share of a run of a minute, no server", _share(mlflow), "%", at_most=5),
        Figure("share of a run of a minute, followed by a server", _share(server + mlflow), "%", at_most=5),
    ]


def _share(added_s: float) -> float:
    return 100 * added_s / (_MINUTE_S + added_s)


def run(folder: Path, scale: float, parts: Sequence[str]) -> dict[str, list[Figure]]:
    """The chosen benchmarks, printed as they come."""
    bench = Bench(folder, scale)
    found: dict[str, list[Figure]] = {}

    def tell(title: str, figures: list[Figure]) -> None:
        found[title] = figures
        print_figures(title, figures)

    if {"series", "overhead", "training"} & set(parts):
        series = bench.trained(series_workload(folder, "series", LSTM, window=60))
    if {"images", "training"} & set(parts):
        images = bench.trained(image_workload(folder, "images", CONV2D, side_px=128))
    if "series" in parts:
        tell(f"Scoring a series (LSTM, {series.source})", scoring(bench, series, "series"))
    if "images" in parts:
        tell(f"Scoring images (conv2d, 128 x 128, {images.source})", scoring(bench, images, "images"))
    if "overhead" in parts:
        tell("What Prefect and MLflow add", overhead(bench, series))
    if "training" in parts:
        tell("Training", training(bench, series, "series") + training(bench, images, "images"))
    if "memory" in parts:
        rows = bench.trained(series_workload(folder, "long-series", SMALL_PCA, window=16, channels=8))
        tell(f"Memory, series (PCA, {rows.source})", memory(bench, rows, "series"))
        digits = bench.trained(image_workload(folder, "many-images", SMALL_CONV2D, side_px=8, digits=True))
        tell(f"Memory, images (small conv2d, {digits.source})", memory(bench, digits, "images"))
    return found


def _training_items(x: torch.Tensor) -> WindowItems | ImageItems:
    """Items `(N, *item_shape)` as the training loop takes them; windows one after the other in a flat
    series."""
    if x.ndim == 4:
        return ImageItems(x.numpy())
    flat, window = x.flatten(0, 1).numpy(), x.shape[1]
    ends = np.arange(window - 1, len(flat), window)
    return WindowItems(flat, np.ones(flat.shape, dtype=bool), ends, window)


def main() -> None:
    """Measure in a temporary folder, which is removed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="these benchmarks alone")
    parser.add_argument("--scale", type=float, default=1.0, help="sizes of the batches; smaller is quicker")
    given = parser.parse_args()
    begun = time.monotonic()
    machine = {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "scale": given.scale,
        "load_before": os.getloadavg()[0],
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
    with tempfile.TemporaryDirectory(prefix="aeflow-bench-") as folder:
        found = run(Path(folder).resolve(), given.scale, given.only)
    print(f"\nDone in {time.monotonic() - begun:.0f} s.")
    if given.json is not None:
        write_figures(given.json, machine, found)


if __name__ == "__main__":
    main()
