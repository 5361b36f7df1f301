"""Telling people: by webhook, Slack, e-mail and whatever else Apprise has an address for.

What is told is an incident of the ledger's database (`aeflow.store.incidents`): it is told once on each
channel that wants its kind, at once or, in quiet hours, with all the others when they end. What comes up in
one run is noted, and told in one message when it ends. A message that cannot be sent never fails a run: it is
logged, and sent with the next.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from aeflow.config import load_config
from aeflow.exceptions import AeflowError
from aeflow.settings import environment_value, home_for
from aeflow.store.incidents import open_incidents
from aeflow.store.paths import Paths

if TYPE_CHECKING:
    from aeflow.config import Channel, NoticeKind, PipelineConfig
    from aeflow.store.incidents import Incident, Incidents

_LOG = logging.getLogger("aeflow.notifications")
_PRESSING: tuple[NoticeKind, ...] = ("run_failed", "night_missing", "drift", "flags", "promotion")
_IN_FULL = 5


@dataclass(frozen=True)
class Notice:
    """Something that people may want to know.

    key: what it is about, such as a batch: as long as the incident is open, the same kind and key are
    the same incident. severity: 0..100, of flags.
    """

    kind: NoticeKind
    title: str
    body: str = ""
    severity: float | None = None
    key: str = ""


def tell(config: Path, notice: Notice, *, now: datetime | None = None) -> int:
    """Tell the channels of the pipeline that want to know, unless they know already, and of whatever else waits.

    Args:
        config: the pipeline's YAML file.
        notice: what to tell.
        now: an aware time. None: the present.

    Returns:
        How many messages were sent: 0 in quiet hours, for a known incident, or without channels.
    """
    note(config, notice, now=now)
    return deliver(config, now=now)


def note(config: Path, notice: Notice, *, now: datetime | None = None) -> None:
    """Note what the channels of the pipeline are to be told with the next message. Should the process die before
    that, the next run or the hourly watch sends it."""
    pipeline = load_config(config)
    if not pipeline.notify.channels:
        return
    now = now or datetime.now(UTC)
    try:
        incidents = open_incidents(Paths(home_for(config), pipeline.name))
        incidents.meet([channel.variable for channel in pipeline.notify.channels], now=now)
        incidents.report(
            notice.kind,
            notice.key or notice.title,
            notice.title,
            notice.body,
            severity=notice.severity,
            now=now,
        )
    except AeflowError as error:
        _LOG.warning("Nobody can be told that %r: %s", notice.title, error)


def settle(config: Path, kind: NoticeKind, key: str, *, now: datetime | None = None) -> None:
    """The incident is over: when it comes up again, people are told again."""
    pipeline = load_config(config)
    if not pipeline.notify.channels:
        return
    try:
        incidents = open_incidents(Paths(home_for(config), pipeline.name))
        incidents.settle(kind, key, now=now or datetime.now(UTC))
    except AeflowError as error:
        _LOG.warning("It could not be noted that %s %r is over: %s", kind, key, error)


def settle_others(config: Path, kind: NoticeKind, about: str, kept: str) -> None:
    """Of the incidents whose keys begin with `about`, all but that of the key `kept` are over."""
    pipeline = load_config(config)
    if not pipeline.notify.channels:
        return
    try:
        incidents = open_incidents(Paths(home_for(config), pipeline.name))
        for incident in incidents.open():
            if incident.kind == kind and incident.key.startswith(about) and incident.key != kept:
                incidents.settle(kind, incident.key, now=datetime.now(UTC))
    except AeflowError as error:
        _LOG.warning("It could not be noted that %s %r is over: %s", kind, about, error)


def deliver(config: Path, *, now: datetime | None = None) -> int:
    """Send what has waited for the end of the quiet hours, or for a channel that did not answer; returns
    how many messages were sent."""
    pipeline = load_config(config)
    if not pipeline.notify.channels:
        return 0
    try:
        return _deliver(
            pipeline, open_incidents(Paths(home_for(config), pipeline.name)), now or datetime.now(UTC)
        )
    except AeflowError as error:
        _LOG.warning("Nobody could be told: %s", error)
        return 0


def _deliver(pipeline: PipelineConfig, incidents: Incidents, now: datetime) -> int:
    quiet = pipeline.notify.quiet_hours
    if quiet is not None and quiet.hold(now.astimezone(ZoneInfo(pipeline.schedule_zone)).time()):
        return 0
    return sum(_tell_channel(pipeline, channel, incidents, now) for channel in pipeline.notify.channels)


def _tell_channel(pipeline: PipelineConfig, channel: Channel, incidents: Incidents, now: datetime) -> bool:
    """One message of all that the channel has not been told; True where one was sent."""
    found = incidents.begin_telling(channel.variable, channel.kinds, now=now)
    wanted = [i for i in found if i.severity is None or i.severity >= channel.min_severity]
    # Below its severity: told, as far as this channel is concerned, unless it grows.
    unwanted = [i for i in found if i not in wanted]
    incidents.end_telling(channel.variable, unwanted, succeeded=False, now=now)
    if not wanted:
        return False
    sent = _send(channel, *_worded(pipeline.name, wanted))
    incidents.end_telling(channel.variable, wanted, succeeded=sent, now=now)
    return sent


def _worded(pipeline: str, incidents: list[Incident]) -> tuple[str, str]:
    """Title and body of one message about all of them, the most pressing first; of many of a kind, such as the
    flags of the nights that a run made good, only the first few in full."""
    ranked = sorted(incidents, key=lambda i: _PRESSING.index(i.kind) if i.kind in _PRESSING else 0)
    title = f"{pipeline}: {ranked[0].title}"
    if len(ranked) == 1:
        return title, ranked[0].body
    shown: Counter[str] = Counter()
    parts = []
    for incident in ranked:
        shown[incident.kind] += 1
        in_full = shown[incident.kind] <= _IN_FULL
        parts.append(f"{incident.title}\n{incident.body}".strip() if in_full else incident.title)
    return f"{title}, and {len(ranked) - 1} more", "\n\n".join(parts)


def _send(channel: Channel, title: str, body: str) -> bool:
    """Whether the message went out. What went wrong is said without the address."""
    address = environment_value(channel.variable)
    if not address:
        _LOG.warning(
            "Notices cannot be sent: the environment variable %s is not set. export %s=...",
            channel.variable,
            channel.variable,
        )
        return False
    import apprise  # noqa: PLC0415 - half a second, only where there is something to tell

    # Their own logs tell addresses.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
    quiet = apprise.AppriseAsset(
        app_id="aeflow",
        app_desc="aeflow",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    sender = apprise.Apprise(asset=quiet)
    if not sender.add(address):
        _LOG.warning("Notices cannot be sent: what %s holds is no address of Apprise.", channel.variable)
        return False
    if not sender.notify(title=title, body=body or title, body_format=apprise.NotifyFormat.TEXT):
        _LOG.warning("A notice could not be sent to %s; it will be sent with the next.", channel.variable)
        return False
    return True
