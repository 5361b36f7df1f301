"""What was promised stands beside what people found; report folders are made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aeflow import schemas
from aeflow.report.promise import make_promise
from aeflow.report.realised import Realised, over_nights, promised_and_found, realised
from aeflow.report.summary import Summary
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Verdict, Word, open_verdicts

START = datetime(2026, 11, 20, tzinfo=UTC)
ONE_FLAG = make_promise(
    "false_flags_per_batch", 1, expected_false_flags_per_batch=0.8, flags_by_chance=(0, 3)
)
A_THIRD = make_promise("false_discovery_rate", 0.33)


def night(batch, flags, promise=ONE_FLAG):
    counts = {
        "rows_in": 100,
        "scored": 100,
        "not_scorable": 0,
        "quarantined": {},
        "not_scorable_by_reason": {},
    }
    return Summary(
        pipeline="p",
        kind="series",
        batch=batch,
        detector_version=1,
        sentence="",
        flags=flags,
        flagged_rows=flags,
        entities=1,
        flagged_entities=1,
        promise=promise,
        score_quantiles={},
        **counts,
    )


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path, "p")


def publish(paths, batch, flags, suppressed=()):
    folder = paths.report(batch)
    folder.mkdir(parents=True)
    rows = [
        {
            "flag_id": name,
            "batch": batch,
            "entity": "pump",
            "start": START,
            "end": START,
            "suppressed": name in suppressed,
        }
        for name in (*flags, *suppressed)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.FLAGS), folder / "flags.parquet")


def say(paths, batch, **words):
    said = [
        Verdict(flag, batch, Word(word), "ada", START + timedelta(days=1)) for flag, word in words.items()
    ]
    open_verdicts(paths).append(said)


def test_flags_that_count_and_are_decided_are_counted_by_batch(paths):
    publish(paths, "a", ["f1", "f2", "f3", "f4"], suppressed=["s1"])
    publish(paths, "b", ["f5"])
    say(paths, "a", f1="true", f2="false", f3="unsure", s1="false", never_was="false")
    found = realised(paths, [night("a", 4), night("b", 1)])
    assert found == {"a": Realised(4, 1, 1), "b": Realised(1, 0, 0)}


def test_nothing_published_and_nothing_said_is_nothing(paths):
    assert realised(paths, []) == {}
    assert realised(paths, [night("a", 2)]) == {"a": Realised(2, 0, 0)}


def test_a_number_of_false_flags_stands_beside_the_promised_one():
    told = promised_and_found(night("a", 6), Realised(6, 1, 2))
    assert told == (
        "Of 6 flags people called 1 true and 2 false: at least 2 false, where about 0.8 were promised."
    )
    told = promised_and_found(night("a", 5), Realised(5, 1, 4))
    assert told.endswith("4 false, where about 0.8 were promised, and more than chance explains.")
    assert "at least" not in told


def test_a_share_of_false_flags_stands_beside_the_promised_one():
    told = promised_and_found(night("a", 40, A_THIRD), Realised(40, 15, 5))
    assert told == (
        "Of 40 flags people called 15 true and 5 false: 25 % false (11 to 47 %), where at most 33 % were promised."
    )


def test_without_a_decided_flag_nothing_is_told():
    assert promised_and_found(night("a", 6), Realised(6, 0, 0)) == ""
    assert over_nights([night("a", 6)], {"a": Realised(6, 0, 0)}) == ""
    assert Realised(6, 0, 0).to_json()["false_share"] is None


def test_over_the_nights_with_verdicts_false_flags_a_night_stand_beside_the_promise():
    nights = [night("a", 4), night("b", 2), night("c", 9)]
    found = {"a": Realised(4, 2, 2), "b": Realised(2, 1, 1), "c": Realised(9, 0, 0)}
    assert over_nights(nights, found) == (
        "In 2 nights with verdicts 50 % of the 6 flags that were decided are true (19 to 81 %): 1.5 false a night, "
        "where about 0.8 were promised."
    )
    open_ones = found | {"b": Realised(2, 1, 0)}
    assert "at least 1 false a night" in over_nights(nights, open_ones)


def test_over_nights_of_a_rate_the_share_is_told_alone():
    told = over_nights([night("a", 4, A_THIRD)], {"a": Realised(4, 3, 1)})
    assert told == "In 1 night with verdicts 75 % of the 4 flags that were decided are true (30 to 95 %)."
