"""Which batches a schedule has asked for by now.

A nightly run is there for the periods that have ended in the 24 hours before it (in the week before it,
where a period is a week). So a pipeline that is scheduled from Tuesday to Saturday is not expected to
have data of a Saturday or a Sunday.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cronsim import CronSim

from aeflow.data import periods

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aeflow.config import BatchRule, PipelineConfig

_RISKY_HOURS = range(1, 3)
_LOOK_BACK = {"hour": timedelta(days=1), "day": timedelta(days=1), "week": timedelta(days=7)}
_LONGEST_DAY = timedelta(hours=25)


def fires(cron: str, zone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """The instants in (after, until] at which a crontab's line fires, in UTC. `after` and `until` are
    aware. Local times that the clocks skip fire when they go on, those that come twice once."""
    times = CronSim(cron, after.astimezone(ZoneInfo(zone)))
    for time in times:
        at = time.astimezone(UTC)
        if at > until:
            return
        if at > after:
            yield at


def last_fire(config: PipelineConfig, now: datetime) -> datetime | None:
    """When the nightly run was last to begin; None where there is no schedule, or none within a year."""
    if config.schedule.nightly is None:
        return None
    for days in (2, 32, 400):
        found = list(fires(config.schedule.nightly, config.schedule_zone, now - timedelta(days=days), now))
        if found:
            return found[-1]
    return None


def due_batches(config: PipelineConfig, since: datetime, until: datetime) -> dict[str, datetime]:
    """Batch ids that the nightly runs in (since, until] are there for -> when the first of them was.

    Empty where batches are not periods: which folders or lists are to come, no calendar tells.
    """
    if config.schedule.nightly is None or config.batch.by != "period":
        return {}
    rule = config.batch
    due: dict[str, datetime] = {}
    for fire in fires(config.schedule.nightly, config.schedule_zone, since, until):
        back = _LOOK_BACK[rule.period]
        if rule.period == "day":
            # A local day may have 25 hours: look back by days of the calendar.
            back = min(_LONGEST_DAY, fire - _same_time_the_day_before(fire, rule.time_zone))
        for batch in _ended_within(fire - back, fire, rule):
            due.setdefault(batch, fire)
    return due


def schedule_warnings(config: PipelineConfig) -> list[str]:
    """What a schedule is better not: at an hour that the clocks of its zone skip or repeat."""
    zone, warnings = config.schedule_zone, []
    for key, cron in (("nightly", config.schedule.nightly), ("retrain", config.schedule.retrain)):
        if cron is None or not _changes_clocks(zone):
            continue
        start = datetime(2025, 1, 1, tzinfo=UTC)
        local = {
            f.astimezone(ZoneInfo(zone)).hour for f in fires(cron, zone, start, start + timedelta(days=8))
        }
        if local & set(_RISKY_HOURS):
            warnings.append(
                f"schedule.{key} ({cron}) falls between 01:00 and 03:00 in {zone}, where the clocks change: "
                "on two days of the year it comes an hour off. Take another hour."
            )
    return warnings


def _ended_within(after: datetime, until: datetime, rule: BatchRule) -> Iterator[str]:
    """The ids of the periods whose end lies in (after, until], in order."""
    batch = periods.id_at(after, rule)
    end = periods.bounds(batch, rule)[1]
    while end <= until:
        if end > after:
            yield batch
        batch = periods.id_at(end, rule)
        end = periods.bounds(batch, rule)[1]


def _same_time_the_day_before(time: datetime, zone: str) -> datetime:
    local = time.astimezone(ZoneInfo(zone))
    return (local - timedelta(days=1)).astimezone(UTC)


def _changes_clocks(zone: str) -> bool:
    offsets = {datetime(2025, month, 1, tzinfo=ZoneInfo(zone)).utcoffset() for month in range(1, 13)}
    return len(offsets) > 1
