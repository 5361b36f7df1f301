"""What concerns detectors: train, evaluate, retrain, models, promote, rollback."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aeflow.cli.arguments import ConfigArgument, JsonOption, open_pipeline
from aeflow.wording import about, counted

if TYPE_CHECKING:
    from flows.recalibrate_detector import Recalibrated
    from flows.retrain_if_needed import Retrained
    from flows.train_detector import TrainedDetector


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (train, evaluate, retrain, models, promote, rollback):
        app.command()(command)


def train(
    config: ConfigArgument,
    challenger: Annotated[
        bool, typer.Option("--challenger", help="Register only; do not let it go live.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Fit a detector on the configured history, measure and register it; it goes live if that is earned."""
    from aeflow.cli.output import print_json, tell_unreadable
    from aeflow.cli.progress import progress_bar
    from flows.io_tasks import run
    from flows.train_detector import train_detector

    path = open_pipeline(config)
    with progress_bar("training") as bar:
        done = run(train_detector, path, go_live=not challenger, progress=bar)
    if json:
        print_json(done.to_json())
    else:
        _print_training(done)
    # Told, and no failure: what was asked for is done, of the rest of the history.
    tell_unreadable(done.unreadable)


def evaluate(
    config: ConfigArgument,
    labels: Annotated[Path, typer.Option("--labels", metavar="FILE", help="CSV or Parquet with the truth.")],
    version: Annotated[int | None, typer.Option(help="Detector version. Default: the champion.")] = None,
    classes: Annotated[
        Path | None,
        typer.Option("--classes", metavar="FILE", help="CSV or Parquet: item or timestamp, and class."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores", metavar="FILE", help="Write label, score and flag of every compared item, as Parquet."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure a detector against labels, beside the linear baseline and flag-everything."""
    from aeflow.cli.output import print_evaluation, print_json
    from flows.evaluate_detector import evaluate_detector

    evaluation = evaluate_detector(
        open_pipeline(config), labels, version=version, classes=classes, scores=scores
    )
    if json:
        print_json(evaluation.to_json())
    else:
        print_evaluation(evaluation)


def retrain(
    config: ConfigArgument,
    force: Annotated[bool, typer.Option("--force", help="Train whatever the decision would be.")] = False,
    recalibrate: Annotated[
        bool,
        typer.Option("--recalibrate", help="Fit the calibration alone anew, whatever the decision would be."),
    ] = False,
    reason: Annotated[
        str,
        typer.Option(
            "--reason", metavar="TEXT", help="Why, for the record. With --force, --recalibrate or --veto."
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only decide and say why; change nothing.")
    ] = False,
    veto: Annotated[bool, typer.Option("--veto", help="Say no to the retraining that is asked for.")] = False,
    json: JsonOption = False,
) -> None:
    """Decide by the last nights whether to train, say why, and train if so."""
    from aeflow.cli.output import print_json
    from aeflow.cli.progress import progress_bar
    from aeflow.exceptions import InputError
    from aeflow.retraining import Outcome
    from flows import retrain_if_needed as flow
    from flows.io_tasks import run

    path = open_pipeline(config)
    if force + recalibrate + dry_run + veto > 1:
        raise InputError(
            "expected at most one of --force, --recalibrate, --dry-run, --veto", where="aeflow retrain"
        )
    if reason and not (force or recalibrate or veto):
        raise InputError(
            "expected --reason with --force, --recalibrate or --veto, and none is given",
            where="aeflow retrain",
            remedy="Without them the decision gives its own reasons.",
        )
    if veto:
        said = flow.veto(path, reason)
        print(
            "The retraining is called off."
            if said
            else "No retraining is asked for: there is nothing to call off."
        )
        return
    if dry_run:
        done = flow.Retrained(path.stem, flow.decide_only(path))
    else:
        wanted = Outcome.RETRAIN if force else Outcome.RECALIBRATE if recalibrate else None
        with progress_bar("training") as bar:
            done = run(flow.retrain_if_needed, path, wanted=wanted, reason=reason, progress=bar)
    if json:
        print_json(done.to_json())
    else:
        _print_retraining(done)


def models(config: ConfigArgument, json: JsonOption = False) -> None:
    """List the registered detectors: version, alias, figures."""
    from aeflow import registry
    from aeflow.backlog import paths_of
    from aeflow.cli.output import print_json, print_table

    found = registry.versions(paths_of(open_pipeline(config)))
    if json:
        print_json([asdict(v) for v in found])
        return
    print_table(
        ["version", "alias", "created (UTC)", "family", "planted AUROC", "false flags on held-out"],
        [
            [
                v.version,
                ", ".join(v.aliases),
                f"{v.created:%Y-%m-%d %H:%M}",
                v.tags.get("family", ""),
                _figure(v.metrics.get("planted_auroc")),
                _figure(v.metrics.get("false_flag_share")),
            ]
            for v in found
        ],
    )


def promote(config: ConfigArgument, version: Annotated[int, typer.Argument(metavar="VERSION")]) -> None:
    """Let a registered detector go live."""
    from flows.champion import promote_version

    before = promote_version(open_pipeline(config), version)
    if before == version:
        print(f"Version {version} was the champion already.")
        return
    print(f"Version {version} is the champion now{f'; before it was version {before}' if before else ''}.")


def rollback(
    config: ConfigArgument,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score the batches again that the one taken back had scored.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Go back to the champion before; names the batches that the one taken back had scored."""
    from aeflow.cli.output import print_json
    from flows.champion import roll_back

    change = roll_back(open_pipeline(config), rescore=rescore)
    if json:
        print_json(change.to_json())
    else:
        print(f"Version {change.now} is the champion again, in place of version {change.before}.")
        if change.scored:
            print(f"Scored by version {change.before}: {', '.join(change.scored)}.")
        if change.scored and not rescore:
            print("To score them again:")
            for batch in change.scored:
                print(f"  aeflow score {config} --batch {batch}")
        if rescore:
            print(
                f"{len(change.rescored)} scored again, {len(change.restored)} of them to the byte what they were before."
            )
        for failure in change.failed:
            typer.echo(f"aeflow: {failure}", err=True)
    if change.failed:
        raise typer.Exit(2)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _print_retraining(done: Retrained) -> None:
    print(f"{done.pipeline}: {done.decision.outcome}")
    for reason in done.decision.reasons:
        print(f"  {reason}")
    if done.trained is not None:
        _print_training(done.trained)
    if done.recalibrated is not None:
        _print_recalibration(done.recalibrated)


def _print_recalibration(done: Recalibrated) -> None:
    from aeflow.data.intake import in_words

    print(
        f"Detector {done.version} of {done.pipeline}: the champion's network, calibrated on {counted(done.rows, 'item')} of "
        f"{counted(len(done.batches), 'batch')} (set aside: {in_words(done.left_out)})."
    )
    for reason in done.decision.reasons:
        print(f"  {reason}")
    print("It is the champion now." if done.live else "It is registered as challenger; the champion stays.")


def _print_training(done: TrainedDetector) -> None:
    from aeflow.data.intake import in_words

    print(
        f"Detector {done.version} of {done.pipeline}, from a history of {counted(done.rows, 'valid item')} "
        f"(set aside: {in_words(done.quarantined)})"
    )
    how = counted(done.epochs, "epoch") if done.epochs else "one go"
    print(f"  in {how} on {done.device}, {about(done.items_per_second)} items a second.")
    for reason in done.decision.reasons:
        print(f"  {reason}")
    if done.note:
        print(f"  {done.note}")
    print("It is the champion now." if done.live else "It is registered as challenger; the champion stays.")
