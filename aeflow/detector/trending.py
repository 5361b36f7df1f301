"""Channels that trend while they are learnt from: told of, and left in.

Leaving them out was tried and finds less (docs/detection.md): a model that foretells a channel from the points
before takes a slow trend out by itself, and a fault may well show in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aeflow.config import SeriesPrepare
from aeflow.data.splits import TRAIN
from aeflow.numerics.trend import fit_trends
from aeflow.wording import about, counted

if TYPE_CHECKING:
    from aeflow.config import PipelineConfig
    from aeflow.detector.series_fitting import SeriesHistory

_SHOWN = 3
_FEWEST_ENTITIES = 0.1
"""Of the entities: in fewer a channel may trend by chance."""


def trend_note(config: PipelineConfig, history: SeriesHistory) -> str:
    """Which channels rise or fall all through the part of the history that trains, and what that means; empty
    where none does, and of rows that are items by themselves."""
    assert isinstance(config.prepare, SeriesPrepare)
    if config.prepare.window_points == 1:
        return ""
    channels, grid = config.channels, history.grid
    mine = history.part == TRAIN
    trends = fit_trends(grid.values[mine], grid.entity[mine], len(grid.entities))
    trending = trends.trending
    share = trending.mean(axis=0)
    found = [
        c for c in np.argsort(-share, kind="stable").tolist() if share[c] > 0 and share[c] >= _FEWEST_ENTITIES
    ]
    if not found:
        return ""
    entities = len(grid.entities)
    said = []
    for channel in found[:_SHOWN]:
        where = f" in {int(trending[:, channel].sum())} of {entities} entities" if entities > 1 else ""
        rise = float(np.median(np.abs(trends.rise[trending[:, channel], channel])))
        how_far = f"by about {about(rise)} times its noise" if np.isfinite(rise) else "without noise"
        said.append(f"{channels[channel]}{where} ({how_far})")
    more = f" and {counted(len(found) - _SHOWN, 'more channel')}" if len(found) > _SHOWN else ""
    return (
        f"While it is learnt from, it rises or falls all along: {', '.join(said)}{more}. What such a channel will be later is "
        "not what was learnt. Leave it out of source.channels if it means nothing (a counter, a battery), and else learn "
        "from a longer history or retrain often."
    )
