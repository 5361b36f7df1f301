"""A sabotaged challenger is refused for the reason that it is bad; a better one, and a fresh calibration, win."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from aeflow.config import BASELINE, History, PipelineConfig, Split
from aeflow.data.splits import TEST
from aeflow.data.take_in import take_in_training
from aeflow.detector.fitting import fit, prepare
from aeflow.detector.planted import compare, measure
from aeflow.detector.recalibration import recalibrate
from aeflow.exceptions import DetectorError
from aeflow.promotion import decide
from tests.image_samples import encoded
from tests.unit.scoring.plant import ROWS, machine, pipeline, write_rows

CPU = torch.device("cpu")
DAYS = 12
LSTM = {"family": "lstm", "hidden_size": 8, "code_size": 3}
UNTRAINED = {"epochs": 1, "learning_rate": 1e-12}


class Plant:
    """A clean history, and a second folder whose history is full of faults."""

    def __init__(self, folder):
        generator = np.random.default_rng(0)
        values = machine(generator, DAYS)
        foul = values.copy()
        for begin in range(10, len(foul) - 20, 60):
            foul[begin : begin + 8, generator.integers(0, 4)] += generator.choice([-1, 1]) * 6
        for name, rows in (("clean", values), ("foul", foul)):
            (folder / name).mkdir()
            write_rows(folder / name / "data.csv", {"m": rows})
        self.folder = folder
        self.data = self.prepared("clean")
        config = pipeline(folder / "clean", last=DAYS)
        self.linear = fit(config, BASELINE, self.data, device=CPU, with_drift=False).detector
        self.champion = self.fitted("clean")

    def prepared(self, name):
        config = pipeline(self.folder / name, last=DAYS)
        staged = take_in_training(config, self.folder / name / "history")
        return prepare(config, staged, batches=[f"d{i}" for i in range(DAYS)])

    def fitted(self, name, **sections):
        config = pipeline(self.folder / name, last=DAYS, **sections)
        data = self.data if name == "clean" and hasattr(self, "data") else self.prepared(name)
        return fit(config, config.model, data, device=CPU, with_drift=False).detector

    def decide(self, challenger, champion=None, history=None):
        history = history or self.data.history
        trials = [
            measure(d, history, seed=0, device=CPU)
            for d in (challenger, self.linear, champion or self.champion)
        ]
        mine, linear, live = trials
        return decide(
            mine.figures(),
            linear.figures(),
            live.figures(),
            against_baseline=compare(mine, linear, seed=0),
            against_champion=compare(mine, live, seed=0),
        )


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    return Plant(tmp_path_factory.mktemp("contest"))


def test_the_same_again_is_a_draw_and_the_champion_stays(plant):
    decision = plant.decide(plant.fitted("clean"))
    assert not decision.promote
    assert "the champion stays" in decision.reasons[-1]


def test_one_without_training_tells_fewer_faults_apart(plant):
    decision = plant.decide(plant.fitted("clean", model=LSTM, training=UNTRAINED))
    assert not decision.promote
    assert "tells fewer planted faults from normal data than the linear baseline" in " ".join(
        decision.reasons
    )


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (
            lambda scale: scale[:, ::-1].copy(),
            "tells fewer planted faults from normal data than the champion",
        ),
        (lambda scale: 10 * scale, "finds fewer planted faults at its own cut than the champion"),
    ],
    ids=["of other channels", "ten times too wide"],
)
def test_one_with_a_wrong_scale_is_refused_for_what_it_misses(plant, wrong, reason):
    normal = plant.champion.normal
    scale = replace(normal.scale, scale=wrong(normal.scale.scale))
    decision = plant.decide(replace(plant.champion, normal=replace(normal, scale=scale)))
    assert not decision.promote
    assert reason in " ".join(decision.reasons)


def test_one_trained_on_faults_finds_fewer_at_its_own_cut(plant):
    decision = plant.decide(plant.fitted("foul"))
    assert not decision.promote
    assert "finds fewer planted faults at its own cut than the champion" in " ".join(decision.reasons)


def test_one_whose_weights_are_no_numbers_is_refused_for_that(plant):
    broken = plant.fitted("clean", model=LSTM, training=UNTRAINED)
    with torch.no_grad():
        next(iter(broken.network.parameters())).fill_(float("nan"))
    decision = plant.decide(broken)
    assert not decision.promote
    assert "no numbers" in " ".join(decision.reasons)


def test_a_better_one_goes_live(plant):
    poor = plant.fitted("clean", model=LSTM, training=UNTRAINED)
    decision = plant.decide(plant.champion, champion=poor)
    assert decision.promote
    assert "tells more planted faults from normal data than the champion" in " ".join(decision.reasons)


def test_a_fresh_calibration_keeps_weights_and_scores_and_wins_where_the_errors_rose(plant, tmp_path):
    """All channels are twice as noisy as in the history: the same faults, higher scores."""
    generator = np.random.default_rng(1)
    noisy = machine(generator, DAYS)
    noisy += generator.normal(0, 0.2, noisy.shape)
    write_rows(tmp_path / "data.csv", {"m": noisy})
    config = pipeline(tmp_path, last=DAYS)
    config = config.model_copy(
        update={"split": Split(train=0.5, validation=0.05, calibration=0.2, test=0.25, stretches=6)}
    ).at(tmp_path)
    staged = take_in_training(config, tmp_path / "history")
    batches = [f"2026-01-{day + 1:02d}" for day in range(DAYS)]
    fresh, history = recalibrate(plant.champion, config, staged, batches, device=CPU)
    assert fresh.network is plant.champion.network
    assert fresh.normal is plant.champion.normal
    assert fresh.calibration.n < len(noisy)
    assert fresh.calibration.threshold > plant.champion.calibration.threshold
    assert set(batches) <= set(fresh.fitted_on.batches)
    decision = plant.decide(fresh, history=history)
    assert decision.promote
    assert "keeps the promise on recent normal data" in " ".join(decision.reasons)
    assert len(noisy) == DAYS * ROWS


def test_the_points_of_a_planted_fault_are_drawn_together(plant):
    """The interval of a comparison is one of faults: it is as wide with each point of a fault told twice."""
    one, other = (measure(d, plant.data.history, seed=0, device=CPU) for d in (plant.champion, plant.linear))
    assert all(p.fault.size == p.score.size for p in one.planted.values())
    assert all(np.unique(p.fault).size == p.found.size > 1 for p in one.planted.values())

    def twice(trial):
        double = {
            kind: replace(p, score=np.repeat(p.score, 2), fault=np.repeat(p.fault, 2))
            for kind, p in trial.planted.items()
        }
        return replace(trial, planted=double)

    assert compare(twice(one), twice(other), seed=0).planted.low == pytest.approx(
        compare(one, other, seed=0).planted.low, abs=1e-9
    )


def test_what_the_champion_was_fitted_to_calibrates_nothing_anew(plant, tmp_path):
    write_rows(tmp_path / "data.csv", {"m": machine(np.random.default_rng(2), DAYS)})
    config = pipeline(tmp_path, last=DAYS)
    staged = take_in_training(config, tmp_path / "history")
    _, history = recalibrate(plant.champion, config, staged, ["later"], device=CPU)
    middle = int(history.grid.time_us[len(history.grid.time_us) // 2])
    until = replace(plant.champion.fitted_on, until_us={"m": middle})
    half = replace(plant.champion, fitted_on=until)
    all_new, _ = recalibrate(half, config, staged, ["later"], device=CPU)
    known, tried = recalibrate(half, config, staged, ["d0", "later"], device=CPU)
    assert known.calibration.n == pytest.approx(all_new.calibration.n / 2, rel=0.02)
    assert (tried.grid.time_us[tried.part == TEST] > middle).all()
    assert known.fitted_on.until_us["m"] > middle
    everything = replace(half, fitted_on=replace(until, until_us={"m": 2**62}))
    with pytest.raises(DetectorError, match="not learnt from"):
        recalibrate(everything, config, staged, ["d0"], device=CPU)


def test_images_that_the_champion_knows_calibrate_nothing_anew(tmp_path):
    generator = np.random.default_rng(0)
    for batch in ("old", "new"):
        (tmp_path / batch).mkdir()
        for i in range(40):
            pixels = generator.integers(0, 256, (12, 12), dtype=np.uint8)
            (tmp_path / batch / f"{i}.png").write_bytes(encoded(pixels))
    config = PipelineConfig.model_validate(
        {
            "name": "noise",
            "source": {"kind": "images", "root": "."},
            "batch": {"by": "folder"},
            "history": {"batches": ["old"]},
            "prepare": {"kind": "images", "height_px": 12, "width_px": 12},
            "model": {"family": "pca"},
            "calibration": {"false_flags_per_batch": 1},
        }
    ).at(tmp_path)
    data = prepare(config, take_in_training(config, tmp_path / "one"), batches=["old"])
    champion = fit(config, config.model, data, device=CPU, with_drift=False).detector
    both = config.model_copy(update={"history": History(batches=("old", "new"))}).at(tmp_path)
    staged = take_in_training(both, tmp_path / "two")
    fresh, history = recalibrate(champion, both, staged, ["old", "new"], device=CPU)
    known = {i for i, s in enumerate(history.sha256) if champion.fitted_on.knows(s, None)}
    tried = set(history.item[history.part == TEST].tolist())
    assert len(known) > 20
    assert not known & tried
    assert fresh.calibration.n == 80 - len(known) - len(tried)


def test_a_fresh_calibration_is_scored_by_the_rule_that_it_was_fitted_for(plant, tmp_path):
    write_rows(tmp_path / "data.csv", {"m": machine(np.random.default_rng(2), DAYS)})
    config = pipeline(tmp_path, last=DAYS)
    rule = config.calibration.model_copy(update={"merge_gap_points": 17, "min_event_points": 4})
    config = config.model_copy(update={"calibration": rule}).at(tmp_path)
    staged = take_in_training(config, tmp_path / "history")
    assert plant.champion.config.calibration != rule
    fresh, _ = recalibrate(plant.champion, config, staged, ["later"], device=CPU)
    assert fresh.config.calibration == rule
    assert fresh.config.model == plant.champion.config.model
