"""The review app as people use it: by keyboard, two at once, with hostile names, and from elsewhere."""

from __future__ import annotations

import pytest

from aeflow.report.build import build_report
from aeflow.review.access import Role
from aeflow.settings import home_for
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Word, open_verdicts
from tests.browser.serving import serving
from tests.unit.report import samples
from tests.unit.review.conftest import HOSTILE, made_up, store

__all__ = ["made_up", "store"]  # fixtures
ENTER, ESCAPE = "\ue007", "\ue00c"


@pytest.fixture
def app(store):
    with serving(store) as (address, _):
        yield address


def words(config):
    return [(v.flag_id, v.reviewer, v.word) for v in open_verdicts(Paths(home_for(config), "pumps")).all()]


def shown(browser):
    """The id of the flag that is looked at."""
    path = browser.script("return location.pathname")
    return path.split("/")[2] if path.startswith("/flag/") else None


def next_after(browser, *keys):
    """Press keys and wait for another flag; its id."""
    before = shown(browser)
    browser.press(*keys)
    browser.wait(lambda: shown(browser) not in {before, None})
    return shown(browser)


def open_first(browser, address):
    browser.open(f"{address}/").press("j", ENTER)
    browser.wait(lambda: shown(browser))
    return shown(browser)


def quiet(browser, address):
    """Nothing went wrong in the browser, and nothing was asked of anybody else."""
    assert browser.console_errors() == []
    inside = ("data:", "about:", "chrome:")
    assert [u for u in browser.requests() if not u.startswith((f"{address}/", *inside))] == []


def test_twenty_flags_are_disposed_of_by_keyboard_and_all_is_there_after_a_reload(browser, app, store):
    flag = open_first(browser, app)
    said = []
    for number in range(20):
        key, word = [("t", Word.TRUE), ("f", Word.FALSE), ("u", Word.UNSURE)][number % 3]
        said.append((flag, "anna", word))
        flag = next_after(browser, key)
    assert len({flag for flag, _, _ in said}) == 20
    assert words(store) == said
    last = next_after(browser, "z")
    assert last == said[-1][0]
    assert words(store) == [*said, (last, "anna", Word.RETRACTED)]
    browser.driver.refresh()
    assert "took back their word" in browser.text("aside")
    browser.press("q")
    browser.wait(lambda: browser.all(".tabs"))
    tabs = dict(tab.text.rsplit(" ", 1) for tab in browser.all(".tabs a"))
    assert tabs.pop("Suppressed") == tabs.pop("Disputed") == "0"
    assert tabs == {"Open": "17", "True": "7", "False": "6", "Unsure": "6", "All": "36"}
    quiet(browser, app)


def test_next_and_the_one_before_go_through_the_queue_without_a_word(browser, app, store):
    first = open_first(browser, app)
    second = next_after(browser, "j")
    third = next_after(browser, "\ue014")  # the right arrow
    assert len({first, second, third}) == 3
    assert next_after(browser, "k") == second
    browser.driver.back()
    browser.wait(lambda: shown(browser) == third)
    browser.wait(lambda: browser.text(".step b") == "3")
    assert words(store) == []


def test_a_note_goes_along_with_the_word(browser, app, store):
    flag = open_first(browser, app)
    browser.press("n", *"bearing, true?", ENTER)
    next_after(browser, "f")
    (kept,) = open_verdicts(Paths(home_for(store), "pumps")).all()
    assert (kept.flag_id, kept.word, kept.note) == (flag, Word.FALSE, "bearing, true?")


def test_two_who_differ_are_both_heard(open_browser, app, store):
    anna, ben = open_browser(), open_browser()
    flag = open_first(anna, app)
    ben.open(app)
    ben.one(".who summary").click()
    field = ben.one("input[name=reviewer]")
    field.clear()
    field.send_keys("ben", ENTER)
    ben.wait(lambda: ben.text(".who summary") == "ben")
    ben.open(f"{app}/flag/{flag}")
    next_after(anna, "t")
    next_after(ben, "f")
    assert "anna said otherwise: it is disputed" in ben.text("#notice")
    assert words(store) == [(flag, "anna", Word.TRUE), (flag, "ben", Word.FALSE)]
    for browser in (anna, ben):
        browser.open(f"{app}/flag/{flag}")
        assert browser.text(".head .state") == "disputed"
        assert {line.text.split()[0] for line in browser.all(".said li")} == {"anna", "ben"}
        quiet(browser, app)


def test_flags_like_one_another_get_a_word_together_and_one_undo_takes_it_back(browser, app, store):
    open_first(browser, app)
    while not browser.all(".ticks li"):
        next_after(browser, "j")
    flag = shown(browser)
    browser.press("F")  # the group is folded away: nothing is said of it
    browser.press("l")
    together = len(browser.all(".ticks li"))
    browser.all(".ticks input")[0].click()
    browser.press("F")
    browser.wait(lambda: shown(browser) != flag)
    said = words(store)
    assert len(said) == together  # this one, and all that were ticked but one
    assert {word for _, _, word in said} == {Word.FALSE}
    browser.press("z")
    browser.wait(lambda: shown(browser) == flag)
    assert len(words(store)) == 2 * together
    assert browser.text(".head .state") == "open"
    quiet(browser, app)


