from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aeflow.exceptions import AccountingError, IntegrityError, StorageError
from aeflow.numerics.calibration import fit_calibration
from aeflow.numerics.exchangeability import (
    BulkCounts,
    BulkRise,
    Exchangeability,
    check_exchangeability,
)
from aeflow.report.promise import Moved, make_promise, promise_of
from aeflow.report.summary import SUMMARY_FILE, Grade, build_summary, read_summary
from aeflow.report.survey import survey_scores
from tests.unit.report import samples


def summary_of(folder, facts):
    return build_summary(facts, survey_scores(folder / "scores.parquet"), folder / "flags.parquet")


def test_every_row_is_accounted_for(series):
    folder, rows = series
    summary = summary_of(folder, samples.facts(rows + 3, quarantined={"bad_number": 2, "no_entity": 1}))
    assert summary.rows_in == summary.scored + summary.not_scorable + summary.quarantined_rows
    assert summary.not_scorable_by_reason == {"no_context": summary.not_scorable}
    assert (summary.quarantined, summary.entities) == ({"bad_number": 2, "no_entity": 1}, 2)


def test_a_lost_row_fails_the_summary(series):
    folder, rows = series
    with pytest.raises(AccountingError, match=rf"{rows + 1} rows came in, but .* = {rows}"):
        summary_of(folder, samples.facts(rows + 1))


def test_flags_that_do_not_match_the_scores_fail_the_summary(series):
    folder, rows = series
    flags = pq.read_table(folder / "flags.parquet")
    pq.write_table(flags.slice(1), folder / "flags.parquet")
    with pytest.raises(AccountingError, match="rows of the scores are flagged"):
        summary_of(folder, samples.facts(rows))


def test_a_state_that_is_none_is_refused(series):
    folder, _ = series
    scores = pq.read_table(folder / "scores.parquet")
    states = pa.array(["lost", *scores.column("state").to_pylist()[1:]])
    pq.write_table(scores.set_column(2, "state", states), folder / "scores.parquet")
    with pytest.raises(IntegrityError, match="lost"):
        survey_scores(folder / "scores.parquet")


def test_scores_without_their_description_are_refused(series):
    folder, _ = series
    scores = pq.read_table(folder / "scores.parquet")
    pq.write_table(scores.replace_schema_metadata({}), folder / "scores.parquet")
    with pytest.raises(IntegrityError, match=r"aeflow\.kind"):
        survey_scores(folder / "scores.parquet")


def test_the_sentence_says_what_happened(series):
    folder, rows = series
    summary = summary_of(folder, samples.facts(rows))
    flagged = summary.flagged_rows
    assert summary.sentence == (
        f"{flagged} of {summary.scored:,} points look abnormal: {summary.flags} events in "
        f"{summary.flagged_entities} of 2 entities; about 1 flag was to be expected by chance."
    )


def test_a_promise_that_does_not_hold_is_told_in_its_place(series):
    folder, rows = series
    moved = Moved(expected_share=0.5, came_share=0.83, p_value=1e-9)
    pump = Moved(entity="pump 3", expected_share=0.1, came_share=0.4, p_value=1e-4)
    promise = make_promise("false_flags_per_batch", 1.0, kept=False, moved=(moved, pump))
    summary = summary_of(folder, samples.facts(rows, promise=promise))
    assert summary.sentence.endswith(". Promise not kept: recalibrate.")
    assert "by chance" not in summary.sentence
    assert (
        "83 % of the scores of the batch lie above a level that 50 % of the calibration's do"
        in summary.promise.moved_in_words
    )
    assert "40 % of the scores of pump 3 lie above a level that 10 %" in summary.promise.moved_in_words
    assert read_back(folder, summary) == summary


def read_back(folder, summary):
    summary.write(folder / SUMMARY_FILE)
    return read_summary(folder)


def test_a_summary_names_what_was_promised_and_what_may_come_by_chance():
    calibration = fit_calibration(
        np.random.default_rng(0).standard_normal(4000),
        rule="peaks_over_threshold",
        false_flags_per_batch=2.0,
        items_per_batch=1000,
    )
    whole = BulkRise(0.5, 0.52, 0.4)
    calm = Exchangeability(whole, moved=False, entities={})
    promise = promise_of(calibration, calm, calibration.count_interval(1000), beyond_chance=True, flags=9)
    low, high = promise.expected_interval
    assert promise.expected_false_flags_per_batch == pytest.approx(2.0)
    assert low < 2 < high
    assert promise.flags_by_chance[0] <= 2 <= promise.flags_by_chance[1] < 12
    assert (promise.kept, promise.moved, promise.moved_in_words) == (True, (), "")
    drift = Exchangeability(BulkRise(0.5, 0.9, 1e-5), moved=True, entities={"a": BulkRise(0.1, 0.7, 1e-5)})
    doubt = promise_of(calibration, drift, (0, 5), beyond_chance=False, flags=1)
    assert (doubt.kept, doubt.moved_in_words[:46]) == (True, "Promise in doubt: recalibrate soon. Although n")
    moved = promise_of(calibration, drift, (0, 5), beyond_chance=True, flags=9)
    assert moved.moved_in_words.startswith(
        "Promise not kept: recalibrate. More is flagged than by chance, and 90 %"
    )
    assert (moved.kept, [one.entity for one in moved.moved]) == (False, ["", "a"])
    nothing = Exchangeability(None, moved=False, entities={})
    assert promise_of(calibration, nothing, (0, 0), beyond_chance=False, flags=0).kept is None


def rate_over(scores, unit=1):
    """A promised rate, calibrated on scores of which so many come alike."""
    return fit_calibration(
        np.repeat(scores, unit),
        rule="peaks_over_threshold",
        false_discovery_rate=0.33,
        items_per_batch=1000,
        sequence=(np.zeros(scores.size * unit, dtype=np.int64), np.arange(scores.size * unit)),
    )


