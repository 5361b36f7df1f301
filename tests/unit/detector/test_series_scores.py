"""What is scored of a window where a network expects its last point in ways of different kinds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from aeflow import detector as detectors
from aeflow.config import PipelineConfig
from aeflow.data.series import iter_series
from aeflow.data.take_in import take_in, take_in_training
from aeflow.detector.fitting import fit, prepare
from aeflow.detector.series_scores import residuals
from aeflow.models.autoencoder import Autoencoder
from aeflow.numerics.reconstruction_error import fit_spread, series_scores

CPU = torch.device("cpu")


class TwoKinds(Autoencoder):
    """Expects 0 by its first kind of views and the value less a hundredth by its second; two of each."""

    view_kinds = 2
    code_size = 1

    def __init__(self, statistic=None):
        super().__init__()
        self.statistic = statistic

    def encode(self, x, observed=None):
        raise NotImplementedError

    def decode(self, code):
        raise NotImplementedError

    def views(self, x, _observed=None):
        return torch.stack([0 * x, 0 * x, 0.99 * x, 0.99 * x])

    def latent_contributions(self, x, _observed=None):
        return None if self.statistic is None else torch.full_like(x, self.statistic / x.shape[1])


def found_by(network, values, observed=None):
    seen = np.ones(values.shape, dtype=bool) if observed is None else observed
    ends = np.arange(3, len(values))
    return residuals(network, values, seen, ends, 4, "mse", device=CPU, chunk_items=7)


def test_each_kind_of_views_has_residuals_of_its_own():
    values = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    found = found_by(TwoKinds(), values)
    np.testing.assert_allclose(found.residual[:, :2], values[3:], rtol=1e-6)
    np.testing.assert_allclose(found.residual[:, 2:], 0.01 * values[3:], rtol=1e-4, atol=1e-6)
    assert found.observed.shape == (47, 4)
    assert found.reconstruction.shape == (47, 2)


def test_small_errors_of_one_kind_count_as_much_as_large_ones_of_another():
    values = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    found = found_by(TwoKinds(), values)
    spread = fit_spread(found.residual, found.observed, np.zeros(47, dtype=np.int64), 1, least=1e-6)[:1]
    for kind in (slice(0, 2), slice(2, 4)):
        worse = found.residual.copy()
        worse[:, kind] *= 3
        before, after = (
            series_scores(r, found.observed, np.repeat(spread, 47, axis=0))[0].mean()
            for r in (found.residual, worse)
        )
        assert before == pytest.approx(1, rel=1e-4)
        assert after == pytest.approx((1 + 9) / 2, rel=1e-4)


def test_a_statistic_of_the_code_counts_once_whatever_the_kinds():
    values = np.zeros((20, 2), dtype=np.float32)
    found = found_by(TwoKinds(statistic=3.0), values)
    score, _ = series_scores(
        found.residual, found.observed, np.ones((17, 4), dtype=np.float32), extra=found.latent
    )
    np.testing.assert_allclose(score, 2 * 3.0, rtol=1e-5)  # of each channel


def test_no_window_leaves_no_residual_of_either_kind():
    values = np.zeros((3, 2), dtype=np.float32)
    found = found_by(TwoKinds(), values)
    assert found.residual.shape == found.observed.shape == (0, 4)
    assert found.reconstruction.shape == (0, 2)


@pytest.fixture(scope="module")
def composite(tmp_path_factory):
    """Two channels, two days by the minute; a tiny composite LSTM."""
    folder = tmp_path_factory.mktemp("composite")
    rng = np.random.default_rng(0)
    lines = ["time,flow,heat"]
    for minute in range(500):
        day, rest = divmod(minute, 300)
        wave = np.sin(minute / 5)
        cells = ["" if rng.random() < 0.02 else f"{v + rng.normal(0, 0.01):.5f}" for v in (wave, 20 - wave)]
        lines.append(f"2026-01-{day + 1:02d}T{rest // 60:02d}:{rest % 60:02d}:00,{','.join(cells)}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = PipelineConfig.model_validate(
        {
            "name": "flow",
            "source": {
                "kind": "table",
                "path": "data.csv",
                "time_column": "time",
                "channels": ("flow", "heat"),
            },
            "batch": {"by": "period"},
            "history": {"last": "2026-01-01"},
            "prepare": {"kind": "series", "cadence_seconds": 60, "window_points": 8},
            "model": {"family": "lstm", "task": "composite", "hidden_size": 8, "code_size": 4},
            "training": {"epochs": 2},
            "calibration": {"false_flags_per_batch": 2},
        }
    ).at(folder)
    intake = take_in_training(config, folder / "history")
    fitted = fit(config, config.model, prepare(config, intake, batches=["2026-01-01"]), device=CPU).detector
    staged = take_in(config, "2026-01-02", folder / "night", context=fitted.context)
    return fitted, next(iter_series(staged.rows_path, config.prepare, fitted.normal.cadences))


def test_a_composite_scores_by_channel_whatever_the_portion_and_after_it_was_saved(composite, tmp_path):
    fitted, inputs = composite
    assert fitted.normal.errors[0].spread.shape == (2, 2 * 2)
    whole = fitted.score_series(inputs, device=CPU, chunk_items=1000)
    assert whole.contributions.shape == whole.expected.shape == (inputs.ends.size, 2)
    np.testing.assert_allclose(whole.contributions.sum(axis=1), whole.score, rtol=1e-5)
    detectors.save(fitted, tmp_path / "saved")
    cut = detectors.load(tmp_path / "saved").score_series(inputs, device=CPU, chunk_items=7)
    np.testing.assert_allclose(cut.score, whole.score, rtol=1e-5)


def test_a_fault_shows_in_the_channel_where_it_is(composite):
    fitted, inputs = composite
    before = fitted.score_series(inputs, device=CPU, chunk_items=1000)
    values = inputs.values.copy()
    point = np.flatnonzero(inputs.observed[inputs.ends].all(axis=1))[50]
    values[inputs.ends[point], 1] += 100
    after = fitted.score_series(replace(inputs, values=values), device=CPU, chunk_items=1000)
    assert after.score[point] > 10 * np.nanmax(before.score)
    assert after.contributions[point].argmax() == 1


def test_the_error_of_a_whole_window_counts_all_its_observed_points():
    values = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    observed = np.ones(values.shape, dtype=bool)
    observed[20, 0] = observed[30:40, 1] = False
    ends = np.arange(3, len(values))
    found = residuals(
        TwoKinds(), values, observed, ends, 4, "mse", device=CPU, chunk_items=7, points="window"
    )
    for row, end in enumerate(ends):
        for channel in range(2):
            part, seen = values[end - 3 : end + 1, channel], observed[end - 3 : end + 1, channel]
            assert found.observed[row, channel] == found.observed[row, 2 + channel] == seen.any()
            expected = np.sqrt((part[seen] ** 2).mean()) if seen.any() else 0.0
            assert found.residual[row, channel] == pytest.approx(expected, rel=1e-5)
            assert found.residual[row, 2 + channel] == pytest.approx(expected / 100, rel=1e-3, abs=1e-6)


def test_a_detector_that_looks_back_scores_alike_after_it_was_saved(composite, tmp_path):
    trained, _ = composite
    values = trained.config.model_dump(mode="json")
    values["model"] = {"family": "autoregression"}
    values["prepare"] |= {"scale": "deviation", "window_points": 3}
    values["scoring"] = {"distance": "mahalanobis", "smooth_points": 4, "baseline_points": 32}
    config = PipelineConfig.model_validate(values).at(trained.config.folder)
    intake = take_in_training(config, tmp_path / "history")
    fitted = fit(config, config.model, prepare(config, intake, batches=["2026-01-01"]), device=CPU).detector
    assert fitted.look_back == 3 + 32 + 2
    assert fitted.context.points == fitted.look_back + 8
    staged = take_in(config, "2026-01-02", tmp_path / "night", context=fitted.context)
    inputs = next(
        iter_series(staged.rows_path, config.prepare, fitted.normal.cadences, look_back=fitted.look_back)
    )
    before = fitted.score_series(inputs, device=CPU, chunk_items=1000)
    np.testing.assert_allclose(before.contributions.sum(axis=1), before.score, rtol=1e-5)
    detectors.save(fitted, tmp_path / "saved")
    after = detectors.load(tmp_path / "saved").score_series(inputs, device=CPU, chunk_items=9)
    np.testing.assert_allclose(after.score, before.score, rtol=1e-5)


def test_scores_against_the_past_are_about_one_on_normal_data(composite, tmp_path):
    """And their calibration was fitted to such scores, not to those of single points."""
    trained, _ = composite
    values = trained.config.model_dump(mode="json")
    values["model"] = {"family": "autoregression"}
    values["scoring"] = {"smooth_points": 10, "baseline_points": 64}
    config = PipelineConfig.model_validate(values).at(trained.config.folder)
    intake = take_in_training(config, tmp_path / "history")
    found = fit(config, config.model, prepare(config, intake, batches=["2026-01-01"]), device=CPU)
    assert 0.5 < np.nanmedian(found.calibration_scores) < 2
    assert found.detector.calibration.n == np.isfinite(found.calibration_scores).sum()
