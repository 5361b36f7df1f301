"""Nights as they come, for the decision's tests."""

from __future__ import annotations

from dataclasses import replace

from aeflow.retraining import Drift, ErrorRise, Night, Shift

CHANNELS = ("flow", "pressure", "current", "speed", "heat", "level", "noise", "load")


def quiet(number: int, **changed) -> Night:
    """A night on which nothing happened."""
    night = Night(f"2026-11-{number:02d}", 1000, 1, 4, 1.0, still())
    return replace(night, **changed)


def still(channels=CHANNELS, **changed) -> Drift:
    drift = Drift(
        inputs=tuple(unmoved(c, leads=1 / len(channels)) for c in channels),
        latent=(unmoved("code 1"), unmoved("code 2")),
        entities=1,
        moved_entities=0,
        new_entities=0,
    )
    return replace(drift, **changed)


def unmoved(name, **changed) -> Shift:
    return replace(Shift(name, 0.05, 0.01, 0.05, 0.0, 0.8, 0), **changed)


def moved(name, median=1.5, **changed) -> Shift:
    return replace(Shift(name, 0.6, 1.2, abs(median), median, 1e-6, 1), **changed)


def with_channels(count: int, median=1.5, leads=None, **changed) -> Drift:
    """The first `count` channels moved."""
    names = CHANNELS[:count]
    inputs = tuple(
        moved(c, median, leads=leads or 1 / 8, usual_leads=1 / 8)
        if c in names
        else unmoved(c, leads=1 / 8, usual_leads=1 / 8)
        for c in CHANNELS
    )
    return still(inputs=inputs, moved_entities=1, **changed)


RISEN = ErrorRise(0.25, 0.7)
