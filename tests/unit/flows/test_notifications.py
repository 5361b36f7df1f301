"""One incident is one message on each channel that wants it, against a webhook of this test's own."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from aeflow.store.incidents import open_incidents
from aeflow.store.paths import Paths
from flows.notifications import Notice, deliver, note, settle, tell

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NIGHT = datetime(2026, 11, 20, 23, tzinfo=UTC)
MISSING = Notice("night_missing", "Night 2026-11-19 has no report", "It was due at 04:30.", key="2026-11-19")
FLAGS = Notice("flags", "3 new flags in 2026-11-20", "The worst: pump 7.", severity=85, key="2026-11-20")


class Sink:
    """A webhook that keeps what it is sent, and may be out of order."""

    def __init__(self):
        self.messages, self.answer = [], 200
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if sink.answer == 200:
                    sink.messages.append((self.path, sent["title"], sent["message"]))
                self.send_response(sink.answer)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def address(self, path):
        return f"json://127.0.0.1:{self.server.server_port}/{path}"


@pytest.fixture
def sink(monkeypatch):
    hook = Sink()
    monkeypatch.setenv("HOOK", hook.address("secret-a"))
    monkeypatch.setenv("OTHER_HOOK", hook.address("secret-b"))
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


def test_an_incident_is_told_once_and_again_only_after_it_was_over(pipeline, sink):
    config = pipeline(channels=[{"url": "${HOOK}"}])
    assert tell(config, MISSING, now=NOON) == 1
    assert sink.messages == [("/secret-a", f"pump: {MISSING.title}", MISSING.body)]
    assert tell(config, MISSING, now=NOON + timedelta(days=1)) == 0
    (known,) = open_incidents(Paths(config.parents[1] / "home", "pump")).open()
    assert (known.times, known.first_at, known.last_at) == (2, NOON, NOON + timedelta(days=1))

    settle(config, "night_missing", "2026-11-19", now=NOON + timedelta(days=2))
    assert tell(config, MISSING, now=NOON + timedelta(days=3)) == 1


def test_kinds_and_severities_go_to_the_channels_that_want_them(pipeline, sink):
    config = pipeline(
        channels=[
            {"url": "${HOOK}", "kinds": ["flags"], "min_severity": 90},
            {"url": "${OTHER_HOOK}", "kinds": ["flags", "drift"], "min_severity": 80},
        ]
    )
    tell(config, FLAGS, now=NOON)
    tell(config, MISSING, now=NOON)
    assert [path for path, *_ in sink.messages] == ["/secret-b"]
    worse = Notice(FLAGS.kind, FLAGS.title, FLAGS.body, severity=95, key=FLAGS.key)
    tell(config, worse, now=NOON)
    assert [path for path, *_ in sink.messages] == ["/secret-b", "/secret-a"]


def test_a_channel_that_is_added_is_told_of_what_lasts_and_of_no_flags_of_the_past(pipeline, sink):
    for night in range(3):
        flags = Notice("flags", f"flags of night {night}", severity=85, key=f"night {night}")
        tell(pipeline(channels=[{"url": "${HOOK}"}]), flags, now=NOON + timedelta(days=night))
    tell(pipeline(channels=[{"url": "${HOOK}"}]), MISSING, now=NOON)
    assert len(sink.messages) == 4
    both = pipeline(channels=[{"url": "${HOOK}"}, {"url": "${OTHER_HOOK}"}])
    tell(both, FLAGS, now=NOON + timedelta(days=3))
    by_path = {path: (title, body) for path, title, body in sink.messages[4:]}
    assert by_path.keys() == {"/secret-a", "/secret-b"}
    assert by_path["/secret-b"][0] == f"pump: {MISSING.title}, and 1 more"
    assert all(notice.title in by_path["/secret-b"][1] for notice in (FLAGS, MISSING))
    assert "flags of night" not in by_path["/secret-b"][1]


def test_what_comes_up_in_quiet_hours_is_one_message_afterwards(pipeline, sink):
    config = pipeline(channels=[{"url": "${HOOK}"}], quiet_hours={"begin": "22:00", "end": "07:00"})
    over = Notice("run_failed", "The run failed", key="x")
    for notice in (FLAGS, MISSING, over):
        assert tell(config, notice, now=NIGHT) == 0
    settle(config, "run_failed", "x", now=NIGHT)
    assert deliver(config, now=NIGHT + timedelta(hours=7)) == 0
    assert deliver(config, now=NIGHT + timedelta(hours=8)) == 1
    ((_, title, body),) = sink.messages
    assert title == f"pump: {MISSING.title}, and 1 more"
    assert all(text in body for text in (FLAGS.title, FLAGS.body, MISSING.title, MISSING.body))
    assert deliver(config, now=NIGHT + timedelta(hours=9)) == 0


def test_what_is_noted_is_one_message_the_most_pressing_first_and_of_many_only_some_in_full(pipeline, sink):
    config = pipeline(channels=[{"url": "${HOOK}"}])
    for day in range(10, 20):
        title = f"3 new flags in 2026-11-{day}"
        note(config, Notice("flags", title, f"pump {day}", severity=85, key=str(day)), now=NOON)
    note(config, Notice("run_failed", "Batch 2026-11-12 could not be scored", "Refused."), now=NOON)
    assert sink.messages == []
    assert deliver(config, now=NOON) == 1
    ((_, title, body),) = sink.messages
    assert title == "pump: Batch 2026-11-12 could not be scored, and 10 more"
    assert body.startswith(
        "Batch 2026-11-12 could not be scored\nRefused.\n\n3 new flags in 2026-11-10\npump 10"
    )
    assert all(f"3 new flags in 2026-11-{day}" in body for day in range(10, 20))
    assert ("pump 14" in body, "pump 15" in body) == (True, False)


def test_a_message_that_could_not_be_sent_goes_with_the_next_and_no_address_is_logged(pipeline, sink, caplog):
    config = pipeline(channels=[{"url": "${HOOK}"}])
    sink.answer = 503
    with caplog.at_level(logging.DEBUG):
        assert tell(config, MISSING, now=NOON) == 0
    assert "could not be sent to HOOK" in caplog.text
    assert "secret" not in caplog.text
    sink.answer = 200
    assert tell(config, FLAGS, now=NOON) == 1
    assert sink.messages[0][1] == f"pump: {MISSING.title}, and 1 more"


@pytest.mark.parametrize(
    ("address", "said"), [(None, "HOOK is not set"), ("nonsense-secret", "no address of Apprise")]
)
def test_a_channel_without_an_address_is_named_and_fails_nothing(
    pipeline, sink, monkeypatch, caplog, address, said
):
    monkeypatch.delenv("HOOK")
    if address:
        monkeypatch.setenv("HOOK", address)
    config = pipeline(channels=[{"url": "${HOOK}"}])
    assert tell(config, MISSING, now=NOON) == 0
    assert said in caplog.text
    assert "secret" not in caplog.text


def test_two_processes_do_not_both_tell_and_a_killed_one_is_made_good(pipeline, sink):
    config = pipeline(channels=[{"url": "${HOOK}"}])
    incidents = open_incidents(Paths(config.parents[1] / "home", "pump"))
    incidents.report(MISSING.kind, MISSING.key, MISSING.title, MISSING.body, severity=None, now=NOON)
    assert len(incidents.begin_telling("HOOK", ["night_missing"], now=NOON)) == 1  # and is killed
    assert deliver(config, now=NOON + timedelta(minutes=1)) == 0
    assert deliver(config, now=NOON + timedelta(minutes=6)) == 1


def test_without_channels_nothing_is_written(pipeline, home):
    assert tell(pipeline(), MISSING, now=NOON) == 0
    assert not home.exists()
