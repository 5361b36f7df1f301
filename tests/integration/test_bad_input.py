"""Whatever is wrong comes out as one clear message or as a quarantine reason, and nothing is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from tests.image_samples import bomb, encoded, ramp
from tests.integration.conftest import copy_of

BATCH = "2022-W17"
HEADER = "Time,Water flow [l/s]\n"
# Two days of the batch's week, hourly.
HOURS = [f"2022-04-{25 + h // 24}T{h % 24:02d}:00:00+02:00" for h in range(48)]


def write_flow(space, text, name="flow.csv"):
    """Replace the readings by those of one batch."""
    folder = space.folder / "data" / "water"
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / name).write_text(text, encoding="utf-8")


def lines(values=None):
    values = values if values is not None else [100.0 + (h % 24) for h in range(48)]
    return [f"{time},{value}" for time, value in zip(HOURS, values, strict=True)]


def quarantine(space, pipeline, batch):
    return json.loads(space.ok("quarantine", pipeline, "--batch", batch, "--json"))


def assert_nothing_lost(space, pipeline, batch, rows_in, reasons):
    """Every row is scored, set aside or not scorable; what was set aside is there, by file and row."""
    summary = space.summary(pipeline, batch)
    aside = quarantine(space, pipeline, batch)
    assert summary["rows_in"] == rows_in
    assert rows_in == summary["scored"] + len(aside) + summary["not_scorable"]
    assert len(space.scores(pipeline, batch)) == summary["scored"] + summary["not_scorable"]
    assert Counter(row["reason"] for row in aside) == reasons
    assert summary["quarantined"] == reasons
    places = [(row["file"], row["row"]) for row in aside]
    assert len(set(places)) == len(places)
    assert all(row["file"] and row["rule"] for row in aside)
    return aside


def test_damaged_images_are_set_aside_each_with_its_reason(space):
    tonight = space.folder / "data" / "digits" / "tonight"
    good = encoded(ramp(8, 8))
    jpeg = encoded(ramp(64, 64), "JPEG")
    bad = {
        "cut.png": good[: len(good) // 2],
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "empty.png": b"",
        "text.png": b"this is no image",
        "bomb.png": bomb(),
    }
    (tonight / "link.png").symlink_to("/etc/hostname")
    for name, content in bad.items():
        (tonight / name).write_bytes(content)
    before = len(list(tonight.iterdir()))
    space.ok("score", "digits", "--batch", "tonight")
    reasons = {"truncated": 2, "zero_bytes": 1, "not_an_image": 1, "too_many_pixels": 1, "outside_root": 1}
    aside = assert_nothing_lost(space, "digits", "tonight", before, reasons)
    assert {row["file"] for row in aside} == {f"tonight/{name}" for name in [*bad, "link.png"]}
    assert "identical" in space.ok("verify", "digits", "--batch", "tonight")


def test_images_of_every_mode_are_scored_or_set_aside_by_mode(space):
    tonight = space.folder / "data" / "digits" / "tonight"
    shutil.rmtree(tonight)
    tonight.mkdir()
    grey = Image.fromarray(ramp(8, 8))
    modes = {mode: grey.convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")}
    modes["I;16"] = Image.fromarray(ramp(8, 8, np.uint16))
    for mode, image in modes.items():
        image.save(tonight / f"{mode.replace(';', '')}.png")
    for mode in ("CMYK", "F"):
        grey.convert(mode).save(tonight / f"{mode}.tif")
    space.ok("score", "digits", "--batch", "tonight")
    aside = quarantine(space, "digits", "tonight")
    assert {row["reason"] for row in aside} <= {"wrong_mode"}
    assert "F.tif" in {row["file"].rsplit("/", 1)[-1] for row in aside}
    assert_nothing_lost(space, "digits", "tonight", 9, {"wrong_mode": len(aside)})


def test_a_batch_of_damaged_images_only_is_refused_with_its_reasons(space):
    tonight = space.folder / "data" / "digits" / "tonight"
    for file in tonight.iterdir():
        file.write_bytes(file.read_bytes()[:40])
    message = space.refused("score", "digits", "--batch", "tonight")
    assert "tonight/" in message or "aeflow quarantine" in message
    assert not space.paths("digits").report("tonight").exists()
    assert space.ledger("digits").get("tonight").state == "refused"
    assert len(quarantine(space, "digits", "tonight")) == len(list(tonight.iterdir()))
    assert "refused" in space.ok("status", "digits")


def test_faulty_rows_are_set_aside_with_file_and_row(space):
    rows = lines()
    rows[3] = f"{HOURS[3]},many"
    rows[5] = f"{HOURS[5]},inf"
    rows[6] = f"{HOURS[6]},-Infinity"
    rows[7] = f"{HOURS[7]},NaN"
    rows[9] = "yesterday,100"
    rows[11] = "2022-04-25T11:00:00,100"
    rows[13] = rows[12]
    rows[15] = f"{HOURS[15]},1,2,3"
    write_flow(space, HEADER + "\n".join(rows) + "\n")
    space.ok("score", "water", "--batch", BATCH)
    aside = quarantine(space, "water", BATCH)
    by_row = {row["row"]: row["reason"] for row in aside}
    assert by_row == {
        4: "bad_number",
        6: "not_finite",
        7: "not_finite",
        8: "no_value",
        12: "mixed_time_zone",
        14: "duplicate_timestamp",
    } | {row: reason for row, reason in by_row.items() if row in {10, 16}}
    # Rows without a time belong to no period: they are told of, not lost.
    assert_nothing_lost(
        space, "water", BATCH, space.summary("water", BATCH)["rows_in"], Counter(by_row.values())
    )
    assert {row["file"] for row in aside} == {"flow.csv"}


def test_unordered_rows_are_scored_as_the_ordered_ones(space):
    write_flow(space, HEADER + "\n".join(lines()) + "\n")
    space.ok("score", "water", "--batch", BATCH)
    ordered = space.scores("water", BATCH)
    write_flow(space, HEADER + "\n".join(lines()[::-1]) + "\n")
    space.ok("score", "water", "--batch", BATCH)
    assert space.scores("water", BATCH) == ordered


def test_a_batch_with_too_many_faulty_rows_is_refused_and_the_report_before_stays(space):
    space.ok("score", "water", "--batch", BATCH)
    digest = space.digest("water", BATCH)
    write_flow(space, HEADER + "\n".join(f"{time},many" for time in HOURS) + "\n")
    message = space.refused("score", "water", "--batch", BATCH)
    assert "bad_number 48" in message
    assert "flow.csv, row 1" in message
    assert len(quarantine(space, "water", BATCH)) == 48
    assert space.digest("water", BATCH) == digest
    row = space.ledger("water").get(BATCH)
    assert (row.state, row.facts.revision) == ("refused", 1)


def test_a_missing_column_names_file_and_column(space):
    table = space.folder / "data" / "water" / "flow.csv"
    table.write_text(table.read_text().replace("Water flow [l/s]", "Flow", 1))
    for command in (["check", "water"], ["score", "water", "--batch", BATCH], ["train", "water"]):
        message = space.refused(*command)
        assert "flow.csv" in message
        assert "'Water flow [l/s]'" in message
        assert "'Flow'" in message


def test_a_bad_file_beside_good_ones_is_told_of_by_each_command_and_keeps_no_night(space):
    (space.folder / "data" / "water" / "bad.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    # A command that did what it was asked ends with 0, so that `train && score` goes on.
    for command, code in (
        (["check", "water"], 2),
        (["train", "water"], 0),
        (["score", "water", "--pending"], 2),
        (["status", "water"], 0),
        (["quarantine", "water"], 0),
    ):
        ended = space.run(*command)
        assert ended.code == code, ended.err
        assert ended.err.count("bad.csv is set aside") == 1, ended.err
        assert "Traceback" not in ended.err
    assert BATCH in space.paths("water").published()
    (space.folder / "data" / "water" / "bad.csv").unlink()
    assert "Nothing to do" in space.ok("score", "water", "--pending")


def test_nights_of_the_history_are_not_called_missing(space):
    states = {row["batch"]: row["state"] for row in json.loads(space.ok("status", "water", "--json"))}
    assert {states[b] for b in ("2022-W14", "2022-W15", "2022-W16")} == {"history"}
    assert states[BATCH] == "missing"
    assert "history" in space.ok("status", "digits").split("digits")[-1]


def test_choosing_no_batch_at_all_is_told(space):
    message = space.refused("score", "water", "--from", "1999-W01", "--to", "1999-W09")
    assert "no batch from 1999-W01 to 1999-W09" in message
    for more in ([], ["--replay"]):
        assert "'nope'" in space.refused("quarantine", "water", "--batch", "nope", *more)
    assert "--jobs" in space.run("score", "water", "--pending", "--jobs", "0").err


def test_a_batch_that_does_not_exist_is_named_and_leaves_no_trace(space):
    for pipeline, batch in (("water", "2021-W01"), ("water", "yesterday"), ("digits", "last-night")):
        message = space.refused("score", pipeline, "--batch", batch)
        assert batch in message
        assert batch not in space.ok("status", pipeline)
        for command in (["verify", pipeline, "--batch", batch], ["report", pipeline, "--batch", batch]):
            assert batch in space.refused(*command)


def test_an_empty_batch_is_refused(space):
    (space.folder / "data" / "digits" / "monday").mkdir()
    message = space.refused("score", "digits", "--batch", "monday")
    assert "monday" in message
    write_flow(space, HEADER)
    assert BATCH in space.refused("score", "water", "--batch", BATCH)


def test_a_source_that_is_gone_is_named(space):
    shutil.rmtree(space.folder / "data")
    for pipeline, batch in (("water", BATCH), ("digits", "tonight")):
        for command in (["check", pipeline], ["status", pipeline], ["score", pipeline, "--batch", batch]):
            assert f"data/{pipeline}" in space.refused(*command)


def test_one_bad_batch_of_many_does_not_keep_the_others_from_their_reports(space):
    (space.folder / "data" / "digits" / "monday").mkdir()
    (space.folder / "data" / "digits" / "monday" / "a.png").write_bytes(b"")
    ended = space.run("score", "digits", "--pending")
    assert ended.code == 2
    assert "batch monday" in ended.err
    assert space.paths("digits").published() == ["tonight"]


# ---- configs and arguments


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"calibraton": {}}, "did you mean 'calibration'?"),
        ({"prepare": {"window_point": 3}}, "did you mean 'window_points'?"),
        ({"model": {"family": "transformer"}}, "family"),
        ({"calibration": {"false_discovery_rate": 0.1}}, "exactly one promise"),
        ({"batch": {"time_zone": "Europe/Romulus"}}, "Europe/Romulus"),
    ],
)
def test_a_config_that_does_not_fit_names_the_key(space, change, said):
    space.set("water", **change)
    for command in (["check", "water"], ["score", "water", "--batch", BATCH], ["train", "water"]):
        message = space.refused(*command)
        assert "water.yaml" in message
        assert said in message


@pytest.mark.parametrize(
    "content", [b"name: [unclosed", b"\xff\xfe\x00", b"just words", b"", b"- a\n- b\n"], ids=repr
)
def test_a_config_that_is_no_yaml_of_ours_is_named(space, content):
    (space.folder / "configs" / "water.yaml").write_bytes(content)
    assert "water.yaml" in space.refused("check", "water")


def test_a_config_that_does_not_exist_names_those_that_do(space):
    message = space.refused("score", "watr", "--batch", BATCH)
    assert "watr" in message
    assert "Did you mean 'water'?" in message
    assert "digits" in message
    assert "configs" in space.refused("check", "configs")  # a folder


def test_no_way_or_several_ways_to_choose_batches_are_refused(space):
    assert "none given" in space.refused("score", "water")
    assert "several given" in space.refused("score", "water", "--batch", BATCH, "--pending")


def test_labels_that_fit_nothing_are_refused(space, tmp_path):
    file = tmp_path / "labels.csv"
    assert "labels.csv" in space.refused("evaluate", "water", "--labels", str(file))
    file.write_text("timestamp,label\n1999-01-01T00:00:00Z,1\n")
    space.refused("evaluate", "water", "--labels", str(file))
    file.write_text("when,what\n1,2\n")
    assert "labels.csv" in space.refused("evaluate", "water", "--labels", str(file))


def test_without_a_detector_the_way_to_one_is_told(untrained, tmp_path):
    space = copy_of(untrained, tmp_path / "space", same_data=True)
    assert "aeflow train water" in space.refused("score", "water", "--batch", BATCH)
    space.refused("verify", "water", "--batch", BATCH)
    space.refused("rollback", "water")


def test_a_history_too_short_to_learn_from_is_refused(space):
    write_flow(space, HEADER + "\n".join(lines()[:20]).replace("2022-04-25", "2022-04-05") + "\n")
    message = space.refused("train", "water")
    assert "history" in message


# ---- what aeflow keeps itself


def test_a_damaged_copy_of_the_detector_is_downloaded_anew(space):
    network = space.paths("water").detector(1) / "network.safetensors"
    whole = network.read_bytes()
    network.write_bytes(whole[:100])
    space.ok("score", "water", "--batch", BATCH)
    assert network.read_bytes() == whole


def test_a_damaged_ledger_is_named(space):
    space.ok("score", "water", "--batch", BATCH)
    for suffix in ("-wal", "-shm"):
        (space.home / f"ledger.db{suffix}").unlink(missing_ok=True)
    (space.home / "ledger.db").write_bytes(b"no database" * 1000)
    for command in (["score", "water", "--batch", BATCH], ["status", "water"]):
        assert "ledger" in space.refused(*command)


def test_a_ledger_locked_for_a_moment_is_waited_for(space):
    space.ok("status", "water")
    locking = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); time.sleep(2); c.execute('ROLLBACK')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", locking, str(space.home / "ledger.db")], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        space.ok("score", "water", "--batch", BATCH)


@pytest.mark.parametrize("name", ["reports", "work", "quarantine", "runs", "claims", "revisions"])
def test_a_file_in_the_place_of_a_folder_is_named(space, name):
    space.ok("score", "water", "--batch", BATCH)
    shutil.rmtree(space.home / name, ignore_errors=True)
    (space.home / name).write_text("in the way")
    table = space.folder / "data" / "water" / "flow.csv"
    table.write_text(table.read_text().replace("2022-04-28T12:00:00+02:00,", "2022-04-28T12:00:00+02:00,9"))
    message = space.refused("score", "water", "--batch", BATCH)
    assert str(space.home / name) in message


def test_a_file_in_the_place_of_the_home_is_named(space):
    shutil.rmtree(space.home)
    space.home.write_text("in the way")
    for command in (["status", "water"], ["train", "water"], ["check", "water"]):
        assert str(space.home) in space.refused(*command)


def test_a_folder_without_rights_is_named(space):
    ended = space.run(
        "score", "water", "--batch", BATCH, environment={"AEFLOW_TEST_FORBIDDEN": str(space.home / "reports")}
    )
    assert ended.code == 2
    assert "Permission denied" in ended.err
    assert "reports" in ended.err
    assert "Traceback" not in ended.err


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own that holds a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 4, 12, 40, 120])
def test_a_full_disk_is_said_to_be_one_and_room_mends_it(trained, small_disk, tmp_path, free):
    home = small_disk / "home"
    shutil.copytree(trained.home, home, ignore=shutil.ignore_patterns("mlartifacts", "digits"))
    space = trained.__class__(tmp_path / "space", trained.commands)
    shutil.copytree(trained.folder, space.folder, ignore=shutil.ignore_patterns("home"))
    space.home.symlink_to(home)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            file.truncate(max(0, file.tell() - free * 1024))
    ended = space.run("score", "water", "--batch", BATCH)
    if ended.code:
        assert ended.code == 2, ended.err
        assert "Traceback" not in ended.err
        assert "full" in ended.err or "No space left" in ended.err
    assert not (home / "error.log").exists()
    report = space.paths("water").report(BATCH)
    names = {"scores.parquet", "flags.parquet", "precedents.parquet"}
    names |= {"summary.json", "receipt.json", "report.html"}
    assert not report.exists() or {p.name for p in report.iterdir()} == names
    filler.unlink()
    space.ok("score", "water", "--batch", BATCH)
    assert {p.name for p in report.iterdir()} == names
    assert space.ledger("water").get(BATCH).state == "published"


def test_usage_errors_are_one_line_and_exit_2(space):
    for arguments in (["scor", "water"], ["score"], ["score", "water", "--no-such-option"]):
        ended = space.run(*arguments)
        assert ended.code == 2
        assert "Traceback" not in ended.err
