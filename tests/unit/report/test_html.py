from __future__ import annotations

import base64
import hashlib
import re
import shutil
from dataclasses import fields, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aeflow.config import Retraining
from aeflow.detector.exemplars import Exemplars
from aeflow.exceptions import IntegrityError
from aeflow.report.build import build_report
from aeflow.report.html import REPORT_FILE, PageOptions
from aeflow.report.night import night_of
from aeflow.report.promise import Moved, make_promise
from aeflow.report.summary import ChecksOutcome, FailedCheck, Grade, read_summary
from aeflow.retraining import Drift, Shift, judge_nights
from tests.unit.report import samples

BAD = "<script>alert('x')</script>"
VOID = {"meta", "br", "image", "use", "path", "rect", "circle", "input", "hr", "link", "img"}


class Page(HTMLParser):
    """Elements, texts and whether every element was closed in order."""

    def __init__(self, html):
        super().__init__()
        self.html, self.elements, self.open = html, [], []
        self.feed(html)
        self.text = " ".join(re.sub(r"<(script|style)>.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append(SimpleNamespace(tag=tag, attrs=dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(SimpleNamespace(tag=tag, attrs=dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes another element"

    def all(self, tag, **attrs):
        return [
            e for e in self.elements if e.tag == tag and all(e.attrs.get(k) == v for k, v in attrs.items())
        ]


def page(folder, rows, *, quarantine=(), options=None, **facts):
    build_report(
        folder, samples.facts(rows, **facts), samples.PROVENANCE, quarantine=quarantine, options=options
    )
    parsed = Page((folder / REPORT_FILE).read_text(encoding="utf-8"))
    assert parsed.open == []
    return parsed


@pytest.mark.parametrize("kind", ["series", "images"])
def test_nothing_outside_the_file_is_referred_to(kind, request):
    shown = page(*request.getfixturevalue(kind))
    for element in shown.elements:
        for name in ("src", "href", "action", "srcset", "data", "xlink:href"):
            value = element.attrs.get(name)
            assert value is None or value.startswith(("#", "data:image/")), (element.tag, name, value)
    assert not shown.all("link")
    assert not shown.all("iframe")
    style = re.search(r"<style>(.*?)</style>", shown.html, re.DOTALL).group(1)
    assert not re.search(r"url\(|@import|@font-face", style)
    assert not re.search(r"https?://", shown.html)


@pytest.mark.parametrize("kind", ["series", "images"])
def test_the_policy_lets_only_the_pages_own_script_run(kind, request):
    shown = page(*request.getfixturevalue(kind))
    (policy,) = [e.attrs["content"] for e in shown.all("meta") if "http-equiv" in e.attrs]
    (script,) = re.findall(r"<script>(.*?)</script>", shown.html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy


def test_names_of_a_series_stay_text(tmp_path, water):
    rows = samples.write_series(tmp_path, {BAD: water["north"]}, channels=(BAD, "</svg>"))
    grade = Grade(channel=BAD, grade="LOW", cause=BAD, entities=(BAD,))
    shown = page(
        tmp_path,
        rows + 1,
        batch=BAD,
        pipeline=BAD,
        quarantined={"bad_number": 1},
        quarantine=samples.quarantine([("bad_number", BAD, 1, BAD)]),
        grades=(grade,),
        warnings=(BAD,),
        checks=ChecksOutcome(passed=0, failed=(FailedCheck(name=BAD, expected=BAD, came=BAD),)),
        promise=make_promise("false_flags_per_batch", 1, note=BAD),
    )
    assert len(shown.all("script")) == 1
    assert shown.html.count("&lt;script&gt;") > 10


def test_names_of_images_stay_text(tmp_path):
    names = [f'{BAD}"{i}.png' for i in range(30)]
    rows = samples.write_images(tmp_path, samples.digits(30), names=names, channels=(BAD,))
    shown = page(tmp_path, rows)
    assert len(shown.all("script")) == 1
    assert f'{BAD}"29.png' in " ".join(e.attrs.get("aria-label") or "" for e in shown.all("svg"))


@pytest.mark.parametrize("kind", ["series", "images"])
def test_the_same_input_gives_the_same_bytes(kind, request, tmp_path_factory):
    folder, rows = request.getfixturevalue(kind)
    other = tmp_path_factory.mktemp("elsewhere")
    for name in ("scores.parquet", "flags.parquet"):
        shutil.copy(folder / name, other / name)
    for place in (folder, other):
        page(place, rows)
    for name in ("summary.json", "receipt.json", REPORT_FILE):
        assert (folder / name).read_bytes() == (other / name).read_bytes()
        assert str(folder) not in (folder / name).read_text(encoding="utf-8")


def test_how_the_scores_are_cut_into_row_groups_changes_no_byte_of_the_page(tmp_path, water):
    pages = []
    for groups in (64, 5000):
        folder = tmp_path / str(groups)
        folder.mkdir()
        rows = samples.write_series(folder, water, rows_per_group=groups)
        # The receipt names the digest of the file, which differs.
        pages.append(re.sub(r"<code>[0-9a-f]{64}</code>", "", page(folder, rows).html))
    assert pages[0] == pages[1]


def test_the_first_screen_tells_what_a_person_needs(series):
    folder, rows = series
    grades = (
        Grade(channel="flow", grade="LOW", cause="flat for 30 points", entities=("south",)),
        Grade(channel="change", grade="HIGH"),
        Grade(channel="level", grade="MEDIUM", cause="out_of_range"),
    )
    shown = page(
        folder,
        rows + 2,
        quarantined={"bad_number": 2},
        quarantine=samples.quarantine([("bad_number", "a.csv", 12, "flow = 'n/a'")]),
        grades=grades,
        warnings=("The detector is 90 days old.",),
        checks=ChecksOutcome(passed=7, failed=(FailedCheck(name="null share", expected="< 1", came="2"),)),
    )
    head = shown.text[: shown.text.index("Flags, most severe first")]
    for words in (
        "points look abnormal",
        f"{rows + 2:,} rows in",
        "At most 1 false flag is expected in a batch.",
        "flat for 30 points",
        "out of range",
        "The detector is 90 days old.",
        "7 passed",
        "Batch 2026-11-20",
    ):
        assert words in head
    assert "HIGH" not in head
    assert "a.csv, row 12" in shown.text


def test_a_series_flag_shows_its_plot_shares_and_what_was_expected(series):
    folder, rows = series
    flags = pq.read_table(folder / "flags.parquet")
    shown = page(folder, rows)
    assert len(shown.all("article")) == flags.num_rows
    labels = [e.attrs["aria-label"] for e in shown.all("svg", **{"class": "plot series"})]
    assert len(labels) == flags.num_rows
    assert all("expected" in label for label in labels)
    assert "at the peak" in shown.text


def test_an_event_that_others_judged_says_so(series):
    folder, rows = series
    count = pq.read_table(folder / "flags.parquet").num_rows
    add_columns(folder, judged_by=["cohort valves", *["own"] * (count - 1)])
    shown = page(folder, rows)
    assert shown.text.count("by the normal scores of its cohort valves") == 1
    assert shown.text.count("by the normal scores") == 1


def test_an_image_flag_shows_original_expectation_and_differences(images):
    folder, rows = images
    shown = page(folder, rows)
    labels = [e.attrs["aria-label"] for e in shown.all("svg") if e.attrs.get("class") is None]
    assert len(labels) == 9
    assert len(shown.all("rect", **{"class": "box"})) == 3
    frames = {e.attrs["viewbox"] for e in shown.all("svg") if e.attrs.get("class") is None}
    assert frames == {"0 0 32 40"}
    assert "40 % of the error" in shown.text


def exemplars(count=30):
    """Normal digits with signatures that are the image itself, halved."""
    pictures = samples.digits(count)
    signatures = pictures.reshape(count, -1)[:, ::1].astype(np.float32)
    axes = np.zeros((2, signatures.shape[1]), dtype=np.float32)
    axes[0, 20], axes[1, 30] = 1, 1
    names = tuple(f"normal/{i}.png" for i in range(count))
    member = np.zeros(count, dtype=np.int64)
    return Exemplars(names, signatures, axes, member, tuple(samples.png(p) for p in pictures))


def add_columns(folder, **columns):
    """Fill columns of the stored flags."""
    flags = pq.read_table(folder / "flags.parquet")
    for name, values in columns.items():
        place = flags.schema.get_field_index(name)
        field = flags.schema.field(place)
        flags = flags.set_column(place, field, pa.array(values, field.type))
    pq.write_table(flags, folder / "flags.parquet")


def test_an_image_flag_stands_beside_the_normal_images_most_like_it(images):
    folder, rows = images
    known = exemplars()
    like = [known.nearest(known.signatures[k], 3) for k in (4, 4, 9)]
    add_columns(folder, neighbours=like, signature=[known.signatures[k].tolist() for k in (4, 4, 9)])
    shown = page(folder, rows, options=PageOptions(exemplars=known))
    labels = [e.attrs["aria-label"] for e in shown.all("svg")]
    assert sum(label.startswith("The normal image") for label in labels) == 9
    pictures = [e.attrs["id"] for e in shown.all("image") if e.attrs.get("id", "").startswith("n")]
    assert len(pictures) == len(set(pictures)) == len({one["item"] for flag in like for one in flag})
    assert "0.00 apart" in shown.text


def test_the_map_shows_the_flags_among_normal_items(images):
    folder, rows = images
    known = exemplars()
    add_columns(folder, signature=[known.signatures[k].tolist() for k in (1, 2, 3)])
    shown = page(folder, rows, options=PageOptions(exemplars=known))
    assert [e.attrs["href"] for e in shown.all("a") if "aria-label" in e.attrs] == ["#f3", "#f2", "#f1"]
    assert len(shown.all("circle", **{"class": "dot"})) == 30
    assert "Flags among normal items" not in page(folder, rows).text


def test_a_suppressed_flag_is_listed_apart_with_its_reason_and_has_no_card(images):
    folder, rows = images
    until = datetime(2027, 1, 2, tzinfo=UTC)
    add_columns(
        folder,
        suppressed=[False, True, False],
        suppressed_by=[None, "other", "third"],
        suppressed_reason=[None, BAD, "like third, by ann"],
        suppressed_until=[None, until, until],
    )
    shown = page(folder, rows)
    assert len(shown.all("article")) == 2
    (aside,) = re.findall(r'<section id="suppressed".*?</section>', shown.html, re.DOTALL)
    assert "&lt;script&gt;" in aside
    assert "2027-01-02 00:00" in aside
    assert len(shown.all("script")) == 1
    assert "Downgraded like third, by ann" in shown.text


def test_the_drift_of_the_night_is_shown_with_what_it_says(series):
    folder, rows = series
    moved = Shift(name=BAD, ks=0.4, psi=0.3, wasserstein=1.0, median=2.0, p_value=1e-9, entities=1, leads=0.2)
    still = replace(moved, name="change", entities=0)
    drift = Drift(inputs=(moved, still), latent=(), entities=2, moved_entities=1, new_entities=0)
    shown = page(folder, rows, drift=drift)
    head = shown.text[: shown.text.index("Flags, most severe first")]
    judged = judge_nights((night_of(read_summary(folder)),), Retraining())
    assert judged.outcome.replace("_", " ") in head
    assert "2 channels and 0 directions" in shown.text
    assert "1 has moved" in shown.text
    assert len(shown.all("script")) == 1
    assert "Not measured" in page(folder, rows).text


def test_how_the_detector_is_retrained_does_not_change_the_page(series, monkeypatch):
    # The receipt's config digest leaves these settings out: the page must not hang on them.
    asked = []
    monkeypatch.setattr(
        "aeflow.report.html.judge_nights",
        lambda nights, rule: asked.append(rule) or judge_nights(nights, rule),
    )
    folder, rows = series
    page(folder, rows, drift=Drift(inputs=(), latent=(), entities=2, moved_entities=0, new_entities=0))
    assert asked == [Retraining()]
    assert not {field.name for field in fields(PageOptions)} & {"retraining", "schedule", "notify"}


def test_a_flood_of_points_in_few_events_is_told_beside_the_promise_that_it_breaks(series):
    moved = (Moved(expected_share=0.1, came_share=0.5, p_value=1e-9),)
    promise = make_promise("false_flags_per_batch", 1, kept=False, moved=moved, flags_by_chance=(0, 99))
    folder, rows = series
    shown = page(folder, rows, promise=promise)
    summary = read_summary(folder)
    told = (
        f"no more events than by chance, but {summary.flagged_rows} points of {summary.scored:,} are in them"
    )
    assert told in shown.html
    many = make_promise("false_flags_per_batch", 1, kept=False, moved=moved, flags_by_chance=(0, 0))
    assert "no more events than by chance" not in page(folder, rows, promise=many).html
    kept = make_promise("false_flags_per_batch", 1, kept=True, flags_by_chance=(0, 99))
    assert "no more events than by chance" not in page(folder, rows, promise=kept).html


def test_a_promise_that_is_not_kept_is_told_above_the_flags(series):
    folder, rows = series
    moved = (Moved(expected_share=0.1, came_share=0.5, p_value=1e-6),)
    promise = make_promise("false_flags_per_batch", 1, kept=False, moved=moved, flags_by_chance=(0, 3))
    shown = page(folder, rows, promise=promise)
    head = shown.text[: shown.text.index("Flags, most severe first")]
    assert "Not kept" in head
    assert "(0 to 3 by chance)" in head
    assert '<p class="alert">Promise not kept' in shown.html


def test_a_promise_in_doubt_is_not_said_to_hold(series):
    folder, rows = series
    moved = (Moved(expected_share=0.1, came_share=0.5, p_value=1e-6),)
    doubt = page(folder, rows, promise=make_promise("false_flags_per_batch", 1, kept=True, moved=moved)).html
    assert "In doubt" in doubt
    assert "The scores are those of the calibration" not in doubt
    held = page(folder, rows, promise=make_promise("false_flags_per_batch", 1, kept=True)).html
    assert "The scores are those of the calibration" in held
    assert "In doubt" not in held


def test_every_picture_has_words(series):
    shown = page(*series)
    assert all(
        e.attrs.get("role") in {"img", "group"} and e.attrs.get("aria-label") for e in shown.all("svg")
    )
    headings = [int(e.tag[1]) for e in shown.elements if re.fullmatch("h[1-6]", e.tag)]
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_ids_are_unique_and_links_lead_somewhere(images):
    shown = page(*images)
    ids = [e.attrs["id"] for e in shown.elements if "id" in e.attrs]
    assert len(ids) == len(set(ids))
    targets = {e.attrs["href"][1:] for e in shown.elements if (e.attrs.get("href") or "").startswith("#")}
    assert targets <= set(ids)


def test_without_flags_the_page_is_calm(tmp_path, water):
    rows = samples.write_series(tmp_path, {"": water["north"]}, cut=1e-301)
    shown = page(tmp_path, rows)
    assert "Nothing to look at" in shown.text
    assert not shown.all("article")


def test_flags_beyond_those_with_pictures_are_still_listed(tmp_path):
    rows = samples.write_images(tmp_path, samples.digits(60), flagged=30, pictured=10)
    shown = page(tmp_path, rows, options=PageOptions(pictured_flags=10))
    assert len(shown.all("article")) == 10
    table = shown.html[shown.html.index('<details class="list" open>') :]
    for name in pq.read_table(tmp_path / "flags.parquet").column("item").to_pylist():
        assert name in table


def test_a_flag_without_stored_pictures_has_its_words(tmp_path):
    rows = samples.write_images(tmp_path, samples.digits(30), pictured=0)
    shown = page(tmp_path, rows)
    assert len(shown.all("article")) == 3
    assert not shown.all("image")
    assert "40 % of the error" in shown.text


def test_times_are_shown_in_the_zone_of_the_pipeline(series):
    folder, rows = series
    first = pq.read_table(folder / "flags.parquet").column("start")[0].as_py()
    assert f"{first:%Y-%m-%d %H:%M}" in page(folder, rows).text
    assert f"{first:%Y-%m-%d %H:%M}" not in page(folder, rows, options=PageOptions(zone="Asia/Kolkata")).text


def test_two_hundred_image_flags_stay_below_three_megabytes(tmp_path):
    images = np.random.default_rng(0).random((203, 96, 96)).astype(np.float32)  # noise packs worst
    rows = samples.write_images(tmp_path, images, flagged=200)
    shown = page(tmp_path, rows)
    assert len(shown.all("article")) == 200
    assert len(shown.html.encode()) < 3_000_000


def test_two_hundred_events_stay_below_three_megabytes(tmp_path):
    values = np.random.default_rng(0).normal(size=(200, 400, 3))
    values[:, 200:203] += 40  # 200 plots of noise in three channels: nothing is longer as a path
    names = ("flow", "pressure", "temperature")
    entities = {f"pump-{i:03d}": v for i, v in enumerate(values)}
    rows = samples.write_series(tmp_path, entities, channels=names, rows_per_group=20_000, cut=1e-9)
    shown = page(tmp_path, rows, options=PageOptions(context_points=400))
    assert len(shown.all("article")) == 200
    assert len(shown.html.encode()) < 3_000_000


def test_a_flag_that_the_scores_do_not_know_is_refused(images):
    folder, rows = images
    flags = pq.read_table(folder / "flags.parquet")
    place = flags.schema.get_field_index("item")
    other = flags.set_column(place, flags.schema.field(place), [["elsewhere.png"] * flags.num_rows])
    pq.write_table(other, folder / "flags.parquet")
    with pytest.raises(IntegrityError, match=r"elsewhere\.png"):
        build_report(folder, samples.facts(rows), samples.PROVENANCE)


def test_only_as_much_of_the_quarantine_is_read_as_is_shown(series):
    folder, rows = series

    def endless():
        yield from samples.quarantine([("bad_number", f"{i}.csv", i, "x") for i in range(5)])
        raise AssertionError("read on")

    shown = page(folder, rows + 9, quarantined={"bad_number": 9}, quarantine=endless())
    assert "2.csv, row 2" in shown.text
    assert "3.csv" not in shown.text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (PageOptions(lag_points=19, cadence_seconds=1800), "looks back 19 points (9 h 30 min)"),
        (PageOptions(lag_points=1), "looks back 1 point:"),
    ],
)
def test_how_far_a_score_looks_back_is_told_since_the_event_lasts_longer_than_its_cause(
    series, options, told
):
    assert told in page(*series, options=options).html
    assert "looks back" not in page(*series).html
