"""A published summary as the decision on the last nights takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aeflow.retraining import ErrorRise, Night

if TYPE_CHECKING:
    from aeflow.report.promise import Promise
    from aeflow.report.summary import Summary


_SEVERE = 90.0


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
        drift=summary.drift,
        errors=_error_rise(promise),
        grades=tuple((g.channel, g.grade, g.cause) for g in summary.grades if g.grade != "HIGH"),
        true_flags=true_flags,
        false_flags=false_flags,
        severe_flags=sum(flag.severity >= _SEVERE for flag in summary.top_flags),
        most_flags=None if promise.flags_by_chance is None else promise.flags_by_chance[1],
    )


def _error_rise(promise: Promise) -> ErrorRise | None:
    """What moved away from the calibration: all items together where they did, else the entities."""
    if not promise.moved:
        return None
    entities = sum(bool(one.entity) for one in promise.moved)
    told = min(promise.moved, key=lambda one: (bool(one.entity), one.p_value))
    return ErrorRise(told.expected_share, told.came_share, entities, whole=not told.entity)
