from __future__ import annotations

import csv
import io
import re
import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from aeflow.review.acts import say, take_back
from aeflow.review.app import create_app
from aeflow.review.board import STATES
from aeflow.review.charts import flags_chart, precision_chart, sentence_of_precision
from aeflow.review.pages import ROWS, flag_after, flag_page, like_places, queue_page
from aeflow.review.selection import Selection, chosen_places
from aeflow.review.serve import open_desk
from aeflow.review.trends import Tally, by_entity, by_night, by_version, gathered, total
from aeflow.settings import home_for
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Word
from benchmarks.review_store import MadeUp, write_store


def tally(name="n", items=0, **counts):
    return Tally(name, tuple(counts.get(state, 0) for state in STATES), items)


def speak(desk, place, word, reviewer="anna", note=""):
    snapshot = desk.board.now()
    return desk.board.say(say(snapshot, [place], word, reviewer=reviewer, note=note, now=desk.clock()))


@pytest.fixture
def opened(desk):
    return desk()


@pytest.fixture
def client(opened):
    app = create_app(opened)
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
        yield client


def test_precision_is_what_a_hand_count_gives(opened):
    words = [Word.TRUE, Word.FALSE, Word.TRUE, Word.UNSURE, Word.TRUE, Word.FALSE]
    for place, word in enumerate(words):
        snapshot = speak(opened, place, word)
    speak(opened, 13, Word.FALSE)
    snapshot = speak(opened, 5, Word.TRUE, reviewer="ben")  # disputed: counts for neither
    first, second, third = by_night(snapshot)
    assert [t.name for t in (first, second, third)] == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert first.precision == pytest.approx(3 / 4)
    assert second.precision == 0
    assert third.precision is third.interval is None
    assert [t.flags for t in (first, second, third)] == [12, 12, 12]
    (version,) = by_version(snapshot)
    assert version.precision == total("all", [first, second, third]).precision == pytest.approx(3 / 5)
    names = np.array(snapshot.catalogue.names)
    for entity in by_entity(snapshot):
        assert entity.flags == (names == entity.name).sum()
    assert sum(t.judged for t in by_entity(snapshot)) == 5


def test_neighbours_are_added_up_evenly():
    nights = [tally(f"{n}", items=10, true=1, open=n) for n in range(10)]
    found = gathered(nights, 4)
    assert [t.name for t in found] == ["0 to 1", "2 to 4", "5 to 7", "8 to 9"]
    assert sum(t.flags for t in found) == sum(t.flags for t in nights)
    assert found[1].items == 30
    assert gathered(nights, 10) == nights


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"open": 3}, "nothing judged yet"),
        ({"true": 1}, "1 of 1 judged flag was true: 100 % (21 to 100 %)"),
        ({"true": 8, "false": 2, "unsure": 4}, "8 of 10 judged flags were true: 80 % (49 to 94 %)"),
        ({"false": 2}, "0 of 2 judged flags were true: 0 % (0 to 66 %)"),
    ],
)
def test_precision_in_words_has_its_interval(counts, words):
    assert sentence_of_precision(tally(**counts)) == words


def test_charts_draw_a_bar_for_each_state_and_escape_names():
    nights = [tally("<b>", true=2, false=1), tally("2", open=4), tally("3")]
    drawn = flags_chart(nights, label='"quoted"')
    heights = {
        name: float(height) for name, height in re.findall(r'class="st-(\w+)"[^>]*height="([\d.]+)"', drawn)
    }
    assert heights["true"] == pytest.approx(2 * heights["false"], abs=0.1)
    assert heights["open"] == pytest.approx(4 * heights["false"], abs=0.2)
    assert "<b>" not in drawn
    assert "&lt;b&gt;: 3 flags (2 true, 1 false)" in drawn
    assert precision_chart(nights, label="").count('class="pt"') == 1
    assert "<svg" in flags_chart([], label="")


def test_the_flag_after_is_that_of_the_queue_and_at_its_end_the_first(opened):
    snapshot = opened.board.now()
    ids = snapshot.catalogue.flag_ids
    order = chosen_places(opened.board, snapshot, Selection()).tolist()
    assert flag_after(opened, snapshot, Selection(), order[4]) == ids[order[5]]
    assert flag_after(opened, snapshot, Selection(), order[-1]) == ids[order[0]]
    alone = Selection(text=snapshot.catalogue.names[0], first="2024-01-01", last="2024-01-01")
    few = chosen_places(opened.board, snapshot, alone)
    for place in few.tolist():
        snapshot = speak(opened, place, Word.TRUE)
    assert flag_after(opened, snapshot, alone, int(few[0])) is None


