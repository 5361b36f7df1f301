"""What runs and is read every night: score, status, report, quarantine, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aeflow.cli.arguments import ConfigArgument, JsonOption, open_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from flows.score_batch import ScoredBatch


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (score, status, report, quarantine, verify):
        app.command()(command)


def score(
    config: ConfigArgument,
    batch: Annotated[str | None, typer.Option("--batch", metavar="ID", help="Score this batch.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="ID", help="Score the batches from this one on.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="ID", help="... up to this one.")] = None,
    pending: Annotated[bool, typer.Option("--pending", help="Score every batch that has no report.")] = False,
    version: Annotated[int | None, typer.Option(help="Detector version. Default: the champion.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Score again although nothing changed.")] = False,
    json: JsonOption = False,
) -> None:
    """Score batches and publish their reports. Running it again changes nothing that was right."""
    from aeflow.backlog import choose_batches
    from aeflow.cli.output import print_json

    path = open_pipeline(config)
    chosen = choose_batches(path, batch=batch, first=first, last=last, pending=pending)
    results, failed = _score_each(path, chosen, version=version, force=force, quiet=json)
    if json:
        print_json([done.to_json() for done in results])
    elif not chosen:
        print(f"Nothing to do: {_nothing(first, last)}.")
    if failed:
        raise typer.Exit(2)


def status(config: ConfigArgument, json: JsonOption = False) -> None:
    """Show every batch and its state: published, refused, failed, running, missing."""
    from aeflow.backlog import read_status
    from aeflow.cli.output import print_json, print_table

    rows = read_status(open_pipeline(config))
    if json:
        print_json([row.to_json() for row in rows])
        return
    print_table(
        ["batch", "state", "scored", "not scorable", "set aside", "flags", "detector", "revision", "note"],
        [row.cells() for row in rows],
    )


def report(
    config: ConfigArgument,
    batch: Annotated[
        str | None, typer.Option("--batch", metavar="ID", help="Default: the last one published.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    json: JsonOption = False,
) -> None:
    """Tell what the last night brought, and where its files are; --open shows the page."""
    from aeflow.backlog import paths_of
    from aeflow.cli.output import print_json, print_report
    from aeflow.report.nights import last_nights
    from aeflow.report.summary import read_summary

    path = open_pipeline(config)
    folder = _report_folder(path, batch)
    summary = read_summary(folder)
    if json:
        print_json(summary.model_dump(mode="json") | {"folder": str(folder)})
    else:
        print_report(summary, folder, last_nights(paths_of(path)))
    if show:
        _open_page(folder / "report.html")


def quarantine(
    config: ConfigArgument,
    batch: Annotated[str | None, typer.Option("--batch", metavar="ID", help="Only this batch.")] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Take the batches in again, once their data are mended.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what was set aside, why and where; --replay scores those batches again."""
    from aeflow.backlog import batches_set_aside, read_quarantine
    from aeflow.cli.output import print_json, print_table

    path = open_pipeline(config)
    if replay:
        chosen = batches_set_aside(path, batch)
        if not chosen:
            print("Nothing is set aside.")
        results, failed = _score_each(path, chosen, quiet=json)
        if json:
            print_json([done.to_json() for done in results])
        if failed:
            raise typer.Exit(2)
        return
    rows = read_quarantine(path, batch)
    if json:
        print_json(rows)
    elif not rows:
        print("Nothing is set aside.")
    else:
        print_table(
            ["batch", "file", "row", "reason", "rule", "what came"],
            [[r["batch"], r["file"], r["row"], r["reason"], r["rule"], r["detail"]] for r in rows],
        )


def verify(
    config: ConfigArgument,
    batch: Annotated[str, typer.Option("--batch", metavar="ID", help="The published batch to prove.")],
) -> None:
    """Score a published batch again from its receipt and say whether it comes out identical."""
    from flows.verify_batch import verify_batch

    differences = verify_batch(open_pipeline(config), batch)
    if not differences:
        print(
            f"Batch {batch}: identical. Data, config, detector and every published file are as the receipt says."
        )
        return
    print(f"Batch {batch}: not identical.")
    for difference in differences:
        print(f"  {difference}")
    raise typer.Exit(1)


def _score_each(
    config: Path, batches: list[str], *, version: int | None = None, force: bool = False, quiet: bool = False
) -> tuple[list[ScoredBatch], bool]:
    """The batches that could be scored, and whether any could not. One that could not does not keep
    the others; where it is the only one, its error is the command's."""
    from aeflow.cli.progress import progress_bar
    from aeflow.exceptions import UserError
    from flows.io_tasks import run
    from flows.score_batch import score_batch

    results: list[ScoredBatch] = []
    failures: list[tuple[str, UserError]] = []
    for number, name in enumerate(batches, start=1):
        try:
            with progress_bar(f"{name} ({number}/{len(batches)})") as bar:
                done = run(score_batch, config, name, version=version, force=force, progress=bar)
        except UserError as error:
            if len(batches) == 1:
                raise
            failures.append((name, error))
            continue
        results.append(done)
        if not quiet:
            _print_outcome(done)
    for name, failure in failures:
        typer.echo(f"aeflow: batch {name}: {failure}", err=True)
    return results, bool(failures)


def _nothing(first: str | None, last: str | None) -> str:
    if first is None and last is None:
        return "every batch of the source, but for the history, has a report"
    bounds = f"{f' from {first}' if first is not None else ''}{f' to {last}' if last is not None else ''}"
    return f"the source holds no batch{bounds}"


def _report_folder(config: Path, batch: str | None) -> Path:
    from aeflow.backlog import paths_of
    from aeflow.exceptions import BatchNotFound

    paths = paths_of(config)
    published = paths.published()
    if not published or (batch is not None and batch not in published):
        what = f"a report of batch {batch}" if batch else "a published report"
        known = (
            f"Published are: {', '.join(published[-10:])}."
            if published
            else "Score a batch first: aeflow score"
        )
        raise BatchNotFound(f"expected {what}, and there is none", where=str(paths.reports), remedy=known)
    return paths.report(batch or published[-1])


def _open_page(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        typer.echo(f"aeflow: no browser could be opened; the page is {page}", err=True)


def _print_outcome(done: ScoredBatch) -> None:
    print(done.sentence())
    if done.promise.moved_in_words:
        print(f"  {done.promise.moved_in_words}")
    print(f"  {'report' if done.changed else 'unchanged'}: {done.folder / 'report.html'}")
