from __future__ import annotations

import stat
from datetime import UTC, datetime

import pytest

from aeflow.cli.entry import run
from aeflow.exceptions import InputError, IntegrityError, StorageError
from aeflow.review.access import Access, Role
from aeflow.review.serve import first_token, listen, open_access, open_desk

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


@pytest.fixture
def access(tmp_path):
    return Access(tmp_path / "review" / "access.json")


def test_a_token_is_known_and_kept_nowhere(access):
    token = access.make("anna", Role.READER, now=NOW)
    grant = access.check(token)
    assert (grant.name, grant.role) == ("anna", Role.READER)
    content = access.file.read_text()
    assert token not in content
    assert "anna" in content
    assert stat.S_IMODE(access.file.stat().st_mode) == 0o600


def test_what_is_no_token_gives_nothing(access):
    token = access.make("anna", Role.REVIEWER, now=NOW)
    for wrong in ("", token[:-1], token.swapcase(), access.grants()[0].digest, "ü\ud800"):
        assert access.check(wrong) is None


def test_a_new_token_takes_the_place_of_the_old_one(access):
    old = access.make("anna", Role.REVIEWER, now=NOW)
    ben = access.make("ben", Role.READER, now=NOW)
    new = access.make("anna", Role.READER, now=NOW)
    assert access.check(old) is None
    assert access.check(new).role is Role.READER
    assert access.check(ben).name == "ben"


def test_a_revoked_token_gives_nothing(access):
    token = access.make("anna", Role.REVIEWER, now=NOW)
    access.revoke("anna")
    assert access.check(token) is None
    with pytest.raises(InputError, match="got 'anna'; has one: nobody"):
        access.revoke("anna")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00"])
def test_a_token_needs_a_name_that_can_be_shown(access, name):
    with pytest.raises(InputError, match="name of a person"):
        access.make(name, Role.REVIEWER, now=NOW)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"grants": [{"name": "a"}]}', '{"grants": [{"name": "a", "role": "king"}]}']
)
def test_a_damaged_file_opens_nothing_and_is_told_of(access, content):
    access.file.parent.mkdir()
    access.file.write_text(content)
    with pytest.raises(IntegrityError, match="does not tell who has access"):
        access.check("x")


def test_the_first_token_is_made_where_one_is_needed_and_nobody_has_any(store):
    assert first_token(open_desk(store, host="127.0.0.1", reviewer="anna")) is None
    desk = open_desk(store, host="127.0.0.2", reviewer="anna")
    assert desk.access.check(first_token(desk)).name == "anna"
    assert first_token(desk) is None
    assert open_desk(store, host="127.0.0.1", reviewer="anna", require_token=True).door.token_needed


def test_an_address_that_cannot_be_listened_on_is_told():
    with listen("127.0.0.1", 0) as listening, pytest.raises(StorageError, match="Choose another --port"):
        listen("127.0.0.1", listening.getsockname()[1])


def test_the_command_makes_and_revokes_tokens(store, capsys):
    assert run(["review", str(store), "--make-token", "ben", "--role", "reader"]) == 0
    told = capsys.readouterr().out
    token = told.rsplit(" ", 1)[1].strip()
    assert "ben (reader), shown this once" in told
    assert open_access(store).check(token).role is Role.READER
    assert run(["review", str(store), "--revoke", "ben"]) == 0
    assert open_access(store).check(token) is None
    assert run(["review", str(store), "--revoke", "ben"]) == 2
    assert run(["review", str(store), "--make-token", "ben", "--role", "king"]) == 2
    assert "expected reviewer or reader, got 'king'" in capsys.readouterr().err


def test_the_command_says_where_it_listens_and_shows_a_first_token(store, capsys, monkeypatch):
    monkeypatch.setattr("aeflow.review.serve.serve", lambda _, listening: listening.close())
    assert run(["review", str(store), "--port", "0", "--host", "127.0.0.2", "--reviewer", "anna"]) == 0
    told = capsys.readouterr().out
    assert "pumps: 36 flags to review at http://127.0.0.2:" in told
    assert "The token of anna, shown this once: " in told
    assert "not encrypted" in told
    assert run(["review", str(store), "--port", "0"]) == 0
    assert "token" not in capsys.readouterr().out