def test_after_a_word_on_a_group_comes_the_first_flag_that_is_not_of_it(opened):
    snapshot = opened.board.now()
    ids = snapshot.catalogue.flag_ids
    everything = Selection(state="all")
    order = chosen_places(opened.board, snapshot, everything).tolist()
    group = {ids[place] for place in order[:3]}
    assert flag_after(opened, snapshot, everything, order[0], besides=group) == ids[order[3]]
    assert flag_after(opened, snapshot, everything, order[0], besides=set(ids)) is None


def test_a_page_number_too_high_shows_the_last(opened):
    shown = queue_page(opened, opened.board.now(), Selection(), 99)
    assert shown["page"] == 0
    assert len(shown["lines"]) == 36 <= ROWS


def test_a_flag_shows_its_evidence_and_what_is_like_it(opened):
    snapshot = opened.board.now()
    place = 7
    night, row = snapshot.catalogue.within(place)
    likest, like = like_places(snapshot, place, opened.board.bounds)
    assert place not in likest
    assert (np.diff(like) <= 0).all()
    snapshot = speak(opened, int(likest[0]), Word.FALSE, note="valve")
    page = flag_page(opened, snapshot, Selection(), place)
    assert page["flag_id"] == night.flag_id[row]
    assert page["name"] == snapshot.catalogue.names[place]
    assert page["bars"][0].channel == night.channel[row]
    assert page["similar"][0].flag_id == snapshot.catalogue.flag_ids[likest[0]]
    assert page["similar"][0].state == "false"
    assert (page["number"], page["found"]) != (0, 0)


def test_who_said_what_when_is_shown_with_what_no_longer_holds(opened):
    speak(opened, 0, Word.TRUE, note="first")
    speak(opened, 0, Word.FALSE)
    snapshot = speak(opened, 0, Word.UNSURE, reviewer="ben")
    words = flag_page(opened, snapshot, Selection(), 0)["words"]
    assert [(w["reviewer"], w["word"], w["holds"]) for w in words] == [
        ("ben", "unsure", True),
        ("anna", "false", True),
        ("anna", "true", False),
    ]
    assert words[2]["note"] == "first"


def test_without_the_script_forms_and_links_load_whole_pages(client, opened):
    page = client.get("/flag/" + opened.board.now().catalogue.flag_ids[0])
    assert page.text.startswith("<!doctype html>")
    form = re.search(r'<form class="verdict" method="post" action="([^"]+)"', page.text)[1]
    secret = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
    answer = client.post(form, data={"csrf": secret, "word": "false"}, follow_redirects=False)
    assert answer.status_code == 303
    assert re.fullmatch(r"/flag/[0-9a-f]+", answer.headers["location"])
    part = client.get("/", headers={"HX-Request": "true"}).text
    assert "<!doctype" not in part
    assert part.lstrip().startswith("<title>35 open flags")


def test_a_word_that_is_none_is_refused(client, opened):
    flag = opened.board.now().catalogue.flag_ids[0]
    secret = re.search(r'name="csrf" value="([^"]+)"', client.get(f"/flag/{flag}").text)[1]
    for word in ("", "maybe", "retracted"):
        answer = client.post(f"/flag/{flag}/say", data={"csrf": secret, "word": word})
        assert answer.status_code == 422
    many = {"csrf": secret, "word": "true", "flag": [f"{n}" for n in range(300)]}
    assert client.post(f"/flag/{flag}/like", data=many).status_code == 422
    unknown = {"csrf": secret, "word": "true", "flag": ["f00"]}
    assert client.post(f"/flag/{flag}/like", data=unknown).status_code == 404
    assert opened.board.now().said == {}


