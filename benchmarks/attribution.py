"""Whether the channels and the places that a report names are the right ones: `python -m benchmarks.attribution`.

*Planted faults*: one channel of a held-out stretch of a machine of SMD is disturbed (a spike, a shift of its
level, a drift of 6 robust scales at most); where it is flagged and nothing was before, the channels are ranked by
their shares in the score, as a flag does. *Hit rate*: for each labelled event of SMD the causing channels are known;
of the first 100 % (and 150 %) as many channels as there are causes, the share of the causes among them, at
the highest score of the event. *Boxes*: a patch of an image of a tile without a defect is darkened or brightened, and
the first box of a report is held against it.

The pipelines are those of `configs/`, fitted as `aeflow train` does. Nothing here chooses anything.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from aeflow.config import load_config
from aeflow.data.series import Cadences, HistoryGrid, SeriesInputs
from aeflow.data.splits import TEST, split_groups, split_time
from aeflow.detector.attribution import attribute, level_before, stretch_behind
from aeflow.detector.image_fitting import ImageHistory, fit_images
from aeflow.detector.image_scores import as_unit, map_errors
from aeflow.detector.series_fitting import SeriesHistory, fit_series
from aeflow.detector.series_scores import score_series
from aeflow.numerics.gridding import Cadence
from aeflow.numerics.planting import SeriesFault, plant_in_series
from aeflow.numerics.reconstruction_error import worst_boxes
from aeflow.numerics.region_overlap import best_box_overlap
from benchmarks import normal_data
from benchmarks.pipelines import CONFIGS
from benchmarks.workload import SHARED_DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.detector.series_fitting import SeriesFit
    from aeflow.detector.series_scores import WindowScores

TRIALS = 200
RESULTS = Path(__file__).parent / "results" / "attribution.json"
_FAULTS: tuple[SeriesFault, ...] = ("spike", "level_shift", "drift")
_MAGNITUDE = 6.0
_FAULT_POINTS = 20
_STRETCH_POINTS = 200
_FOUND = 0.3
_PATCH_SHARES = (0.15, 0.35)  # of the image's side
_PATCH_DEPTH = 0.3  # of the range of pixels
_CPU = torch.device("cpu")
_STEP_US = 60_000_000
_MERGE_GAP = 3  # points, as `calibration.merge_gap_points` is by default


@dataclass(frozen=True)
class Figure:
    """A measured share and what it is compared with. trials: repetitions, or labelled events."""

    name: str
    value: float
    trials: int
    goal: float | None = None
    chance: float | None = None


def planted_channels(config: PipelineConfig, trials: int) -> Iterator[Figure]:
    """Of the faults that are flagged where nothing was without them, the share of which the disturbed channel comes
    first, of all and of each kind. Faults are drawn until `trials` of them are flagged."""
    machines = normal_data.smd()
    found = _fit(config, machines)
    by_shares: dict[str, list[bool]] = {fault: [] for fault in _FAULTS}
    by_parts: list[bool] = []
    planted = 0
    while len(by_parts) < trials:
        rng = np.random.default_rng(planted)
        fault = _FAULTS[planted % len(_FAULTS)]
        planted += 1
        name = sorted(machines)[rng.integers(len(machines))]
        rows = len(machines[name])
        first = int(rng.integers(round(rows * (1 - config.split.test)), rows - _STRETCH_POINTS))
        values = machines[name][first : first + _STRETCH_POINTS].copy()
        before = _Judged.of(config, found, name, values.copy())
        code = found.normal.codes((name,))
        scale = np.maximum(found.normal.scale.scale[code[0]], 1e-6)
        values[_STRETCH_POINTS // 2 :], mask = plant_in_series(
            values[_STRETCH_POINTS // 2 :],
            fault,
            scale=scale,
            generator=rng,
            length_points=_FAULT_POINTS,
            magnitude=_MAGNITUDE,
        )
        if not mask.any():  # below what a float of this size can hold
            continue
        at = np.flatnonzero(mask.any(axis=1)) + _STRETCH_POINTS // 2
        after = _Judged.of(config, found, name, values)
        # Where scores are smoothed a fault is seen for as long as they hold it.
        until = at[-1] + config.scoring.smooth_points
        if before.event_within(at[0], until) is not None:
            continue
        event = after.event_within(at[0], until)
        if event is None:
            continue
        disturbed = int(np.argmax(mask.any(axis=0)))
        parts, shares = after.channels(config, found, *event)
        by_shares[fault].append(int(np.argmax(shares)) == disturbed)
        by_parts.append(int(np.argmax(parts)) == disturbed)
    every = [one for of_fault in by_shares.values() for one in of_fault]
    chance = 1 / mask.shape[1]
    yield Figure("planted channel ranked first", float(np.mean(every)), len(every), 0.95, chance)
    for fault, of_fault in by_shares.items():
        yield Figure(f"- {fault}", float(np.mean(of_fault)), len(of_fault))
    yield Figure("- by contributions alone", float(np.mean(by_parts)), len(by_parts))
    yield Figure("- flagged at all, of the planted ones", len(every) / planted, planted)


def hit_rates(config: PipelineConfig, machines: Sequence[str] | None = None) -> Iterator[Figure]:
    """HitRate@100% and @150% of the labelled events of SMD (Su et al. 2019, "Robust anomaly detection for
    multivariate time series through stochastic recurrent neural network", section 5.5)."""
    normal = normal_data.smd()
    found = _fit(config, normal)
    hits: dict[tuple[str, float], list[float]] = {}
    shares_caused: list[float] = []
    for name in sorted(machines or normal):
        values = normal_data.smd_test(name)
        judged = _Judged.of(config, found, name, values)
        for begin, end, causes in _events(name):
            rows = np.arange(max(begin, config.item_shape[0] - 1), end + 1)
            if not rows.size:
                continue
            parts, shares = judged.channels(config, found, *judged.peak_within(rows))
            shares_caused.append(len(causes) / parts.size)
            for what, ranked_by in (("", shares), (" by contributions alone", parts)):
                ranked = np.argsort(-ranked_by, kind="stable")
                for reach in (1.0, 1.5):
                    named = set(ranked[: int(reach * len(causes))].tolist())
                    hits.setdefault((what, reach), []).append(len(named & causes) / len(causes))
    for (what, reach), of_reach in hits.items():
        chance = float(np.mean(np.minimum(1.0, reach * np.array(shares_caused))))
        name = f"- hit rate at {reach:.0%}{what}" if what else f"hit rate at {reach:.0%}"
        yield Figure(name, float(np.mean(of_reach)), len(of_reach), chance=None if what else chance)


def planted_boxes(config: PipelineConfig, trials: int) -> Iterator[Figure]:
    """The share of patches that the first box of a report overlaps by an IoU of 0.3, and the mean IoU."""
    side = config.item_shape[1]
    pixels, groups = normal_data.tiles(side)
    contents = tuple(str(number) for number in range(len(pixels)))
    part = split_groups(groups, contents, config.split, config.seed)
    folder, items = np.full(len(pixels), "normal"), np.arange(len(pixels))
    history = ImageHistory(pixels, items, part, contents, groups, contents, folder, Counter())
    found = fit_images(config, config.model, history, items_per_batch=100.0, device=_CPU)
    clean = as_unit(history.of(TEST))
    overlaps = []
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        image = clean[rng.integers(len(clean))].copy()
        height, width = (round(side * share) for share in rng.uniform(*_PATCH_SHARES, 2))
        top, left = (int(rng.integers(0, side - size + 1)) for size in (height, width))
        patch = image[:, top : top + height, left : left + width]
        patch += _PATCH_DEPTH * (1 if patch.mean() < 0.5 else -1)
        mask = np.zeros((side, side), dtype=bool)
        mask[top : top + height, left : left + width] = True
        _, maps = map_errors(
            found.normal,
            found.network,
            np.clip(image, 0, 1)[np.newaxis],
            config.error,
            device=_CPU,
            chunk_items=1,
        )
        overlaps.append(best_box_overlap(mask, worst_boxes(maps.error_map[0], max_boxes=1)[0]))
    yield Figure(
        "planted patch found by the first box", float(np.mean(np.array(overlaps) >= _FOUND)), trials, 0.9
    )
    yield Figure("- mean IoU of the first box", float(np.mean(overlaps)), trials)


def _fit(config: PipelineConfig, machines: dict[str, NDArray[np.float32]]) -> SeriesFit:
    """The pipeline's detector of all machines, fitted to their training files."""
    names = sorted(machines)
    lengths = [len(machines[name]) for name in names]
    starts = np.repeat(np.cumsum([0, *lengths[:-1]]), lengths)
    slot = np.arange(sum(lengths)) - starts
    values = np.concatenate([machines[name] for name in names])
    entity = np.repeat(np.arange(len(names), dtype=np.int32), lengths)
    grid = HistoryGrid(
        entities=tuple(names),
        values=values,
        observed=np.ones(values.shape, dtype=bool),
        entity=entity,
        segment_start=starts,
        has_row=np.ones(len(values), dtype=bool),
        slot=slot,
        time_us=slot * _STEP_US,
    )
    cadence = Cadence(_STEP_US, 0)
    history = SeriesHistory(grid, split_time(entity, config.split), Cadences({}, cadence))
    return fit_series(config, config.model, history, items_per_batch=1440.0 * len(names), device=_CPU)


@dataclass(frozen=True)
class _Judged:
    """Rows of one machine, scored and judged: inputs with a window for each row from the first whole one on, their
    scores, and which are flagged `(N,)`."""

    inputs: SeriesInputs
    scored: WindowScores
    flagged: NDArray[np.bool_]

    @classmethod
    def of(cls, config: PipelineConfig, found: SeriesFit, name: str, values: NDArray[np.float32]) -> Self:
        """The rows `(L, C)`, as the nightly scoring judges them."""
        window = config.item_shape[0]
        nothing = np.empty(0, dtype=np.int64)
        inputs = SeriesInputs(
            entities=(name,),
            window=window,
            values=values,
            observed=np.ones(values.shape, dtype=bool),
            grid_entity=np.zeros(len(values), dtype=np.int32),
            grid_slot=np.arange(len(values)),
            ends=np.arange(window - 1, len(values)),
            row_window=nothing,
            row_entity=nothing.astype(np.int32),
            row_time_us=nothing,
            row_slot=nothing,
            row_values=np.empty((0, values.shape[1]), dtype=np.float32),
        )
        scored = score_series(
            found.normal, found.network, inputs, config.error, config.scoring, device=_CPU, chunk_items=4096
        )
        own = found.entity_calibrations.get(name, found.calibration)
        return cls(inputs, scored, own.p_values(scored.score) <= found.calibration.alpha)

    def event_within(self, begin: int, end: int) -> tuple[int, int] | None:
        """First flagged row and peak of the first event that begins at rows `begin .. end - 1`; None: there is
        none, or one goes on there that began before."""
        rows = self.inputs.ends[self.flagged]
        mine = rows[(rows >= begin) & (rows < end)]
        if not mine.size:
            return None
        run = self._run(int(mine[0]))
        return int(run[0]), int(run[np.argmax(self._score(run))])

    def peak_within(self, rows: NDArray[np.int64]) -> tuple[int, int]:
        """The row with the highest score among `rows`, after the first flagged one of the event that it lies in; where it
        is not flagged it is taken to be."""
        peak = int(rows[np.argmax(self._score(rows))])
        return int(self._run(peak)[0]), peak

    def channels(
        self, config: PipelineConfig, found: SeriesFit, start: int, peak: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Contributions and shares `(C,)` of an event from its first flagged row and its peak."""
        inputs, number = self.inputs, peak - (self.inputs.window - 1)
        parts = self.scored.contributions[number]
        level = level_before(
            found.normal,
            config,
            inputs.entities[0],
            inputs.values[:peak],
            inputs.observed[:peak],
            inputs.grid_slot[:peak],
            start,
        )
        stretch = stretch_behind(config, inputs, number, start, level, parts)
        return parts, next(
            attribute(found.normal, found.network, config, [stretch], device=_CPU, chunk_items=4096)
        )

    def _score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.scored.score[rows - (self.inputs.window - 1)]

    def _run(self, row: int) -> NDArray[np.int64]:
        """The flagged rows of the event that a row lies in, the row among them: see `calibration.merge_gap_points`."""
        rows = np.union1d(self.inputs.ends[self.flagged], [row])
        cuts = np.flatnonzero(np.diff(rows) > _MERGE_GAP + 1) + 1
        return next(run for run in np.split(rows, cuts) if row in run)


def _events(machine: str) -> Iterator[tuple[int, int, set[int]]]:
    """First and last row (from 0) and causing channels (from 0) of each labelled event."""
    path = SHARED_DATA / "smd" / "interpretation_label" / f"{machine}.txt"
    for line in path.read_text(encoding="utf-8").split():
        span, causes = line.split(":")
        begin, end = span.split("-")
        yield int(begin) - 1, int(end) - 1, {int(cause) - 1 for cause in causes.split(",")}


def table(figures: Sequence[Figure]) -> str:
    """The figures in Markdown."""
    lines = ["| figure | value | trials | goal | by chance |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {one.name} | {one.value:.3f} | {one.trials} | {'' if one.goal is None else f'{one.goal:g}'} | "
        f"{'' if one.chance is None else f'{one.chance:.3f}'} |"
        for one in figures
    ]
    return "\n".join(lines)


PARTS: dict[str, Callable[[int], Iterator[Figure]]] = {
    "channels": lambda trials: planted_channels(load_config(CONFIGS / "smd.yaml"), trials),
    "hits": lambda _: hit_rates(load_config(CONFIGS / "smd.yaml")),
    "boxes": lambda trials: planted_boxes(load_config(CONFIGS / "tiles.yaml"), trials),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table; a part with all trials is kept as JSON, from which `make docs` makes a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attribution", description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = {part: list(PARTS[part](given.trials)) for part in given.only}
    print(table([one for figures in found.values() for one in figures]))
    if given.trials == TRIALS:
        kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        kept |= {part: [asdict(one) for one in figures] for part, figures in found.items()}
        text = json.dumps({part: kept[part] for part in PARTS if part in kept}, indent=1)
        RESULTS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
