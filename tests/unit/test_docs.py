"""What people read says what the code does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import typer.main

from aeflow.cli.entry import app
from aeflow.models.catalog import CATALOG

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def generator(monkeypatch):
    # As Python does for a script that is run.
    monkeypatch.syspath_prepend(ROOT / "docs")
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "page",
    ["pipeline.md", "reports.md", "calibration.md", "models.md", "detection.md", "pipeline.schema.json"],
)
def test_generated_pages_are_up_to_date(generator, page):
    written = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert written == generator.pages()[page], "run: make docs"


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_configs_that_come_along_have_every_key_with_its_meaning_of_today(generator, config):
    assert config.read_text(encoding="utf-8") == generator.configs_text.renewed(config), "run: make docs"


def test_every_column_has_a_meaning(generator):
    assert not re.findall(r"^\| `([\w.]+)` \| [^|]+ \|  \|$", generator.reports_page(), flags=re.MULTILINE)


def test_every_family_of_the_catalog_has_a_sentence_on_when_to_take_it(generator):
    assert set(CATALOG) <= set(generator.models_page.WHEN)


def test_every_command_is_in_the_readme_and_no_other():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `aeflow (\w+)", readme, flags=re.MULTILINE))
    assert documented == set(typer.main.get_command(app).commands)


@pytest.mark.parametrize("page", [*sorted(p.name for p in (ROOT / "docs").glob("*.md")), "README.md"])
def test_links_lead_somewhere(page):
    path = ROOT / "README.md" if page == "README.md" else ROOT / "docs" / page
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    missing = [t for t in targets if not t.startswith("http") and not (path.parent / t).exists()]
    assert not missing
