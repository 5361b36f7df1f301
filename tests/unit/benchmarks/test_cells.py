from __future__ import annotations

import json

import pytest

from benchmarks.cells import Cell, measure_all, read_kept

FAILING = 7


def cell(seed, **changes):
    return Cell(
        **{"part": "p", "data": "d", "task": "", "method": "m", "group": "3", "seed": seed}
        | changes
        | {"scale": 1.0, "setting": changes.get("setting", "")}
    )


def measured(cell):
    if cell.seed == FAILING:
        message = "out of luck"
        raise ValueError(message)
    return {"figure": float(cell.seed)}


def refuse(cell):
    raise AssertionError(cell)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A file of three cells, one of which could not be measured."""
    path = tmp_path_factory.mktemp("cells") / "below" / "cells.jsonl"
    found = measure_all([cell(1), cell(FAILING), cell(2)], measured, path, workers=1)
    assert [one.cell.seed for one in found] == [1, 2]
    return path


def test_a_measured_cell_is_not_measured_again(kept):
    found = measure_all([cell(2), cell(1)], refuse, kept, workers=1)
    assert [one.figures["figure"] for one in found] == [2.0, 1.0]


def test_a_cell_that_failed_is_not_kept(kept):
    assert cell(FAILING) not in read_kept(kept)


def test_a_cell_of_another_setting_is_another(kept):
    assert cell(1, setting="more epochs") not in read_kept(kept)
    assert cell(1) in read_kept(kept)


def test_a_line_cut_short_by_a_kill_is_passed_over(kept, tmp_path):
    path = tmp_path / "cells.jsonl"
    text = kept.read_text(encoding="utf-8")
    path.write_text(text + json.dumps({"cell": 1})[:-3], encoding="utf-8")
    assert read_kept(path) == read_kept(kept)
    assert path.read_text(encoding="utf-8") == text


def test_groups_draw_from_seeds_of_their_own():
    seeds = {cell(seed, group=group).own_seed for seed in range(3) for group in ("", *map(str, range(1, 10)))}
    assert len(seeds) == 30
