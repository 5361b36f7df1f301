from __future__ import annotations

import fcntl
import re
from xml.etree import ElementTree as ET

import pytest

from aeflow.report.nights import NIGHTS_FILE, flags_by_night, last_nights, write_nights
from tests.unit.report.stores import empty_store, write_store


@pytest.fixture
def store(tmp_path, home):
    return write_store(tmp_path, home, 40, seed=3)


def test_the_page_has_the_last_thirty_nights_each_with_its_report(store):
    page = write_nights(store.paths)
    text = page.read_text(encoding="utf-8")
    addresses = re.findall(r'<th scope="row"><a href="([^"]+)"', text)
    assert len(addresses) == 30
    assert addresses[0] == f"batch%3D{store.batches['batch'].iloc[-1]}/report.html"
    assert not re.search(r"https?://", text)
    assert "<script" not in text


def test_while_one_process_looks_and_writes_the_others_wait(store, monkeypatch):
    locked = []

    def look(paths):
        with paths.nights_lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                locked.append(True)
        return last_nights(paths)

    monkeypatch.setattr("aeflow.report.nights.last_nights", look)
    write_nights(store.paths)
    assert locked == [True]
    with store.paths.nights_lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_it_is_no_batch_and_comes_out_the_same_again(store):
    page = write_nights(store.paths)
    before = page.read_bytes()
    assert store.paths.published() == store.batches["batch"].tolist()
    assert write_nights(store.paths).read_bytes() == before
    assert page.name == NIGHTS_FILE


def test_a_bar_is_as_high_as_its_flags(store):
    nights = last_nights(store.paths)
    svg = ET.fromstring(flags_by_night(nights))
    bars = [e for e in svg.iter("rect") if e.get("class") in {"lo", "hi"}]
    heights = [float(bar.get("height")) for bar in bars]
    most = max(night.flags for night in nights)
    assert len(bars) == 30
    assert heights == pytest.approx([156 * night.flags / most for night in nights], abs=1)
    assert [bar.get("class") == "hi" for bar in bars] == [night.promise.kept is False for night in nights]
    assert sum(e.get("class") == "cut" for e in svg.iter("path")) == 30


def test_names_of_folders_stay_text_and_their_addresses_lead_there(store):
    odd = "<script>alert(1)</script>"
    report = store.paths.report(store.batches["batch"].iloc[-1])
    name = report.name.removeprefix("batch=")
    summary = (report / "summary.json").read_text().replace(f'"{name}"', f'"{odd}"')
    report.rename(store.paths.report(odd))
    (store.paths.report(odd) / "summary.json").write_text(summary)
    text = write_nights(store.paths).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "batch%3D%253Cscript%253E" in text


def test_a_damaged_night_does_not_keep_the_others(store):
    (store.paths.report("2024-02-05") / "summary.json").write_text("{}")
    assert len(last_nights(store.paths)) == 29


def test_nothing_published_is_said_so(tmp_path, home):
    assert "Nothing has been published yet" in write_nights(empty_store(tmp_path, home).paths).read_text()
