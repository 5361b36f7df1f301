"""Every expectation holds on data that keeps it and fails, alone, on data that breaks it."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from aeflow.data import suite
from aeflow.data.expectations import expect_of_account, expect_of_images, expect_of_series
from aeflow.data.reference import learn_reference
from aeflow.data.sampled_table import SeriesColumns, draw_blocks, sample_images, sample_series
from aeflow.data.suite import run_suite
from aeflow.exceptions import StorageError
from tests.unit.data import checked_batches as given_

# As pandas shows a table of this kind, one row for each ten minutes.
ROWS = given_.ROWS_A_DAY


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """A config, its reference and the table of a good batch."""
    folder = tmp_path_factory.mktemp("series")
    given_.write_history(folder)
    given_.write_day(folder, 3, {m: given_.day(3, seed=30 + i) for i, m in enumerate(("m1", "m2"))})
    config = given_.pipeline(folder)
    reference = learn_reference(config, given_.history(config, folder))
    frame = sample_series(given_.batch(config, folder), reference).to_pandas()
    return config, reference, frame


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    given_.write_images(folder, "normal", [(12, 16), (20, 24), (14, 30)])
    given_.write_images(folder, "tonight", [(13, 17), (18, 25)] * 4)
    config = given_.image_config(folder)
    reference = learn_reference(config, given_.image_batch(config, folder, "normal"))
    frame = sample_images(given_.image_batch(config, folder, "tonight")).to_pandas()
    return config, reference, frame


def failed(expectations, frame):
    findings = run_suite("test", expectations, frame).findings
    return {(f.expectation.removeprefix("expect_"), f.column) for f in findings if not f.success}


def set_(column, rows, value):
    def change(frame):
        frame = frame.copy()
        frame.loc[frame.index[rows], column] = value
        return frame

    return change


def test_a_good_batch_of_series_keeps_every_expectation(series):
    config, reference, frame = series
    assert failed(expect_of_series(config, reference), frame) == set()


BETWEEN, PRESENT, TYPE = (
    "column_values_to_be_between",
    "column_values_to_not_be_null",
    "column_values_to_be_of_type",
)


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (lambda f: f.assign(extra=1), {("table_columns_to_match_set", "")}),
        (lambda f: f.assign(a=f.a.astype("float32")), {(TYPE, "a")}),
        (lambda f: f.assign(entity=pd.Categorical(f.entity)), {(TYPE, "entity")}),
        (lambda f: f.assign(time=f.time.astype("int64")), {(TYPE, "time")}),
        (set_("entity", [0], None), {(PRESENT, "entity")}),
        (set_("time", [0], pd.NaT), {(PRESENT, "time")}),
        (lambda f: pd.concat([f, f.iloc[:1]]), {("compound_columns_to_be_unique", "")}),
        (set_("step_seconds", [5], 0.0), {(BETWEEN, "step_seconds")}),
        (set_("step_seconds", [5], -600.0), {(BETWEEN, "step_seconds")}),
        (set_("step_cadences", slice(0, 50), 2.0), {(BETWEEN, "step_cadences")}),
        (set_("b", slice(0, 60), np.nan), {(PRESENT, "b")}),
        (set_("a", slice(0, 4), 999.0), {(BETWEEN, "a")}),
        (set_("a", slice(0, 4), -999.0), {(BETWEEN, "a")}),
    ],
)
def test_each_expectation_of_series_fails_alone_on_what_breaks_it(series, broken, expected):
    config, reference, frame = series
    before = frame.copy()
    assert failed(expect_of_series(config, reference), broken(frame)) == expected
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    "kept",
    [
        set_("step_cadences", slice(0, 20), 2.0),
        set_("b", slice(0, 57), np.nan),
        set_("a", slice(0, 2), 999.0),
    ],
)
def test_what_is_asked_of_most_rows_bears_a_few_others(series, kept):
    config, reference, frame = series
    assert failed(expect_of_series(config, reference), kept(frame)) == set()


def test_a_missing_column_fails_what_is_asked_of_it_without_an_error(series):
    config, reference, frame = series
    outcome = run_suite("test", expect_of_series(config, reference), frame.drop(columns="a"))
    wrong = {(f.expectation, f.column) for f in outcome.findings if not f.success}
    assert ("expect_table_columns_to_match_set", "") in wrong
    assert {column for _, column in wrong} == {"", "a"}
    assert any(f.observed.startswith("cannot be checked") for f in outcome.findings)
    assert "Traceback" not in json.dumps(outcome.results, default=str)


def test_without_a_reference_only_the_config_is_expected(series):
    config, _, frame = series
    expectations = expect_of_series(config, None)
    assert {e.column for e in expectations if e.kind.endswith("ToBeBetween")} == {"step_seconds"}
    assert failed(expectations, frame.assign(a=1e9)) == set()


def test_a_finding_tells_what_was_expected_and_what_came(series):
    config, reference, frame = series
    findings = run_suite("test", expect_of_series(config, reference), set_("a", slice(0, 72), 999.0)(frame))
    (found,) = [f for f in findings.findings if not f.success]
    low, high = (part for part in found.expected.removesuffix(" in 99%").split(" to "))
    assert float(low) < 20 < float(high) < 999
    assert (found.unexpected, found.unexpected_share) == (72, 0.25)
    assert found.observed == "not so in 72 of 288 (25.00%), such as 999, 999, 999, 999, 999"


def test_a_good_batch_of_images_keeps_every_expectation(images):
    config, reference, frame = images
    assert failed(expect_of_images(config, reference), frame) == set()


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (lambda f: f.drop(columns="group"), {("table_columns_to_match_set", "")}),
        (set_("item", [0], None), {(PRESENT, "item")}),
        (set_("item", [0, 1], "same"), {("column_values_to_be_unique", "item")}),
        (set_("bytes", [0], 0), {(BETWEEN, "bytes")}),
        (set_("format", [0], "TIFF"), {("column_values_to_be_in_set", "format")}),
        (set_("mode", [0], "RGBA"), {("column_values_to_be_in_set", "mode")}),
        (set_("width_px", [0], 38), {(BETWEEN, "width_px")}),
        (set_("height_px", [0], 7), {(BETWEEN, "height_px")}),
    ],
)
def test_each_expectation_of_images_fails_alone_on_what_breaks_it(images, broken, expected):
    config, reference, frame = images
    assert failed(expect_of_images(config, reference), broken(frame)) == expected


def test_images_just_inside_the_widened_sizes_are_kept(images):
    config, reference, frame = images
    assert failed(expect_of_images(config, reference), frame.assign(width_px=37, height_px=8)) == set()


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        ({}, set()),
        ({"rows": 144}, set()),
        ({"rows": 143}, {"rows"}),
        ({"rows": 576}, set()),
        ({"rows": 577}, {"rows"}),
        ({"quarantined_share": 0.2}, set()),
        ({"quarantined_share": 0.21}, {"quarantined_share"}),
        ({"out_of_order_share": 0.01}, {"out_of_order_share"}),
    ],
)
def test_the_account_of_a_batch_is_held_against_the_history(series, account, expected):
    config, reference, _ = series
    good = {"rows": 288, "quarantined_share": 0.0, "out_of_order_share": 0.0}
    frame = pd.DataFrame({key: [value] for key, value in {**good, **account}.items()})
    assert {column for _, column in failed(expect_of_account(config, reference), frame)} == expected


def test_two_batches_tell_no_range_of_rows(series):
    config, reference, _ = series
    few = replace(reference, rows_per_batch=replace(reference.rows_per_batch, batches=2))
    frame = pd.DataFrame({"rows": [1], "quarantined_share": [0.0], "out_of_order_share": [0.0]})
    assert failed(expect_of_account(config, few), frame) == set()
    assert failed(expect_of_account(config, reference), frame) == {("column_max_to_be_between", "rows")}


def test_without_a_reference_a_batch_needs_a_row(series):
    config, _, _ = series
    frame = pd.DataFrame({"rows": [0], "quarantined_share": [0.0], "out_of_order_share": [0.5]})
    assert {column for _, column in failed(expect_of_account(config, None), frame)} == {"rows"}


def test_nothing_is_printed_and_nothing_is_written(series, tmp_path, monkeypatch, capfd):
    config, reference, frame = series
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *_: pytest.fail("a temporary folder was made"))
    suite._batch_definition.cache_clear()
    run_suite("test", expect_of_series(config, reference), frame)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_large_batch_is_seen_in_whole_blocks_spread_over_it(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa_table(10_000), path, row_group_size=777)
    rows, place, drawn = draw_blocks(path, ["n"], max_rows=500, block_rows=100)
    assert rows.column("n").to_pylist() == place.tolist()
    seen = place[drawn]
    assert seen.tolist() == [n for start in (0, 2475, 4950, 7425, 9900) for n in range(start, start + 100)]
    assert place[~drawn].tolist() == [2474, 4949, 7424, 9899]


def test_the_same_batch_gives_the_same_rows_whatever_its_row_groups(tmp_path):
    drawn = []
    for number, size in enumerate((50, 1000, 5000)):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa_table(5_000), path, row_group_size=size)
        rows, _, _ = draw_blocks(path, None, max_rows=1_000, block_rows=100)
        drawn.append(rows)
    assert drawn[0].equals(drawn[1])
    assert drawn[0].equals(drawn[2])


@pytest.mark.parametrize(
    ("total", "max_rows", "seen"), [(0, 10, 0), (1, 10, 1), (10, 10, 10), (11, 10, 10), (99, 30, 30)]
)
def test_no_more_rows_are_drawn_than_asked_for(tmp_path, total, max_rows, seen):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa_table(total), path)
    _, _, drawn = draw_blocks(path, ["n"], max_rows=max_rows, block_rows=15)
    assert drawn.sum() == seen


def test_steps_stay_meaningful_where_blocks_begin(series, tmp_path):
    config, reference, frame = series
    intake = given_.batch(config, config.folder)
    part = sample_series(intake, reference, max_rows=40).to_pandas()
    assert len(part) == 40
    known = part.step_seconds.dropna()
    assert (known == given_.STEP_SECONDS).all()
    assert part.step_seconds.isna().sum() == 1  # the first row of the file
    assert frame.step_seconds.isna().sum() == 2  # the first row of each entity
    assert (frame.step_cadences.dropna() == 1.0).all()


def test_context_is_looked_at_for_steps_only(series):
    config, reference, _ = series
    from aeflow.data.series_intake import take_in_series

    folder = config.folder / "with-context"
    intake = take_in_series(config, "2026-01-04", folder, context_points=5, cadence_seconds=600)
    assert intake.context_rows > 0
    frame = sample_series(intake, reference).to_pandas()
    assert len(frame) == intake.valid
    assert frame.step_seconds.notna().all()


def test_channels_may_have_the_names_of_the_other_columns():
    names = SeriesColumns.beside(["time", "time_", "a"])
    assert (names.entity, names.time, names.step_seconds) == ("entity", "time__", "step_seconds")


def test_a_staged_file_that_is_gone_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="staged batch"):
        draw_blocks(tmp_path / "rows.parquet", None, max_rows=10)


def pa_table(rows):
    import pyarrow as pa

    return pa.table({"n": np.arange(rows)})
