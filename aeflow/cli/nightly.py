"""What runs and is read every night: score, status, report, quarantine, verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aeflow.cli.arguments import ConfigArgument, JsonOption, expect_folder, open_pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.nightly import Night
    from flows.score_batch import ScoredBatch
    from flows.score_batches import Attempt


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (score, status, report, quarantine, verify):
        app.command()(command)


def score(
    config: ConfigArgument,
    *,
    batch: Annotated[str | None, typer.Option("--batch", metavar="ID", help="Score this batch.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="ID", help="Score the batches from this one on.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="ID", help="... up to this one.")] = None,
    pending: Annotated[bool, typer.Option("--pending", help="Score every batch that has no report.")] = False,
    version: Annotated[int | None, typer.Option(help="Detector version. Default: the champion.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Score again although nothing changed.")] = False,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Score so many batches at once.")] = 1,
    json: JsonOption = False,
) -> None:
    """Score batches and publish their reports. Running it again changes nothing that was right."""
    from aeflow.backlog import choose_batches
    from aeflow.cli.output import print_json, tell_unreadable

    path = open_pipeline(config)
    if pending and batch is None and first is None and last is None:
        night = _score_pending(path, version=version, force=force, jobs=jobs, quiet=json)
        results, failed = _judged(night.attempts)
        unreadable = night.unreadable
        if not night.attempts and not json:
            print("Nothing to do: every batch of the source, but for the history, has a report.")
    else:
        names = choose_batches(path, batch=batch, first=first, last=last, pending=pending)
        results, failed = _score_each(path, names, version=version, force=force, jobs=jobs, quiet=json)
        unreadable = _unreadable_of(results)
    if json:
        print_json([done.to_json() for done in results])
    tell_unreadable(unreadable)
    if failed or unreadable:
        raise typer.Exit(2)


def status(
    config: ConfigArgument,
    table: Annotated[bool, typer.Option("--table", help="Every batch on a line of its own.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only what should be done by now and is not; exit code 1 if any.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what became of every night, as a calendar: scored, flagged, late, missing, failed, refused."""
    from datetime import UTC, datetime

    from aeflow.backlog import read_status
    from aeflow.cli.calendar import calendar_lines
    from aeflow.cli.output import print_json, print_table, tell_unreadable
    from aeflow.config import load_config
    from aeflow.overdue import find_overdue

    path = open_pipeline(config)
    if check:
        overdue = find_overdue(path, now=datetime.now(UTC))
        if json:
            print_json([o.to_json() for o in overdue])
        else:
            print("\n".join(o.sentence() for o in overdue) or "Nothing is overdue.")
        raise typer.Exit(1 if overdue else 0)
    found = read_status(path)
    rows = found.batches
    tell_unreadable(found.unreadable)
    if json:
        print_json([row.to_json() for row in rows])
        return
    overdue = find_overdue(path, now=datetime.now(UTC))
    rule = load_config(path).batch
    if table or rule.by != "period":
        print_table(
            [
                "batch",
                "state",
                "scored",
                "not scorable",
                "set aside",
                "flags",
                "detector",
                "revision",
                "note",
            ],
            [row.cells() for row in rows],
        )
    else:
        late = frozenset(o.batch for o in overdue if o.fault == "late")
        for line in calendar_lines(rows, rule.period, late=late):
            print(line)
        for row in rows:
            if row.message and row.state in {"failed", "refused", "interrupted"}:
                print(f"{row.batch} {row.state}: {row.message.splitlines()[0]}")
    for o in overdue:
        print(f"Overdue: {o.sentence()}")


