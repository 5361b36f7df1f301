"""The next night has learned what people said: false flags are not raised again, faults are not learnt from."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from aeflow.numerics.proportion import wilson_interval
from aeflow.store.verdicts import Verdict, Word, open_verdicts
from tests.integration.conftest import Workspace, copy_of

START, STEP, A_DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(minutes=5), 288
FIRST, SECOND = 10, 11  # days after the start: the two nights
FLUSHES = (20, 75, 130, 185, 240)
PLANT = {
    "name": "plant",
    "source": {
        "kind": "table",
        "path": "../data/plant.csv",
        "time_column": "time",
        "entity_column": "site",
        "channels": ["flow", "pressure", "temperature"],
    },
    "batch": {"by": "period", "period": "day"},
    "history": {"first": "2026-01-01", "last": "2026-01-10"},
    "split": {"train": 0.5, "validation": 0.1, "calibration": 0.3, "test": 0.1},
    "prepare": {"kind": "series", "cadence_seconds": 300, "window_points": 12},
    "entities": {"cohorts": {"northern": ["north*"]}},
    "model": {"family": "pca"},
    # A flush echoes where it leaves the window: both belong to one event.
    "calibration": {"false_flags_per_batch": 1, "merge_gap_points": 12},
}
STAINS = {
    "name": "stains",
    "source": {"kind": "images", "root": "../data/stains"},
    "batch": {"by": "folder"},
    "history": {"batches": ["history"]},
    "prepare": {"kind": "images", "height_px": 24, "width_px": 24},
    "model": {"family": "pca"},
    "calibration": {"false_flags_per_batch": 0.1, "items_per_batch": 40},
}


def night(day):
    return (START + timedelta(days=day)).date().isoformat()


def flush(values, at, size):
    """A harmless flush of a pipe: for five points the flow goes up and the pressure down."""
    shape = np.array([0.5, 1, 1, 0.9, 0.4]) * size
    values[at : at + 5, 0] += shape * values[:, 0].std()
    values[at : at + 5, 1] -= shape * values[:, 1].std() / 2


def site(seed, factor):
    """Flow of a real pipe, every five minutes, with a pressure and a temperature beside it; `(L, 3)`."""
    from river.datasets import WaterFlow

    hourly = np.array([value for _, value in WaterFlow()])
    flow = np.interp(np.arange(12 * A_DAY) / 4, np.arange(len(hourly)), hourly)
    pressure = 100 - 3 * (flow - flow.mean()) / flow.std()
    temperature = 20 + 3 * np.sin(np.arange(flow.size) * 2 * np.pi / A_DAY)
    noise = np.random.default_rng(seed).normal(0, 0.02, (flow.size, 3))
    return np.column_stack([flow * factor, pressure, temperature]) + noise * [flow.std(), 10, 3]


def write_plant(folder):
    generator = np.random.default_rng(7)
    lines = ["time,site,flow,pressure,temperature"]
    for name, seed, factor in (("north", 1, 1.0), ("south", 2, 1.7)):
        values = site(seed, factor)
        for at in FLUSHES:
            flush(values, FIRST * A_DAY + at, 6)
            flush(values, SECOND * A_DAY + at + 10, 6 * (1 + generator.normal(0, 0.08)))
        # A fault: the temperature swings from point to point.
        values[SECOND * A_DAY + 3 : SECOND * A_DAY + 9, 2] += [20, -20] * 3
        lines += [
            f"{(START + STEP * i).isoformat()},{name},{row[0]:.5f},{row[1]:.5f},{row[2]:.5f}"
            for i, row in enumerate(values)
        ]
    newcomer = site(3, 1.1)[:A_DAY]
    lines += [
        f"{(START + STEP * (12 * A_DAY + i)).isoformat()},north-2,{row[0]:.5f},{row[1]:.5f},{row[2]:.5f}"
        for i, row in enumerate(newcomer)
    ]
    (folder / "plant.csv").write_text("\n".join(lines) + "\n")


def write_stains(folder):
    """Grey gradients; in both nights some have a stain below left, in the second some above right."""
    generator = np.random.default_rng(5)

    def picture(path, corner=None):
        ramp = np.linspace(60, 160, 24) * generator.uniform(0.9, 1.1)
        pixels = ramp[:, None] + np.linspace(0, 40, 24) * generator.uniform(0.5, 1.5)
        pixels += generator.normal(0, 4, pixels.shape)
        if corner is not None:
            y, x = corner
            pixels[y : y + 5, x : x + 5] += generator.uniform(95, 105)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)

    for i in range(240):
        picture(folder / "stains" / "history" / f"{i:03}.png")
    for batch in ("night-1", "night-2"):
        for i in range(20):
            picture(folder / "stains" / batch / f"plain-{i:02}.png")
        for i in range(5):
            picture(folder / "stains" / batch / f"below-{i}.png", corner=(17, 2))
    picture(folder / "stains" / "night-2" / "above.png", corner=(2, 17))


@pytest.fixture(scope="module")
def learnt(commands, tmp_path_factory) -> Workspace:
    """Both pipelines trained, and the first night of each scored: never to be changed, but copied."""
    folder = tmp_path_factory.mktemp("learnt")
    for name in ("configs", "data", "home"):
        (folder / name).mkdir()
    for config in (PLANT, STAINS):
        (folder / "configs" / f"{config['name']}.yaml").write_text(yaml.safe_dump(config))
    write_plant(folder / "data")
    write_stains(folder / "data")
    space = Workspace(folder, commands)
    for pipeline, batch in (("plant", night(FIRST)), ("stains", "night-1")):
        space.ok("train", pipeline)
        space.ok("score", pipeline, "--batch", batch)
    return space


@pytest.fixture
def space(learnt, tmp_path) -> Workspace:
    return copy_of(learnt, tmp_path / "space")


def flags(space, pipeline, batch):
    return pq.read_table(space.paths(pipeline).report(batch) / "flags.parquet", partitioning=None).to_pylist()


def say(space, pipeline, rows, word=Word.FALSE, at=None):
    at = at or datetime.now(UTC)
    words = [Verdict(row["flag_id"], row["batch"], word, "ada", at) for row in rows]
    open_verdicts(space.paths(pipeline)).append(words)


def test_ten_false_flags_keep_their_twins_down_and_a_true_one_of_the_same_entity_is_raised(space):
    false = flags(space, "plant", night(FIRST))
    assert [f["entity"] for f in sorted(false, key=lambda f: f["entity"])] == ["north"] * 5 + ["south"] * 5
    say(space, "plant", false)
    told = space.ok("score", "plant", "--batch", night(SECOND))
    later = flags(space, "plant", night(SECOND))
    assert "2 flagged" in told
    suppressed = [f for f in later if f["suppressed"]]
    raised = [f for f in later if not f["suppressed"]]
    assert len(suppressed) == 10
    assert {f["suppressed_by"] for f in suppressed} <= {f["flag_id"] for f in false}
    assert all(f"called false by ada on {datetime.now(UTC):%Y}" in f["suppressed_reason"] for f in suppressed)
    assert {(f["entity"], f["channels"][0]["channel"]) for f in raised} == {
        ("north", "temperature"),
        ("south", "temperature"),
    }
    assert later[:2] == raised  # those that count come first
    summary = space.summary("plant", night(SECOND))
    assert (summary["flags"], summary["suppressed"]) == (2, 10)
    assert {f["by"] for f in summary["suppressed_flags"]} == {f["suppressed_by"] for f in suppressed}
    assert space.ledger("plant").get(night(SECOND)).facts.flags == 2
    assert suppressed[0]["suppressed_reason"] in space.ok("report", "plant")
    tally = json.loads(space.ok("verdicts", "plant", "--by", "night", "--json"))["by"][1]
    assert (tally["flags"], tally["open"], tally["suppressed"]) == (2, 2, 10)
    # What was said after the report does not change what it is proven by.
    say(space, "plant", raised)
    assert "identical. Data" in space.ok("verify", "plant", "--batch", night(SECOND))


def test_scores_do_not_depend_on_verdicts_and_an_expired_one_is_forgotten(space):
    space.ok("score", "plant", "--batch", night(SECOND))
    before = space.digest("plant", night(SECOND))
    scores = space.scores("plant", night(SECOND))
    false = flags(space, "plant", night(FIRST))
    say(space, "plant", false, at=datetime.now(UTC) - timedelta(days=91))
    assert "unchanged" in space.ok("score", "plant", "--batch", night(SECOND))
    space.ok("score", "plant", "--batch", night(SECOND), "--force")
    assert space.digest("plant", night(SECOND)) == before
    say(space, "plant", false)
    assert "unchanged" in space.ok("score", "plant", "--batch", night(SECOND))
    space.ok("score", "plant", "--batch", night(SECOND), "--force")
    assert space.ledger("plant").get(night(SECOND)).facts.revision == 2
    assert space.scores("plant", night(SECOND)) == scores


def test_more_false_flags_than_promised_raise_the_cut_of_the_next_night_and_the_report_proves_it(space):
    space.set("plant", review={"suppression": "off", "cut": "rise"})
    before = space.ok("score", "plant", "--batch", night(FIRST))
    assert "10 flagged" in before
    say(space, "plant", flags(space, "plant", night(FIRST)))
    space.ok("score", "plant", "--batch", night(SECOND))
    report = space.paths("plant").report(night(SECOND))
    moved = json.loads((report / "receipt.json").read_text())["moved_cut"]
    assert moved["alpha"] < moved["calibrated_alpha"]
    assert (moved["false"], moved["undecided"], moved["nights"]) == (10, 0, 1)
    assert moved["first_night"] == moved["last_night"] == night(FIRST)
    told = f"The cut was raised by verdicts: of night {night(FIRST)}, 10 flags were called false, where 1 was promised."
    assert told in space.ok("report", "plant")
    assert told in (report / "report.html").read_text()
    p_values = [f["p_value"] for f in flags(space, "plant", night(SECOND))]
    assert max(p_values) <= moved["alpha"]
    # Neither its own verdicts nor later ones change what is proven, nor does scoring it under the same ones.
    digest = space.digest("plant", night(SECOND))
    say(space, "plant", flags(space, "plant", night(SECOND)))
    assert "identical. Data" in space.ok("verify", "plant", "--batch", night(SECOND))
    space.ok("score", "plant", "--batch", night(SECOND), "--force")
    assert space.digest("plant", night(SECOND)) == digest
    # The first night is judged by the second, and not by itself.
    space.ok("score", "plant", "--batch", night(FIRST), "--force")
    first = json.loads((space.paths("plant").report(night(FIRST)) / "receipt.json").read_text())["moved_cut"]
    assert first["first_night"] == first["last_night"] == night(SECOND)


def test_precision_is_what_a_hand_count_gives(space):
    space.ok("score", "plant", "--batch", night(SECOND))
    first, second = flags(space, "plant", night(FIRST)), flags(space, "plant", night(SECOND))
    true = [f for f in second if f["channels"][0]["channel"] == "temperature"]
    flushes = [f for f in second if f not in true]
    say(space, "plant", true, Word.TRUE)
    say(space, "plant", [*first, *flushes[:3]])
    say(space, "plant", flushes[3:4], Word.UNSURE)
    assert (len(first), len(true), len(flushes)) == (10, 2, 10)
    whole = json.loads(space.ok("verdicts", "plant", "--by", "night", "--json"))
    assert (whole["true"], whole["false"], whole["unsure"], whole["precision"]) == (2, 13, 1, 2 / 15)
    assert [(n["name"], n["flags"], n["true"], n["false"], n["open"]) for n in whole["by"]] == [
        (night(FIRST), 10, 0, 10, 0),
        (night(SECOND), 12, 2, 3, 6),
    ]
    assert whole["by"][1]["precision"] == 2 / 5
    assert (whole["by"][1]["precision_low"], whole["by"][1]["precision_high"]) == wilson_interval(2, 5)
    by_entity = json.loads(space.ok("verdicts", "plant", "--by", "entity", "--json"))["by"]
    judged = [f for f in [*first, *true, *flushes[:3]] if f["entity"] == "north"]
    (north,) = (tally for tally in by_entity if tally["name"] == "north")
    assert (north["true"], north["false"]) == (1, len(judged) - 1)
    (model,) = json.loads(space.ok("verdicts", "plant", "--by", "model", "--json"))["by"]
    assert (model["name"], model["true"], model["false"]) == ("1", 2, 13)
    assert "Precision 13%, 95 % interval 4% to 38%" in space.ok("verdicts", "plant", "--by", "night")


def test_a_verdict_still_binds_after_the_batch_is_scored_again_and_its_event_moved(space):
    false = flags(space, "plant", night(FIRST))
    say(space, "plant", false)
    # Changed data: each flush is now seen to begin one point earlier.
    table = space.folder / "data" / "plant.csv"
    lines = table.read_text().splitlines()
    for site_begins in (1, 1 + 12 * A_DAY):
        for at in FLUSHES:
            row = site_begins + FIRST * A_DAY + at - 1
            time, name, flow, *others = lines[row].split(",")
            lines[row] = ",".join([time, name, f"{float(flow) * 1.6:.5f}", *others])
    table.write_text("\n".join(lines) + "\n")
    space.ok("score", "plant", "--batch", night(FIRST))
    again = flags(space, "plant", night(FIRST))
    moved = {f["flag_id"] for f in again} - {f["flag_id"] for f in false}
    assert len(moved) >= 8
    (tally,) = json.loads(space.ok("verdicts", "plant", "--by", "night", "--json"))["by"]
    assert (tally["false"], tally["open"]) == (len(again), 0)
    space.ok("score", "plant", "--batch", night(SECOND))
    assert any(f["suppressed_by"] in moved for f in flags(space, "plant", night(SECOND)))


def test_confirmed_faults_are_not_learnt_from_and_false_flags_are(space):
    space.ok("score", "plant", "--batch", night(SECOND))
    first, second = flags(space, "plant", night(FIRST)), flags(space, "plant", night(SECOND))
    true = [f for f in second if f["channels"][0]["channel"] == "temperature"]
    unsaid = [f for f in second if f not in true]
    say(space, "plant", first)
    say(space, "plant", true, Word.TRUE)
    space.set("plant", history={"last": night(SECOND)})
    told = json.loads(space.ok("train", "plant", "--challenger", "--json"))

    def rows(some):
        return sum(int((f["end"] - f["start"]) / STEP) + 1 for f in some)

    assert told["quarantined"] == {"confirmed_abnormal": rows(true), "flagged": rows(unsaid)}
    assert told["rows"] == 2 * 12 * A_DAY - rows(true) - rows(unsaid)


def test_a_new_entity_is_scored_on_its_first_day_and_the_report_says_by_what(space):
    space.ok("score", "plant", "--batch", night(12))
    summary = space.summary("plant", night(12))
    assert summary["new_entities"] == {"north-2": "cohort northern"}
    assert summary["scored"] > A_DAY - 12
    sentence = "north-2 is new to the detector: scaled and judged by cohort northern."
    assert sentence in space.ok("report", "plant")
    assert {f["judged_by"] for f in flags(space, "plant", night(12))} <= {"cohort northern"}
    assert {f["judged_by"] for f in flags(space, "plant", night(FIRST))} == {"own"}


def test_images_learn_the_region_of_a_stain_and_what_was_confirmed_is_cut_out(space):
    below = flags(space, "stains", "night-1")
    assert {f["item"].split("/")[-1][:5] for f in below} == {"below"}
    say(space, "stains", below)
    space.ok("score", "stains", "--batch", "night-2")
    later = flags(space, "stains", "night-2")
    raised = [f["item"].split("/")[-1] for f in later if not f["suppressed"]]
    assert raised == ["above.png"]
    assert sum(f["suppressed"] for f in later) == 5
    assert "the same region" in next(f["suppressed_reason"] for f in later if f["suppressed"])
    assert "identical. Data" in space.ok("verify", "stains", "--batch", "night-2")

    say(space, "stains", [f for f in later if not f["suppressed"]], Word.TRUE)
    space.set("stains", history={"batches": ["history", "night-1", "night-2"]})
    told = json.loads(space.ok("train", "stains", "--json"))
    assert told["quarantined"] == {"confirmed_abnormal": 1}
    assert told["rows"] == 240 + 25 + 25
    # A new detector sees the reviewed pictures again: the stain below is now usual, the one above is not.
    space.ok("score", "stains", "--batch", "night-2", "--version", str(told["version"]))
    assert "above.png" in {
        f["item"].split("/")[-1] for f in flags(space, "stains", "night-2") if not f["suppressed"]
    }
