"""Running again changes nothing that was right; what changed is kept; what was published can be proven."""

from __future__ import annotations

import json

import pytest

from aeflow.store.digests import sha256_folder

BATCHES = [("water", "2022-W17"), ("digits", "tonight")]


def everything(folder):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(("pipeline", "batch"), BATCHES)
def test_scoring_twice_changes_no_byte_time_or_revision(space, pipeline, batch):
    space.ok("score", pipeline, "--batch", batch)
    folders = [space.home / name for name in ("reports", "quarantine", "runs")]
    before = [everything(f) for f in folders]
    facts = space.ledger(pipeline).get(batch).facts
    assert "unchanged" in space.ok("score", pipeline, "--batch", batch)
    assert [everything(f) for f in folders] == before
    assert space.ledger(pipeline).get(batch).facts == facts
    assert not space.paths(pipeline).revisions(batch).exists()

    # Even where it scores again, the same bytes come out.
    space.ok("score", pipeline, "--batch", batch, "--force")
    assert [everything(f) for f in folders[:1]] == before[:1]
    assert space.ledger(pipeline).get(batch).facts == facts


def test_changed_data_make_a_new_revision_and_the_old_one_is_kept(space):
    space.ok("score", "digits", "--batch", "tonight")
    old = space.digest("digits", "tonight")
    tonight = space.folder / "data" / "digits" / "tonight"
    first = min(tonight.iterdir())
    first.rename(tonight / "renamed.png")
    done = json.loads(space.ok("score", "digits", "--batch", "tonight", "--json"))[0]
    assert (done["changed"], done["revision"]) == (True, 2)
    assert sha256_folder(space.paths("digits").revisions("tonight") / "rev=1") == old
    assert "renamed.png" in {row["item"].rsplit("/", 1)[-1] for row in space.scores("digits", "tonight")}


def test_a_new_detector_or_config_makes_a_new_revision(space):
    space.ok("score", "water", "--batch", "2022-W17")
    space.set("water", compute={"chunk_items": 3})
    assert "unchanged" in space.ok("score", "water", "--batch", "2022-W17")
    space.set("water", report={"context_points": 5})
    assert "unchanged" not in space.ok("score", "water", "--batch", "2022-W17")
    assert space.ledger("water").get("2022-W17").facts.revision == 2


@pytest.mark.parametrize(("pipeline", "batch"), BATCHES)
def test_verify_says_identical_and_after_a_touched_byte_what_differs(space, pipeline, batch):
    space.ok("score", pipeline, "--batch", batch)
    assert "identical. Data, config, detector" in space.ok("verify", pipeline, "--batch", batch)
    scores = space.paths(pipeline).report(batch) / "scores.parquet"
    content = bytearray(scores.read_bytes())
    content[100] ^= 1
    scores.write_bytes(content)
    ended = space.run("verify", pipeline, "--batch", batch)
    assert ended.code == 1
    assert "not identical" in ended.out
    assert "scores.parquet: the file is not the one that was published" in ended.out


def test_verify_names_changed_data(space):
    space.ok("score", "water", "--batch", "2022-W17")
    table = space.folder / "data" / "water" / "flow.csv"
    table.write_text(table.read_text().replace("2022-04-28T12:00:00+02:00,", "2022-04-28T12:00:00+02:00,9"))
    ended = space.run("verify", "water", "--batch", "2022-W17")
    assert ended.code == 1
    assert "input digest" in ended.out


def test_pending_scores_every_missing_batch_once(space):
    space.ok("score", "water", "--pending")
    states = {row["batch"]: row["state"] for row in json.loads(space.ok("status", "water", "--json"))}
    history = {"2022-W14", "2022-W15", "2022-W16"}
    assert {b for b, state in states.items() if state == "published"} == states.keys() - history
    assert "Nothing to do" in space.ok("score", "water", "--pending")


def test_verify_covers_the_page(space):
    space.ok("score", "water", "--batch", "2022-W17")
    page = space.paths("water").report("2022-W17") / "report.html"
    page.write_text(page.read_text().replace("2022-W17", "2022-W99", 1))
    ended = space.run("verify", "water", "--batch", "2022-W17")
    assert ended.code == 1
    assert "report.html" in ended.out


@pytest.mark.parametrize("name", ["summary.json", "flags.parquet", "receipt.json"])
def test_a_damaged_file_of_a_report_names_the_command_that_mends_it(space, name):
    space.ok("score", "water", "--batch", "2022-W17")
    file = space.paths("water").report("2022-W17") / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    command = {
        "summary.json": ["report", "water", "--batch", "2022-W17"],
        "flags.parquet": ["verdicts", "water"],
        "receipt.json": ["verify", "water", "--batch", "2022-W17"],
    }[name]
    message = space.refused(*command)
    assert name in message
    assert "aeflow score water --batch 2022-W17" in message
    # And that command does, where before it would have found nothing to do.
    space.ok("score", "water", "--batch", "2022-W17")
    assert file.read_bytes() == whole
    assert "identical" in space.ok("verify", "water", "--batch", "2022-W17")