def test_a_script_in_a_name_stays_text(browser, app):
    browser.open(f"{app}/?state=all&text=script")
    browser.press("j", ENTER)
    browser.wait(lambda: browser.all("#plot svg"))
    browser.driver.refresh()
    browser.wait(lambda: browser.all("#plot svg"))
    assert HOSTILE in browser.text("h1")
    ticks = browser.all(".shares input")
    for tick in ticks:
        if tick.is_selected() != (tick.get_attribute("value") == f"flow {HOSTILE}"):
            tick.click()
    browser.wait(lambda: [name.text for name in browser.all("#plot .nm")] == [f"flow {HOSTILE}", "Severity"])
    assert browser.script("return [...document.scripts].map((s) => s.textContent).join('')") == ""
    assert len(browser.all("script")) == 3
    browser.open(f"{app}/trends")
    assert HOSTILE in browser.text()
    quiet(browser, app)


def test_from_another_address_nothing_is_shown_without_a_token(browser, store):
    with serving(store, host="127.0.0.2") as (address, desk):
        flag = desk.board.now().catalogue.flag_ids[0]
        token = desk.access.make("ben", Role.REVIEWER, now=desk.clock())
        browser.open(f"{address}/flag/{flag}")
        assert "Token" in browser.text("main")
        assert not browser.all("#flag-name")
        browser.one("input[name=token]").send_keys("guess", ENTER)
        browser.wait(lambda: browser.all("[role=alert]"))
        browser.one("input[name=token]").send_keys(token, ENTER)
        browser.wait(lambda: browser.all(".tabs"))
        browser.press("j", ENTER)
        browser.wait(lambda: shown(browser))
        next_after(browser, "t")
        assert [reviewer for _, reviewer, _ in words(store)] == ["ben"]


def test_a_plot_is_read_and_zoomed_by_keyboard(browser, app):
    open_first(browser, app)
    browser.wait(lambda: browser.all("#plot output"))
    ticks = browser.text("#plot svg")
    browser.press("+")
    browser.wait(lambda: browser.text("#plot svg") != ticks)
    browser.press("0")
    browser.wait(lambda: browser.text("#plot svg") == ticks)
    browser.script("document.querySelector('#plot .scroll').focus()")
    browser.press("\ue014")
    browser.wait(lambda: "flagged" in browser.text("#plot output"))


@pytest.fixture
def pictured(tmp_path, monkeypatch):
    """The config of a store with image flags."""
    monkeypatch.delenv("AEFLOW_HOME", raising=False)
    config = tmp_path / "configs" / "digits.yaml"
    config.parent.mkdir()
    config.write_text(
        "name: digits\nsource: {kind: images, root: images}\nbatch: {by: folder}\nprepare: {kind: images, color: grey, height_px: 8, width_px: 8}\n"
        "model: {family: pca}\ncalibration: {false_flags_per_batch: 1.0, items_per_batch: 60}\n"
    )
    folder = Paths(home_for(config), "digits").report("b1")
    folder.mkdir(parents=True)
    rows = samples.write_images(folder, samples.digits(60))
    build_report(folder, samples.facts(rows, pipeline="digits", batch="b1"), samples.PROVENANCE)
    return config


def test_an_image_is_looked_at_closely_by_keyboard(browser, pictured):
    with serving(pictured) as (address, _):
        open_first(browser, address)
        loaded = "return [...document.querySelectorAll('.view image')].length"
        assert browser.script(loaded) == 3
        boxes = [view.get_dom_attribute("viewBox") for view in browser.all(".view")]
        browser.press("+", "+")
        closer = [view.get_dom_attribute("viewBox") for view in browser.all(".view")]
        assert closer[0] == closer[1] != boxes[0]
        browser.press("0")
        assert [view.get_dom_attribute("viewBox") for view in browser.all(".view")] == boxes
        browser.press("h")
        assert browser.one(".heat").get_attribute("opacity") == "0"
        browser.press("h")
        assert browser.one(".heat").get_attribute("opacity") == "0.45"
        browser.press("b")
        assert not browser.one(".box").is_displayed()
        next_after(browser, "t")
        quiet(browser, address)
        assert [u for u in browser.requests() if u.endswith("heat.png")]


def test_the_app_fits_a_narrow_screen_and_a_dark_one(browser, app, tmp_path):
    browser.resize(390, 844, mobile=True)
    browser.show_as(scheme="dark")
    for path in ("/", "/trends", f"/flag/{open_first(browser, app)}"):
        browser.open(f"{app}{path}")
        assert browser.script("return document.documentElement.scrollWidth <= innerWidth"), path
    background = browser.script("return getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(19, 23, 28)"


def test_an_event_is_compared_with_normal_by_keyboard(browser, app):
    browser.open(f"{app}/?first=2024-01-02").press("j", ENTER)
    browser.wait(lambda: browser.all("#plot output"))
    browser.press("c")
    browser.wait(lambda: browser.all("#normal output"))
    assert "to compare" in browser.text("#normal h2")
    assert not browser.all("#normal .fl")
    quiet(browser, app)
