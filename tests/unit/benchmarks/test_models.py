from __future__ import annotations

import pytest

from aeflow.models.catalog import CATALOG
from benchmarks.cells import Cell, Found
from benchmarks.models import PARTS, summarise
from benchmarks.variants import Variant, variants


def test_every_family_of_the_catalog_is_measured_on_all_that_it_takes():
    for kind in ("images", "series"):
        measured = {variant.family for variant in variants(kind)}
        assert measured == {name for name, family in CATALOG.items() if kind in family.options.kinds}


def test_no_two_variants_have_one_name():
    for kind in ("images", "series"):
        names = [variant.name for variant in variants(kind)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "variant",
    [
        Variant("of no catalog", "images", "crystal_ball"),
        Variant("of an option that is none", "images", "conv2d", {"crystals": 3}),
        Variant("of the other kind", "series", "conv2d"),
    ],
)
def test_what_the_catalog_does_not_have_is_left_out(variant):
    assert not variant.available


def test_no_cell_is_there_twice():
    cells = [cell for make, _ in PARTS.values() for seed in range(2) for cell in make(seed, 1.0)]
    assert len(cells) == len(set(cells))


def test_rows_tell_the_mean_of_seeds_and_classes_and_what_it_cost():
    cost = {"training_seconds": 3.0, "parameters": 10.0, "flops": 20.0}
    found = [
        Found(Cell("one-class", "MNIST", "", "conv2d", group, seed, 1.0, ""), {"auroc": auroc} | cost, 5.0)
        for group, seed, auroc in (("0", 0, 0.8), ("0", 1, 0.9), ("1", 0, 0.6), ("1", 1, 0.7))
    ]
    (row,) = summarise(found)
    assert row["mean"] == pytest.approx(0.75)
    assert row["groups"] == {"0": pytest.approx(0.85), "1": pytest.approx(0.65)}
    assert (row["seeds"], row["parameters"], row["flops"]) == (2, 10.0, 20.0)
    assert row["low"] < row["mean"] < row["high"]
