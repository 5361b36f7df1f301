"""The family that docs/adding_a_family.md makes is one like all others."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from aeflow.config import PlainCode, SparseCode, VariationalCode
from aeflow.models.catalog import CATALOG, Family
from tests.contract import test_model_families as contract

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding_a_family.md"
SHAPE = (3, 9, 7)
CODES = (PlainCode(), SparseCode(), VariationalCode(draws=3))


@pytest.fixture(autouse=True)
def example(monkeypatch):
    """The example's three pieces of code, run as they stand in the page."""
    options, network, line = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    # One module for what would lie in two; pydantic looks up types in it.
    module = ModuleType("mosaic")
    monkeypatch.setitem(sys.modules, "mosaic", module)
    exec(options, vars(module))
    exec(network, vars(module))
    known = {"Family": Family, "config": module, "MosaicAutoencoder": module.MosaicAutoencoder}
    for name, family in eval("{" + line + "}", known).items():
        monkeypatch.setitem(CATALOG, name, family)
        for code in CODES:
            monkeypatch.setitem(contract.MODELS, f"{name}-{code.kind}", family.options(code=code))
    yield
    contract.fitted.cache_clear()


@pytest.mark.parametrize("code", [code.kind for code in CODES])
@pytest.mark.parametrize(
    "promise",
    [
        contract.test_the_output_has_the_shape_of_the_input_and_is_finite,
        contract.test_training_with_one_seed_repeats_to_the_bit,
        contract.test_saved_and_loaded_weights_give_the_same_items_and_scores_to_the_bit,
        contract.test_an_exported_program_takes_any_number_of_items,
        contract.test_one_item_and_a_thousand_are_reconstructed_and_scored_alike,
        contract.test_parameters_and_operations_are_counted,
    ],
)
def test_the_example_keeps_what_every_family_promises_with_every_code(promise, code):
    promise(f"mosaic-{code}", SHAPE)


def test_the_example_learns_what_it_is_shown():
    contract.test_eight_items_are_learnt_to_a_quarter_of_their_variance("mosaic-plain", SHAPE)
