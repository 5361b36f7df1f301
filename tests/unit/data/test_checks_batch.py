"""A staged batch is checked, graded, kept account of, and refused only where the config says so."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from aeflow.data.checks import check_batch
from aeflow.data.reference import learn_reference
from aeflow.data.sampled_table import MAX_ROWS
from aeflow.data.series_intake import take_in_series
from aeflow.exceptions import BatchRefused, InputError, IntegrityError, StorageError
from tests.unit.data import checked_batches as given_

ROWS = given_.ROWS_A_DAY


@pytest.fixture
def folder(tmp_path):
    given_.write_history(tmp_path)
    return tmp_path


def machines(**changed):
    """Both machines on day 3; m1=... or m2=... replaces the values of one."""
    days = {name: given_.day(3, seed=30 + i) for i, name in enumerate(("m1", "m2"))}
    return {name: (times, changed.get(name, values)) for name, (times, values) in days.items()}


def check(folder, tonight, *, learn=True, **options):
    """Write the rows of day 3 and check them; None: the day stays without a row."""
    config = given_.pipeline(folder, **options)
    reference = learn_reference(config, given_.history(config, folder)) if learn else None
    if tonight is not None:
        given_.write_day(folder, 3, tonight)
    else:
        given_.write_day(folder, 4, {"m1": given_.day(4)})  # a day between others that hold rows
    return check_batch(config, given_.batch(config, folder), reference, folder / "docs")


def values(seed=30):
    return given_.day(3, seed=seed)[1]


def graded(checks):
    return {g.channel: (g.grade, g.cause, g.entities) for g in checks.grades}


def test_a_batch_like_the_history_passes_whole(folder):
    checks = check(folder, machines())
    assert checks.failed == ()
    assert checks.passed == 17
    assert (checks.rows_seen, checks.rows, checks.rows_in) == (288, 288, 288)
    assert graded(checks) == {"a": ("HIGH", "", ()), "b": ("HIGH", "", ())}
    assert (checks.refused, checks.warnings, checks.examples) == (None, (), ())
    checks.raise_if_refused()


def test_planted_faults_are_graded_with_their_cause_and_the_machine(folder):
    bad = values()
    bad[:, 0] = 20.0
    bad[:100, 1] = np.nan
    checks = check(folder, machines(m1=bad))
    assert graded(checks) == {"a": ("LOW", "flat", ("m1",)), "b": ("LOW", "missing", ("m1",))}
    assert checks.refused is None


def test_a_stuck_and_a_moved_channel_are_graded(folder):
    stuck, moved = values(30), values(31)
    stuck[20:60, 0] = stuck[20, 0]
    moved[:, 1] += 100
    checks = check(folder, machines(m1=stuck, m2=moved))
    assert graded(checks) == {"a": ("MEDIUM", "stuck", ("m1",)), "b": ("LOW", "out_of_range", ("m2",))}
    assert [(f.expectation, f.column) for f in checks.failed] == [("expect_column_values_to_be_between", "b")]
    checks.raise_if_refused()  # what fails is a warning


def test_each_machine_is_graded_against_its_own_range(tmp_path):
    low, high = (given_.day(0, seed=1), given_.day(0, seed=2))
    given_.write_day(tmp_path, 0, {"m1": low, "m2": (high[0], high[1] + 1000)})
    as_the_other = machines(m1=values() + 1000, m2=values() + 1000)
    checks = check(tmp_path, as_the_other, history={"last": "2026-01-01"})
    assert graded(checks)["a"] == ("LOW", "out_of_range", ("m1",))


def test_the_rows_of_the_context_are_not_graded(folder):
    given_.write_day(folder, 2, {"m1": (given_.day(2)[0], np.full((ROWS, 2), 999.0))})
    config = given_.pipeline(folder, history={"last": "2026-01-02"})
    reference = learn_reference(config, given_.history(config, folder))
    given_.write_day(folder, 3, {"m1": given_.day(3)})
    intake = take_in_series(config, "2026-01-04", folder / "staged", context_points=90, cadence_seconds=600)
    checks = check_batch(config, intake, reference, folder / "docs")
    assert intake.context_rows == 90
    assert {g.grade for g in checks.grades} == {"HIGH"}


def broken(share):
    """The rows of m1, of which this share holds text in a channel."""
    bad = values().astype(object)
    bad[: round(share * 2 * ROWS), 0] = "x"
    return bad


def test_a_batch_is_refused_beyond_the_configured_share(folder):
    assert check(folder, machines(m1=broken(0.25)), checks={"max_quarantined_share": 0.25}).refused is None
    checks = check(folder, machines(m1=broken(0.26)), checks={"max_quarantined_share": 0.25})
    assert checks.refused == (
        "expected at most 25.00% of the rows to be unfit to score, got 75 of 288, 26.04% (0.00% in the history)"
    )
    assert "quarantined_share" in {f.column for f in checks.failed}


def test_a_refusal_tells_the_numbers_by_reason_and_the_first_examples(folder):
    bad = broken(0.3)
    bad[100, 1] = "inf"
    checks = check(folder, machines(m1=bad))
    with pytest.raises(BatchRefused) as raised:
        checks.raise_if_refused()
    text = str(raised.value)
    assert text.startswith("machines, batch 2026-01-04: expected at most 20.00%")
    assert "bad_number 86, not_finite 1" in text
    assert "day3.csv, row 1: bad_number: a = 'x'" in text
    assert "day3.csv, row 101: not_finite: b = inf" in text
    assert "max_quarantined_share" in text


def test_a_batch_of_which_nothing_is_fit_is_refused_whatever_the_share(folder):
    nothing = np.full((ROWS, 2), "x", dtype=object)
    checks = check(folder, {"m1": (given_.day(3)[0], nothing)}, checks={"max_quarantined_share": 1.0})
    assert checks.refused == "all 144 rows of the batch are unfit to score"
    assert (checks.grades, checks.rows_seen) == ((), 0)
    with pytest.raises(BatchRefused, match="bad_number 144"):
        checks.raise_if_refused()


@pytest.mark.parametrize("learn", [True, False])
def test_an_empty_batch_is_refused(folder, learn):
    checks = check(folder, None, learn=learn)
    assert checks.refused == "expected rows to score, and the batch holds none"
    assert [f.column for f in checks.failed] == ["rows"]
    with pytest.raises(BatchRefused, match="If its rows are late"):
        checks.raise_if_refused()


def test_new_and_silent_machines_are_told_of(folder):
    checks = check(folder, {"m2": given_.day(3), "m3": given_.day(3, seed=9)})
    assert checks.warnings == (
        "entity 'm3' was not in the history; the channels are graded against those of all entities together.",
        "No row came from entity 'm1', known from the history.",
    )
    assert checks.refused is None


def test_rows_out_of_order_and_too_few_rows_are_told_of(folder):
    times, some = given_.day(3, rows=60)
    checks = check(folder, {"m1": (times[::-1], some[::-1])})
    assert {f.column: f.observed for f in checks.failed} == {
        "rows": "60",
        "out_of_order_share": "0.983333",
    }


def test_an_irregular_batch_is_told_of(folder):
    times, some = given_.day(3)
    some_gaps = np.arange(ROWS) % 3 > 0  # every other step is twice as long
    checks = check(folder, dict.fromkeys(("m1", "m2"), (times[some_gaps], some[some_gaps])))
    assert [f.column for f in checks.failed] == ["step_cadences"]


def test_without_a_reference_the_batch_is_checked_against_the_config(folder):
    bad = values()
    bad[:, 0] = np.nan
    checks = check(folder, machines(m1=bad), learn=False)
    assert graded(checks)["a"] == ("LOW", "missing", ("m1",))
    assert [f.column for f in checks.failed] == ["a"]


def test_the_page_links_nothing_and_shows_what_failed(folder):
    bad = values()
    bad[:, 1] += 100
    check(folder, machines(m1=bad))
    page = (folder / "docs" / "index.html").read_text(encoding="utf-8")
    assert re.search(r"(?:src|href|srcset|action|data)\s*=|url\(|@import|https?://|<script", page) is None
    assert '<span class="bad">fails</span>' in page
    assert "column values to be between" in page
    assert "out of range" in page


def test_the_page_escapes_what_came(tmp_path):
    name = "<script>alert(1)</script>"
    given_.write_day(tmp_path, 0, {name: given_.day(0)})
    times, bad = given_.day(3)
    bad[:, 0] = 7.0
    checks = check(tmp_path, {name: (times, bad)}, history={"last": "2026-01-01"})
    assert checks.grades[0].entities == (name,)
    page = (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page
    assert "<script" not in page


def test_the_same_batch_leaves_the_same_bytes(folder):
    first = check(folder, machines())
    before = {path.name: path.read_bytes() for path in (folder / "docs").iterdir()}
    again = check(folder, machines())
    assert first == again
    assert {path.name: path.read_bytes() for path in (folder / "docs").iterdir()} == before
    assert sorted(before) == ["index.html", "validation.json"]


def test_the_stored_result_is_json_without_the_machine_s_paths(folder):
    check(folder, machines())
    text = (folder / "docs" / "validation.json").read_text(encoding="utf-8")
    stored = json.loads(text)
    assert stored["great_expectations_version"]
    assert len(stored["results"]) == stored["passed"] == 17
    assert str(folder) not in text
    assert "site-packages" not in text


def test_docs_that_cannot_be_written_are_a_storage_error(folder):
    (folder / "docs").write_text("in the way")
    with pytest.raises(StorageError, match="findings"):
        check(folder, machines())


def test_a_reference_of_other_channels_is_refused(folder):
    config = given_.pipeline(folder)
    reference = learn_reference(config, given_.history(config, folder))
    given_.write_day(folder, 3, machines())
    other = given_.pipeline(folder, channels=["b", "a"])
    with pytest.raises(InputError, match="channels a, b"):
        check_batch(other, given_.batch(other, folder), reference, folder / "docs")


def test_rows_that_are_not_those_of_the_account_are_noticed(folder):
    from dataclasses import replace

    config = given_.pipeline(folder)
    given_.write_day(folder, 3, machines())
    intake = replace(given_.batch(config, folder), entities=("m1", "other"))
    with pytest.raises(IntegrityError, match="entities"):
        check_batch(config, intake, None, folder / "docs")


def test_images_are_checked_and_not_graded(tmp_path):
    given_.write_images(tmp_path, "normal", [(12, 16)] * 4)
    given_.write_images(tmp_path, "tonight", [(12, 16)] * 4)
    config = given_.image_config(tmp_path)
    reference = learn_reference(config, given_.image_batch(config, tmp_path, "normal"))
    checks = check_batch(
        config, given_.image_batch(config, tmp_path, "tonight"), reference, tmp_path / "docs"
    )
    assert (checks.failed, checks.grades, checks.refused) == ((), (), None)
    assert (checks.rows_seen, checks.passed) == (4, 10)


def test_other_images_are_told_of_and_too_many_bad_ones_are_refused(tmp_path):
    given_.write_images(tmp_path, "normal", [(12, 16)] * 4)
    given_.write_images(tmp_path, "tonight", [(30, 16)] * 3, kind="TIFF")
    (tmp_path / "tonight" / "bad.png").write_bytes(b"")
    config = given_.image_config(tmp_path)
    reference = learn_reference(config, given_.image_batch(config, tmp_path, "normal"))
    checks = check_batch(
        config, given_.image_batch(config, tmp_path, "tonight"), reference, tmp_path / "docs"
    )
    assert {f.column for f in checks.failed} == {"quarantined_share", "format", "height_px"}
    with pytest.raises(BatchRefused, match=r"1 of 4, 25.00%.*zero_bytes 1") as raised:
        checks.raise_if_refused()
    assert "tonight/bad.png: zero_bytes: 0 bytes" in str(raised.value)


@pytest.mark.real_data
def test_real_test_rows_are_graded_and_keep_the_order(shared_data, tmp_path):
    """A machine of SMD: learnt from its training part, checked on the part with faults."""
    import gzip

    for batch, part in (("history", "train"), ("tonight", "test")):
        (path,) = sorted((shared_data / "smd" / part).glob("*.txt.gz"))[:1]
        target = tmp_path / "data" / batch / "machine.csv"
        target.parent.mkdir(parents=True)
        target.write_bytes(gzip.decompress(path.read_bytes()))
    source = {
        "kind": "table",
        "path": "data",
        "header": False,
        "channels": [f"c{i:02d}" for i in range(1, 11)],
    }
    config = given_.pipeline(tmp_path, history={"batches": ["history"]})
    stored = config.model_dump(mode="json") | {
        "source": source,
        "batch": {"by": "folder"},
        "prepare": {"kind": "series", "cadence_seconds": 60},
    }
    config = type(config).model_validate(stored).at(tmp_path)
    reference = learn_reference(config, given_.history(config, tmp_path))
    checks = check_batch(
        config, take_in_series(config, "tonight", tmp_path / "b"), reference, tmp_path / "docs"
    )
    assert checks.rows_seen == MAX_ROWS < checks.rows  # a spread of them, in their order
    assert {f.column for f in checks.failed} <= set(config.channels)
    grades = [g.grade for g in checks.grades]
    assert len(grades) == 10
    assert grades.count("HIGH") >= 5
