"""Everything that a pipeline has published, as views of one DuckDB connection that can only read.

`flags`, `scores` and `quarantine` are the Parquet files themselves; `batches` is made of the summaries,
`verdicts` and `standings` of the ledger's database, each word on the flag that it binds now, so that they
join `flags`. Nothing else can be reached from a query: no other file, no network, no setting.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import contextmanager
from itertools import chain
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow import schemas
from aeflow.report.reviewed import bound_verdicts
from aeflow.report.stored import FLAGS_FILE, SCORES_FILE
from aeflow.report.summary import read_summary
from aeflow.store.verdicts import open_verdicts, standing, words_that_hold

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from aeflow.config.models import Kind
    from aeflow.report.summary import Summary
    from aeflow.store.paths import Paths
    from aeflow.store.verdicts import Verdict

VIEWS = ("batches", "flags", "scores", "quarantine", "verdicts", "standings")
_MEMORY = "1GB"
_MOST_THREADS = 4
# Wilson, "Probable inference, the law of succession, and statistical inference", 1927, at 95 %.
_MACROS = """
create macro precision_of(confirmed, refuted) as confirmed / nullif(confirmed + refuted, 0);
create macro wilson(confirmed, total, side) as
  (confirmed + 1.920729 + side * 1.959964 * sqrt(confirmed * (total - confirmed) / total + 0.960365))
  / (total + 3.841459);
create macro precision_low(confirmed, refuted) as
  case when confirmed + refuted > 0 then greatest(wilson(confirmed, confirmed + refuted, -1), 0) end;
create macro precision_high(confirmed, refuted) as
  case when confirmed + refuted > 0 then least(wilson(confirmed, confirmed + refuted, 1), 1) end;
"""


@contextmanager
def open_views(
    paths: Paths, kind: Kind, *, zone: str, wanted: Collection[str] = VIEWS
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the views `wanted`; times are shown in `zone`. Memory is bounded: what does not fit
    goes to a temporary folder that is removed in the end.

    Raises:
        StorageError, IntegrityError: a summary, a report or the database cannot be read.
    """
    with TemporaryDirectory(prefix="aeflow-sql-") as spill, duckdb.connect(":memory:") as connection:
        connection.execute(_MACROS)
        connection.execute("create schema empty")
        if "batches" in wanted:
            _create_table(connection, "batches", _batches(paths))
        if "verdicts" in wanted or "standings" in wanted:
            said = bound_verdicts(paths, open_verdicts(paths).all())
            _create_table(connection, "verdicts", _verdicts(said))
            _create_table(connection, "standings", _standings(said))
        if "flags" in wanted:
            _create_view(connection, "flags", _files_of(paths, "flags"), schemas.FLAGS)
        if "scores" in wanted:
            files = _files_of(paths, "scores")
            _create_view(connection, "scores", files, _scores_schema(kind), in_path=True)
        if "quarantine" in wanted:
            _create_view(connection, "quarantine", _files_of(paths, "quarantine"), schemas.QUARANTINE)
        folders = [paths.reports, paths.quarantine("-").parent]
        _close(connection, [folder.resolve() for folder in folders], spill, zone)
        yield connection


def damaged_file(paths: Paths, wanted: Collection[str], told: str) -> Path | None:
    """The first Parquet file behind the views `wanted` that DuckDB names in its complaint `told`, or else, since it
    does not always, that cannot be read; None where each can. Reads all of them."""
    files = [file for view in wanted for file in _files_of(paths, view)]
    named = (file for file in files if str(file) in told)
    return next(chain(named, (file for file in files if not _is_whole(file))), None)


def _is_whole(file: Path) -> bool:
    try:
        with pq.ParquetFile(file) as opened:
            for _ in opened.iter_batches():
                pass
    except (pa.ArrowException, OSError):
        return False
    return True


def _files_of(paths: Paths, view: str) -> list[Path]:
    """The Parquet files of a view; none of one that is made of other files."""
    if view == "quarantine":
        return sorted(paths.quarantine("-").resolve().parent.glob("batch=*.parquet"))
    names = {"flags": FLAGS_FILE, "scores": SCORES_FILE}
    if view not in names:
        return []
    return [paths.report(batch).resolve() / names[view] for batch in paths.published()]


