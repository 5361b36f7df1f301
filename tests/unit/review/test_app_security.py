from __future__ import annotations

import re
import socket

import pytest
from fastapi.testclient import TestClient

from aeflow.review.access import Role
from aeflow.review.app import create_app
from aeflow.review.guard import Door
from tests.unit.review.conftest import HOSTILE

HERE = ("127.0.0.1", 50000)


def open_client(desk, *, client=HERE, url="http://127.0.0.1:8765"):
    return TestClient(create_app(desk), base_url=url, client=client, follow_redirects=False)


def secret_of(page):
    return re.search(r'name="csrf" value="([^"]+)"', page.text)[1]


def first_flag(client):
    return re.search(r'href="/flag/([0-9a-f]+)', client.get("/").text)[1]


def say(client, flag, secret, word="true", **headers):
    fields = {"csrf": secret, "word": word, "note": ""}
    return client.post(f"/flag/{flag}/say", data=fields, headers=headers)


@pytest.fixture
def client(desk):
    with open_client(desk()) as client:
        yield client


def test_a_word_without_the_secret_of_the_session_is_refused_and_not_kept(client):
    flag = first_flag(client)
    secret = secret_of(client.get(f"/flag/{flag}"))
    for wrong in ("", "x", secret[:-1]):
        assert say(client, flag, wrong).status_code == 403
    assert client.post(f"/flag/{flag}/say", data={"word": "true"}).status_code == 403
    assert "Nothing yet." in client.get(f"/flag/{flag}").text
    assert say(client, flag, secret).status_code == 303
    assert "Nothing yet." not in client.get(f"/flag/{flag}").text


def test_the_secret_of_one_session_opens_no_other(desk):
    app = create_app(desk())
    with (
        TestClient(app, base_url="http://localhost", client=HERE) as anna,
        TestClient(app, base_url="http://localhost", client=HERE) as ben,
    ):
        flag = first_flag(anna)
        assert say(ben, flag, secret_of(anna.get(f"/flag/{flag}"))).status_code == 403


@pytest.mark.parametrize("address", ["/flag/{}/say", "/flag/{}/like", "/undo", "/who", "/logout"])
def test_no_address_changes_anything_without_the_secret(client, address):
    flag = first_flag(client)
    assert client.post(address.format(flag), data={"word": "true", "reviewer": "eve"}).status_code == 403
    assert client.get(address.format(flag)).status_code in {404, 405}


def test_a_form_of_another_site_is_refused(client):
    flag = first_flag(client)
    secret = secret_of(client.get(f"/flag/{flag}"))
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999"):
        assert say(client, flag, secret, origin=origin).status_code == 403
    assert say(client, flag, secret, origin="http://127.0.0.1:8765").status_code == 303


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost:8765", 200),
        ("[::1]:8765", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("192.168.0.7", 400),
        ("[", 400),
    ],
)
def test_only_names_of_this_machine_are_answered(client, host, status):
    assert client.get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("door", "host", "known"),
    [
        (Door("10.0.0.5", token_needed=True), "10.0.0.5:8765", True),
        (Door("10.0.0.5", token_needed=True), "10.0.0.6:8765", False),
        (Door("10.0.0.5", token_needed=True), "evil.example", False),
        (Door("10.0.0.5", token_needed=True, names=("review.plant",)), "Review.Plant", True),
        (
            Door("0.0.0.0", token_needed=True),
            "192.168.0.7:8765",
            True,
        ),  # an address cannot be made to point here
        (Door("0.0.0.0", token_needed=True), "evil.example", False),
        (Door("0.0.0.0", token_needed=True), f"{socket.gethostname()}:8765", True),
        (Door("::", token_needed=True), "[fe80::1]:8765", True),
        (Door("127.0.0.1", token_needed=True), "192.168.0.7", False),
        (Door("127.0.0.1", token_needed=False), "", False),
    ],
)
def test_only_names_under_which_it_is_reached_are_answered(door, host, known):
    assert door.knows(host) is known


