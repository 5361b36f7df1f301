"""Nights as an installation lives them: `python -m benchmarks.nightly`, a table of what was seen.

nights   thirty nightly runs, one after the other, beside a backfill of the same nights by two processes and one
`--pending` after an outage: seconds, and whether every report has the same bytes
killed   `aeflow up` with a schedule that fires at the next full minute; in the middle of the night its worker, the run
and the Prefect server are killed; then, in the middle of another, everything is, and it is started again
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from aeflow.store.ledger import open_ledger
from benchmarks.installation import Installation, Seen, day, in_seconds, kill, since, tell, until, up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.installation import Up

LEARNT = 5
NIGHTS = 30
KILLS = 2
PIPELINE = "daily"


class Site(Installation):
    """One pipeline of days, one file a day, 144 rows of two channels."""

    def __init__(self, folder: Path) -> None:
        """As an `Installation`."""
        super().__init__(folder, PIPELINE)

    def make(self, schedule: dict[str, str] | None = None) -> Site:
        """Write its config."""
        self.write(
            {
                "source": {
                    "kind": "table",
                    "path": "../data",
                    "time_column": "t",
                    "channels": ["flow", "level"],
                },
                "batch": {"by": "period", "period": "day"},
                "history": {"first": day(0), "last": day(LEARNT - 1)},
                "prepare": {"kind": "series", "cadence_seconds": 600, "window_points": 6},
                "model": {"family": "pca"},
                "calibration": {"false_flags_per_batch": 1},
                "schedule": schedule or {},
            }
        )
        return self

    def copy(self, folder: Path) -> Site:
        """The same at another place."""
        super().copy(folder)
        return Site(folder)

    def night(self, number: int) -> None:
        """The file of a day."""
        rows = []
        for step in range(144):
            hour, minute = divmod(10 * step, 60)
            flow = 50 + (step * 7 + number * 3) % 11 + (40 if step == 20 + number else 0)
            rows.append(f"{day(number)}T{hour:02d}:{minute:02d}:00Z,{flow},{(step * 5 + number) % 7}")
        self.arrive(number, "t,flow,level", rows)


def nights(folder: Path) -> Iterator[Seen]:
    """Thirty nights in three ways."""
    site = _trained(folder / "trained")
    nightly, backfilled = site.copy(folder / "nightly"), site.copy(folder / "backfilled")
    outage = site.copy(folder / "outage")
    seconds = 0.0
    for number in range(LEARNT, LEARNT + NIGHTS):
        nightly.night(number)
        seconds += nightly.run("score", PIPELINE, "--pending")[0]
    yield Seen(f"{NIGHTS} nightly runs", f"{seconds:.0f} s")
    for number in range(LEARNT, LEARNT + NIGHTS):
        backfilled.night(number)
        outage.night(number)
    last = day(LEARNT + NIGHTS - 1)
    took, _ = backfilled.run("score", PIPELINE, "--from", day(LEARNT), "--to", last, "--jobs", "2")
    yield Seen("the same as a backfill by two processes", f"{took:.0f} s")
    took, _ = outage.run("score", PIPELINE, "--pending")
    yield Seen("the same made good by one --pending", f"{took:.0f} s")
    reports = nightly.digests()
    same = len(reports) == NIGHTS and reports == backfilled.digests() == outage.digests()
    yield Seen(f"all {len(reports)} reports have the same bytes", "yes" if same else "no", same)


def killed(folder: Path) -> Iterator[Seen]:
    """Two nights of ten batches, killed in the middle."""
    plain = _trained(folder / "plain")
    site = plain.copy(folder / "site")
    for number in range(LEARNT, LEARNT + 10):
        site.night(number)
        plain.night(number)
    fire, cron = in_seconds(60)
    site.make({"nightly": cron, "time_zone": "UTC"})
    with up(site) as running:
        until(lambda: len(site.paths.published()) >= 3)
        yield Seen("the schedule of the next minute fired, its first reports came after", since(fire))
        state = json.loads((site.home / "up.json").read_text())["processes"]
        kill(state["score-worker-1"], state["prefect-server"])
        at = len(site.paths.published())
        until(lambda: site.done() == 10)
        yield Seen(
            f"worker, run and server killed after {at} of 10 batches: all 10 after", since(fire), at < 10
        )
        states = until(lambda: found if len(found := _states(running)) > 1 else [])
        yield Seen("the runs that the server knows", ", ".join(states), states == ["Crashed", "Completed"])
        shown = {str(artifact["key"]) for artifact in running.post("artifacts/filter", {})}
        right = {f"score-{PIPELINE}", f"flags-{PIPELINE}"} <= shown
        yield Seen("artifacts that it shows", ", ".join(sorted(shown)), right)
        for number in range(LEARNT + 10, LEARNT + 20):
            site.night(number)
            plain.night(number)
        fire, cron = in_seconds(20)
        site.make({"nightly": cron, "time_zone": "UTC"})
        site.run("deploy", PIPELINE)
        until(lambda: len(site.paths.published()) >= 13)
        at = len(site.paths.published())
        kill(running.process.pid)
    with up(site):
        until(lambda: site.done() == 20)
        yield Seen(f"everything killed after {at} of 20, started again: all 20 after", since(fire), at < 20)
    batches = open_ledger(site.paths).all()
    again = [b.batch for b in batches if b.attempts > 1]
    yield Seen("batches begun a second time", ", ".join(again) or "none", len(again) <= KILLS)
    again = [b.batch for b in batches if b.facts.revision != 1]
    yield Seen("batches published a second time", ", ".join(again) or "none", not again)
    plain.run("score", PIPELINE, "--pending")
    same = site.digests() == plain.digests()
    yield Seen("reports have the bytes of a run without kills", "yes" if same else "no", same)


def _states(running: Up) -> list[str]:
    return [run["state"]["name"] for run in running.over("nightly")]


def _trained(folder: Path) -> Site:
    site = Site(folder).make()
    for number in range(LEARNT):
        site.night(number)
    site.run("train", PIPELINE)
    return site


def main() -> int:
    """Run the parts; the exit code is the number of lines that are not as they should be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["nights", "killed"], help="one part")
    chosen = parser.parse_args().only
    parts = {"nights": nights, "killed": killed}
    wrong = 0
    for name in [chosen] if chosen else list(parts):
        with tempfile.TemporaryDirectory(prefix="aeflow-nightly-") as folder:
            wrong += tell(name, parts[name](Path(folder)))
    return wrong


if __name__ == "__main__":
    raise SystemExit(main())
