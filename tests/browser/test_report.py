"""The report as people open it: from the disk, without a network, by keyboard, at night, on paper."""

from __future__ import annotations

import re
import shutil
import zlib
from datetime import UTC, datetime

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from aeflow.report.build import build_report
from aeflow.report.html import REPORT_FILE, PageOptions
from aeflow.report.summary import ChecksOutcome, FailedCheck, Grade
from aeflow.report.with_nights import write_page_with_nights
from tests.unit.report import samples
from tests.unit.report.stores import write_store
from tests.unit.report.test_html import add_columns, exemplars

BAD = "<script>window.broken = true</script><img src=x onerror=alert(1)>"
LEAST_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3, of text of usual size."""


@pytest.fixture(scope="module")
def series_page(tmp_path_factory):
    """Two machines; one with missing values; names that would like to be code."""
    folder = tmp_path_factory.mktemp("series")
    values = samples.water_flow()
    second = values[600:1100].copy()
    second[300:310] = float("nan")
    machines = {"north": values[:600], BAD: second}
    rows = samples.write_series(folder, machines, channels=("flow", BAD))
    facts = samples.facts(
        rows + 1,
        quarantined={"bad_number": 1},
        grades=(Grade(channel=BAD, grade="LOW", cause="flat"),),
        checks=ChecksOutcome(passed=2, failed=(FailedCheck(name=BAD, expected="1", came=BAD),)),
        warnings=(BAD,),
    )
    aside = samples.quarantine([("bad_number", BAD, 3, BAD)])
    build_report(folder, facts, samples.PROVENANCE, quarantine=aside)
    return folder / REPORT_FILE


@pytest.fixture(scope="module")
def image_page(tmp_path_factory):
    """Three flags among digits, with normal digits beside them."""
    folder = tmp_path_factory.mktemp("images")
    names = [f"line-1/{i}{BAD.replace('/', '')}.png" for i in range(60)]
    rows = samples.write_images(folder, samples.digits(60), names=names)
    known = exemplars()
    near = [known.nearest(known.signatures[k], 3) for k in (4, 5, 9)]
    add_columns(folder, neighbours=near, signature=[known.signatures[k].tolist() for k in (4, 5, 9)])
    build_report(folder, samples.facts(rows), samples.PROVENANCE, options=PageOptions(exemplars=known))
    return folder / REPORT_FILE


@pytest.fixture(scope="module")
def sent_page(tmp_path_factory, series_page):
    """The page of the series with the nights before it."""
    folder = tmp_path_factory.mktemp("sent")
    store = write_store(folder, folder / "home", 35, seed=1)
    shutil.copytree(series_page.parent, store.paths.report("2026-11-20"))
    file = folder / "sent.html"
    now = datetime(2026, 11, 21, 6, tzinfo=UTC)
    write_page_with_nights(store.paths, "2026-11-20", file, zone="UTC", now=now)
    return file


@pytest.fixture(params=["series_page", "image_page", "sent_page"])
def page(request):
    return request.getfixturevalue(request.param)


def test_without_a_network_nothing_is_asked_for_and_nothing_is_wrong(browser, page):
    browser.go_offline().open(page)
    for key in ("j", "j", "k"):
        browser.press(key)
    outside = [url for url in browser.requests() if not url.startswith(("data:", page.as_uri()))]
    assert outside == []
    assert browser.console_errors() == []
    assert browser.script("return document.querySelectorAll('article.flag').length") >= 3
    broken = "return [...document.images].filter((image) => !image.complete || !image.naturalWidth).length"
    assert browser.script(broken) == 0


def test_names_that_look_like_code_stay_text(browser, page):
    browser.open(page)
    assert browser.script("return window.broken === undefined")
    assert "<script>" in browser.text()
    assert browser.script("return document.scripts.length") == 1
    assert browser.script("return document.querySelectorAll('img').length") == 0


def test_flags_are_stepped_through_by_keyboard(browser, page):
    browser.open(page)
    focused = "return document.activeElement.id"
    seen = []
    for key in ("j", "j", "k", "k", "k"):
        browser.press(key)
        seen.append(browser.script(focused))
    assert seen == ["f1", "f2", "f1", "f1", "f1"]
    top = browser.script("return document.activeElement.getBoundingClientRect().top")
    assert 0 <= top < 60


def test_the_first_stop_of_the_tabulator_leads_to_the_flags(browser, page):
    browser.open(page).press(Keys.TAB)
    assert browser.script("return document.activeElement.textContent") == "To the flags"
    browser.press(Keys.ENTER)
    assert browser.script("return location.hash") == "#flags"


def test_a_plot_is_read_by_arrow_keys(browser, series_page):
    browser.open(series_page)
    browser.script("document.querySelector('#f1 .scroll').focus()")
    browser.press(Keys.ARROW_RIGHT)
    first = browser.text("#f1 output")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d · .*expected .* · severity \d+, flagged$", first)
    browser.press(Keys.ARROW_RIGHT)
    assert browser.text("#f1 output") != first
    assert len(browser.all("#f1 .cu")) == 1


def test_what_is_read_off_a_plot_is_what_was_stored(browser, series_page):
    import pyarrow.parquet as pq

    flag = pq.read_table(series_page.parent / "flags.parquet").slice(0, 1).to_pylist()[0]
    browser.open(series_page)
    browser.script("document.querySelector('#f1 .scroll').focus()")
    browser.press(Keys.ARROW_RIGHT)
    while f"{flag['peak']:%Y-%m-%d %H:%M:%S}" not in browser.text("#f1 output"):
        browser.press(Keys.ARROW_RIGHT)
    told = browser.text("#f1 output")
    worst = flag["channels"][0]
    number = float(told.split(f"{worst['channel']}: ")[1].split(",")[0])
    assert number == pytest.approx(worst["observed"], rel=2e-3)
    assert f"severity {flag['severity']:.0f}" in told


def test_a_plot_is_zoomed_and_shown_whole_again(browser, series_page):
    browser.open(series_page)
    whole = browser.script("return document.querySelector('#f1 svg').innerHTML")
    ticks = [e.text for e in browser.all("#f1 svg > .tk")]
    browser.script("document.querySelector('#f1 .scroll').focus()")
    browser.press("+", "+")
    assert [e.text for e in browser.all("#f1 svg > .tk")] != ticks
    assert browser.all("#f1 svg svg .ob")
    browser.press(Keys.ESCAPE)
    assert browser.script("return document.querySelector('#f1 svg').innerHTML") == whole
    browser.one("#f1 button[aria-label='Zoom in']").click()
    assert browser.all("#f1 svg svg .ob")


def test_a_plot_is_zoomed_by_dragging(browser, series_page):
    from selenium.webdriver.common.action_chains import ActionChains

    browser.open(series_page)
    plot = browser.one("#f1 svg")
    browser.script("arguments[0].scrollIntoView({block: 'center'})", plot)
    drag = ActionChains(browser.driver, duration=0).move_to_element(plot).click_and_hold()
    drag.move_by_offset(150, 0).release().perform()
    assert browser.all("#f1 svg svg .ob")
    assert not browser.all("#f1 .se")


def test_the_heatmap_fades_and_the_regions_go(browser, image_page):
    browser.open(image_page)
    slider = browser.one("#f1 input[type=range]")
    assert slider.is_displayed()
    slider.send_keys(Keys.HOME)
    assert browser.script("return document.querySelector('#f1 .heat').style.opacity") == "0"
    browser.one("#f1 input[type=checkbox]").click()
    assert not browser.one("#f1 .box").is_displayed()
    assert browser.one("#f2 .box").is_displayed()


def test_normal_images_are_seen_beside_each_flag(browser, image_page):
    browser.open(image_page)
    for number in (1, 2, 3):
        boxes = browser.script(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.getBoundingClientRect().width)",
            f"#f{number} .thumbs image, #f{number} .thumbs use",
        )
        assert len(boxes) == 3
        assert min(boxes) > 40


def test_a_mark_on_the_map_leads_to_its_flag(browser, image_page):
    browser.open(image_page)
    browser.script("document.querySelector('.map a[href=\"#f2\"]').focus()")
    browser.press(Keys.ENTER)
    assert browser.script("return location.hash") == "#f2"


CONTRASTS = """
const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const style = getComputedStyle(element);
  if (!own || !element.getClientRects().length || element.matches("script, style, title, .hidden, .mark + text")) continue;
  const ink = parse(element.closest("svg") ? style.fill : style.color), paper = behind(element);
  const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
  found.push([(a + 0.05) / (b + 0.05), element.tagName + "." + (element.className.baseVal ?? element.className), element.textContent.slice(0, 40)]);
}
return found.sort((x, y) => x[0] - y[0]).slice(0, 5);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_paper(browser, page, scheme):
    browser.show_as(scheme=scheme).open(page)
    worst = browser.script(CONTRASTS)
    assert worst[0][0] >= LEAST_CONTRAST, worst
    paper = browser.script("return getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", paper)[0]) < 60) is (scheme == "dark")


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(browser, page, width):
    browser.resize(width, mobile=width < 600).open(page)
    assert browser.script("return document.documentElement.scrollWidth") <= width


