"""What the other browser tests rely on: that requests and errors are seen, and that two browsers are two."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

PAGE = b"""<!doctype html><title>t</title><img src="/picture.png"><script>console.error("broken")</script>"""


@pytest.fixture
def server():
    """Answers every path with a page, and gives the browser a cookie with its number."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_a_page_asks_for_and_complains_of_is_seen(browser, server):
    browser.open(f"{server}/page")
    assert f"{server}/picture.png" in browser.requests()
    assert any("broken" in message for message in browser.console_errors())


def test_each_test_begins_with_an_empty_log(browser):
    assert not any("127.0.0.1" in url for url in browser.requests())
    assert browser.console_errors() == []


def test_offline_nothing_is_reached(browser, server):
    browser.open(f"{server}/page").go_offline()
    reached = browser.driver.execute_async_script(
        "const done = arguments[0]; fetch('/again').then(() => done(true), () => done(false))"
    )
    assert reached is False


def test_two_browsers_share_no_cookies(open_browser, server):
    one, other = open_browser(), open_browser()
    one.open(server).script("document.cookie = 'who=one'")
    other.open(server)
    assert one.script("return document.cookie") == "who=one"
    assert other.script("return document.cookie") == ""
