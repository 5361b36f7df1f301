"""Which channels an event is put down to: its peak scored again with channels held at their level before it.

For flagged events alone, and of those for the ones that a report shows in full: each costs about twice as many
windows as there are channels, times the points that scores are smoothed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.config import SeriesPrepare
from aeflow.data.periods import to_us
from aeflow.data.series import windows_at
from aeflow.detector.attribution import (
    LEVEL_POINTS,
    Stretch,
    attribute,
    level_before,
    points_of_onset,
    stretch_behind,
)
from aeflow.detector.series_scores import SeriesNormal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from aeflow.detector import Detector

_Event = dict[str, Any]


def with_causes(
    flags: Sequence[_Event],
    detector: Detector,
    rows: Path,
    kept: Collection[str],
    *,
    device: torch.device,
    chunk_items: int,
) -> list[_Event]:
    """The events of a batch (rows of `schemas.FLAGS`), the shares of their channels as
    `detector.attribution` finds them, largest first, where their flag ids are in `kept`; `rows` are the staged rows of the batch. Contributions
    stay as they are."""
    asked = [flag for flag in flags if flag["flag_id"] in kept and len(flag["channels"]) > 1]
    if not asked:
        return list(flags)
    assert isinstance(detector.normal, SeriesNormal)
    stretches = list(_stretches(asked, detector, detector.normal, rows))
    shares = attribute(
        detector.normal,
        detector.network,
        detector.config,
        (stretch for _, stretch in stretches),
        device=device,
        chunk_items=chunk_items,
    )
    found = {name: of for (name, _), of in zip(stretches, shares, strict=True)}
    return [_shared_out(flag, found.get(flag["flag_id"]), detector.config.channels) for flag in flags]


def _shared_out(flag: _Event, shares: NDArray[np.float64] | None, channels: tuple[str, ...]) -> _Event:
    if shares is None:
        return flag
    share = dict(zip(channels, shares.tolist(), strict=True))
    parts = [part | {"share": share[part["channel"]]} for part in flag["channels"]]
    # Of equal shares the larger contribution, which is the order they come in.
    return flag | {"channels": sorted(parts, key=lambda part: -part["share"])}


def _stretches(
    flags: Sequence[_Event], detector: Detector, normal: SeriesNormal, rows: Path
) -> Iterator[tuple[str, Stretch]]:
    """Flag id of each event and what decides the score of its peak, in the order of the file."""
    config = detector.config
    assert isinstance(config.prepare, SeriesPrepare)
    starts = {(flag["entity"], to_us(flag["start"])): flag for flag in flags}
    peaks = {(flag["entity"], to_us(flag["peak"])): flag for flag in flags}
    times: dict[str, set[int]] = {}
    for entity, time_us in [*starts, *peaks]:
        times.setdefault(entity, set()).add(time_us)
    wanted = {entity: np.array(sorted(of), dtype=np.int64) for entity, of in times.items()}
    reach = max(config.scoring.smooth_points - 1, points_of_onset(config) + LEVEL_POINTS)
    begun: dict[str, tuple[int, NDArray[np.float32]]] = {}
    for inputs in windows_at(rows, config.prepare, normal.cadences, wanted, look_back=reach):
        for number, code in enumerate(inputs.row_entity.tolist()):
            key = inputs.entities[code], int(inputs.row_time_us[number])
            grid = slice(*np.searchsorted(inputs.grid_entity, [code, code + 1]).tolist())
            values, observed, slot = inputs.values[grid], inputs.observed[grid], inputs.grid_slot[grid]
            if key in starts:
                start = int(inputs.row_slot[number])
                level = level_before(normal, config, key[0], values, observed, slot, start)
                begun[starts[key]["flag_id"]] = start, level
            if key in peaks:
                flag = peaks[key]
                by_name = {part["channel"]: part["contribution"] for part in flag["channels"]}
                parts = np.array([by_name[name] for name in config.channels], dtype=np.float32)
                window = int(inputs.row_window[number])
                start, level = begun.pop(flag["flag_id"])
                yield flag["flag_id"], stretch_behind(config, inputs, window, start, level, parts)
