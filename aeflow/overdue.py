"""Nights that should be done by now and are not: what a dead-man alarm tells.

Watched are the nights since the first nightly run, or since the pipeline was deployed. What happened
before that nobody was promised.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, cast
from zoneinfo import ZoneInfo

from aeflow.backlog import HISTORY, MISSING, paths_of, read_status
from aeflow.config import load_config
from aeflow.data.due import due_batches, last_fire
from aeflow.store.claims import holder
from aeflow.store.nightly_runs import NIGHTLY, open_nightly_runs

if TYPE_CHECKING:
    from pathlib import Path

    from aeflow.backlog import BatchStatus
    from aeflow.config import PipelineConfig
    from aeflow.store.nightly_runs import NightlyRuns

_WATCHED = timedelta(days=31)
_DONE = {"published", "running", HISTORY}

Fault = Literal["not_run", "late", "missing", "failed", "refused", "interrupted"]
_MEANINGS: dict[str, str] = {
    "late": "the source holds nothing of it yet",
    "missing": "its data are there, and it was not scored",
    "failed": "its scoring failed",
    "refused": "too little of it is fit to score",
    "interrupted": "its scoring was killed",
}


@dataclass(frozen=True)
class Overdue:
    """One night that should be done. batch: "" where it is the nightly run itself that did not come.
    since: when it was to be done, in UTC. incident: the same for nights that are overdue one after the
    other, and for the run that should have done them: the first of them."""

    pipeline: str
    batch: str
    fault: Fault
    since: datetime
    message: str
    incident: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def sentence(self) -> str:
        """What is wrong, for a person."""
        what = f"batch {self.batch}" if self.batch else "the nightly run"
        return f"{self.pipeline}, {what} (due {self.since:%Y-%m-%d %H:%M} UTC): {self.message}"


def find_overdue(config: Path, *, now: datetime) -> list[Overdue]:
    """Everything that should be done by `now` (aware) and is not, in the order of batches, the nightly
    run itself last.

    A batch is due once `schedule.grace_hours` have passed since the nightly run that was there for it;
    where batches are no periods, those that were begun and came to no report are. While a nightly run
    is at work, only what it cannot make good is overdue.

    Raises:
        SourceError: the source cannot be read.
    """
    pipeline, paths = load_config(config), paths_of(config)
    runs = open_nightly_runs(paths)
    first = runs.first()
    if first is None:
        return []
    until = now - timedelta(hours=pipeline.schedule.grace_hours)
    since = max(first.begun_at, now - _WATCHED)
    at_work = holder(paths.task_claim(NIGHTLY)) is not None
    statuses = {status.batch: status for status in read_status(config).batches}
    found = _of_periods(pipeline, statuses, due_batches(pipeline, since, until))
    if pipeline.batch.by != "period":
        found = _of_folders(pipeline, statuses, since)
    if at_work:
        return [o for o in found if o.fault == "late"]
    fire = missed_fire(pipeline, runs, until)
    if fire is not None:
        incident = found[-1].incident if found and found[-1].since == fire else NIGHTLY
        message = _not_run(pipeline, fire)
        found.append(Overdue(pipeline.name, "", "not_run", fire, message, incident))
    return found


def _of_periods(
    pipeline: PipelineConfig, statuses: dict[str, BatchStatus], due: dict[str, datetime]
) -> list[Overdue]:
    found: list[Overdue] = []
    incident = ""
    for batch, fire in sorted(due.items()):
        fault = _fault(statuses.get(batch))
        if fault is None:
            incident = ""
            continue
        incident = incident or batch
        message = _message(fault, statuses.get(batch))
        found.append(Overdue(pipeline.name, batch, fault, fire, message, incident))
    return found


def _of_folders(pipeline: PipelineConfig, statuses: dict[str, BatchStatus], since: datetime) -> list[Overdue]:
    return [
        Overdue(pipeline.name, s.batch, fault, since, _message(fault, s), s.batch)
        for s in statuses.values()
        if (fault := _fault(s)) in {"failed", "refused", "interrupted"}
    ]


def missed_fire(pipeline: PipelineConfig, runs: NightlyRuns, until: datetime) -> datetime | None:
    """When the last nightly run was to begin, if none that began since has come to an end; None where there is no
    schedule, and for times before anybody was promised a run."""
    fire, first, last = last_fire(pipeline, until), runs.first(), runs.last_ended()
    if fire is None or first is None or fire < first.begun_at or (last and last.begun_at >= fire):
        return None
    return fire


def _not_run(pipeline: PipelineConfig, fire: datetime) -> str:
    local = fire.astimezone(ZoneInfo(pipeline.schedule_zone))
    return (
        f"it was to begin at {local:%Y-%m-%d %H:%M %Z}, and none has come to an end since. Look whether "
        f"server and worker are up; then run: aeflow score {pipeline.name} --pending"
    )


def _fault(status: BatchStatus | None) -> Fault | None:
    if status is None:
        return "late"
    if status.state in _DONE:
        return None
    return "missing" if status.state == MISSING else cast("Fault", status.state)


def _message(fault: Fault, status: BatchStatus | None) -> str:
    own = status.message.splitlines()[0] if status is not None and status.message else ""
    return f"{_MEANINGS[fault]}{f': {own}' if own else ''}"
