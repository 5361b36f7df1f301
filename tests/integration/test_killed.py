"""A run that is killed, wherever, and started again ends as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from aeflow.store.digests import manifest, sha256_folder
from tests.integration.conftest import WATER, copy_of
from tests.integration.forked import KILLED

BATCHES = {"water": "2022-W17", "digits": "tonight"}


@pytest.fixture(scope="module", params=sorted(BATCHES))
def undisturbed(request, trained, tmp_path_factory):
    """The pipeline, its workspace after one whole run, and how that run went."""
    space = copy_of(trained, tmp_path_factory.mktemp("undisturbed") / "space")
    pipeline, batch = request.param, BATCHES[request.param]
    ended = space.run("score", pipeline, "--batch", batch, published=space.paths(pipeline).report(batch))
    assert ended.code == 0, ended.err
    return pipeline, space, ended


def left_behind(space, pipeline):
    """What lies in the working folders."""
    return [
        p for name in ("work", "claims") for p in (space.home / name / pipeline).rglob("*") if p.is_file()
    ]


def worth_killing_at(operations):
    """The numbers of the operations, without those before which things lie as before the last: a row of
    the same operations (a folder emptied, files flushed) counts once."""
    return [
        n + 1
        for n, name in enumerate(operations)
        if name != "mkdir" and (n == 0 or operations[n - 1] != name)
    ]


def assert_as_undisturbed(space, pipeline, expected, revision=1):
    batch = BATCHES[pipeline]
    assert manifest(space.paths(pipeline).report(batch)) == manifest(expected.paths(pipeline).report(batch))
    quarantine = space.paths(pipeline).quarantine(batch)
    assert quarantine.read_bytes() == expected.paths(pipeline).quarantine(batch).read_bytes()
    row, of_expected = space.ledger(pipeline).get(batch), expected.ledger(pipeline).get(batch)
    assert (row.state, row.facts) == ("published", of_expected.facts)
    published = [c.facts for c in space.ledger(pipeline).history(batch) if c.state == "published"]
    assert {facts.revision for facts in published} == {revision}
    assert {facts.report_digest for facts in published} == {
        sha256_folder(space.paths(pipeline).report(batch))
    }
    assert left_behind(space, pipeline) == []


def test_a_scoring_killed_before_any_operation_ends_in_the_same_report(undisturbed, trained, tmp_path):
    pipeline, expected, whole = undisturbed
    batch = BATCHES[pipeline]
    digest = expected.digest(pipeline, batch)
    assert whole.seen == {None, digest}
    # Images go another way through the scoring only: fewer instants are enough for them.
    for deadly in worth_killing_at(whole.operations)[:: 1 if pipeline == "water" else 3]:
        space = copy_of(trained, tmp_path / f"{deadly}", same_data=True)
        report = space.paths(pipeline).report(batch)
        first = space.run("score", pipeline, "--batch", batch, deadly=deadly, published=report)
        assert first.code == KILLED, (deadly, first.err)
        second = space.run("score", pipeline, "--batch", batch, published=report)
        assert second.code == 0, (deadly, second.err)
        assert first.seen | second.seen <= {None, digest}, deadly
        assert_as_undisturbed(space, pipeline, expected)
        shutil.rmtree(space.folder)


def test_a_process_killed_by_the_clock_ends_in_the_same_report(trained, tmp_path):
    pipeline, batch = "water", BATCHES["water"]
    expected = copy_of(trained, tmp_path / "expected", same_data=True)
    expected.ok("score", pipeline, "--batch", batch)
    space = copy_of(trained, tmp_path / "space", same_data=True)
    environment = {**os.environ, "AEFLOW_HOME": str(space.home), "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [
        sys.executable,
        "-c",
        "from aeflow.cli import main; main()",
        "score",
        pipeline,
        "--batch",
        batch,
    ]
    begun = space.home / "claims" / pipeline / f"batch={batch}.claim"
    running = subprocess.Popen(
        command, cwd=space.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while running.poll() is None and not begun.exists():
        time.sleep(0.01)
    # A quick machine is done within two seconds.
    time.sleep(random.Random(0).uniform(0.0, 0.4))
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == KILLED
    status = json.loads(space.ok("status", pipeline, "--json"))
    assert {row["state"] for row in status if row["batch"] == batch} <= {"interrupted", "published"}
    space.ok("score", pipeline, "--batch", batch)
    assert_as_undisturbed(space, pipeline, expected)


def test_a_changed_batch_killed_while_it_is_published_keeps_the_old_report(trained, tmp_path):
    before = copy_of(trained, tmp_path / "before")
    batch = BATCHES["water"]
    before.ok("score", "water", "--batch", batch)
    old = before.digest("water", batch)
    table = before.folder / "data" / "water" / "flow.csv"
    table.write_text(table.read_text().replace("2022-04-28T12:00:00+02:00,", "2022-04-28T12:00:00+02:00,9"))

    expected = copy_of(before, tmp_path / "expected")
    report = expected.paths("water").report(batch)
    whole = expected.run("score", "water", "--batch", batch, published=report)
    new = expected.digest("water", batch)
    assert new != old
    first = whole.operations.index("rename rev=1")
    for deadly in [n for n in worth_killing_at(whole.operations) if n > first]:
        space = copy_of(before, tmp_path / f"{deadly}", same_data=True)
        paths = space.paths("water")
        killed = space.run("score", "water", "--batch", batch, deadly=deadly, published=paths.report(batch))
        again = space.run("score", "water", "--batch", batch, published=paths.report(batch))
        assert (killed.code, again.code) == (KILLED, 0), again.err
        assert killed.seen | again.seen <= {None, old, new}
        assert space.digest("water", batch) == new
        assert [p.name for p in paths.revisions(batch).iterdir()] == ["rev=1"]
        assert sha256_folder(paths.revisions(batch) / "rev=1") == old
        row = space.ledger("water").get(batch)
        assert (row.state, row.facts.revision, row.facts.report_digest) == ("published", 2, new)
        assert left_behind(space, "water") == []


def test_a_training_killed_after_an_epoch_goes_on_and_ends_in_the_same_detector(trained, untrained, tmp_path):
    undisturbed = trained.trainings["water"].operations
    checkpoints = [n + 1 for n, name in enumerate(undisturbed) if name == "replace checkpoint"]
    epochs = WATER["training"]["epochs"]
    assert len(checkpoints) == epochs
    space = copy_of(untrained, tmp_path / "space", same_data=True)
    assert space.run("train", "water", deadly=checkpoints[2]).code == KILLED

    again = space.run("train", "water", "--json")
    assert again.code == 0, again.err
    assert again.operations.count("replace checkpoint") == epochs - 2
    done = json.loads(again.out)
    assert (done["version"], done["epochs"]) == (1, epochs)
    digest = sha256_folder(trained.paths("water").detector(1))
    assert sha256_folder(space.paths("water").detector(1)) == digest
    assert [v["version"] for v in json.loads(space.ok("models", "water", "--json"))] == [1]
    assert left_behind(space, "water") == []


def test_a_training_killed_once_it_is_registered_does_not_register_again(trained, untrained, tmp_path):
    undisturbed = trained.trainings["water"].operations
    space = copy_of(untrained, tmp_path / "space", same_data=True)
    deadly = undisturbed.index("rename version=1") + 1
    assert space.run("train", "water", deadly=deadly).code == KILLED
    done = json.loads(space.ok("train", "water", "--json"))
    assert (done["version"], done["live"]) == (1, True)
    (only,) = json.loads(space.ok("models", "water", "--json"))
    assert sorted(only["aliases"]) == ["challenger", "champion"]
    space.ok("score", "water", "--batch", BATCHES["water"])


def test_two_processes_at_one_batch_the_second_names_the_first(space):
    batch = BATCHES["water"]
    holding = (
        "import sys, time; from datetime import UTC, datetime; from pathlib import Path\n"
        "from aeflow.store.claims import claim\n"
        "with claim(Path(sys.argv[1]), 'the batch', now=datetime.now(UTC)):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    path = space.paths("water").claim(batch)
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        message = space.refused("score", "water", "--batch", batch)
        other.stdin.close()
    assert f"process {other.pid}" in message
    space.ok("score", "water", "--batch", batch)
