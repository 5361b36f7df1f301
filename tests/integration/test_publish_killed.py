"""A publishing that is killed at any operation of the file system ends, run again, in the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from aeflow.store.digests import sha256_folder
from aeflow.store.publish import current_revision, publish, recover

# Kills itself with SIGKILL before the k-th operation that changes or flushes something. Before each
# of them it writes down what a reader would find at that instant.
RUN = """
import json, os, signal, sys
from pathlib import Path
from aeflow.store.digests import sha256_folder
from aeflow.store.publish import publish, recover

built, target, revisions, seen = (Path(a) for a in sys.argv[1:5])
deadly = int(sys.argv[5])
count = 0

def look():
    with seen.open("a") as file:
        print(json.dumps(sha256_folder(target) if target.exists() else None), file=file)

def counted(real):
    def call(*args, **kwargs):
        global count
        look()
        count += 1
        if count == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call

for name in ("rename", "replace", "fsync", "mkdir", "unlink", "rmdir"):
    setattr(os, name, counted(getattr(os, name)))
recover(target, revisions)
publish(built, target, revisions)
look()
print(count)
"""


def build(folder, text):
    (folder / "evidence").mkdir(parents=True)
    for name in ("scores.parquet", "summary.json", "evidence/plot"):
        (folder / name).write_text(f"{name} of {text}")
    return folder


def run(built, target, revisions, seen, deadly=0):
    return subprocess.run(
        [sys.executable, "-c", RUN, *map(str, (built, target, revisions, seen)), str(deadly)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("reports_before", [0, 1, 2])
def test_killed_at_any_operation_and_run_again_the_same_report_is_there(tmp_path, reports_before):
    expected = sha256_folder(build(tmp_path / "expected", "new"))
    killed = 0
    for deadly in range(1, 40):
        place = tmp_path / f"{deadly}"
        work, target, revisions, seen = (place / n for n in ("work", "reports/b", "revisions/b", "seen"))
        old = [
            publish(build(work / "old", f"old {n}"), target, revisions).digest for n in range(reports_before)
        ]
        build(work / "new", "new")
        place.joinpath("reports").mkdir(exist_ok=True)

        first = run(work / "new", target, revisions, seen, deadly)
        killed += first.returncode == -9
        assert first.returncode in {0, -9}, first.stderr
        assert not target.exists() or sha256_folder(target) in {expected, *old[-1:]}

        recover(target, revisions)
        assert target.exists() or not reports_before
        if not (work / "new").exists():  # it had its new name already; a second run builds the same
            build(work / "new", "new")
        second = publish(work / "new", target, revisions)

        assert sha256_folder(target) == expected == second.digest
        assert current_revision(target, revisions) == reports_before + 1
        assert [sha256_folder(revisions / f"rev={n + 1}") for n in range(reports_before)] == old
        instants = {json.loads(line) for line in seen.read_text().splitlines()}
        assert instants <= {None, expected, *old[-1:]}
        if first.returncode == 0:
            break
    assert first.returncode == 0, "every operation was killed once, and one run more went through"
    assert killed == int(first.stdout)
