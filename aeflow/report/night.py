"""A published summary as the decision on the last nights takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aeflow.retraining import Night

if TYPE_CHECKING:
    from aeflow.report.summary import Summary


def night_of(summary: Summary, *, true_flags: int = 0, false_flags: int = 0) -> Night:
    """What the decision needs of a batch; true_flags, false_flags: what people said of its flags."""
    promise = summary.promise
    return Night(
        batch=summary.batch,
        items=summary.scored,
        flags=summary.flags,
        flagged_items=summary.flagged_rows,
        expected_flags=None
        if promise.kind == "false_discovery_rate"
        else promise.expected_false_flags_per_batch or promise.value,
        drift=None,
        grades=tuple((g.channel, g.grade, g.cause) for g in summary.grades if g.grade != "HIGH"),
        true_flags=true_flags,
        false_flags=false_flags,
    )
