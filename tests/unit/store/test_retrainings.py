"""What was decided about training is kept in its order, and tells what is asked for, called off and done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aeflow.exceptions import InputError
from aeflow.store.paths import Paths
from aeflow.store.retrainings import (
    RetrainingStep,
    Step,
    asked_since,
    last_training_at,
    open_retrainings,
    vetoed_at,
)

NOW = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)


def steps(*kinds):
    return [RetrainingStep(kind, NOW + timedelta(hours=n)) for n, kind in enumerate(kinds)]


@pytest.fixture
def kept(home, monkeypatch):
    monkeypatch.delenv("AEFLOW_LEDGER_URL", raising=False)
    return open_retrainings(Paths(home, "pump"))


def test_what_was_kept_comes_back_in_its_order_and_apart_from_other_pipelines(kept, home):
    said = [
        RetrainingStep(Step.ASKED, NOW, "drift", "because", "2026-11-27"),
        RetrainingStep(Step.ENDED, NOW, version=3),
    ]
    for step in said:
        kept.add(step)
    assert kept.all() == said
    assert open_retrainings(Paths(home, "line")).all() == []


def test_a_time_without_a_zone_is_refused(kept):
    with pytest.raises(InputError, match="time with its zone"):
        kept.add(RetrainingStep(Step.ASKED, NOW.replace(tzinfo=None)))
    assert kept.all() == []


def test_asked_is_the_first_time_until_there_is_an_answer():
    assert asked_since([]) is None
    assert asked_since(steps(Step.ASKED, Step.ASKED)) == NOW
    assert asked_since(steps(Step.ASKED, Step.VETOED)) is None
    assert asked_since(steps(Step.ASKED, Step.BEGUN, Step.FAILED)) == NOW
    assert asked_since(steps(Step.ASKED, Step.BEGUN, Step.ENDED)) is None


def test_a_no_holds_until_something_was_trained_all_the_same():
    assert vetoed_at(steps(Step.ASKED, Step.VETOED)) == NOW + timedelta(hours=1)
    assert vetoed_at(steps(Step.VETOED, Step.BEGUN, Step.ENDED)) is None


def test_the_cool_down_counts_from_what_ended_or_was_calibrated_and_not_from_what_failed():
    assert last_training_at(steps(Step.BEGUN, Step.FAILED)) is None
    assert last_training_at(steps(Step.NOT_RECALIBRATED, Step.ASKED)) == NOW
    assert last_training_at(steps(Step.ENDED, Step.RECALIBRATED, Step.ASKED)) == NOW + timedelta(hours=1)
