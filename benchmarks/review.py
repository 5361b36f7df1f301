"""How fast the review app's pages are: 100,000 flags of 1,000 nights by default.

    python -m benchmarks.review [--nights 1000] [--flags 100] [--verdicts 5000] [--store FOLDER]

Prints milliseconds a page, the median and the worst of several, the processor's time of them, which other work
on the machine does not lengthen, and how long the start takes. The pages are
asked for inside the process, so the figures hold the app alone, without a network. A store that is named is
kept, and used again.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from fastapi.testclient import TestClient

from aeflow.review.app import create_app
from aeflow.review.serve import open_desk
from aeflow.store.verdicts import Verdict, Word
from benchmarks.review_store import MadeUp, write_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx

    from aeflow.review.board import Board

_REPEATS = 15
_GOAL_MS = 100


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, default=1_000)
    parser.add_argument("--flags", type=int, default=100, help="a night")
    parser.add_argument("--verdicts", type=int, default=5_000)
    parser.add_argument("--store", type=Path, help="a folder to keep the store in")
    wanted = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = wanted.store or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = folder / "configs" / "pumps.yaml"
        if not config.exists():
            config = write_store(folder, MadeUp(wanted.nights, wanted.flags))
        begun = time.perf_counter()
        desk = open_desk(config, host="127.0.0.1", reviewer="anna")
        print(f"start: {time.perf_counter() - begun:.1f} s for {desk.board.now().catalogue.size:,} flags")
        _review(desk.board, wanted.verdicts)
        client = TestClient(create_app(desk), base_url="http://127.0.0.1", client=("127.0.0.1", 1))
        with desk.board.watching():
            desk.board.nearest_judged(desk.board.now())
            _measure_pages(client, desk.board)
        print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB at most")


def _review(board: Board, verdicts: int) -> None:
    """So many verdicts, spread over all flags; two in five are false."""
    flags = board.now().catalogue.flag_ids
    random = np.random.default_rng(1)
    begun = datetime(2026, 11, 20, tzinfo=UTC)
    words = random.choice([Word.TRUE, Word.FALSE, Word.UNSURE], verdicts, p=[0.5, 0.4, 0.1])
    chosen = random.choice(len(flags), min(verdicts, len(flags)), replace=False).tolist()
    board.say(
        [
            Verdict(
                flags[place], "made up", Word(word), f"reviewer {place % 3}", begun + timedelta(seconds=n)
            )
            for n, (place, word) in enumerate(zip(chosen, words, strict=False))
        ]
    )


def _measure_pages(client: TestClient, board: Board) -> None:
    catalogue = board.now().catalogue
    random = np.random.default_rng(2)
    some = [catalogue.flag_ids[p] for p in random.integers(0, catalogue.size, _REPEATS).tolist()]
    entity, night = catalogue.entities[0][0], catalogue.batches[-1]
    pages = {
        "queue, most severe": ["/"] * _REPEATS,
        "queue, most useful next": ["/?order=useful"] * _REPEATS,
        "queue, a late page": ["/?state=all&order=newest&page=1500"] * _REPEATS,
        "queue, one entity": [f"/?entity={entity}&state=all"] * _REPEATS,
        "queue, one night": [f"/?first={night}&last={night}"] * _REPEATS,
        "queue, search": ["/?text=ump-1"] * _REPEATS,
        "a flag": [f"/flag/{flag}?state=all" for flag in some],
        "a flag in the useful queue": [f"/flag/{flag}?order=useful" for flag in some],
        "its plot": [f"/flag/{flag}/plot" for flag in some],
        "an entity": [f"/entity?name={entity}"] * _REPEATS,
        "trends": ["/trends"] * _REPEATS,
        "trends, all nights": ["/trends?nights=all"] * _REPEATS,
    }
    _ask(client, "/"), _ask(client, f"/flag/{some[0]}")  # the templates are read the first time
    print(f"{'page':28} {'median ms':>9} {'worst ms':>9} {'CPU ms':>9}")
    for name, addresses in pages.items():
        _print(name, [_ask(client, address) for address in addresses])
    secret = client.get(f"/flag/{some[0]}").text.split('name="csrf" value="')[1].split('"')[0]
    fields = {"csrf": secret, "word": "true", "note": ""}
    asked = {"HX-Request": "true"}
    said = [_timed(lambda f=flag: client.post(f"/flag/{f}/say", data=fields, headers=asked)) for flag in some]
    _print("a verdict, and the next flag", said)


def _ask(client: TestClient, address: str) -> tuple[float, float]:
    return _timed(lambda: client.get(address))


def _timed(ask: Callable[[], httpx.Response]) -> tuple[float, float]:
    """Milliseconds by the wall, and of the processor."""
    begun, cpu = time.perf_counter(), time.process_time()
    answer = ask()
    took = 1_000 * (time.perf_counter() - begun), 1_000 * (time.process_time() - cpu)
    answer.raise_for_status()
    return took


def _print(name: str, took: list[tuple[float, float]]) -> None:
    wall, cpu = zip(*took, strict=True)
    mark = "" if max(wall) < _GOAL_MS else "  above the goal"
    print(
        f"{name:28} {statistics.median(wall):9.0f} {max(wall):9.0f} {statistics.median(cpu):9.0f}{mark}",
        flush=True,
    )


if __name__ == "__main__":
    main()