def test_another_machine_is_refused_even_if_it_gets_through(desk):
    with open_client(desk(), client=("192.168.0.7", 50000)) as client:
        assert client.get("/").status_code == 403
        assert client.get("/static/review.css").status_code == 403


def test_behind_a_proxy_it_needs_tokens(client):
    assert client.get("/", headers={"x-forwarded-for": "10.0.0.1"}).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/flag/..%2f..%2fledger.db",
        "/flag/../../configs/pumps.yaml",
        "/flag/x/..%2f..%2foriginal.png",
        "/flag/%2e%2e/original.png",
        "/static/..%2fapp.py",
        "/static/%2e%2e%2f%2e%2e%2fsettings.py",
        "/static//etc/passwd",
        "/static/page.html.j2",
        "/entity?name=../../ledger.db",
        "/docs",
        "/openapi.json",
        "/.aeflow/ledger.db",
    ],
)
def test_no_path_leads_out_of_the_store(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "SQLite" not in answer.text


@pytest.mark.parametrize(
    "typed",
    ["\u00b2", "\u0663", "-1", "1.5", "9" * 5_000],
    ids=["raised", "arabic", "negative", "fraction", "endless"],
)
def test_what_is_no_number_counts_as_not_given(client, typed):
    asked = {
        name: client.get(path, params={name: typed}) for name, path in (("page", "/"), ("nights", "/trends"))
    }
    assert {name: answer.status_code for name, answer in asked.items()} == {"page": 200, "nights": 200}
    assert client.get("/", params={"version": typed}).status_code == 200
    assert client.get(f"/flag/{first_flag(client)}/normal-{typed[:9]}.webp").status_code == 404


def test_a_picture_that_is_none_of_a_flag_is_not_found(client):
    flag = first_flag(client)
    for name in ("original", "secret", "image_png"):
        assert client.get(f"/flag/{flag}/{name}.png").status_code == 404


def test_files_are_not_taken(client):
    flag = first_flag(client)
    secret = secret_of(client.get(f"/flag/{flag}"))
    upload = client.post(f"/flag/{flag}/say", data={"csrf": secret}, files={"note": b"x"})
    assert upload.status_code == 415
    long = client.post(f"/flag/{flag}/say", data={"csrf": secret, "note": "x" * 300_000})
    assert long.status_code == 413

    def in_pieces():
        yield b"csrf="

    form = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/undo", content=in_pieces(), headers=form).status_code == 411


@pytest.mark.parametrize("path", ["/", "/trends", "/nothing", "/static/review.js", "/export/csv"])
def test_every_answer_tells_the_browser_to_run_nothing_of_others(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"


def test_an_error_of_ours_tells_nothing_and_runs_nothing_of_others(desk, monkeypatch):
    monkeypatch.setattr("aeflow.review.browsing.queue_page", lambda *_: 1 / 0)
    app = create_app(desk())
    with TestClient(app, base_url="http://127.0.0.1", client=HERE, raise_server_exceptions=False) as client:
        answer = client.get("/")
    assert answer.status_code == 500
    assert answer.text == "Internal Server Error"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_cookie_cannot_be_read_by_a_script(client):
    cookie = client.get("/").headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_no_page_has_an_inline_script_or_style(client):
    flag = first_flag(client)
    pages = ["/", "/?state=all&order=useful", f"/flag/{flag}", "/trends", "/entity?name=pump-1", "/nothing"]
    for path in pages:
        text = client.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), path
        assert not re.search(r"\s(style|on\w+)=", text), path


def test_names_from_the_data_stay_text(client):
    seen = 0
    for path in ("/?state=all", "/trends", "/?text=script", f"/?text={HOSTILE}&entity={HOSTILE}"):
        text = client.get(path).text
        assert HOSTILE not in text
        seen += "&lt;script&gt;alert(1)" in text
    assert seen >= 3
    for flag in re.findall(r'href="/flag/([0-9a-f]+)', client.get("/?state=all").text):
        assert HOSTILE not in client.get(f"/flag/{flag}").text
        assert HOSTILE not in client.get(f"/flag/{flag}/plot").text


def test_what_a_reviewer_writes_stays_text(client):
    flag = first_flag(client)
    fields = {"csrf": secret_of(client.get(f"/flag/{flag}")), "word": "true", "note": HOSTILE}
    client.post(f"/flag/{flag}/say", data=fields)
    text = client.get(f"/flag/{flag}").text
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.fixture
def guarded(desk):
    """The app at an address that needs tokens."""
    return desk(host="127.0.0.2")


def log_in(client, token):
    return client.post("/login", data={"token": token})


def test_without_a_token_nothing_is_shown(guarded):
    with open_client(guarded, client=("127.0.0.2", 1), url="http://127.0.0.2:8765") as client:
        flag = guarded.board.now().catalogue.flag_ids[0]
        for path in (
            "/",
            f"/flag/{flag}",
            f"/flag/{flag}/plot",
            "/trends",
            "/export/csv",
            "/entity?name=pump-1",
        ):
            answer = client.get(path)
            assert answer.status_code == 401, path
            assert "pump-1" not in answer.text, path
        assert say(client, flag, "x").status_code == 401
        assert guarded.board.now().said == {}


def test_a_token_opens_a_session_in_the_name_it_was_made_for(guarded):
    token = guarded.access.make("ben", Role.REVIEWER, now=guarded.clock())
    with open_client(guarded, url="http://127.0.0.2") as client:
        assert log_in(client, token + "x").status_code == 401
        assert client.get("/").status_code == 401
        assert log_in(client, token).status_code == 303
        flag = first_flag(client)
        secret = secret_of(client.get(f"/flag/{flag}"))
        assert say(client, flag, secret).status_code == 303
        assert [v.reviewer for v in guarded.board.now().said[flag]] == ["ben"]
        assert client.post("/who", data={"csrf": secret, "reviewer": "anna"}).status_code == 403
        assert client.post("/logout", data={"csrf": secret}).status_code == 303
        assert client.get("/").status_code == 401


def test_a_reader_looks_but_does_not_review(guarded):
    token = guarded.access.make("rita", Role.READER, now=guarded.clock())
    with open_client(guarded, url="http://127.0.0.2") as client:
        log_in(client, token)
        flag = first_flag(client)
        page = client.get(f"/flag/{flag}")
        assert page.status_code == 200
        assert 'name="word"' not in page.text
        secret = secret_of(page)
        assert say(client, flag, secret).status_code == 403
        assert client.post(f"/flag/{flag}/like", data={"csrf": secret, "word": "false"}).status_code == 403
        assert client.post("/undo", data={"csrf": secret}).status_code == 403
        assert guarded.board.now().said == {}


def test_read_only_is_for_everybody(desk):
    with open_client(desk(read_only=True)) as client:
        flag = first_flag(client)
        page = client.get(f"/flag/{flag}")
        assert 'name="word"' not in page.text
        assert client.post(f"/flag/{flag}/say", data={"word": "true"}).status_code == 403


def test_a_revoked_token_ends_its_sessions(guarded):
    token = guarded.access.make("ben", Role.REVIEWER, now=guarded.clock())
    with open_client(guarded, url="http://127.0.0.2") as client:
        log_in(client, token)
        assert client.get("/").status_code == 200
        guarded.access.revoke("ben")
        assert client.get("/").status_code == 401
        assert log_in(client, token).status_code == 401


def test_tokens_cannot_be_guessed_by_trying(guarded):
    token = guarded.access.make("ben", Role.REVIEWER, now=guarded.clock())
    with open_client(guarded, url="http://127.0.0.2") as client:
        answers = [log_in(client, f"guess-{n}").status_code for n in range(12)]
        assert answers == [401] * 10 + [429] * 2
        assert log_in(client, token).status_code == 429