def test_a_calibration_that_scored_higher_than_anything_of_the_batch_says_so_in_place_of_nothing_abnormal(
    images,
):
    scores = np.abs(np.random.default_rng(1).standard_normal(1000))
    scores[::8] += 50  # something odd was in the history
    calibration = rate_over(scores)
    p_values = calibration.p_values(np.abs(np.random.default_rng(2).standard_normal(1000)))
    bulk = BulkCounts()
    bulk.add(p_values)
    found = check_exchangeability(bulk, calibration.normal, {})
    promise = promise_of(calibration, found, None, beyond_chance=False, flags=0)
    told = promise.blunt_in_words
    assert told.startswith("Nothing could be flagged")
    assert "13 % of normal data score as high" in told
    assert "39 % of the batch would have to" in told
    assert promise_of(calibration, found, None, beyond_chance=False, flags=1).blunt_in_words == ""
    folder, rows = images
    flags = pq.read_table(folder / "flags.parquet")
    pq.write_table(flags.slice(0, 0), folder / "flags.parquet")
    survey = replace(survey_scores(folder / "scores.parquet"), flagged=0)
    summary = build_summary(samples.facts(rows, promise=promise), survey, folder / "flags.parquet")
    assert summary.sentence == "Nothing of 60 images could be flagged: the calibration scored higher."


def test_a_calm_batch_and_a_promised_number_of_flags_are_not_called_blunt():
    scores = np.abs(np.random.default_rng(1).standard_normal(1000))
    calibration = rate_over(scores)
    for size, share in ((1000, 1.0), (3, 1.0)):
        bulk = BulkCounts()
        bulk.add(calibration.p_values(share * np.abs(np.random.default_rng(2).standard_normal(size))))
        found = check_exchangeability(bulk, calibration.normal, {})
        assert promise_of(calibration, found, None, beyond_chance=False, flags=0).blunt_in_words == ""
    few = Exchangeability(None, moved=False, entities={}, n=1000, least_p_value=0.2)
    number = fit_calibration(
        scores, rule="peaks_over_threshold", false_flags_per_batch=1, items_per_batch=1000
    )
    assert promise_of(number, few, (0, 4), beyond_chance=False, flags=0).blunt_in_words == ""


def test_the_sentence_for_images_counts_images(images):
    folder, rows = images
    promise = make_promise("false_discovery_rate", 0.05)
    summary = summary_of(folder, samples.facts(rows, promise=promise))
    assert summary.sentence == (
        "3 of 60 images look abnormal; at most 5 % of the flags are expected to be false."
    )
    assert summary.promise.sentence == "At most 5 % of a batch's flags are expected to be false."
    assert (summary.entities, summary.flagged_entities) == (0, 0)


def test_the_sentence_without_flags_is_calm(tmp_path, water):
    rows = samples.write_series(tmp_path, {"": water["north"][:200]}, cut=1e-301)
    summary = summary_of(tmp_path, samples.facts(rows))
    assert summary.sentence.startswith("Nothing among 192 points looks abnormal;")
    assert summary.flags == 0


def test_a_batch_of_which_nothing_could_be_scored_says_so(tmp_path, water):
    samples.write_series(tmp_path, {"": water["north"][:40]}, cut=1e-301)
    scores = pq.read_table(tmp_path / "scores.parquet")
    pq.write_table(scores.slice(0, 8), tmp_path / "scores.parquet")
    summary = summary_of(tmp_path, samples.facts(8))
    assert summary.sentence == "No point could be scored."
    assert summary.score_quantiles == {}


def test_quantiles_are_those_of_the_scores(series):
    folder, rows = series
    scores = pq.read_table(folder / "scores.parquet", columns=["score"]).column("score").drop_null()
    summary = summary_of(folder, samples.facts(rows))
    expected = np.quantile(scores.to_numpy(), 0.9, method="inverted_cdf")
    assert summary.score_quantiles["p90"] == pytest.approx(expected, rel=1e-3)
    assert summary.score_quantiles["max"] == scores.to_numpy().max()


def test_the_most_severe_flags_come_first_and_no_more_than_twenty(tmp_path):
    rows = samples.write_images(tmp_path, samples.digits(100), flagged=50)
    summary = summary_of(tmp_path, samples.facts(rows))
    severities = [flag.severity for flag in summary.top_flags]
    assert len(severities) == 20
    assert severities == sorted(severities, reverse=True)


def test_the_cut_is_read_from_the_rows(series):
    folder, _ = series
    assert survey_scores(folder / "scores.parquet").cut_p_value == pytest.approx(samples.CUT, rel=1e-3)


def test_a_summary_read_again_is_the_same(series):
    folder, rows = series
    grades = (Grade(channel="flow", grade="LOW", cause="flat", entities=("north",)),)
    summary = summary_of(folder, samples.facts(rows, grades=grades, warnings=("first night",)))
    summary.write(folder / SUMMARY_FILE)
    assert read_summary(folder) == summary


def test_a_summary_of_a_later_version_is_read(series):
    folder, rows = series
    summary = summary_of(folder, samples.facts(rows))
    text = summary.model_dump_json().replace("{", '{"a_later_key": 1, ', 1)
    (folder / SUMMARY_FILE).write_text(text, encoding="utf-8")
    assert read_summary(folder) == summary


def test_what_is_no_summary_is_refused(tmp_path):
    with pytest.raises(StorageError, match=r"read summary\.json"):
        read_summary(tmp_path)
    (tmp_path / SUMMARY_FILE).write_text('{"pipeline": 3}', encoding="utf-8")
    with pytest.raises(IntegrityError, match="no summary of a report"):
        read_summary(tmp_path)
