"""In which form a table lies: CSV or Parquet, how its cells are parted, whether it has a header."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import numpy as np

from aeflow.config import (
    BASELINE,
    BatchRule,
    Calibration,
    PipelineConfig,
    SeriesPrepare,
    SqlSource,
    TableSource,
)
from aeflow.data.csv_text import CsvFile
from aeflow.data.readings import read_numbers
from aeflow.data.tables import find_files
from aeflow.exceptions import SourceError

if TYPE_CHECKING:
    from pathlib import Path

_PARQUET = (".parquet", ".parq", ".pq")
PLACEHOLDER = "?"
"""For columns of a source before they are known."""
_RUNS = "whitespace"  # as `source.delimiter`: DuckDB's sniffer knows no runs of blanks
_LOOKED_AT = 50  # rows, for that


def provisional(source: TableSource | SqlSource) -> PipelineConfig:
    """A config by which the pipeline's own readers open the data before its columns are known."""
    return PipelineConfig(
        name="look",
        source=source,
        batch=BatchRule(by="source" if source.kind == "table" else "period"),
        prepare=SeriesPrepare(cadence_seconds=1),
        model=BASELINE,
        calibration=Calibration(false_flags_per_batch=1),
    )


def format_of(path: Path) -> str:
    """Parquet or csv, by the names of the files."""
    if path.is_file() or not path.is_dir():
        return "parquet" if path.name.lower().endswith(_PARQUET) else "csv"
    return "parquet" if any(p.name.lower().endswith(_PARQUET) for p in path.rglob("*")) else "csv"


def sniff(path: Path, source: TableSource) -> TableSource:
    """The source with the delimiter and the header that its first file seems to have."""
    if source.format == "parquet":
        return source
    file = next(f for f in [*find_files(provisional(source)), None] if f is None or f.path.stat().st_size)
    if file is None:
        raise SourceError("expected rows, but every file is empty", where=str(path))
    try:
        with duckdb.connect() as connection:
            found = connection.execute(
                "select Delimiter, HasHeader from sniff_csv($1, sample_size = 10000)", [str(file.path)]
            ).fetchone()
    except duckdb.Error as error:
        msg = f"expected a CSV file, but its form cannot be told: {' '.join(str(error).split())[:200]}"
        raise SourceError(msg, where=str(file.path), remedy="Is it text with one row a line?") from error
    assert found is not None
    delimiter, header = found[0] or ",", bool(found[1])
    if len(CsvFile.look(file.path, delimiter=delimiter, header=False).columns) == 1 or delimiter == " ":
        runs = CsvFile.look(file.path, delimiter=_RUNS, header=False)
        numbers = _number_rows(runs)
        if len(runs.columns) > 1 and numbers[1:].all():
            delimiter, header = _RUNS, not numbers[0]
    return source.model_copy(update={"delimiter": delimiter, "header": header})


def _number_rows(csv: CsvFile) -> np.ndarray:
    """Which of the first rows hold numbers alone, (R,) bool."""
    cells = next(csv.read(csv.columns), None)
    if cells is None:
        return np.zeros(1, bool)
    sample = [read_numbers(column[:_LOOKED_AT], where=csv.path.name)[1] for column in cells.columns.values()]
    broken = np.isin(cells.row[:_LOOKED_AT] - cells.row[0], list(cells.malformed))
    unfit: np.ndarray = np.any(sample, axis=0) | broken
    return ~unfit
