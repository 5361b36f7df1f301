"""The Great Expectations suite of a pipeline, run on a batch. The only module that imports it, and only
when a suite runs (some seconds).

The suite looks at `sampled_table.MAX_ROWS` rows or `MAX_IMAGES` images at most: the row rules of the
intake (numbers, times, limits, duplicates) ran on every row before, and so do the grades; what is left
to ask is how the batch is made up, which a spread of blocks answers at a cost that does not grow with it.

Everything stays in memory: one ephemeral context for the whole process, without progress bars, docs
site or analytics.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from aeflow.data.expectations import Expectation

_EXAMPLES = 5


@dataclass(frozen=True)
class Finding:
    """How one expectation went.

    expectation: its name, such as expect_column_values_to_be_between.
    column: the column that it is about; empty for the whole table.
    expected, observed: in words.
    unexpected: values against it; None where it counts none.
    unexpected_share: of the values that are there (not null: of all), 0..1; None where it counts none.
    """

    expectation: str
    column: str
    expected: str
    observed: str
    success: bool
    unexpected: int | None = None
    unexpected_share: float | None = None


@dataclass(frozen=True)
class SuiteResult:
    """findings: in the order of the expectations; results: what Great Expectations said, as JSON holds
    it, without what differs from run to run."""

    findings: tuple[Finding, ...]
    results: tuple[dict[str, Any], ...]


def load_engine() -> None:
    """Import Great Expectations, some seconds the first time. Beside other work it costs none of them."""
    import great_expectations  # noqa: F401, PLC0415


def run_suite(name: str, expectations: Sequence[Expectation], frame: pd.DataFrame) -> SuiteResult:
    """Validate `frame`, which is left as it is. An expectation that cannot be checked, for its column is
    not there, has failed."""
    import great_expectations as gx  # noqa: PLC0415 - some seconds, which only a validation should cost

    suite = gx.ExpectationSuite(name)
    suite.expectations = [
        getattr(gx.expectations, wanted.kind)(
            **({"column": wanted.column} if wanted.column else {}),
            **wanted.arguments,
            meta={"number": number},
            severity="warning",
        )
        for number, wanted in enumerate(expectations)
    ]
    batch = _batch_definition().get_batch(batch_parameters={"dataframe": frame})
    form = {"result_format": "BASIC", "partial_unexpected_count": _EXAMPLES}
    validated = batch.validate(suite, result_format=form)
    # The engine answers in an order of its own.
    answers = sorted(validated.results, key=lambda answer: answer.expectation_config.meta["number"])
    results = tuple(_stable(answer.to_json_dict()) for answer in answers)
    findings = tuple(_finding(w, r) for w, r in zip(expectations, results, strict=True))
    return SuiteResult(findings, results)


def engine_version() -> str:
    """The version of Great Expectations."""
    import great_expectations as gx  # noqa: PLC0415

    return str(gx.__version__)


@cache
def _batch_definition() -> Any:
    """Made once: a context costs more than a small suite."""
    import great_expectations as gx  # noqa: PLC0415
    from great_expectations.data_context.types.base import (  # noqa: PLC0415
        DataContextConfig,
        InMemoryStoreBackendDefaults,
    )

    # By its own defaults it would make a folder for a docs site among the system's temporary files.
    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    quiet = DataContextConfig(
        store_backend_defaults=stores, progress_bars={"globally": False}, analytics_enabled=False
    )
    context = gx.get_context(mode="ephemeral", project_config=quiet)
    asset = context.data_sources.add_pandas("batches").add_dataframe_asset("batch")
    return asset.add_batch_definition_whole_dataframe("whole")


def _stable(result: dict[str, Any]) -> dict[str, Any]:
    """Without traces, which hold paths of the machine, and without ids."""
    config = result["expectation_config"]
    arguments = {key: value for key, value in config["kwargs"].items() if key != "batch_id"}
    stable = {
        "success": result["success"],
        "type": config["type"],
        "arguments": arguments,
        "result": result["result"],
    }
    trouble = _trouble(result["exception_info"])
    if trouble:
        stable["trouble"] = trouble
    return stable


def _trouble(info: dict[str, Any]) -> str:
    """The first message of what was raised; it comes flat or one for each metric."""
    parts = [info] if "raised_exception" in info else list(info.values())
    told = [part["exception_message"] for part in parts if part["raised_exception"]]
    return " ".join(str(told[0]).split()) if told else ""


def _finding(wanted: Expectation, result: dict[str, Any]) -> Finding:
    found = result["result"]
    unexpected, share = found.get("unexpected_count"), None
    if "trouble" in result:
        observed = f"cannot be checked: {result['trouble']}"
    elif unexpected is None:
        observed = _listed(found.get("observed_value"))
    else:
        # Where missing values are none of its concern, Great Expectations leaves them out of the share.
        missing = found.get("missing_count", 0)
        asked = found["element_count"] - missing
        share = unexpected / asked if asked else 0.0
        observed = f"all {asked}" if unexpected == 0 else f"not so in {unexpected} of {asked} ({share:.2%})"
        examples = found.get("partial_unexpected_list", [])
        if unexpected and any(example is not None for example in examples):
            observed += f", such as {_listed(examples)}"
    return Finding(
        expectation=result["type"],
        column=wanted.column,
        expected=wanted.words,
        observed=observed,
        success=result["success"],
        unexpected=unexpected,
        unexpected_share=share,
    )


def _listed(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(_listed(part) for part in value.values())
    if isinstance(value, list):
        return ", ".join(_listed(part) for part in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
