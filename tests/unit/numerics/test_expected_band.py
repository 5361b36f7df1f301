from __future__ import annotations

import numpy as np
import pytest
import torch

from aeflow.models.errors import error_map
from aeflow.numerics.calibration import fit_calibration
from aeflow.numerics.expected_band import score_at, tolerance
from aeflow.numerics.reconstruction_error import series_scores


@pytest.mark.parametrize("rule", ["conformal", "quantile", "peaks_over_threshold"])
def test_the_score_at_the_cut_is_where_flags_begin(rule):
    scores = np.random.default_rng(0).gamma(2.0, 3.0, 5_000).astype(np.float32)
    calibration = fit_calibration(scores, rule=rule, false_flags_per_batch=2, items_per_batch=1_000)
    at = score_at(calibration.p_values, calibration.alpha)
    near = np.array([at * (1 - 1e-6), at * (1 + 1e-6)])
    below, above = calibration.flags(calibration.p_values(near)).tolist()
    assert (below, above) == (False, True)


def test_where_no_score_is_rare_enough_there_is_none():
    scores = np.arange(10, dtype=np.float32)
    calibration = fit_calibration(scores, rule="conformal", false_flags_per_batch=5, items_per_batch=10)
    assert np.isnan(score_at(calibration.p_values, 1e-9))


@pytest.mark.parametrize("error", ["mse", "mae", "huber"])
@pytest.mark.parametrize("score", [0.04, 3.0, 90.0])
def test_channels_on_the_edge_of_the_band_make_the_score_at_the_cut(error, score):
    spread, scale = np.array([0.2, 1.5, 0.9]), np.array([10.0, 0.1, 1.0])
    off = tolerance(score, spread, scale, error)
    deviation = torch.from_numpy(off / scale)
    errors = error_map(error, deviation, torch.zeros_like(deviation)).numpy()
    found, _ = series_scores(np.sqrt(errors)[None], np.ones((1, 3), dtype=bool), spread[None])
    assert found[0] == pytest.approx(score, rel=1e-5)


def test_a_huber_error_is_a_square_up_to_one_and_a_line_from_there_on():
    """The error of a deviation of 0.8 is 0.32, of 1 it is 0.5, of 1.1 it is 0.6."""
    one = np.ones(1)
    found = [float(tolerance(score, one, one, "huber")[0]) for score in (0.32, 0.5, 0.6)]
    assert found == pytest.approx([0.8, 1.0, 1.1])
