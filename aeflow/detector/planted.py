"""How well a detector finds faults planted into held-out normal data: figures without labels.

Every detector that is compared meets the same data and the same faults: their size is in the history's own
scales, and not in those that a detector may have learnt wrong.

Legend: N clean items, M touched by a fault, L grid points, C channels.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, get_args

import numpy as np

from aeflow.data.series import SeriesInputs
from aeflow.data.splits import TEST, TRAIN
from aeflow.detector.image_fitting import ImageHistory, best_of_items
from aeflow.detector.image_scores import as_unit
from aeflow.detector.series_scores import SeriesNormal
from aeflow.numerics.events import merge_flagged
from aeflow.numerics.exchangeability import BulkCounts, check_exchangeability
from aeflow.numerics.metrics import auroc
from aeflow.numerics.paired import auroc_differences, difference_of, share_differences
from aeflow.numerics.planting import ImageFault, SeriesFault, plant_in_images, plant_in_series
from aeflow.numerics.scaling import fit_robust_scale
from aeflow.promotion import Against, Figures

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from numpy.typing import NDArray

    from aeflow.detector.detector import Detector
    from aeflow.detector.series_fitting import SeriesHistory

# Faults that anything finds would not tell two detectors apart.
_MAGNITUDE = 3.0
_MAX_ENTITIES = 20
_MAX_POINTS = 5_000
_MAX_IMAGES = 300
_FAULT_POINTS = 20
_POINTS_A_FAULT = 100
_FEWEST_FAULTS = 8  # of a kind: with fewer an interval says nothing
_STABLE_ITEMS = 64
_OTHER_PORTION = 7
_BLOCK_POINTS = 50  # neighbours in time that are drawn together


@dataclass(frozen=True, eq=False)
class Planted:
    """What one kind of fault came to: scores `(M,)` of the items it touched, the number of the fault of each,
    `(M,)`, and for each fault whether any of its items was beyond the cut, `(K,)` bool."""

    score: NDArray[np.float32]
    fault: NDArray[np.int64]
    found: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Trial:
    """One detector on the held-out part of a history.

    clean: scores `(N,)`, NaN where there is none; flagged `(N,)` bool; flags: how many flags those make.
    """

    clean: NDArray[np.float32]
    flagged: NDArray[np.bool_]
    flags: int
    most_flags: int | None
    promised_share: float
    planted: Mapping[str, Planted]
    unstable: float
    shifted: bool
    seconds_per_item: float | None
    in_time: bool

    def figures(self, *, verdict_auroc: float | None = None) -> Figures:
        """The trial in numbers; None where there was nothing to measure on."""
        scored = ~np.isnan(self.clean)
        clean = self.clean[scored]
        told = {kind: p for kind, p in self.planted.items() if _scores(p).size}
        measured = clean.size > 0 and bool(told)
        of_kind = {kind: _auroc(clean, _scores(p)) for kind, p in told.items()} if measured else {}
        # A few items may have no score, since nothing was observed of them: most of them must.
        finite = self.clean.size == 0 or bool(
            scored.mean() > 0.5 and np.isfinite(clean).all() and (clean.size == 1 or float(np.ptp(clean)) > 0)
        )
        return Figures(
            items=int(clean.size),
            false_flag_share=float(self.flagged.mean()) if measured else None,
            promised_share=self.promised_share if measured else None,
            planted_auroc=float(np.mean(list(of_kind.values()))) if measured else None,
            found_share=float(np.concatenate([p.found for p in self.planted.values()]).mean())
            if measured
            else None,
            false_flags=self.flags if measured else None,
            most_false_flags=self.most_flags if measured else None,
            finite=finite,
            unstable=self.unstable,
            shifted=self.shifted,
            seconds_per_item=self.seconds_per_item,
            auroc_of=of_kind,
            verdict_auroc=verdict_auroc,
        )


def measure(
    detector: Detector, history: SeriesHistory | ImageHistory, *, seed: int, device: torch.device
) -> Trial:
    """Try the detector on the test part of `history`. seed: of the faults, the same for all that are compared."""
    detector.network.to(device)
    if isinstance(history, ImageHistory):
        return _try_images(detector, history, seed, device)
    return _try_series(detector, history, seed, device)


def compare(one: Trial, other: Trial, *, seed: int) -> Against:
    """How much better the one is than the other on the items that both scored."""
    clean = _both(one.clean, other.clean)
    draws = []
    for number, (kind, mine) in enumerate(one.planted.items()):
        theirs = other.planted[kind]
        touched = _both(mine.score, theirs.score)
        fault = mine.fault[np.isfinite(mine.score) & np.isfinite(theirs.score)]
        # Of a single fault nothing tells how far another one would differ.
        if clean[0].size and np.unique(fault).size > 1:
            draws.append(
                auroc_differences(
                    clean,
                    touched,
                    seed=seed,
                    block_items=_BLOCK_POINTS if one.in_time else 1,
                    fault=fault,
                    # Every kind is planted into the same images, and into a series at places of its own.
                    stream=number if one.in_time else 0,
                )
            )
    if not draws:
        return Against()
    found = tuple(np.concatenate([p.found for p in t.planted.values()]) for t in (one, other))
    return Against(
        planted=difference_of(np.mean(draws, axis=0)),
        found=difference_of(share_differences((found[0], found[1]), seed=seed)),
    )


def _shifted(detector: Detector, p_values: NDArray[np.float64]) -> bool:
    bulk = BulkCounts()
    bulk.add(p_values)
    return check_exchangeability(bulk, detector.calibration.normal, {}).moved


def _both(
    one: NDArray[np.float32], other: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    scored = np.isfinite(one) & np.isfinite(other)
    return one[scored], other[scored]


def _scores(planted: Planted) -> NDArray[np.float32]:
    return planted.score[np.isfinite(planted.score)]


def _auroc(clean: NDArray[np.float32], touched: NDArray[np.float32]) -> float:
    clean = clean[np.isfinite(clean)]
    truth = np.concatenate([np.zeros(clean.size, bool), np.ones(touched.size, bool)])
    return auroc(truth, np.concatenate([clean, touched]))


def _try_images(detector: Detector, history: ImageHistory, seed: int, device: torch.device) -> Trial:
    chosen = np.unique(history.item[history.part == TEST])[:_MAX_IMAGES]
    mine = np.isin(history.item, chosen)
    images, item = as_unit(history.pixels[mine]), history.item[mine]
    calibration, chunk = detector.calibration, detector.config.compute.chunk_items

    def scores(of: NDArray[np.float32], portion: int = chunk) -> NDArray[np.float32]:
        return best_of_items(detector.score_images(of, device=device, chunk_items=portion).score, item)

    began = time.process_time()
    clean = scores(images) if len(images) else np.empty(0, np.float32)
    spent = time.process_time() - began
    p_clean = calibration.p_values(clean)
    planted = {}
    for number, fault in enumerate(get_args(ImageFault)):
        if not len(images):
            break
        generator = np.random.default_rng([seed, number])
        faulty, _ = plant_in_images(images, fault, generator=generator, magnitude=_MAGNITUDE)
        score = scores(faulty.astype(np.float32))
        p_value = calibration.p_values(score)
        cut = calibration.cut(np.concatenate([p_clean, p_value]))
        planted[fault] = Planted(score, np.arange(score.size), np.asarray(p_value <= cut))
    flagged = calibration.flags(p_clean)
    some = images[:_STABLE_ITEMS]
    unstable = 0.0
    if len(some):
        one, other = (
            detector.score_images(some, device=device, chunk_items=n).score for n in (chunk, _OTHER_PORTION)
        )
        unstable = _largest_difference(one, other)
    interval = calibration.count_interval(clean.size)
    return Trial(
        clean=clean,
        flagged=flagged,
        flags=int(flagged.sum()),
        most_flags=None if interval is None else interval[1],
        promised_share=float(calibration.alpha),
        planted=planted,
        unstable=unstable,
        shifted=_shifted(detector, p_clean),
        seconds_per_item=spent / clean.size if clean.size else None,
        in_time=False,
    )


@dataclass(frozen=True, eq=False)
class _Stretch:
    """A run of held-out points of one entity with what is needed before it.

    ends: points of it that are scored; looked_at: those and the ones before that bear on them. scale `(C,)`:
    of the entity's training part.
    """

    code: int
    entity: str
    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    ends: NDArray[np.int64]
    looked_at: NDArray[np.int64]
    slot: NDArray[np.int64]
    scale: NDArray[np.float32]


def _stretches(detector: Detector, history: SeriesHistory) -> Iterator[_Stretch]:
    """Every run of held-out points of at most `_MAX_ENTITIES` entities, evenly chosen, up to `_MAX_POINTS` of
    each."""
    grid = history.grid
    step = max(1, len(grid.entities) // _MAX_ENTITIES)
    for code in range(0, len(grid.entities), step):
        own = grid.entity == code
        points = np.flatnonzero(own & (history.part == TEST))[:_MAX_POINTS]
        train = grid.values[own & (history.part == TRAIN)]
        if points.size == 0 or not len(train):
            continue
        scale = fit_robust_scale(train, np.zeros(len(train), dtype=np.int64), 1).scale[0]
        begin_of_entity = int(np.searchsorted(grid.entity, code))
        for run in np.split(points, np.flatnonzero(np.diff(points) > 1) + 1):
            yield _stretch(detector, history, code, run, begin_of_entity, scale)


def _stretch(
    detector: Detector,
    history: SeriesHistory,
    code: int,
    run: NDArray[np.int64],
    begin_of_entity: int,
    scale: NDArray[np.float32],
) -> _Stretch:
    """The points `run` `(N,)`, one after the other, and what lies before them."""
    grid = history.grid
    first = max(int(run[0]) - detector.context.points, begin_of_entity)
    stretch = slice(first, int(run[-1]) + 1)
    index = np.arange(stretch.start, stretch.stop)
    reach = index - np.maximum(grid.segment_start[stretch], first)
    scorable = (reach >= detector.network.item_shape[0] - 1) & grid.has_row[stretch]
    return _Stretch(
        code,
        grid.entities[code],
        grid.values[stretch],
        grid.observed[stretch],
        np.flatnonzero(scorable & (index >= run[0])),
        np.flatnonzero(scorable & (index >= run[0] - detector.look_back)),
        grid.slot[stretch],
        scale,
    )


def _try_series(detector: Detector, history: SeriesHistory, seed: int, device: torch.device) -> Trial:
    assert isinstance(detector.normal, SeriesNormal)
    nothing = np.empty(0, np.float32)
    clean, p_clean, entity, slot = [nothing], [np.empty(0)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    faults: dict[str, list[tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]]] = {}
    unstable, spent = 0.0, 0.0
    held_out = list(_stretches(detector, history))
    rounds = max(1, -(-_FEWEST_FAULTS // max(1, sum(map(_faults_in, held_out)))))
    for one in held_out:
        began = time.process_time()
        score = _score(detector, one, one.values, one.ends, device)
        spent += time.process_time() - began
        clean.append(score)
        p_clean.append(detector.p_values(score, one.entity))
        entity.append(np.full(score.size, one.code))
        slot.append(one.slot[one.ends])
        if len(clean) == 2:  # the first stretch is enough, and its first items
            some = one.ends[:_STABLE_ITEMS]
            few = replace(one, looked_at=one.looked_at[one.looked_at <= some.max(initial=-1)])
            again = _score(detector, few, one.values, some, device, portion=_OTHER_PORTION)
            unstable = _largest_difference(score[: some.size], again)
        for fault, faulty, touched, number in _planted(one, seed, rounds):
            found = _score(detector, one, faulty, touched, device)
            faults.setdefault(fault, []).append((found, detector.p_values(found, one.entity), number))
    calibration, rule = detector.calibration, detector.config.calibration
    scores, p_values = np.concatenate(clean), np.concatenate(p_clean)
    flagged = calibration.flags(p_values)
    event = merge_flagged(
        np.concatenate(slot)[flagged],
        np.concatenate(entity)[flagged],
        merge_gap=rule.merge_gap_points,
        min_points=rule.min_event_points,
        rest_points=rule.rest_points,
    )
    interval = calibration.count_interval(int(np.isfinite(scores).sum()))
    return Trial(
        clean=scores,
        flagged=flagged,
        flags=int(event.max(initial=-1)) + 1,
        most_flags=None if interval is None else interval[1],
        promised_share=float(calibration.alpha),
        planted={kind: _joined(detector, p_values, parts) for kind, parts in faults.items()},
        unstable=unstable,
        shifted=_shifted(detector, p_values),
        seconds_per_item=spent / scores.size if scores.size else None,
        in_time=True,
    )


def _planted(
    one: _Stretch, seed: int, rounds: int
) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]]:
    """Kind of fault, the values with such faults, the ends that they touched, and the number of the fault of
    each; as many `rounds` of every kind, each into the values as they were."""
    first = int(one.ends[0]) if one.ends.size else len(one.values)
    kinds = enumerate(get_args(SeriesFault))
    for (number, fault), again in product(kinds, range(rounds)):
        too_short = len(one.values) - first <= _FAULT_POINTS
        if too_short or (fault == "channel_swap" and one.values.shape[1] < 2):
            continue
        faulty, mask = plant_in_series(
            one.values[first:],
            fault,
            scale=one.scale,
            generator=np.random.default_rng([seed, one.code, number, int(one.slot[first]) % 2**32, again]),
            events=_faults_in(one),
            length_points=_FAULT_POINTS,
            magnitude=_MAGNITUDE,
        )
        whole = one.values.copy()
        whole[first:] = faulty
        hit = np.asarray(mask.any(axis=1))
        begins = np.flatnonzero(np.diff(hit.astype(np.int8), prepend=0) == 1)
        touched = one.ends[hit[one.ends - first]]
        yield fault, whole, touched, np.searchsorted(begins, touched - first, side="right")


def _faults_in(one: _Stretch) -> int:
    return max(1, one.ends.size // _POINTS_A_FAULT)


def _joined(
    detector: Detector,
    p_clean: NDArray[np.float64],
    parts: list[tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]],
) -> Planted:
    p_value = np.concatenate([p for _, p, _ in parts])
    offset = np.cumsum([0, *(int(n.max(initial=0)) + 1 for _, _, n in parts)])
    number = np.concatenate([n + o for (_, _, n), o in zip(parts, offset, strict=False)])
    cut = detector.calibration.cut(np.concatenate([p_clean, p_value]))
    faults, place = np.unique(number, return_inverse=True)
    found = np.zeros(faults.size, dtype=bool)
    np.logical_or.at(found, place, p_value <= cut)
    return Planted(np.concatenate([s for s, _, _ in parts]), place, found)


def _largest_difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    scale = np.maximum(np.abs(one), np.float32(1e-6))
    return float(np.nan_to_num(np.abs(one - other) / scale).max(initial=0.0))


def _score(
    detector: Detector,
    one: _Stretch,
    values: NDArray[np.float32],
    ends: NDArray[np.int64],
    device: torch.device,
    portion: int | None = None,
) -> NDArray[np.float32]:
    """Scores `(N,)` of the windows that end at `ends`, which are some of `one.looked_at`."""
    inputs = SeriesInputs.without_rows(
        entities=(one.entity,),
        window=detector.network.item_shape[0],
        values=values,
        observed=one.observed,
        grid_entity=np.zeros(len(values), dtype=np.int32),
        grid_slot=one.slot,
        ends=one.looked_at,
    )
    chunk = portion or detector.config.compute.chunk_items
    score = detector.score_series(inputs, device=device, chunk_items=chunk).score
    return score[np.isin(one.looked_at, ends)]
