"""Many entities in one detector: cohorts, networks of their own, new ones, and no difference to being alone."""

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
from aeflow.detector.networks import Plan
from aeflow.detector.recalibration import recalibrate
from aeflow.exceptions import InputError
from aeflow.models.bank import NetworkBank

CPU = torch.device("cpu")
PRESSES, PUMPS, FURNACE = ("press-1", "press-2", "press-3"), ("pump-1", "pump-2"), "furnace"
NEW = ("press-9", "mixer-1")
COHORTS = {"presses": ["press-*"], "pumps": ["pump-*"]}
ROWS = 480


def values(entity, day):
    """Presses beat fast around 100, pumps slowly around 5, all others are noise."""
    rng = np.random.default_rng([sum(entity.encode()), day])
    at = np.arange(ROWS)
    level, period = {"press": (100.0, 12), "pump-": (5.0, 60)}.get(entity[:5], (50.0, 1e9))
    wave = np.sin(2 * np.pi * (at + rng.integers(60)) / period)
    return np.column_stack([level * (1 + 0.2 * wave), level * wave]) + rng.normal(0, level / 50, (ROWS, 2))


def write(folder, day, entities):
    rows = ["minute,name,x,y"]
    for name in entities:
        start = np.datetime64(f"2026-01-0{day}T00:00")
        rows += [f"{start + i}:00Z,{name},{x:.5f},{y:.5f}" for i, (x, y) in enumerate(values(name, day))]
    target = folder / "data" / f"day-{day}"
    target.mkdir(parents=True)
    (target / "all.csv").write_text("\n".join(rows) + "\n")


def config_of(folder, model=None, **entities):
    return PipelineConfig.model_validate(
        {
            "name": "works",
            "source": {
                "kind": "table",
                "path": "data",
                "time_column": "minute",
                "entity_column": "name",
                "channels": ["x", "y"],
            },
            "batch": {"by": "folder"},
            "history": {"batches": ["day-1", "day-2"]},
            "split": {"train": 0.3, "validation": 0.1, "calibration": 0.5, "test": 0.1},
            "prepare": {"kind": "series", "cadence_seconds": 60, "window_points": 6},
            "entities": entities,
            "model": model or {"family": "pca", "max_components": 4},
            "training": {"epochs": 2, "learning_rate": 0.01},
            "calibration": {"false_flags_per_batch": 2},
        }
    ).at(folder)


@pytest.fixture(scope="module")
def works(tmp_path_factory):
    """Two days of history, and a third to which two new entities come."""
    folder = tmp_path_factory.mktemp("works")
    known = [FURNACE, *PRESSES, *PUMPS]
    for day in (1, 2):
        write(folder, day, known)
    write(folder, 3, sorted([*known, *NEW]))
    return folder


def trained(folder, scratch, model=None, **entities):
    config = config_of(folder, model, **entities)
    staged = take_in_training(config, scratch / "history")
    data = prepare(config, staged, batches=["day-1", "day-2"])
    return fit(config, config.model, data, device=CPU).detector


def night(detector, folder, scratch, chunk_rows=32_768):
    """Entity -> scores of the third day."""
    config = config_of(folder)
    staged = take_in(config, "day-3", scratch / "day-3", context=detector.context)
    found = {}
    chunks = iter_series(
        staged.rows_path, detector.config.prepare, detector.normal.cadences, chunk_rows=chunk_rows
    )
    for inputs in chunks:
        score = detector.score_series(inputs, device=CPU, chunk_items=100).score
        row_score = np.where(inputs.row_window >= 0, score[np.maximum(inputs.row_window, 0)], np.nan)
        for code, name in enumerate(inputs.entities):
            found[name] = np.append(found.get(name, []), row_score[inputs.row_entity == code])
    return found


@pytest.fixture(scope="module", params=["shared", "cohorts", "each"])
def detector(request, works, tmp_path_factory):
    return trained(works, tmp_path_factory.mktemp("fit"), networks=request.param, cohorts=COHORTS)


def test_it_is_stored_and_loaded_as_one_and_scores_the_same(detector, works, tmp_path):
    detectors.save(detector, tmp_path / "one")
    again = detectors.load(tmp_path / "one")
    before, after = night(detector, works, tmp_path), night(again, works, tmp_path)
    assert before.keys() == {FURNACE, *PRESSES, *PUMPS, *NEW}
    for name, score in before.items():
        assert np.array_equal(after[name], score, equal_nan=True)
    assert detectors.calibration_digest(again) == detectors.calibration_digest(detector)
    assert {e: again.judged_by(e) for e in before} == {e: detector.judged_by(e) for e in before}
    networks = {"shared": 1, "cohorts": 3, "each": 9}[detector.config.entities.networks]
    assert len(getattr(again.network, "members", [again.network])) == networks


def test_entities_together_score_as_each_of_them_alone(detector, works, tmp_path):
    whole = night(detector, works, tmp_path)
    small = night(detector, works, tmp_path, chunk_rows=50)
    config = config_of(works)
    staged = take_in(config, "day-3", tmp_path / "alone", context=detector.context)
    (inputs,) = iter_series(staged.rows_path, config.prepare, detector.normal.cadences)
    for code, name in enumerate(inputs.entities):
        np.testing.assert_allclose(small[name], whole[name], rtol=1e-5)
        mine = inputs.grid_entity == code
        first = int(np.flatnonzero(mine)[0])
        ends = inputs.ends[mine[inputs.ends]] - first
        alone = replace(
            inputs,
            entities=(name,),
            values=inputs.values[mine],
            observed=inputs.observed[mine],
            grid_entity=np.zeros(mine.sum(), dtype=np.int32),
            grid_slot=inputs.grid_slot[mine],
            ends=ends,
        )
        score = detector.score_series(alone, device=CPU, chunk_items=7).score
        np.testing.assert_allclose(score, whole[name][~np.isnan(whole[name])], rtol=1e-5)