def test_everything_that_can_be_used_has_a_name(browser, page):
    browser.open(page)
    nameless = browser.script("""
      return [...document.querySelectorAll("a, button, input, svg, [tabindex]")].filter((element) =>
        !(element.getAttribute("aria-label") || element.getAttribute("aria-labelledby") || element.textContent.trim()
          || element.closest("label"))).map((element) => element.outerHTML.slice(0, 80));
    """)
    assert nameless == []


def test_on_paper_the_words_are_there_and_the_controls_are_not(browser, page):
    browser.show_as(scheme="dark", media="print").open(page)
    assert browser.script("return getComputedStyle(document.querySelector('.sentence')).display") != "none"
    for css in (".tools", ".mix", "nav"):
        for element in browser.all(css):
            assert not element.is_displayed()
    assert browser.script("return getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    browser.show_as()
    printed = browser.pdf()
    assert printed.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", unpacked(printed)))
    assert 1 < pages < 40


def unpacked(pdf):
    """The objects of a PDF, those in packed streams too."""
    parts = [pdf]
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        try:
            parts.append(zlib.decompressobj().decompress(stream))
        except zlib.error:
            continue
    return b"\n".join(parts)


def test_without_scripts_the_page_says_the_same(browser, page):
    browser.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        assert browser.text("h1").startswith("Batch")
        assert len(browser.all("article.flag svg")) >= 3
        assert not any(element.is_displayed() for element in browser.all(".mix, .tools"))
    finally:
        browser.cdp("Emulation.setScriptExecutionDisabled", value=False)


def test_two_hundred_flags_open_at_once(browser, tmp_path):
    values = np.random.default_rng(0).normal(size=(200, 260, 3))
    values[:, 200:203] += 40
    entities = {f"pump-{i:03d}": v for i, v in enumerate(values)}
    names = ("flow", "pressure", "temperature")
    rows = samples.write_series(tmp_path, entities, channels=names, rows_per_group=20_000, cut=1e-9)
    build_report(tmp_path, samples.facts(rows), samples.PROVENANCE)
    assert (tmp_path / REPORT_FILE).stat().st_size < 3_000_000
    browser.open(tmp_path / REPORT_FILE)
    browser.script("document.querySelector('#f200 .scroll').focus()")
    browser.press(Keys.ARROW_RIGHT)
    assert "severity" in browser.text("#f200 output")
    assert browser.console_errors() == []