def _create_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("given", rows)
    connection.execute(f"create table {name} as select * from given")  # noqa: S608 - a name of ours
    connection.unregister("given")


def _scores_schema(kind: Kind) -> pa.Schema:
    of_kind = schemas.IMAGE_SCORES if kind == "images" else schemas.SERIES_SCORES
    return of_kind.append(pa.field("batch", pa.string()))


def _create_view(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    files: list[Path],
    schema: pa.Schema,
    *,
    in_path: bool = False,
) -> None:
    """A view of Parquet files, with every column of the schema even where older files lack it. in_path: the
    batch stands in the folder's name, and files of others are not even opened."""
    _create_table(connection, f"empty.{name}", schema.empty_table())
    view = f"select * from empty.{name}"  # noqa: S608 - a name of ours
    if files:
        how = "true, hive_types = {'batch': varchar}" if in_path else "false"
        listed = ", ".join(_quoted(str(file)) for file in files)
        stored = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = {how})"
        # The columns in the order of the schema, whatever the order in the files.
        view = f"{view} union all by name select * from {stored}"  # noqa: S608 - quoted above
    connection.execute(f"create view {name} as {view}")


def _close(connection: duckdb.DuckDBPyConnection, folders: list[Path], spill: str, zone: str) -> None:
    """From here on the connection reaches the folders, and nothing can be set."""
    allowed = ", ".join(_quoted(f"{folder}{os.sep}") for folder in folders)
    for setting in (
        f"allowed_directories = [{allowed}]",
        f"temp_directory = {_quoted(spill)}",
        f"memory_limit = '{_MEMORY}'",
        f"threads = {min(os.cpu_count() or 1, _MOST_THREADS)}",
        f"TimeZone = {_quoted(zone)}",
        "python_enable_replacements = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"set {setting}")


def _quoted(text: str) -> str:
    return "'{}'".format(text.replace("'", "''"))


def _batches(paths: Paths) -> pa.Table:
    summaries = [read_summary(paths.report(batch)) for batch in paths.published()]

    def order(summary: Summary) -> tuple[bool, float, str]:
        start = summary.start
        return start is not None, 0.0 if start is None else start.timestamp(), summary.batch

    ordered = sorted(summaries, key=order)
    rows = [_batch_row(number, summary) for number, summary in enumerate(ordered, start=1)]
    return pa.Table.from_pylist(rows, schema=schemas.BATCHES)


def _batch_row(number: int, summary: Summary) -> dict[str, Any]:
    alike = (
        *(
            "batch",
            "detector_version",
            "rows_in",
            "scored",
            "not_scorable",
            "flags",
            "suppressed",
            "flagged_rows",
        ),
        *("entities", "flagged_entities", "sentence"),
    )
    return {
        **{name: getattr(summary, name) for name in alike},
        "number": number,
        "period_start": summary.start,
        "period_end": summary.end,
        "quarantined": summary.quarantined_rows,
        "promise": summary.promise.kind,
        "promised": summary.promise.value,
        "expected_false_flags": summary.promise.expected_false_flags_per_batch,
        "promise_kept": summary.promise.kept,
        "score_median": summary.score_quantiles.get("p50"),
        "score_p99": summary.score_quantiles.get("p99"),
        "score_max": summary.score_quantiles.get("max"),
        "checks_passed": summary.checks.passed,
        "checks_failed": len(summary.checks.failed),
        "weak_channels": sum(grade.grade != "HIGH" for grade in summary.grades),
    }


def _verdicts(said: list[Verdict]) -> pa.Table:
    rows = [{name: getattr(verdict, name) for name in schemas.VERDICTS.names} for verdict in said]
    return pa.Table.from_pylist([row | {"word": str(row["word"])} for row in rows], schema=schemas.VERDICTS)


def _standings(said: list[Verdict]) -> pa.Table:
    holding = words_that_hold(said).values()
    reviewers = Counter(verdict.flag_id for verdict in holding)
    last = {v.flag_id: v for v in sorted(holding, key=lambda v: v.at)}
    rows = [
        {
            "flag_id": flag,
            "batch": last[flag].batch,
            "standing": str(holds),
            "reviewers": reviewers[flag],
            "last_at": last[flag].at,
        }
        for flag, holds in standing(said).items()
    ]
    return pa.Table.from_pylist(rows, schema=schemas.STANDINGS)