def test_a_new_entity_is_scored_on_its_first_day_by_its_cohort_and_said_to_be_so(detector, works, tmp_path):
    assert detector.new_entities([*PRESSES, *NEW]) == {"press-9": "cohort presses", "mixer-1": "all"}
    row = detector.normal.codes(("press-1", "press-9", "mixer-1"))
    assert row.tolist() == [1, 6, -1]
    center = detector.normal.scale.center
    assert abs(center[6, 0] - 100) < 10
    assert len(center) == 6 + 2 + 1
    assert detector.judged_by("press-9") == "cohort presses"
    assert detector.judged_by("mixer-1") == "all"
    found = night(detector, works, tmp_path)
    p_value = detector.p_values(found["press-9"][~np.isnan(found["press-9"])].astype(np.float32), "press-9")
    assert 0.2 < np.median(p_value) < 0.8  # as normal as its kind


def test_entities_with_enough_scores_are_judged_by_their_own_and_others_by_their_cohort(works, tmp_path):
    detector = trained(works, tmp_path, cohorts=COHORTS)
    assert detector.judged_by("press-1") == "cohort presses"  # 480 scores of its own are too few
    assert set(detector.cohort_calibrations) == {"presses", "pumps"}
    assert detector.judged_by(FURNACE) == "all"
    without = trained(works, tmp_path / "without")
    assert without.cohort_calibrations == {}
    assert without.new_entities(["press-9"]) == {"press-9": "all"}


@pytest.mark.parametrize("family", ["pca", "dense"])
def test_networks_trained_together_are_those_that_are_trained_alone(works, tmp_path, family):
    model = {"family": "pca", "max_components": 4} if family == "pca" else {"family": "dense", "code_size": 3}
    bank = trained(works, tmp_path / "together", model, networks="each")
    lonely = tmp_path / "lonely"
    for day in (1, 2, 3):
        write(lonely, day, ["pump-2"])
    alone = trained(lonely, tmp_path / "alone", model)
    number = int(bank.normal.member[bank.normal.entities.index("pump-2")])
    together = dict(bank.network.members[number].named_parameters()) | dict(
        bank.network.members[number].named_buffers()
    )
    for name, weights in [*alone.network.named_parameters(), *alone.network.named_buffers()]:
        torch.testing.assert_close(together[name], weights, rtol=1e-5, atol=1e-5)
    both = night(bank, works, tmp_path)["pump-2"], night(alone, lonely, tmp_path / "n")["pump-2"]
    np.testing.assert_allclose(*both, rtol=1e-3)  # the spread of others is the floor of its own


def test_a_plan_falls_back_where_an_entity_has_too_few_windows():
    entities = config_of(".", networks="each", cohorts=COHORTS).entities
    enough = np.array([True, True, False, True])
    plan = Plan.of(entities, ("a", "press-1", "press-2", "pump-1"), enough)
    # presses, pumps, a, press-1, pump-1, all
    assert len(plan) == 6
    assert plan.member.tolist() == [2, 3, 0, 4, 0, 1, 5]
    assert plan.learners[0].tolist() == [False, True, True, False]
    assert plan.learners[-1].all()
    shared = Plan.of(config_of(".", cohorts=COHORTS).entities, ("a", "press-1"), enough[:2])
    assert (len(shared), shared.member.tolist()) == (1, [0] * 5)


def test_codes_of_several_networks_are_not_compared(works, tmp_path):
    bank = trained(works, tmp_path, networks="each").network
    assert isinstance(bank, NetworkBank)
    with pytest.raises(InputError, match="expected one network, and the detector has 7"):
        bank.encode(torch.zeros(2, 6, 2))
    with pytest.raises(InputError, match="cannot be compared"):
        bank.decode(torch.zeros(2, 4))
    mixed = bank.at(torch.tensor([0, 3, 0])).encode(torch.ones(3, 6, 2))
    assert torch.equal(mixed[0], mixed[2])
    assert torch.equal(mixed[1], bank.members[3].encode(torch.ones(1, 6, 2))[0])


def test_a_fresh_calibration_stays_in_the_cohorts_that_were_trained(works, tmp_path):
    trained_in = trained(works, tmp_path / "fit", networks="cohorts", cohorts=COHORTS)
    others = {"lines": ["press-1", "pump-*"], "rest": ["*"]}
    config = config_of(works, networks="cohorts", cohorts=others)
    staged = take_in_training(config, tmp_path / "recent")
    fresh, _ = recalibrate(trained_in, config, staged, ["day-8"], device=CPU)
    assert fresh.config.entities == trained_in.config.entities
    assert fresh.cohort_calibrations.keys() == trained_in.cohort_calibrations.keys() == {"presses", "pumps"}
    assert fresh.cohort_calibrations["pumps"].n != trained_in.cohort_calibrations["pumps"].n
    assert fresh.judged_by("press-9") == "cohort presses"
