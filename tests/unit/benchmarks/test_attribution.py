from __future__ import annotations

import numpy as np
import pytest

from aeflow.config import load_config
from benchmarks import attribution, normal_data
from benchmarks.attribution import Figure, hit_rates, planted_channels, table
from benchmarks.pipelines import CONFIGS


@pytest.fixture
def machines(monkeypatch, tmp_path):
    """Two small machines of 38 metrics that move together, and a labelled event that metrics 3 and 4 cause."""
    rng = np.random.default_rng(0)

    def machine(rows):
        common = np.sin(np.arange(rows) / 30)[:, None] * rng.uniform(0.5, 1, 38)
        return (common + 0.05 * rng.standard_normal((rows, 38))).astype(np.float32)

    found = {name: machine(3000) for name in ("machine-1-1", "machine-2-2")}
    odd = machine(400)
    odd[300:310, [2, 3]] += 5
    folder = tmp_path / "smd" / "interpretation_label"
    folder.mkdir(parents=True)
    for name in found:
        (folder / f"{name}.txt").write_text("301-310:3,4\n")
    monkeypatch.setattr(normal_data, "smd", lambda: found)
    monkeypatch.setattr(normal_data, "smd_test", lambda _: odd)
    monkeypatch.setattr(attribution, "SHARED_DATA", tmp_path)
    return load_config(CONFIGS / "smd.yaml")


def test_clear_causes_are_named_and_chance_stands_beside(machines):
    by_name = {one.name: one for one in hit_rates(machines)}
    assert by_name["hit rate at 100%"].value == by_name["hit rate at 150%"].value == 1.0
    assert by_name["hit rate at 100%"].chance == pytest.approx(2 / 38)
    assert by_name["hit rate at 150%"].chance == pytest.approx(3 / 38)
    assert by_name["hit rate at 100%"].trials == 2


def test_planted_faults_are_drawn_by_seed_and_counted_by_kind(machines):
    whole, *kinds, by_parts, planted = planted_channels(machines, 12)
    assert whole == next(iter(planted_channels(machines, 12)))
    assert whole.trials == sum(kind.trials for kind in kinds) == 12
    assert whole.value >= by_parts.value > 0.5
    assert planted.trials >= 12
    assert planted.value == pytest.approx(12 / planted.trials)
    assert [kind.name for kind in kinds] == ["- spike", "- level_shift", "- drift"]


def test_a_table_leaves_out_what_there_is_not():
    assert table([Figure("it", 0.5, 20, goal=0.9)]).splitlines()[-1] == "| it | 0.500 | 20 | 0.9 |  |"
