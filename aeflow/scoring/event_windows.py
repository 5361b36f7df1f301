"""The windows that the peaks of events lie at the end of: what the detector saw there, and its codes.

They are laid on the grid once more, for flagged events alone: kept in the first pass they would be as many
as there are rows that could be flagged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.config import SeriesPrepare
from aeflow.data.periods import to_us
from aeflow.data.series import windows_at
from aeflow.detector.codes import encode_windows, window_members
from aeflow.detector.series_scores import SeriesNormal
from aeflow.scoring.judged import NEIGHBOURS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import torch

    from aeflow.detector import Detector


def with_windows(
    flags: list[dict[str, Any]],
    detector: Detector,
    rows: Path,
    kept: Iterable[str],
    *,
    device: torch.device,
    chunk_items: int,
) -> list[dict[str, Any]]:
    """The events of a batch with the signature of each peak's window, and the window itself of those whose
    flag ids are in `kept`; `rows` are the staged rows of the batch."""
    prepare, normal, kept = detector.config.prepare, detector.normal, set(kept)
    assert isinstance(prepare, SeriesPrepare)
    assert isinstance(normal, SeriesNormal)
    place = {(flag["entity"], to_us(flag["peak"])): flag for flag in flags}
    times: dict[str, list[int]] = {}
    for entity, time_us in place:
        times.setdefault(entity, []).append(time_us)
    wanted = {entity: np.array(sorted(of), dtype=np.int64) for entity, of in times.items()}
    found: dict[str, dict[str, Any]] = {}
    steps = np.arange(1 - prepare.window_points, 1)
    for inputs in windows_at(rows, prepare, normal.cadences, wanted) if flags else ():
        codes = encode_windows(normal, detector.network, inputs, device=device, chunk_items=chunk_items)
        member = window_members(normal, inputs)
        # Of a detector that does not know how far apart codes lie there are none.
        signatures = None if detector.code_space is None else detector.code_space.signatures(codes, member)
        for number, (entity, time_us) in enumerate(
            zip(inputs.row_entity.tolist(), inputs.row_time_us.tolist(), strict=True)
        ):
            flag = place[inputs.entities[entity], time_us]
            window = int(inputs.row_window[number])
            evidence: dict[str, Any] = {}
            if signatures is not None:
                evidence["signature"] = signatures[window]
                if detector.exemplars is not None:
                    evidence["neighbours"] = detector.exemplars.nearest(
                        signatures[window], NEIGHBOURS, member=int(member[window])
                    )
            if flag["flag_id"] in kept:
                points = inputs.ends[window] + steps
                seen = np.where(inputs.observed[points], inputs.values[points], np.nan)
                evidence["window"] = [None if np.isnan(v) else v for v in seen.ravel().tolist()]
            found[flag["flag_id"]] = evidence
    return [flag | found.get(flag["flag_id"], {}) for flag in flags]