def report(
    config: ConfigArgument,
    batch: Annotated[
        str | None, typer.Option("--batch", metavar="ID", help="Default: the last one published.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            metavar="FILE",
            help="Write the page to send: the report, with the last nights up to it and how many of their "
            "flags were true.",
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open that page in the browser.")] = False,
    json: JsonOption = False,
) -> None:
    """Tell what the last night brought, and where its files are; --page writes one file to send, --open shows it."""
    from aeflow.backlog import paths_of
    from aeflow.cli.output import print_json, print_report
    from aeflow.config import load_config
    from aeflow.report.nights import last_nights
    from aeflow.report.realised import realised
    from aeflow.report.summary import read_summary

    path = open_pipeline(config)
    folder = _report_folder(path, batch)
    summary, paths = read_summary(folder), paths_of(path)
    written = _write_page(path, summary.batch, page) if show or page is not None else None
    nights = last_nights(paths)
    found = realised(paths, [summary, *nights])
    if json:
        placed = {"folder": str(folder), "reviewed": found[summary.batch].to_json()}
        placed |= {} if written is None else {"page": str(written)}
        print_json(summary.model_dump(mode="json") | placed)
    else:
        print_report(summary, folder, nights, found, zone=load_config(path).batch.time_zone)
        if page is not None:
            print(f"  To send: {page}")
    if show and written is not None:
        _open_page(written)


def quarantine(
    config: ConfigArgument,
    batch: Annotated[str | None, typer.Option("--batch", metavar="ID", help="Only this batch.")] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Take the batches in again, once their data are mended.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what was set aside, why and where; --replay scores those batches again."""
    from aeflow.backlog import batches_set_aside, read_quarantine, read_unassigned
    from aeflow.cli.output import print_json, print_table, tell_unreadable

    path = open_pipeline(config)
    if replay:
        chosen = batches_set_aside(path, batch)
        if not chosen:
            print("Nothing is set aside.")
        results, failed = _score_each(path, chosen, quiet=json)
        if json:
            print_json([done.to_json() for done in results])
        unreadable = _unreadable_of(results)
        tell_unreadable(unreadable)
        if failed or unreadable:
            raise typer.Exit(2)
        return
    rows = read_quarantine(path, batch)
    unassigned = read_unassigned(path) if batch is None else {}
    tell_unreadable(unassigned)
    if json:
        print_json(rows)
    elif not rows:
        print(f"Nothing {'of any batch ' if unassigned else ''}is set aside.")
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
    config: Path,
    batches: list[str],
    *,
    version: int | None = None,
    force: bool = False,
    jobs: int = 1,
    quiet: bool = False,
) -> tuple[list[ScoredBatch], bool]:
    """The batches that could be scored, and whether any could not."""
    from aeflow.cli.progress import progress_bar
    from flows.score_batches import score_batches

    show = None if quiet else _print_attempt
    attempts = score_batches(
        config, batches, jobs=jobs, version=version, force=force, ended=show, progress=progress_bar
    )
    return _judged(attempts)


def _score_pending(config: Path, *, version: int | None, force: bool, jobs: int, quiet: bool) -> Night:
    """As `_score_each`, of every batch that has no report."""
    from aeflow.cli.progress import progress_bar
    from flows.nightly import score_pending

    show = None if quiet else _print_attempt
    return score_pending(config, jobs=jobs, version=version, force=force, ended=show, progress=progress_bar)


def _judged(attempts: Sequence[Attempt]) -> tuple[list[ScoredBatch], bool]:
    """The batches that were scored, and whether any could not be: those are told of. Where one is the
    only one, its error is the command's; one of ours is always."""
    from aeflow.exceptions import UserError

    failures = [a for a in attempts if a.error is not None]
    for failure in failures:
        if len(attempts) == 1 or not isinstance(failure.error, UserError):
            raise failure.error  # type: ignore[misc]
    for failure in failures:
        typer.echo(f"aeflow: {failure.complaint}", err=True)
    return [a.scored for a in attempts if a.scored is not None], bool(failures)


def _unreadable_of(results: Sequence[ScoredBatch]) -> dict[str, str]:
    return {name: why for done in results for name, why in done.unreadable.items()}


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


def _write_page(config: Path, batch: str, file: Path | None) -> Path:
    """Write the page of a batch with the last nights, and tell where. Where no file is named it is only looked at,
    and if it cannot be made, the published page does."""
    from datetime import UTC, datetime

    from aeflow.backlog import paths_of
    from aeflow.config import load_config
    from aeflow.exceptions import IntegrityError, StorageError
    from aeflow.report.html import REPORT_FILE
    from aeflow.report.with_nights import write_page_with_nights

    paths = paths_of(config)
    target = paths.page(batch) if file is None else expect_folder(file)
    zone = load_config(config).batch.time_zone
    try:
        write_page_with_nights(paths, batch, target, zone=zone, now=datetime.now(UTC))
    except (IntegrityError, StorageError) as error:
        if file is not None:
            raise
        typer.echo(f"aeflow: the page is shown without the last nights: {error}", err=True)
        return paths.report(batch) / REPORT_FILE
    return target


def _open_page(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        typer.echo(f"aeflow: no browser could be opened; the page is {page}", err=True)


def _print_attempt(attempt: Attempt) -> None:
    done = attempt.scored
    if done is not None:
        print(done.sentence())
        for told in filter(None, (done.promise.moved_in_words, done.promise.blunt_in_words)):
            print(f"  {told}")
        print(f"  {'report' if done.changed else 'unchanged'}: {done.folder / 'report.html'}", flush=True)
