"""A notice as e-mail and as Slack take it: seen by a mail server and a webhook of this test's own."""

from __future__ import annotations

import email
import email.policy
import json
import socketserver
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows.notifications import Notice, tell

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FLAGS = Notice("flags", "2 new flags in batch 2026-11-20", "91  pump 7\n88  pümp 8", severity=91, key="b")


class Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP as it takes to be handed a letter (RFC 5321)."""

    def handle(self):
        self.say("220 ready")
        letter, reading = [], False
        for line in self.rfile:
            if reading and line == b".\r\n":
                reading = False
                self.server.letters.append(
                    email.message_from_bytes(b"".join(letter), policy=email.policy.default)
                )
                self.say("250 taken")
            elif reading:
                letter.append(line.removeprefix(b"."))
            elif line[:4].upper() == b"DATA":
                reading = True
                self.say("354 go on")
            elif line[:4].upper() == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.server.asked.append(line.decode().strip())
                self.say("250 fine")

    def say(self, answer):
        self.wfile.write(f"{answer}\r\n".encode())


class Hook(BaseHTTPRequestHandler):
    """Takes what a webhook of Slack would take, and answers as it does."""

    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posts.append((self.path, sent))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    running = []

    def start(server, **kept):
        for name, value in kept.items():
            setattr(server, name, value)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_notice_comes_as_a_letter(pipeline, serve, monkeypatch):
    office = serve(socketserver.TCPServer(("127.0.0.1", 0), Mailbox), letters=[], asked=[])
    monkeypatch.setenv(
        "MAIL",
        f"mailto://127.0.0.1:{office.server_address[1]}?from=aeflow@plant.example&to=anna@plant.example",
    )
    assert tell(pipeline(channels=[{"url": "${MAIL}"}]), FLAGS, now=NOON) == 1
    (letter,) = office.letters
    assert letter["Subject"] == f"pump: {FLAGS.title}"
    assert "aeflow@plant.example" in letter["From"]
    assert letter["To"] == "anna@plant.example"
    assert "rcpt TO:<anna@plant.example>" in office.asked
    assert letter.get_body(("plain",)).get_content().split() == FLAGS.body.split()


def test_a_notice_comes_as_a_post_to_slack(pipeline, serve, monkeypatch):
    slack = serve(HTTPServer(("127.0.0.1", 0), Hook), posts=[])
    plugin = pytest.importorskip("apprise.plugins.slack").NotifySlack
    # The address that Slack's own has, but for the host.
    monkeypatch.setattr(plugin, "webhook_url", f"http://127.0.0.1:{slack.server_address[1]}/services")
    tokens = ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ")
    monkeypatch.setenv("SLACK", f"slack://{'/'.join(tokens)}/")
    assert tell(pipeline(channels=[{"url": "${SLACK}"}]), FLAGS, now=NOON) == 1
    ((path, sent),) = slack.posts
    assert path == f"/services/{'/'.join(tokens)}"
    (attachment,) = sent["attachments"]
    assert attachment["title"] == f"pump: {FLAGS.title}"
    assert attachment["text"] == FLAGS.body
    assert attachment["footer"] == "aeflow"
