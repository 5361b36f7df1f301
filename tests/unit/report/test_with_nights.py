"""The page that is sent in the morning: the published one, with the last nights up to it."""

from __future__ import annotations

import html
import json
import re
import shutil
import webbrowser
from datetime import UTC, datetime

import pytest

from aeflow.cli.entry import run
from aeflow.exceptions import InputError, IntegrityError
from aeflow.report.build import build_report
from aeflow.report.html import REPORT_FILE
from aeflow.report.queries import ask, find_query
from aeflow.report.with_nights import write_page_with_nights
from aeflow.store.digests import sha256_folder
from tests.unit.report import samples
from tests.unit.report.stores import write_store

NOW = datetime(2024, 2, 9, 6, 30, 15, tzinfo=UTC)
LAST = "2024-02-05"
"""Of 36 nights of the store's 40."""


@pytest.fixture
def store(tmp_path, home):
    """Forty nights with verdicts; one of them has a page."""
    store = write_store(tmp_path, home, 40, seed=3)
    made = tmp_path / "made"
    made.mkdir()
    rows = samples.write_series(made, {"north": samples.water_flow()[:400]})
    build_report(made, samples.facts(rows, batch=LAST), samples.PROVENANCE)
    shutil.copy(made / REPORT_FILE, store.paths.report(LAST))
    return store


@pytest.fixture
def page(store, tmp_path):
    file = tmp_path / "to-send.html"
    write_page_with_nights(store.paths, LAST, file, zone="Europe/Berlin", now=NOW)
    return file.read_text(encoding="utf-8")


def table(page):
    """The cells of each row of the table of nights, as text."""
    section = page.partition('<h3 id="nights">')[2]
    body = re.search(r"<tbody>(.*?)</tbody>", section, re.DOTALL)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [[html.unescape(c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_but_for_other_nights_it_is_the_published_page(store, page):
    published = (store.paths.report(LAST) / REPORT_FILE).read_text(encoding="utf-8")
    before, _, rest = published.partition("<!-- other nights -->")
    after = rest.partition("<!-- /other nights -->")[2]
    assert page.startswith(before)
    assert page.endswith(after)
    assert "<h3>Other nights</h3>" in published
    assert "<h3>Other nights</h3>" not in page
    assert len(page) - len(before) - len(after) < 40_000


def test_it_shows_the_thirty_nights_up_to_its_own(store, page):
    of_store = store.batches.set_index("batch")
    until = [batch for batch in of_store.index if batch <= LAST]
    rows = table(page)
    assert [row[0] for row in rows] == until[:5:-1]
    assert [int(row[1]) for row in rows] == of_store["flags"].loc[until[:5:-1]].tolist()
    assert len(re.findall(r'<rect class="(?:lo|hi)"', page.partition('<h3 id="nights">')[2])) == 30
    assert "As they stood at 2024-02-09 07:30 (Europe/Berlin)" in page


def test_precision_is_that_of_the_query_on_the_trend(store, page):
    with ask(store.config, find_query("trend"), {"nights": 40}) as answer:
        rows = [row for batch in answer for row in batch.to_pylist()]
    expected = {row["batch"]: row for row in rows}
    decided = 0
    for batch, _, true, false, precision, *_ in table(page):
        row = expected[batch]
        assert (int(true), int(false)) == (row["confirmed"], row["refuted"])
        decided += row["confirmed"] + row["refuted"]
        share, low, high = (
            0 if row[k] is None else 100 * row[k] for k in ("precision", "precision_low", "precision_high")
        )
        assert precision == (
            f"{share:.0f} % ({low:.0f} to {high:.0f} %)" if row["confirmed"] + row["refuted"] else ""
        )
    assert decided > 10
    assert f"People decided {decided} flags of 30 nights" in page


def test_where_nobody_decided_anything_it_says_so(store, tmp_path):
    early = store.batches["batch"].iloc[0]
    shutil.copy(store.paths.report(LAST) / REPORT_FILE, store.paths.report(early))
    store.paths.ledger.unlink()
    file = tmp_path / "first.html"
    write_page_with_nights(store.paths, early, file, zone="UTC", now=NOW)
    assert "None of the flags of 1 night has been called true or false yet." in file.read_text()


def test_what_happened_stays_text(store, tmp_path):
    summary = store.paths.report("2024-02-01") / "summary.json"
    summary.write_text(
        summary.read_text().replace("night 2024-02-01", "<script>window.broken = 1</script><!-- other")
    )
    file = tmp_path / "page.html"
    write_page_with_nights(store.paths, LAST, file, zone="UTC", now=NOW)
    text = file.read_text(encoding="utf-8")
    assert text.count("<script") == 1
    assert "&lt;script&gt;window.broken" in text


def test_nothing_is_written_among_the_reports(store):
    before = sha256_folder(store.paths.reports)
    for file in (store.paths.report(LAST) / REPORT_FILE, store.paths.reports / "page.html"):
        with pytest.raises(InputError, match="outside of the published reports"):
            write_page_with_nights(store.paths, LAST, file, zone="UTC", now=NOW)
    assert sha256_folder(store.paths.reports) == before


def test_a_page_without_a_place_for_them_is_refused_with_the_way_out(store, tmp_path):
    (store.paths.report(LAST) / REPORT_FILE).write_text("<!doctype html><!-- /other nights -->")
    file = tmp_path / "page.html"
    with pytest.raises(IntegrityError, match=f"aeflow score pumps --batch {LAST} --force"):
        write_page_with_nights(store.paths, LAST, file, zone="UTC", now=NOW)
    assert not file.exists()


def test_report_writes_the_page_to_send_and_leaves_the_report_as_it_is(store, tmp_path, capsys):
    before, file = sha256_folder(store.paths.report(LAST)), tmp_path / "mail.html"
    assert run(["report", str(store.config), "--batch", LAST, "--page", str(file)]) == 0
    assert f"To send: {file}" in capsys.readouterr().out
    assert '<h3 id="nights">' in file.read_text(encoding="utf-8")
    assert run(["report", str(store.config), "--batch", LAST, "--page", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == str(file)
    assert sha256_folder(store.paths.report(LAST)) == before


def test_a_folder_that_is_not_there_is_not_made(store, tmp_path, capsys):
    file = tmp_path / "mistyped" / "mail.html"
    assert run(["report", str(store.config), "--batch", LAST, "--page", str(file)]) == 2
    assert "Make the folder first" in capsys.readouterr().err
    assert not file.parent.exists()


@pytest.mark.parametrize("opened", [True, False])
def test_report_opens_the_page_with_the_nights_in_the_browser(store, monkeypatch, capsys, opened):
    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda url: asked.append(url) or opened)
    assert run(["report", str(store.config), "--batch", LAST, "--open"]) == 0
    page = store.paths.page(LAST)
    assert asked == [page.as_uri()]
    assert '<h3 id="nights">' in page.read_text(encoding="utf-8")
    told = capsys.readouterr()
    assert "The last 30 nights: " in told.out
    assert ("no browser could be opened" in told.err) is not opened
    assert run(["report", str(store.config)]) == 0
    assert len(asked) == 1


def test_where_the_nights_cannot_be_added_the_published_page_is_opened(store, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda url: asked.append(url) or True)
    published = store.paths.report(LAST) / REPORT_FILE
    published.write_text("<!doctype html>of an earlier version")
    assert run(["report", str(store.config), "--batch", LAST, "--open"]) == 0
    assert asked == [published.as_uri()]
    assert "without the last nights" in capsys.readouterr().err
