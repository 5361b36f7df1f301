"""Whether a batch is fit to score, and how healthy its channels are.

Only a configured share refuses a batch: that of what was set aside. An expectation that fails and a
channel that is graded down are warnings in the report; the batch is scored all the same, for what is
abnormal in it is what people want to see.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from aeflow.data.batch_grades import grade_batch
from aeflow.data.expectations import expect_of_account, expect_of_images, expect_of_series
from aeflow.data.sampled_table import sample_images, sample_series
from aeflow.data.suite import Finding, SuiteResult, engine_version, run_suite
from aeflow.data.validation_docs import write_docs
from aeflow.exceptions import BatchRefused, InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aeflow.config import Kind, PipelineConfig
    from aeflow.data.grades import ChannelGrade
    from aeflow.data.intake import Intake
    from aeflow.data.reference import Reference

_EXAMPLES = 5
_NAMED = 5


@dataclass(frozen=True)
class CheckResult:
    """What came of the checks of one batch.

    passed: expectations that hold.
    failed: those that do not.
    rows: valid rows (images: files) of the batch; rows_seen: those that the suite looked at.
    rows_in: with those that were set aside, by reason code in `quarantined`.
    grades: the worst of each channel, over all rows; empty for images and for a batch without a row.
    refused: why the batch is not to be scored; None if it is.
    examples: of what was set aside, in words; only where it is refused.
    warnings: what else people should know, one sentence each.
    """

    pipeline: str
    kind: Kind
    batch: str
    passed: int
    failed: tuple[Finding, ...]
    rows_seen: int
    rows: int
    rows_in: int
    quarantined: dict[str, int]
    grades: tuple[ChannelGrade, ...] = ()
    refused: str | None = None
    examples: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def raise_if_refused(self) -> None:
        """Refuse the batch, if it is to be.

        Raises:
            BatchRefused: with the numbers by reason and the first examples.
        """
        if self.refused is None:
            return
        problem = self.refused
        if self.quarantined:
            counts = sorted(self.quarantined.items(), key=lambda item: (-item[1], item[0]))
            problem += ": " + ", ".join(f"{reason} {number}" for reason, number in counts)
        problem += "".join(f"\n  {example}" for example in self.examples)
        remedy = (
            "Mend them in the source and score the batch again; if so many are to be expected, raise "
            "checks.max_quarantined_share."
            if self.rows_in
            else "If its rows are late, score the batch again once they are there."
        )
        raise BatchRefused(problem, where=f"{self.pipeline}, batch {self.batch}", remedy=remedy)


def check_batch(
    config: PipelineConfig, intake: Intake, reference: Reference | None, docs_folder: Path
) -> CheckResult:
    """Run the pipeline's suite on a staged batch, grade its channels, and say whether it is refused.

    Args:
        config: the pipeline.
        intake: the staged batch.
        reference: what the history taught; None before there is any: then only what the config says is
            expected.
        docs_folder: where the findings are kept (`validation_docs`); what lies there is overwritten.

    Raises:
        InputError: the reference has other channels than the batch, or is of another kind.
        StorageError: the staged files cannot be read, or the folder not be written.
    """
    _refuse_other_reference(intake, reference)
    outcome, rows_seen = _run_suites(config, intake, reference)
    refused = refusal(config, intake, reference)
    checks = CheckResult(
        pipeline=config.name,
        kind=intake.kind,
        batch=intake.batch,
        passed=sum(finding.success for finding in outcome.findings),
        failed=tuple(finding for finding in outcome.findings if not finding.success),
        rows_seen=rows_seen,
        rows=intake.valid,
        rows_in=intake.rows_in,
        quarantined=dict(intake.quarantined),
        refused=refused,
        examples=() if refused is None else examples_of(intake),
        warnings=_warnings(config, intake, reference),
    )
    if intake.kind == "series":
        checks = replace(checks, grades=_grades(config, intake, reference))
    write_docs(docs_folder, checks, outcome, engine_version())
    return checks


def _run_suites(
    config: PipelineConfig, intake: Intake, reference: Reference | None
) -> tuple[SuiteResult, int]:
    import pandas as pd  # noqa: PLC0415 - as slow as the suite that needs it

    account = pd.DataFrame(
        {
            "rows": [intake.valid],
            "quarantined_share": [intake.quarantined_share],
            "out_of_order_share": [intake.out_of_order / max(intake.rows_in, 1)],
        }
    )
    of_account = run_suite(f"{config.name}-account", expect_of_account(config, reference), account)
    if intake.valid == 0:
        return of_account, 0
    if intake.kind == "images":
        table, expected = sample_images(intake), expect_of_images(config, reference)
    else:
        table, expected = sample_series(intake, reference), expect_of_series(config, reference)
    of_rows = run_suite(config.name, expected, table.to_pandas(split_blocks=True))
    outcome = SuiteResult(of_account.findings + of_rows.findings, of_account.results + of_rows.results)
    return outcome, table.num_rows


def _grades(config: PipelineConfig, intake: Intake, reference: Reference | None) -> tuple[ChannelGrade, ...]:
    return grade_batch(config.checks, intake, None if reference is None else reference.series)


def refusal(config: PipelineConfig, intake: Intake, reference: Reference | None) -> str | None:
    """Why the batch is not to be scored; None if it is. Known without running the suite."""
    what = "files" if intake.kind == "images" else "rows"
    if intake.rows_in == 0:
        return f"expected {what} to score, and the batch holds none"
    aside = intake.rows_in - intake.valid
    if intake.valid == 0:
        return f"all {intake.rows_in} {what} of the batch are unfit to score"
    limit = config.checks.max_quarantined_share
    if intake.quarantined_share <= limit:
        return None
    before = f" ({reference.quarantined_share:.2%} in the history)" if reference is not None else ""
    return (
        f"expected at most {limit:.2%} of the {what} to be unfit to score, got {aside} of {intake.rows_in}, "
        f"{intake.quarantined_share:.2%}{before}"
    )


def examples_of(intake: Intake) -> tuple[str, ...]:
    """Of what was set aside, the first of each reason, in words.

    Raises:
        StorageError: what was set aside cannot be read.
    """
    found: dict[str, str] = {}
    columns = ["file", "row", "reason", "detail"]
    try:
        with pq.ParquetFile(intake.quarantine_path, pre_buffer=False) as file:
            for part in file.iter_batches(columns=columns):
                for row in part.to_pylist():
                    place = row["file"] if row["row"] is None else f"{row['file']}, row {row['row']}"
                    detail = f": {row['detail']}" if row["detail"] else ""
                    found.setdefault(row["reason"], f"{place}: {row['reason']}{detail}")
                if len(found) >= min(_EXAMPLES, len(intake.quarantined)):
                    break
    except OSError as error:
        msg = f"what was set aside cannot be read: {error.strerror or error}"
        raise StorageError(
            msg, where=str(intake.quarantine_path), remedy="Take the batch in again."
        ) from error
    return tuple(found.values())[:_EXAMPLES]


def _warnings(config: PipelineConfig, intake: Intake, reference: Reference | None) -> tuple[str, ...]:
    series = None if reference is None else reference.series
    if series is None or not intake.entities:
        return ()
    warnings = []
    new = sorted(set(intake.entities) - set(series.entities))
    if new:
        warnings.append(
            f"{_named(new)} {'was' if len(new) == 1 else 'were'} not in the history; the channels are "
            "graded against those of all entities together."
        )
    # Where a batch is a folder or a file, it may well be that of one entity.
    silent = sorted(set(series.entities) - set(intake.entities)) if config.batch.by == "period" else []
    if silent:
        warnings.append(f"No row came from {_named(silent)}, known from the history.")
    return tuple(warnings)


def _named(entities: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in entities[:_NAMED])
    rest = f" and {len(entities) - _NAMED} more" if len(entities) > _NAMED else ""
    return f"{'entity' if len(entities) == 1 else 'entities'} {shown}{rest}"


def _refuse_other_reference(intake: Intake, reference: Reference | None) -> None:
    if reference is None:
        return
    kind = "images" if reference.images is not None else "series"
    if kind != intake.kind or reference.channels != intake.channels:
        msg = (
            f"expected a batch of {kind} with the channels {', '.join(reference.channels)}, "
            f"got {intake.kind} with {', '.join(intake.channels)}"
        )
        raise InputError(msg, where=f"batch {intake.batch}", remedy="Train a detector for this config.")
