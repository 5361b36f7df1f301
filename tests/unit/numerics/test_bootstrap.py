from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.bootstrap import bootstrap_interval
from aeflow.numerics.metrics import auroc


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide_on_each_side():
    values = np.random.default_rng(0).standard_normal(400)
    low, high = bootstrap_interval(np.mean, values, seed=1, repeats=500)
    assert low < values.mean() < high
    assert (high - low) / 2 == pytest.approx(1.96 / 20, rel=0.2)


def test_blocks_widen_the_interval_of_a_series_that_depends_on_itself():
    walk = np.repeat(np.random.default_rng(0).standard_normal(40), 10)
    single = np.diff(bootstrap_interval(np.mean, walk, seed=1))
    blocks = np.diff(bootstrap_interval(np.mean, walk, seed=1, block_items=20))
    assert blocks > 1.8 * single


def test_the_same_seed_gives_the_same_interval():
    labels, scores = np.arange(60) % 3 == 0, np.random.default_rng(0).random(60)
    first = bootstrap_interval(auroc, labels, scores, seed=4, repeats=50)
    assert first == bootstrap_interval(auroc, labels, scores, seed=4, repeats=50)
    assert first != bootstrap_interval(auroc, labels, scores, seed=5, repeats=50)


def test_a_metric_that_is_mostly_undefined_has_no_interval():
    labels, scores = np.zeros(30), np.arange(30.0)
    assert np.isnan(bootstrap_interval(auroc, labels, scores, seed=0, repeats=20)).all()


def test_bootstrap_refuses_what_it_cannot_draw_from():
    with pytest.raises(InputError, match="got none"):
        bootstrap_interval(np.mean, np.empty(0), seed=0)
    with pytest.raises(InputError, match="array 1"):
        bootstrap_interval(auroc, np.zeros(3), np.zeros(4), seed=0)
    with pytest.raises(InputError, match="block_items"):
        bootstrap_interval(np.mean, np.zeros(3), seed=0, block_items=0)
    with pytest.raises(InputError, match="0 < level < 1"):
        bootstrap_interval(np.mean, np.zeros(3), seed=0, level=1.0)


def test_every_item_is_drawn_the_first_and_the_last_too():
    for item in (0, 3):
        never, always = bootstrap_interval(lambda drawn, of=item: float(of in drawn), np.arange(4), seed=0)
        assert (never, always) == (0.0, 1.0)
