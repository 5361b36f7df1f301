"""The pictures of report and review app in docs/images, made anew of what the code makes now.

    python -m benchmarks.screenshots [--home FOLDER] [--into FOLDER]

Trains and scores the magnetic tiles and the pumps of SKAB by configs/, says some verdicts, and takes pictures in
Chromium. With --home the work is kept, and a second run takes a minute; else about ten, nearly all of it for the
training of the tiles.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from PIL import Image

from aeflow.cli.entry import run
from aeflow.report.html import REPORT_FILE
from aeflow.report.with_nights import write_page_with_nights
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Verdict, Word, open_verdicts
from tests.browser.driver import start_browser
from tests.browser.serving import serving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.browser.driver import Browser

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
BATCHES = {
    "tiles": ("MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Uneven"),
    "skab": ("all",),
}
_SHOWN_TILES, _SHOWN_SERIES = "MT_Break", "all"
_SEEN = datetime(2026, 11, 20, 8, tzinfo=UTC)
_WIDE, _HIGH = 1280, 860
_WITH_SEVERAL_CHANNELS = """
  return [...document.querySelectorAll("article.flag")].find((flag) => flag.querySelectorAll(".nm").length > 3).id;
"""
_PICTURES_ARE_THERE = """
  return [...document.images].every((image) => image.loading === "lazy" && image.getBoundingClientRect().top > innerHeight
    || image.complete && image.naturalWidth > 0);
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="a folder to keep detectors and reports in")
    parser.add_argument("--into", type=Path, default=IMAGES, help="where the pictures go")
    wanted = parser.parse_args(arguments)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home = (wanted.home or scratch / "home").resolve()
        os.environ["AEFLOW_HOME"] = str(home)
        for pipeline, batches in BATCHES.items():
            _publish(Paths(home, pipeline), batches)
            _say(Paths(home, pipeline))
        browser = start_browser(scratch)
        stack.callback(browser.driver.quit)
        wanted.into.mkdir(parents=True, exist_ok=True)
        _of_reports(browser, home, scratch, wanted.into)
        _of_the_app(browser, wanted.into)
    for picture in sorted(wanted.into.glob("re[pv][oi]*.png")):
        _shrink(picture)
        print(f"{picture.name}: {picture.stat().st_size / 1e3:.0f} kB")


def _config(pipeline: str) -> Path:
    return ROOT / "configs" / f"{pipeline}.yaml"


def _publish(paths: Paths, batches: Sequence[str]) -> None:
    missing = [batch for batch in batches if batch not in paths.published()]
    if missing and not paths.detector(1).exists():
        _aeflow("train", paths.pipeline)
    for batch in missing:
        _aeflow("score", paths.pipeline, "--batch", batch)


def _aeflow(command: str, pipeline: str, *options: str) -> None:
    if run([command, str(_config(pipeline)), *options]):
        raise SystemExit(f"aeflow {command} {pipeline} failed")


def _say(paths: Paths) -> None:
    """Anna and Ben looked at every fourth flag: most are right, and one they dispute."""
    verdicts = open_verdicts(paths)
    if verdicts.all():
        return
    said = []
    for batch in paths.published():
        flags = pq.read_table(paths.report(batch) / "flags.parquet", columns=["flag_id"], partitioning=None)
        for number, flag in enumerate(flags["flag_id"].to_pylist()):
            at = _SEEN + timedelta(minutes=len(said))
            if number % 4 == 1:
                word = Word.FALSE if number % 20 == 1 else Word.TRUE
                said.append(Verdict(flag, batch, word, "anna", at, detector_version=1))
            if number == 5:
                said.append(Verdict(flag, batch, Word.FALSE, "ben", at, "a shadow", 1))
    verdicts.append(said)


def _of_reports(browser: Browser, home: Path, scratch: Path, into: Path) -> None:
    browser.show_as(scheme="light")
    browser.cdp("Emulation.setScrollbarsHidden", hidden=True)
    browser.resize(900, 1200)
    browser.open(Paths(home, "skab").report(_SHOWN_SERIES) / REPORT_FILE)
    browser.script("document.querySelector('#f1 .scroll').focus()")
    browser.press(*["\ue014"] * 24)
    browser.picture_of(into / "report.png", "body > header", "#f1")
    several = browser.script(_WITH_SEVERAL_CHANNELS)
    browser.picture_of(into / "report-series.png", f"#{several}")
    tiles = Paths(home, "tiles")
    browser.open(tiles.report(_SHOWN_TILES) / REPORT_FILE)
    browser.picture_of(into / "report-images.png", "#f1")
    page = scratch / "page.html"
    write_page_with_nights(tiles, tiles.published()[-1], page, zone="UTC", now=_SEEN + timedelta(days=1))
    browser.resize(1000, 1200)
    browser.open(page)
    browser.script("document.querySelector('#nights ~ details').open = true")
    browser.picture_of(into / "report-nights.png", "#nights", "#nights ~ details")


def _of_the_app(browser: Browser, into: Path) -> None:
    browser.resize(_WIDE, _HIGH)
    with serving(_config("tiles")) as (address, _):
        browser.open(f"{address}/?batch={_SHOWN_TILES}").press("j", "j", "j", "\ue007")
        browser.wait(lambda: browser.all(".stage") and browser.script(_PICTURES_ARE_THERE))
        browser.screenshot(into / "review-image.png")
        browser.open(f"{address}/?order=useful")
        browser.wait(lambda: browser.script(_PICTURES_ARE_THERE))
        browser.screenshot(into / "review-queue.png")
    with serving(_config("skab")) as (address, _):
        browser.show_as(scheme="dark")
        browser.open(f"{address}/").press("j", "\ue007")
        browser.wait(lambda: browser.all(".plot"))
        browser.screenshot(into / "review-series.png")
        browser.show_as(scheme="light")


def _shrink(picture: Path) -> None:
    """Without a loss: photographs would show bands."""
    Image.open(picture).convert("RGB").save(picture, optimize=True)


if __name__ == "__main__":
    main()
