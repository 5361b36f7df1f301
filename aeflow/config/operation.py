"""When a pipeline runs by itself, and who is told of what: nothing here changes a score."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Annotated, Literal

from cronsim import CronSim, CronSimError
from pydantic import BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from aeflow.config.base import Section
from aeflow.config.source import known_zone

NoticeKind = Literal["flags", "run_failed", "night_missing", "drift", "promotion"]
"""What people can be told of."""
NOTICE_KINDS: tuple[NoticeKind, ...] = ("flags", "run_failed", "night_missing", "drift", "promotion")

_CRON_FIELDS = 5
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class Schedule(Section):
    """When the pipeline runs by itself, once `aeflow deploy` has told the server."""

    nightly: str | None = "30 4 * * *"
    """Minute, hour, day, month and weekday of the nightly scoring, as in a crontab. Keep out of 01:00 to
    03:00 where clocks change. None: scored only by hand."""
    retrain: str | None = None
    """The same for looking whether to retrain. None: only when drift, verdicts or a person ask for it."""
    time_zone: str | None = None
    """The IANA zone in which these times are meant. None: that of `batch`."""
    grace_hours: float = Field(default=6, gt=0, le=24 * 14)
    """A night without a report so long after its time is missing, and somebody is told."""

    @field_validator("nightly", "retrain")
    @classmethod
    def _known_cron(cls, text: str | None) -> str | None:
        if text is not None:
            _check_cron(text)
        return text

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        return None if name is None else known_zone(name)


class Channel(Section):
    """One way to tell people: a webhook, Slack, e-mail, or whatever else Apprise has an address for."""

    url: str = Field(pattern=r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$")
    """`${NAME}`: the environment variable that holds the address, such as `json://host/path` (webhook),
    `slack://...` or `mailto://...`. An address is as good as a password: it never stands in a file."""
    kinds: tuple[NoticeKind, ...] = Field(default=NOTICE_KINDS, min_length=1)
    """flags: new flags; run_failed; night_missing; drift: a decision other than OK; promotion: what goes
    live, and what does not."""
    min_severity: float = Field(default=0, ge=0, le=100)
    """Only flags at least so severe."""

    @property
    def variable(self) -> str:
        """The name of the environment variable."""
        return self.url[2:-1]


def _clock(value: object) -> object:
    """YAML 1.1 reads 22:00 without quotes as a number in base 60."""
    return f"{value // 60:02d}:{value % 60:02d}" if isinstance(value, int) else value


Clock = Annotated[time, BeforeValidator(_clock), PlainSerializer(lambda t: f"{t:%H:%M}", return_type=str)]


class QuietHours(Section):
    """While it is quiet, notices wait; then they come as one message."""

    begin: Clock
    """Such as 22:00, in the zone of `schedule`."""
    end: Clock
    """Such as 07:00."""

    @model_validator(mode="after")
    def _not_empty(self) -> QuietHours:
        if self.begin == self.end:
            msg = f"quiet_hours begin and end at {self.begin:%H:%M}: nobody would ever be told"
            raise ValueError(msg)
        return self

    def hold(self, local: time) -> bool:
        """Whether it is quiet at this time of the day."""
        if self.begin < self.end:
            return self.begin <= local < self.end
        return local >= self.begin or local < self.end


class Notify(Section):
    """Who is told of what. One incident is one message, however often it comes up until it is over."""

    channels: tuple[Channel, ...] = ()
    """Such as [{url: "${SLACK}", kinds: [flags, drift], min_severity: 90}]."""
    quiet_hours: QuietHours | None = None
    """Such as {begin: "22:00", end: "07:00"}."""

    @model_validator(mode="after")
    def _each_channel_once(self) -> Notify:
        urls = [channel.url for channel in self.channels]
        twice = sorted({url for url in urls if urls.count(url) > 1})
        if twice:
            msg = f"channels names {twice} twice: give all its kinds in one entry"
            raise ValueError(msg)
        return self


def _check_cron(text: str) -> None:
    example = 'such as "30 4 * * *" (every day at 04:30)'
    if len(text.split()) != _CRON_FIELDS:
        msg = f"expected minute, hour, day, month and weekday, {example}, not {text!r}"
        raise ValueError(msg)
    try:
        CronSim(text, _ANY_TIME)
    except CronSimError as error:
        msg = f"{text!r} is no time of a crontab {example}: {error}"
        raise ValueError(msg) from error
