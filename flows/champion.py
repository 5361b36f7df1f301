"""Which detector is live: promote a version by hand, or go back to the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aeflow import registry
from aeflow.backlog import paths_of
from aeflow.exceptions import DetectorError
from aeflow.store.ledger import open_ledger
from flows.io_tasks import io_step

if TYPE_CHECKING:
    from pathlib import Path

    from aeflow.store.paths import Paths


@dataclass(frozen=True)
class Rollback:
    """The champion that was taken back, the one that is live again, and what the former had scored."""

    before: int
    now: int
    scored: tuple[str, ...]


@io_step
def crown(paths: Paths, version: int) -> None:
    """The version is the champion; the one before is remembered, to go back to."""
    before = registry.resolve(paths)
    if before is not None and before.version != version:
        registry.set_alias(paths, registry.PREVIOUS, before.version)
    registry.set_alias(paths, registry.CHAMPION, version)


def promote_version(config: Path, version: int) -> int | None:
    """Let a registered version go live; returns the one that was live before.

    Raises:
        DetectorError: there is no such version.
    """
    paths = paths_of(config)
    registry.find(paths, version)
    before = registry.resolve(paths)
    crown(paths, version)
    return before.version if before else None


def roll_back(config: Path) -> Rollback:
    """Let the champion before the present one go live again.

    Raises:
        DetectorError: there was none before.
    """
    paths = paths_of(config)
    present, previous = registry.resolve(paths), registry.resolve(paths, registry.PREVIOUS)
    if present is None or previous is None or previous.version == present.version:
        raise DetectorError(
            "expected a champion before the present one, and there is none",
            where=f"pipeline {paths.pipeline}",
            remedy="aeflow models CONFIG lists the versions; aeflow promote CONFIG VERSION lets one go live.",
        )
    registry.set_alias(paths, registry.CHAMPION, previous.version)
    registry.set_alias(paths, registry.PREVIOUS, present.version)
    scored = tuple(b.batch for b in open_ledger(paths).all() if b.facts.detector_version == present.version)
    return Rollback(present.version, previous.version, scored)
