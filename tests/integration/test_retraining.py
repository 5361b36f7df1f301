"""From the last nights to a decision, and from a decision to one training and no more."""

from __future__ import annotations

import json

import pytest

from aeflow.store.retrainings import Step, open_retrainings
from tests.integration.conftest import copy_of


@pytest.fixture
def nights(trained, tmp_path):
    return copy_of(trained, tmp_path / "space")


def decided(space, *options):
    return json.loads(space.ok("retrain", "water", "--json", *options))


def steps(space):
    return [step.step for step in open_retrainings(space.paths("water")).all()]


def test_a_night_that_is_no_lasting_change_trains_nothing_and_is_told_of(nights):
    assert decided(nights)["decision"]["outcome"] == "OK"
    nights.ok("score", "water", "--batch", "2022-W17")
    found = decided(nights)
    assert "2022-W17" in found["decision"]["reasons"][0]
    assert found["trained"] is None
    assert steps(nights) == []


def test_by_force_one_is_trained_and_a_second_trigger_in_the_cool_down_trains_none(nights):
    first = decided(nights, "--force", "--reason", "a new pump")
    assert first["decision"]["reasons"] == ["a new pump"]
    assert first["trained"]["version"] == 2
    nights.set("water", retraining={"on_age_days": 1e-6})
    second = decided(nights)
    assert (second["decision"]["outcome"], second["trained"]) == ("HOLD", None)
    assert "cool_down_days" in second["decision"]["reasons"][-1]
    assert steps(nights) == [Step.BEGUN, Step.ENDED]


def test_the_age_of_the_champion_is_a_reason(nights):
    nights.set("water", retraining={"on_age_days": 1e-6})
    assert "days old" in nights.ok("retrain", "water", "--dry-run")
    assert steps(nights) == []


def test_options_that_exclude_each_other_are_refused(nights):
    assert "at most one of" in nights.refused("retrain", "water", "--force", "--dry-run")
    assert "nothing to call off" in nights.ok("retrain", "water", "--veto")


def test_without_a_champion_one_is_trained_on_the_configured_history(trained, tmp_path):
    space = copy_of(trained, tmp_path / "space", same_data=True)
    for left in space.home.glob("mlflow.db*"):
        left.unlink()
    found = decided(space)
    assert "no champion yet" in " ".join(found["decision"]["reasons"])
    assert found["trained"]["live"]
    assert "3 batches, 2022-W14 to 2022-W16" in found["trained"]["note"]


def test_a_challenger_that_is_no_better_is_registered_with_the_reason_and_not_live(nights):
    nights.set("water", training={"epochs": 1, "learning_rate": 1e-12})
    done = json.loads(nights.ok("train", "water", "--json"))
    assert (done["version"], done["live"]) == (2, False)
    told = "no better than the champion in any respect by more than chance: the champion stays"
    assert told in " ".join(done["decision"]["reasons"])
    aliases = {v["version"]: v["aliases"] for v in json.loads(nights.ok("models", "water", "--json"))}
    assert {number: list(names) for number, names in aliases.items()} == {1: ["champion"], 2: ["challenger"]}
    pages = sorted(nights.home.glob("mlartifacts/**/promotion.md"), key=lambda page: page.stat().st_mtime)
    assert told in pages[-1].read_text()


def test_going_back_restores_the_scores_to_the_byte(nights):
    nights.ok("score", "water", "--batch", "2022-W17")
    scores = nights.paths("water").report("2022-W17") / "scores.parquet"
    before = scores.read_bytes()
    nights.set("water", seed=5)
    nights.ok("train", "water", "--challenger")
    nights.ok("promote", "water", "2")
    nights.set("water", seed=0)
    nights.ok("score", "water", "--batch", "2022-W17")
    nights.ok("score", "water", "--batch", "2022-W18")
    assert scores.read_bytes() != before
    back = json.loads(nights.ok("rollback", "water", "--rescore", "--json"))
    assert (back["before"], back["now"]) == (2, 1)
    assert back["scored"] == back["rescored"] == ["2022-W17", "2022-W18"]
    assert back["restored"] == ["2022-W17"]
    assert scores.read_bytes() == before
    # And forward again: the way back is remembered in both directions.
    assert "aeflow score water --batch 2022-W18" in nights.ok("rollback", "water")
