"""How unevenly false flags come: the calibration judged in blocks of time, each by the others.

Scores of a series depend on each other over hours, and what normal is changes over days. Events counted where
the cut was fitted would hide it, since the cut has seen them. So the calibration is cut into consecutive
blocks; a cut fitted to the others flags each; how far the numbers of events differ from block to block tells
how many come together, whatever the reason.

Legend: n calibration points, B blocks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aeflow.numerics.p_values import fit_normal_scores
from aeflow.numerics.promise import Sequence, cut_by_events

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aeflow.numerics.p_values import Rule

BLOCKS = 5

_FEWEST_EVENTS = 3
"""With fewer events in all blocks together their spread says nothing."""


def cross_fitted_events(
    sequence: Sequence, rule: Rule, promised: float, items_per_batch: float, *, blocks: int = BLOCKS
) -> NDArray[np.int64]:
    """The events that each of B consecutive blocks would have flagged, `(B,)`, at a cut fitted to the others.

    Args:
        sequence: calibration points as they are judged; what is fitted are their p-values, the lowest highest.
        rule: by which the cut is fitted.
        promised: events in a batch.
        items_per_batch: time points of all entities together.
        blocks: B; of equal length in grid points.
    """
    scores = -np.log(sequence.p_value)
    first, last = int(sequence.position.min()), int(sequence.position.max())
    block = (sequence.position.astype(np.int64) - first) * blocks // (last - first + 1)
    counts = np.zeros(blocks, dtype=np.int64)
    for number in np.unique(block).tolist():
        out = block == number
        if out.all():
            continue
        others = sequence.of(~out)
        normal = fit_normal_scores(scores[~out], rule, position=others.position)
        others = replace(others, p_value=normal.held_out_p_values(scores[~out]))
        cut = cut_by_events(normal, others, promised, items_per_batch)
        counts[number] = replace(sequence.of(out), p_value=normal.p_values(scores[out])).events(cut.alpha)
    return counts


def uneven(counts: NDArray[np.int64]) -> float:
    """How many of the events in blocks, `counts` `(B,)`, come together: the variance of the counts in units of
    their mean, at least 1."""
    if counts.sum() < _FEWEST_EVENTS or counts.size < 2:
        return 1.0
    return max(1.0, float(counts.var(ddof=1) / counts.mean()))
