"""The Data Docs of a batch: what Great Expectations said as JSON, and one page for people.

The page is our own. That of Great Expectations names some twenty addresses of other hosts (bootstrap,
jquery, vega, fonts), and its package ships none of these files; without a network it is bare text,
and to make it self-contained would mean to carry and patch others' scripts. Ours is drawn from the same
results, links nothing, and holds no time of running: the same batch gives the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeflow.exceptions import StorageError
from aeflow.schemas import REASONS

if TYPE_CHECKING:
    from jinja2 import Template

    from aeflow.data.checks import CheckResult
    from aeflow.data.suite import SuiteResult

PAGE_FILE = "index.html"
RESULT_FILE = "validation.json"
SCHEMA_VERSION = "1"


def write_docs(folder: Path, checks: CheckResult, outcome: SuiteResult, engine: str) -> None:
    """Write `validation.json` and `index.html` into `folder`, which is made; each appears whole.

    Args:
        folder: where.
        checks: what came of the batch.
        outcome: of the suite.
        engine: the version of Great Expectations.

    Raises:
        StorageError: the folder cannot be written.
    """
    told: dict[str, Any] = asdict(checks)
    stored = {
        "schema_version": SCHEMA_VERSION,
        "great_expectations_version": engine,
        **told,
        "failed": [finding.expectation for finding in checks.failed],
        "results": [
            {"column": finding.column, "expected": finding.expected, "observed": finding.observed, **result}
            for finding, result in zip(outcome.findings, outcome.results, strict=True)
        ],
    }
    # What fails stands on top, in the order of the suite within.
    findings = sorted(outcome.findings, key=lambda finding: finding.success)
    page = _template().render(**told, findings=findings, meanings=REASONS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(stored, indent=1, ensure_ascii=False, allow_nan=False, default=str)
        _write(folder / RESULT_FILE, text + "\n")
        _write(folder / PAGE_FILE, page + "\n")
    except OSError as error:
        msg = f"the findings of the checks cannot be written: {error.strerror or error}"
        raise StorageError(msg, where=str(folder), remedy="Check its rights and the disk's space.") from error


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("validation.html")


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
