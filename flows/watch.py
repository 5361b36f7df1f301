"""The dead-man alarm: tells people of nights that should be done and are not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aeflow.backlog import paths_of
from aeflow.config import load_config
from aeflow.overdue import find_overdue
from aeflow.store.incidents import open_incidents
from flows.notifications import Notice, deliver, note, settle

if TYPE_CHECKING:
    from aeflow.config import NoticeKind
    from aeflow.overdue import Overdue

_KIND: NoticeKind = "night_missing"


def watch_nights(config: Path, *, now: datetime | None = None) -> list[Overdue]:
    """Tell people of every night that is overdue, once; what is no longer overdue is over.

    An outage is one incident, however many nights it lasts.

    Args:
        config: the pipeline's YAML file.
        now: an aware time. None: the present.

    Returns:
        What is overdue now.

    Raises:
        SourceError: the source cannot be read.
    """
    now = now or datetime.now(UTC)
    found = find_overdue(config, now=now)
    by_incident: dict[str, list[Overdue]] = {}
    for overdue in found:
        by_incident.setdefault(overdue.incident, []).append(overdue)
    for incident in _known(config) - by_incident.keys():
        settle(config, _KIND, incident, now=now)
    for incident, nights in by_incident.items():
        body = "\n".join(o.sentence() for o in nights)
        note(config, Notice(_KIND, _title(nights), body, key=incident), now=now)
    deliver(config, now=now)
    return found


def _known(config: Path) -> set[str]:
    if not load_config(config).notify.channels:
        return set()
    return {i.key for i in open_incidents(paths_of(config)).open() if i.kind == _KIND}


def _title(nights: list[Overdue]) -> str:
    batches = [o.batch for o in nights if o.batch]
    if len(batches) > 1:
        return f"{len(batches)} nights are missing, from {batches[0]} on"
    return f"The night {batches[0]} is missing" if batches else "The nightly run did not come"
