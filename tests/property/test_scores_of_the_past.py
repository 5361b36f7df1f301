"""A score that looks back over the scores of its entity is the same however the batch is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aeflow.config import Autoregression, Scoring, SeriesPrepare
from aeflow.data.series import Cadences, context_points, iter_series
from aeflow.detector.series_scores import SeriesNormal, UsualErrors, score_series
from aeflow.models.catalog import build
from aeflow.numerics.gridding import Cadence
from aeflow.numerics.scaling import RobustScale
from aeflow.numerics.trailing import look_back_points
from tests.property.test_series_windows import SECOND, write_rows

CADENCES = Cadences({}, Cadence(SECOND))
NORMAL = SeriesNormal(
    entities=("a", "b"),
    cadences=CADENCES,
    scale=RobustScale(np.zeros((3, 2), np.float32), np.ones((3, 2), np.float32)),
    errors=(
        UsualErrors(
            spread=np.ones((3, 2), dtype=np.float32),
            usual_level=np.array([1.0, 2.0, 1.5], dtype=np.float32),
            whitening=np.tile(np.array([[1.2, -0.4], [-0.4, 1.1]], dtype=np.float32), (3, 1, 1)),
        ),
    ),
)


@st.composite
def many_series(draw):
    """Entity -> (seconds, values): lengths, gaps and missing values of all kinds; "c" is new."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    found = {}
    for name in ("a", "b", "c")[: draw(st.integers(1, 3))]:
        steps = rng.choice([1, 1, 1, 1, 2, 3, 9, 70], size=draw(st.integers(1, 150)))
        seconds = np.cumsum(steps) + rng.uniform(-0.3, 0.3, steps.size)
        values = rng.standard_t(2, size=(steps.size, 2))
        values[rng.random(values.shape) < 0.1] = np.nan
        found[name] = (seconds, values)
    return found


def network(window):
    torch.manual_seed(0)
    made = build(Autoregression(), (window, 2))
    made.coefficients.copy_(0.3 * torch.randn(made.coefficients.shape))
    return made.eval()


def scores(rows, prepare, scoring, *, chunk_rows=10_000):
    """(entity, time) -> score and contributions of every row."""
    look_back = look_back_points(scoring.smooth_points, scoring.baseline_points)
    found = {}
    for chunk in iter_series(rows, prepare, CADENCES, chunk_rows=chunk_rows, look_back=look_back):
        of = score_series(
            NORMAL,
            network(prepare.window_points),
            chunk,
            "mse",
            scoring,
            device=torch.device("cpu"),
            chunk_items=64,
        )
        for row, number in enumerate(chunk.row_window):
            key = (chunk.entities[chunk.row_entity[row]], int(chunk.row_time_us[row]))
            assert key not in found
            found[key] = (
                np.full(3, np.nan) if number < 0 else np.append(of.score[number], of.contributions[number])
            )
    return found


def assert_alike(found, whole):
    assert found.keys() == whole.keys()
    for key, expected in whole.items():
        np.testing.assert_allclose(found[key], expected, rtol=1e-5, atol=1e-6, err_msg=str(key))


SMOOTHINGS = [(1, 0.0), (2, 0.0), (5, 0.5), (20, 0.0), (20, 0.3)]
SCORINGS = st.builds(
    lambda smoothing, **others: Scoring(smooth_points=smoothing[0], point_weight=smoothing[1], **others),
    st.sampled_from(SMOOTHINGS),
    distance=st.sampled_from(["channels", "mahalanobis"]),
    baseline_points=st.sampled_from([0, 16, 40]),
    baseline_quantile=st.sampled_from([0.5, 0.9]),
)
slowly = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@slowly
@given(
    series=many_series(),
    scoring=SCORINGS,
    chunk_rows=st.integers(1, 60),
    window=st.integers(2, 4),
    gap=st.integers(0, 3),
)
def test_chunks_change_no_score(tmp_path, series, scoring, chunk_rows, window, gap):
    rows = write_rows(tmp_path / "rows.parquet", series)
    prepare = SeriesPrepare(window_points=window, max_gap_points=gap)
    assert_alike(scores(rows, prepare, scoring, chunk_rows=chunk_rows), scores(rows, prepare, scoring))


@slowly
@given(
    series=many_series(),
    scoring=SCORINGS,
    border=st.integers(5, 150),
    window=st.integers(2, 4),
    gap=st.integers(0, 3),
)
def test_a_batch_with_its_context_has_the_scores_of_the_whole(tmp_path, series, scoring, border, window, gap):
    prepare = SeriesPrepare(window_points=window, max_gap_points=gap)
    whole = scores(write_rows(tmp_path / "whole.parquet", series), prepare, scoring)
    reach = context_points(prepare) + look_back_points(scoring.smooth_points, scoring.baseline_points)
    near = {
        name: (s[keep], v[keep]) for name, (s, v) in series.items() if (keep := s >= border - reach).any()
    }
    if not near:
        return
    night = scores(write_rows(tmp_path / "night.parquet", near, context_before=border), prepare, scoring)
    assert_alike(night, {key: value for key, value in whole.items() if key[1] >= border * SECOND})


@pytest.mark.parametrize("point_weight", [0.0, 0.5])
def test_parts_sum_to_the_score_whatever_it_is_made_of(tmp_path, point_weight):
    rng = np.random.default_rng(0)
    rows = write_rows(tmp_path / "rows.parquet", {"a": (np.arange(200.0), rng.normal(size=(200, 2)))})
    scoring = Scoring(distance="mahalanobis", smooth_points=7, point_weight=point_weight, baseline_points=32)
    found = np.array(list(scores(rows, SeriesPrepare(window_points=3), scoring).values())[3:])
    np.testing.assert_allclose(found[:, 1:].sum(axis=1), found[:, 0], rtol=1e-5)


def test_a_drift_of_the_usual_errors_does_not_raise_scores_against_the_past(tmp_path):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(2000, 2)) * np.linspace(1, 10, 2000)[:, None]
    rows = write_rows(tmp_path / "rows.parquet", {"a": (np.arange(2000.0), values)})
    last = {}
    for points in (0, 200):
        scoring = Scoring(smooth_points=10, baseline_points=points)
        of_rows = np.array(list(scores(rows, SeriesPrepare(window_points=2), scoring).values()))[:, 0]
        last[points] = np.nanmedian(of_rows[-200:]) / np.nanmedian(of_rows[250:450])
    assert last[0] > 10
    assert 0.4 < last[200] < 1.4
