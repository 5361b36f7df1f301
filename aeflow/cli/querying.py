"""Questions to all reports at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aeflow.cli.arguments import ConfigArgument, JsonOption, expect_folder, open_pipeline
from aeflow.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from aeflow.report.queries import Value

_SHOWN_ROWS = 1_000


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(sql)


def sql(
    config: ConfigArgument,
    query: Annotated[
        str | None, typer.Argument(help="A query that comes along, by name; a file .sql; or SQL itself.")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Show the queries that come along, every view and column.")
    ] = False,
    given: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="The value of a parameter $NAME.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the answer as CSV.")
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write the answer as Parquet.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Ask all reports of the pipeline by SQL (DuckDB): batches, flags, scores, quarantine, verdicts."""
    from aeflow.cli.output import print_json
    from aeflow.report.queries import ask, find_query, write_csv, write_parquet

    path = open_pipeline(config)
    if csv is not None and parquet is not None:
        raise typer.BadParameter("give --csv or --parquet, not both")
    for file in filter(None, (csv, parquet)):
        expect_folder(file)
    if listed or query is None:
        _print_list(path)
        return
    with ask(path, find_query(query), _values(given or [])) as answer:
        if csv is not None:
            print(f"{counted(write_csv(answer, csv), 'row')} in {csv}")
        elif parquet is not None:
            print(f"{counted(write_parquet(answer, parquet), 'row')} in {parquet}")
        elif json:
            print_json([row for batch in answer for row in batch.to_pylist()])
        else:
            _print_answer(answer)


def _values(given: list[str]) -> dict[str, Value]:
    from aeflow.report.queries import parameter_value

    values = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected NAME=VALUE, got {pair!r}", param_hint="--set")
        values[name.strip().removeprefix("$")] = parameter_value(value)
    return values


def _print_answer(answer: pa.RecordBatchReader) -> None:
    from aeflow.cli.output import print_table

    rows: list[list[object]] = []
    more = False
    for batch in answer:
        room = _SHOWN_ROWS - len(rows)
        rows += [[_cell(value) for value in row.values()] for row in batch.slice(0, room).to_pylist()]
        more = len(batch) > room
        if more:
            break
    if not rows:
        print("No rows.")
        return
    print_table(answer.schema.names, rows)
    if more:
        print(f"The first {_SHOWN_ROWS:,} rows; --csv FILE or --parquet FILE writes all.")


def _cell(value: object) -> object:
    from datetime import datetime

    if isinstance(value, float):
        return round(value, 4) if abs(value) >= 0.01 or value == 0 else float(f"{value:.3g}")
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}" if value.second else f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, bytes):
        return f"({len(value):,} bytes)"
    return value


def _print_list(config: Path) -> None:
    from aeflow.report.queries import describe_views, shipped_queries

    for query in shipped_queries().values():
        print(f"{query.name}: {query.about}")
        for parameter in query.parameters:
            print(f"    --set {parameter.name}={parameter.default}  {parameter.meaning}")
    print()
    columns: dict[str, list[str]] = {}
    for view, column, _ in describe_views(config):
        columns.setdefault(view, []).append(column)
    for view, names in columns.items():
        print(f"{view}: {', '.join(names)}")
    print(
        "precision_of, precision_low, precision_high: of confirmed and refuted flags, with its 95 % interval"
    )
