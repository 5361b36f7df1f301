"""What a registered detector is, for a person: what it learnt from, how it did, what it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aeflow.config import family_in_words
from aeflow.data.intake import in_words
from aeflow.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aeflow.data.intake import Intake
    from aeflow.detector import Detector
    from aeflow.detector.fitting import Fitted
    from aeflow.promotion import Decision, Figures

_SHOWN_BATCHES = 10


def model_card(
    intake: Intake,
    batches: Sequence[str],
    fitted: Fitted,
    figures: Figures,
    baseline: Figures,
    decision: Decision,
    *,
    trends: str = "",
) -> str:
    """The card, in Markdown; trends: which channels rise or fall while they are learnt from."""
    config, training = fitted.detector.config, fitted.training
    calibration = fitted.detector.calibration
    shown = ", ".join(batches[:_SHOWN_BATCHES]) + (", ..." if len(batches) > _SHOWN_BATCHES else "")
    promise = (
        f"at most {calibration.promised:g} false {'flag' if calibration.promised == 1 else 'flags'} a batch of {calibration.items_per_batch:,.0f} items"
        if calibration.promise == "false_flags_per_batch"
        else f"at most {calibration.promised:.1%} of a batch's flags are false"
    )
    how = f"Trained {counted(len(training.history), 'epoch')}" if training.history else "Fitted in one go"
    lines = [
        f"# {config.name}: {family_in_words(config.model)} detector for {config.kind}",
        "",
        f"- Channels: {', '.join(config.channels)}",
        f"- Learnt from {counted(intake.valid, 'item')} of {counted(len(batches), 'batch')} ({shown}); {intake.rows_in - intake.valid:,} set aside ({in_words(intake.quarantined)})",
        f"- Digest of that history: {intake.digest}",
        f"- {how} on {training.device} in {training.precision}, seed {config.seed}",
        f"- Promise: {promise} (rule {calibration.rule}, {calibration.n:,} calibration scores)",
        *([f"- Note: {calibration.note}"] if calibration.note else []),
        *([f"- {trends}"] if trends else []),
        "",
        "| on held-out normal data | this detector | linear baseline |",
        "|---|---|---|",
        f"| items | {figures.items} | {baseline.items} |",
        f"| flagged | {_share(figures.false_flag_share)} | {_share(baseline.false_flag_share)} |",
        f"| AUROC of planted faults | {_number(figures.planted_auroc)} | {_number(baseline.planted_auroc)} |",
        "",
        *decision.reasons,
        "",
    ]
    return "\n".join(lines)


def recalibration_card(
    pipeline: str,
    of_version: int,
    intake: Intake,
    batches: Sequence[str],
    detector: Detector,
    decision: Decision,
) -> str:
    """The card of a version that has the weights of another, and a calibration of its own."""
    calibration = detector.calibration
    lines = [
        f"# {pipeline}: version {of_version} calibrated anew",
        "",
        f"- The network, the scaling and so every score are those of version {of_version}",
        (
            f"- Calibrated on {counted(intake.valid, 'item')} of {counted(len(batches), 'batch')} ({', '.join(batches[:_SHOWN_BATCHES])}); "
            f"{intake.rows_in - intake.valid:,} set aside ({in_words(intake.quarantined)})"
        ),
        f"- Digest of them: {intake.digest}",
        f"- {calibration.n:,} calibration scores, rule {calibration.rule}",
        *([f"- Note: {calibration.note}"] if calibration.note else []),
        "",
        *decision.reasons,
        "",
    ]
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2%}"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"
