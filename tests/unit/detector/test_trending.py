"""What is told of channels that trend while they are learnt from."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from aeflow.config import SeriesPrepare
from aeflow.data.splits import CALIBRATION, TRAIN
from aeflow.detector.trending import trend_note

ROWS = 200


def note(*channels, entity=None, part=None, window_points=8):
    values = np.stack(channels, axis=1).astype(np.float32)
    entity = np.zeros(len(values), dtype=np.int32) if entity is None else entity
    names = tuple(f"e{code}" for code in range(entity.max() + 1))
    grid = SimpleNamespace(values=values, entity=entity, entities=names)
    part = np.full(len(values), TRAIN) if part is None else part
    config = SimpleNamespace(
        channels=tuple(f"c{number}" for number in range(values.shape[1])),
        prepare=SeriesPrepare(window_points=window_points),
    )
    return trend_note(config, SimpleNamespace(grid=grid, part=part))


@pytest.fixture
def noise():
    return np.random.default_rng(0).standard_normal((4, ROWS))


def test_a_channel_that_rises_all_along_is_named_and_one_that_does_not_is_not(noise):
    told = note(noise[0], noise[1] + np.linspace(0, 20, ROWS))
    assert "c1 (by about" in told
    assert "c0" not in told
    assert note(noise[0], noise[1]) == ""


def test_entities_are_counted_and_more_channels_than_are_named_too(noise):
    ramp = np.linspace(0, 20, ROWS)
    two = np.repeat([0, 1], ROWS).astype(np.int32)
    assert "c0 in 1 of 2 entities" in note(np.concatenate([noise[0] + ramp, noise[1]]), entity=two)
    assert note(*(channel + ramp for channel in (*noise, noise[0]))).count(" and 2 more channels") == 1


def test_only_what_trains_counts(noise):
    late = np.concatenate([noise[0], noise[1] + np.linspace(0, 50, ROWS)])
    part = np.repeat([TRAIN, CALIBRATION], ROWS)
    assert note(late, part=part) == ""


def test_rows_that_are_items_by_themselves_have_no_trend(noise):
    assert note(noise[0] + np.linspace(0, 20, ROWS), window_points=1) == ""
