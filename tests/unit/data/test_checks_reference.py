"""What is normal: learnt from the history, the same after a round trip, sensible for new entities."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from aeflow.data.observed_cadence import ObservedCadence
from aeflow.data.reference import Reference, learn_reference, widened
from aeflow.data.row_chunks import RowChunk, iter_row_chunks
from aeflow.exceptions import InputError, StorageError
from tests.unit.data import checked_batches as given_
from tests.unit.data.series_pipeline import series_pipeline, write

STEP = given_.STEP_SECONDS


@pytest.fixture
def folder(tmp_path):
    given_.write_history(tmp_path)
    return tmp_path


@pytest.fixture
def learnt(folder):
    config = given_.pipeline(folder)
    return learn_reference(config, given_.history(config, folder))


def test_the_channels_of_each_entity_are_those_of_its_rows(learnt):
    values = np.concatenate([given_.day(n, seed=10 * n + 1)[1] for n in range(3)])
    profile = learnt.series.profile
    assert learnt.series.entities == ("m1", "m2")
    np.testing.assert_allclose(profile.minimum[1], values.min(axis=0))
    np.testing.assert_allclose(profile.maximum[1], values.max(axis=0))
    np.testing.assert_allclose(profile.mean[1], values.mean(axis=0))
    np.testing.assert_allclose(profile.std[1], values.std(axis=0))
    assert (profile.rows == 3 * given_.ROWS_A_DAY).all()


def test_pooled_statistics_are_those_of_all_rows_together(learnt):
    values = np.concatenate([given_.day(n, seed=10 * n + i)[1] for i in range(2) for n in range(3)])
    pooled = learnt.series.pooled
    np.testing.assert_allclose(pooled.mean[0], values.mean(axis=0))
    np.testing.assert_allclose(pooled.std[0], values.std(axis=0))
    np.testing.assert_allclose(pooled.minimum[0], values.min(axis=0))
    assert pooled.rows[0, 0] == len(values)


def test_cadence_and_rows_per_batch_are_learnt(learnt):
    assert learnt.series.cadence_seconds.tolist() == [STEP, STEP]
    assert learnt.series.regular_share == 1.0
    rows = learnt.rows_per_batch
    assert (rows.batches, rows.fewest, rows.median, rows.most) == (3, 288, 288.0, 288)
    assert (learnt.quarantined_share, learnt.out_of_order_share) == (0.0, 0.0)


def test_what_the_history_had_set_aside_or_out_of_order_is_learnt(tmp_path):
    times, values = given_.day(0)
    swapped = np.r_[1, 0, 2 : len(times)]
    given_.write_day(tmp_path, 0, {"m1": (times[swapped], values.astype(object)[swapped])})
    broken = values.astype(object)
    broken[:14, 0] = "x"
    given_.write_day(tmp_path, 1, {"m1": (given_.day(1)[0], broken)})
    config = given_.pipeline(tmp_path)
    learnt = learn_reference(config, given_.history(config, tmp_path))
    assert learnt.quarantined_share == pytest.approx(14 / 288)
    assert learnt.out_of_order_share == pytest.approx(1 / 288)


def test_a_round_trip_through_json_changes_nothing(learnt):
    stored = json.loads(json.dumps(learnt.to_json(), allow_nan=False))
    again = Reference.from_json(stored)
    assert again.to_json() == learnt.to_json()
    assert np.array_equal(again.series.profile.mean, learnt.series.profile.mean)


def test_a_channel_without_any_value_survives_the_round_trip(tmp_path):
    times, values = given_.day(0)
    values[:, 1] = np.nan
    given_.write_day(tmp_path, 0, {"m1": (times, values)})
    config = given_.pipeline(tmp_path)
    learnt = learn_reference(config, given_.history(config, tmp_path))
    stored = json.loads(json.dumps(learnt.to_json(), allow_nan=False))
    assert stored["series"]["profile"]["minimum"][0][1] is None
    assert np.isnan(Reference.from_json(stored).series.pooled.maximum[0, 1])


@pytest.mark.parametrize("damage", [{}, {"series": {}}, {"channels": 3}, {"series": None}])
def test_something_else_is_no_reference(learnt, damage):
    stored = {**learnt.to_json(), **damage} if damage else damage
    with pytest.raises(InputError, match="expected a stored reference"):
        Reference.from_json(stored)


def test_a_new_entity_is_held_against_all_together_and_a_known_one_against_itself(learnt):
    series = learnt.series
    chosen = series.profile_of(["new", "m2"])
    assert np.array_equal(chosen.minimum[0], series.pooled.minimum[0])
    assert np.array_equal(chosen.minimum[1], series.profile.minimum[1])
    assert series.cadence_of(["new", "m2"]).tolist() == [STEP, STEP]
    assert series.profile_of([]).rows.shape == (0, 2)


def test_an_entity_with_few_values_is_held_against_all_together(tmp_path):
    given_.write_day(tmp_path, 0, {"m1": given_.day(0), "m2": given_.day(0, rows=50, seed=5)})
    config = given_.pipeline(tmp_path)
    series = learn_reference(config, given_.history(config, tmp_path)).series
    chosen = series.profile_of(["m2"])
    assert np.array_equal(chosen.minimum[0], series.pooled.minimum[0])


def test_the_cadence_of_each_entity_is_its_own_and_gaps_are_irregular(tmp_path):
    times, values = given_.day(0, rows=100)
    gap = np.r_[0:40, 60:100]
    given_.write_day(
        tmp_path,
        0,
        {"m1": (times[gap], values[gap]), "m2": given_.day(0, rows=50, step=60), "m3": given_.day(0, rows=1)},
    )
    config = given_.pipeline(tmp_path)
    series = learn_reference(config, given_.history(config, tmp_path)).series
    assert series.cadence_seconds[:2].tolist() == [STEP, 60]
    assert np.isnan(series.cadence_seconds[2])
    assert series.regular_share == pytest.approx(1 - 1 / (79 + 49))
    assert series.cadence_of(["m3"]).tolist() == [(STEP + 60) / 2]


def test_portions_change_no_statistic(folder):
    config = given_.pipeline(folder)
    intake = given_.history(config, folder)
    whole, small = ObservedCadence(), ObservedCadence()
    for chunk in iter_row_chunks(intake):
        whole.feed(chunk)
    for chunk in iter_row_chunks(intake, chunk_rows=7):
        small.feed(chunk)
    assert whole.result()[0].tolist() == small.result()[0].tolist()
    entity = np.concatenate([c.entity for c in iter_row_chunks(intake, chunk_rows=7)])
    assert np.array_equal(entity, np.repeat([0, 1], 3 * given_.ROWS_A_DAY))


def test_of_a_long_entity_the_first_steps_tell_the_cadence_in_little_memory():
    cadence = ObservedCadence()
    tracemalloc.start()
    for part in range(40):
        time = (np.arange(10_000) + part * 10_000) * 1_000_000
        cadence.feed(RowChunk(("m",), np.zeros(10_000, dtype=np.int64), time, np.zeros((10_000, 1))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert cadence.result()[0].tolist() == [1.0]
    assert peak < 2_000_000


def test_the_range_is_widened_by_a_share_of_its_width():
    low, high = widened(np.array([0.0, 5.0, np.nan]), np.array([10.0, 5.0, np.nan]), 0.5)
    np.testing.assert_allclose(low[:2], [-5, 5])
    np.testing.assert_allclose(high[:2], [15, 5])
    assert low[1] <= 5.0 <= high[1]
    assert np.isnan([low[2], high[2]]).all()


@pytest.mark.parametrize(
    ("period", "expected"), [("hour", (6, 6, 6)), ("day", (62, 82, 144)), ("week", (288, 288, 288))]
)
def test_rows_are_counted_by_the_period_of_the_batches(tmp_path, period, expected):
    """Every ten minutes of two days from 08:00 UTC on, which is 13:45 in Kathmandu."""
    minutes = range(480, 3360, 10)
    lines = (f"2026-01-{5 + m // 1440:02d}T{m // 60 % 24:02d}:{m % 60:02d}Z,1\n" for m in minutes)
    write(tmp_path, "x.csv", "time,a\n" + "".join(lines))
    rule = {"by": "period", "period": period, "time_zone": "Asia/Kathmandu"}
    config = series_pipeline(tmp_path, channels=["a"], batch=rule)
    counted = learn_reference(config, given_.history(config, tmp_path)).rows_per_batch
    assert (counted.fewest, counted.median, counted.most) == expected


def test_rows_are_counted_by_folder(tmp_path):
    for hour, (name, rows) in enumerate((("b1", 3), ("b2", 7))):
        lines = (f"2026-01-01T{hour:02d}:{i:02d},1,2\n" for i in range(rows))
        write(tmp_path, f"{name}/x.csv", "time,a,b\n" + "".join(lines))
    config = series_pipeline(tmp_path, batch={"by": "folder"})
    counted = learn_reference(config, given_.history(config, tmp_path)).rows_per_batch
    assert (counted.fewest, counted.median, counted.most) == (3, 5.0, 7)


@pytest.mark.parametrize("history", [{"first_rows": 2}, {"first_share": 0.5}])
def test_batches_of_which_a_part_was_taken_tell_nothing_of_their_size(folder, history):
    config = given_.pipeline(folder, history=history)
    assert learn_reference(config, given_.history(config, folder)).rows_per_batch is None


def test_the_stored_form_of_images_is_learnt(tmp_path):
    given_.write_images(tmp_path, "normal", [(12, 16), (20, 24), (14, 30)])
    config = given_.image_config(tmp_path)
    learnt = learn_reference(config, given_.image_batch(config, tmp_path, "normal"))
    images = learnt.images
    assert (images.formats, images.modes) == (("PNG",), ("L",))
    assert (images.width_px, images.height_px) == ((16, 30), (12, 20))
    assert learnt.rows_per_batch.median == 3
    assert Reference.from_json(json.loads(json.dumps(learnt.to_json()))).images == images


def test_a_history_without_a_fit_image_is_refused(tmp_path):
    (tmp_path / "normal").mkdir()
    (tmp_path / "normal" / "x.png").write_bytes(b"")
    config = given_.image_config(tmp_path)
    with pytest.raises(InputError, match="none of the 1 files"):
        learn_reference(config, given_.image_batch(config, tmp_path, "normal"))


def test_staged_rows_that_are_gone_are_a_storage_error(folder):
    config = given_.pipeline(folder)
    intake = given_.history(config, folder)
    intake.rows_path.unlink()
    with pytest.raises(StorageError, match="staged rows"):
        learn_reference(config, intake)
