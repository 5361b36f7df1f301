import pytest

from aeflow.config import BatchRule, Calibration, History, PipelineConfig, SeriesPrepare, TableSource
from aeflow.config.models import BASELINE
from aeflow.data.history import select_history
from aeflow.exceptions import BatchNotFound

DAYS = [f"2026-02-{day:02d}" for day in range(1, 29)]


def daily(**history):
    return PipelineConfig(
        name="a",
        source=TableSource(path="a.csv", time_column="time", channels=("x",)),
        batch=BatchRule(by="period"),
        history=History(**history),
        prepare=SeriesPrepare(cadence_seconds=1),
        model=BASELINE,
        calibration=Calibration(false_flags_per_batch=1),
    )


def test_the_history_lies_between_its_bounds_inclusive():
    assert select_history(daily(first="2026-02-02", last="2026-02-04"), DAYS) == DAYS[1:4]


@pytest.mark.parametrize("bound", ["first", "last"])
@pytest.mark.parametrize("text", ["2026-2-18", "yesterday", "2026-02-30"])
def test_a_bound_that_is_no_day_is_refused_since_ids_are_compared_as_text(bound, text):
    with pytest.raises(BatchNotFound, match=f"history.{bound}: expected .* got '{text}'"):
        select_history(daily(**{bound: text}), DAYS)