def test_everything_can_be_taken_along(client, opened):
    speak(opened, 3, Word.TRUE, note="=1+1")
    answer = client.get("/export/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="pumps-verdicts-csv.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 36
    (said,) = [row for row in rows if row["verdict"]]
    assert (said["reviewer"], said["verdict"], said["note"]) == ("anna", "true", "'=1+1")
    tasks = client.get("/export/label-studio")
    assert tasks.headers["content-type"] == "application/json"
    assert len(tasks.json()) == 36
    assert client.get("/export/coco").status_code == 422  # for regions of images
    assert client.get("/export/exe").status_code == 404
    assert "/export/coco" not in client.get("/").text


def test_a_report_that_cannot_be_read_is_told_on_the_page(client, opened, monkeypatch):
    monkeypatch.setattr("aeflow.review.pages.read_evidence", _fail)
    answer = client.get("/flag/" + opened.board.now().catalogue.flag_ids[0])
    assert answer.status_code == 500
    assert "score the batch again" in answer.text


def _fail(*_):
    from aeflow.exceptions import IntegrityError

    raise IntegrityError("flags.parquet cannot be read; score the batch again")


def test_a_session_ends_after_twelve_hours():
    from aeflow.review.access import Role
    from aeflow.review.sessions import Sessions

    now = [0.0]
    sessions = Sessions(lambda: now[0])
    session = sessions.open("anna", Role.REVIEWER)
    now[0] = timedelta(hours=11.9).total_seconds()
    assert sessions.get(session.key) == session
    now[0] = timedelta(hours=12.1).total_seconds()
    assert sessions.get(session.key) is None


def test_sessions_do_not_grow_without_end():
    from aeflow.review.access import Role
    from aeflow.review.sessions import Sessions

    sessions = Sessions(lambda: 0.0)
    first = sessions.open("anna", Role.REVIEWER)
    last = [sessions.open("anna", Role.REVIEWER) for _ in range(1_000)][-1]
    assert sessions.get(first.key) is None
    assert sessions.get(last.key) == last


@pytest.fixture
def suppressed(tmp_path, monkeypatch):
    """A desk over one night of which the first flag is suppressed, by the verdict on the third."""
    monkeypatch.delenv("AEFLOW_HOME", raising=False)
    config = write_store(tmp_path, MadeUp(1, 6))
    path = Paths(home_for(config), "pumps").report("2024-01-01") / "flags.parquet"
    table = pq.read_table(path, partitioning=None)
    rows = table.to_pylist()
    rows[0] |= {
        "suppressed": True,
        "suppressed_by": rows[2]["flag_id"],
        "suppressed_reason": "Like a flag that ben called false <b>",
        "suppressed_until": datetime(2024, 3, 1, tzinfo=UTC),
    }
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return open_desk(config, host="127.0.0.1", reviewer="anna")


def test_what_verdicts_suppressed_is_listed_apart_with_its_reason(suppressed):
    board, snapshot = suppressed.board, suppressed.board.now()
    assert 0 not in chosen_places(board, snapshot, Selection())
    assert chosen_places(board, snapshot, Selection(state="suppressed")).tolist() == [0]
    with TestClient(create_app(suppressed), base_url="http://localhost", client=("127.0.0.1", 1)) as client:
        text = client.get(f"/flag/{snapshot.catalogue.flag_ids[0]}").text
        assert "Like a flag that ben called false &lt;b&gt;" in text
        assert "Until 2024-03-01 00:00" in text
        assert f'href="/flag/{snapshot.catalogue.flag_ids[2]}"' in text
        assert client.get("/trends").status_code == 200
    speak(suppressed, 0, Word.TRUE)  # what people say holds all the same
    assert board.now().state_of(0) == "true"


def test_a_verdict_binds_after_the_batch_is_scored_again(tmp_path, monkeypatch):
    monkeypatch.delenv("AEFLOW_HOME", raising=False)
    config = write_store(tmp_path, MadeUp(1, 6))
    desk = open_desk(config, host="127.0.0.1", reviewer="anna")
    speak(desk, 1, Word.FALSE, note="a flush")
    paths = Paths(home_for(config), "pumps")
    report = paths.report("2024-01-01")
    rows = pq.read_table(report / "flags.parquet", partitioning=None)
    old = rows.column("flag_id")[1].as_py()
    # The newer report has the event begin a moment earlier, under another id.
    shutil.copytree(report, paths.revisions("2024-01-01") / "rev=1")
    changed = rows.to_pylist()
    changed[1] |= {"flag_id": "00ff00ff", "start": changed[1]["start"] - timedelta(minutes=6)}
    pq.write_table(pa.Table.from_pylist(changed, schema=rows.schema), report / "flags.parquet")
    (report / "receipt.json").write_text((report / "receipt.json").read_text() + "\n")
    again = open_desk(config, host="127.0.0.1", reviewer="anna")
    snapshot = again.board.now()
    assert old not in snapshot.catalogue.place
    assert snapshot.state_of(1) == "false"
    (word,) = flag_page(again, snapshot, Selection(), 1)["words"]
    assert (word["note"], word["holds"]) == ("a flush", True)
    snapshot = speak(again, 1, Word.TRUE)
    assert snapshot.state_of(1) == "true"
    for words in (["true", "false"], ["false"]):
        shown = flag_page(again, snapshot, Selection(), 1)["words"]
        assert [w["word"] for w in shown if w["holds"]] == words[:1]
        snapshot = again.board.say(take_back(again.board.said_by("anna"), now=again.clock()))
    assert snapshot.state_of(1) == "open"


def test_an_entity_links_to_its_open_flags_as_long_as_it_has_any(client, opened):
    names, codes = opened.board.now().catalogue.entities
    name = names[0]
    path = f"/entity?name={name}"
    assert "Its open flags" in client.get(path).text
    for place in np.flatnonzero(codes == 0).tolist():
        speak(opened, place, Word.TRUE)
    assert "Its open flags" not in client.get(path).text
