"""The codes of a batch as a table, `embeddings.parquet`, written and read in portions.

A first pass writes every item with its code and what is asked of it besides; `class_reading` makes the
final table of it. Legend: R rows, D numbers of a code, Q queries, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow import schemas
from aeflow.numerics.codes import CodeMoments, Nearest
from aeflow.numerics.linear_reading import folds_of_names
from aeflow.representations.encoding import encode_images, encode_rows
from aeflow.scoring.images import worst_array
from aeflow.scoring.judged import table_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.data.intake import Intake
    from aeflow.data.labels import Key
    from aeflow.detector import Detector

EMBEDDINGS_FILE = "embeddings.parquet"
ROWS_AT_ONCE = 8_192
_FOLD, _SCORE = "fold", "score"  # of the first pass only


@dataclass(frozen=True)
class Portion:
    """Rows of the table. code: `(R, D)` float32, NaN where there is none; fold: `(R,)` int8, 0 where folds
    go by time; score: `(R,)` float32, NaN where none was asked for."""

    keys: tuple[Key, ...]
    code: NDArray[np.float32]
    fold: NDArray[np.int8]
    score: NDArray[np.float32]

    @property
    def known(self) -> NDArray[np.bool_]:
        """The rows `(R,)` that have a code."""
        return ~np.isnan(self.code[:, 0])


def embeddings_schema(config: PipelineConfig, code_size: int, facts: Mapping[str, str]) -> pa.Schema:
    """The stored schema of a batch's codes, `facts` in its metadata."""
    schema = schemas.IMAGE_EMBEDDINGS if config.kind == "images" else schemas.SERIES_EMBEDDINGS
    sized = schemas.with_size(schema, "code", code_size)
    return sized.with_metadata({**schema.metadata, **{f"aeflow.{k}": v for k, v in facts.items()}})


def write_codes(
    detector: Detector,
    config: PipelineConfig,
    intake: Intake,
    path: Path,
    schema: pa.Schema,
    *,
    device: torch.device,
    with_scores: bool = False,
    progress: Callable[[int], None] | None = None,
) -> CodeMoments:
    """The first pass: every item with its code, and with its score if asked for. Returns the moments of the
    codes; `progress` is told the rows done."""
    detector.network.to(device)
    passing = schema.append(pa.field(_FOLD, pa.int8())).append(pa.field(_SCORE, pa.float32()))
    columns = _image_columns if config.kind == "images" else _row_columns
    moments = CodeMoments.none(detector.network.code_size)
    done = 0
    with table_writer(path, passing, passing=True) as writer:
        for keys, code, rest in columns(detector, config, intake, device, with_scores):
            known = ~np.isnan(code[:, 0])
            moments = moments.with_codes(code[known])
            count = len(code)
            absent = {name: pa.nulls(count, schema.field(name).type) for name in schemas.CLASS_COLUMNS}
            # pyarrow cannot read lists of one size back from Parquet where one of them is null.
            numbers = pa.array(code.ravel(), from_pandas=True)
            code_column = pa.FixedSizeListArray.from_arrays(numbers, code.shape[1])
            made = {**keys, "code": code_column, **absent, **rest}
            writer.write_table(pa.table([made[name] for name in passing.names], schema=passing))
            done += count
            if progress is not None:
                progress(done)
    return moments


def _image_columns(
    detector: Detector, config: PipelineConfig, intake: Intake, device: torch.device, with_scores: bool
) -> Iterator[tuple[dict[str, pa.Array], NDArray[np.float32], dict[str, pa.Array]]]:
    for chunk in encode_images(detector, config, intake, device=device):
        images = chunk.inputs.items
        if not images:
            continue
        score = np.full(len(images), np.nan, dtype=np.float32)
        if with_scores:
            found = detector.score_images(
                chunk.inputs.pixels, device=device, chunk_items=config.compute.chunk_items
            ).score
            score = found[worst_array(found, chunk.inputs.item)]
        # Images of one group, or with the same bytes, never stand on both sides of a fold.
        fold = folds_of_names([image.group or image.sha256 for image in images])
        keys = {
            "item": pa.array([image.item for image in images], pa.string()),
            "sha256": pa.array([image.sha256 for image in images], pa.string()),
        }
        yield keys, chunk.code, {_FOLD: pa.array(fold), _SCORE: pa.array(score)}


def _row_columns(
    detector: Detector, config: PipelineConfig, intake: Intake, device: torch.device, with_scores: bool
) -> Iterator[tuple[dict[str, pa.Array], NDArray[np.float32], dict[str, pa.Array]]]:
    chunk_items = config.compute.chunk_items
    for chunk in encode_rows(detector, intake, device=device, chunk_items=chunk_items):
        inputs, count = chunk.inputs, len(chunk.code)
        score = np.full(1, np.nan, dtype=np.float32)
        if with_scores and inputs.ends.size:
            found = detector.score_series(inputs, device=device, chunk_items=chunk_items).score
            score = np.append(found, score)
        names = pa.DictionaryArray.from_arrays(
            pa.array(inputs.row_entity), pa.array(inputs.entities, pa.string())
        )
        keys = {
            "entity": names.cast(pa.string()),
            "timestamp": pa.array(inputs.row_time_us).cast(pa.timestamp("us")).cast(schemas.TIME),
        }
        rest = {
            _FOLD: pa.array(np.zeros(count, dtype=np.int8)),
            _SCORE: pa.array(score[inputs.row_window] if score.size > 1 else np.repeat(score, count)),
        }
        yield keys, chunk.code, rest


def portions(path: Path) -> Iterator[Portion]:
    """The rows that `write_codes` wrote, in order."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(ROWS_AT_ONCE):
            yield portion_of_rows(batch)


def portion_of_rows(batch: pa.RecordBatch) -> Portion:
    """Rows of the first pass as arrays."""
    names = batch.schema.names
    keys: tuple[Key, ...]
    if "item" in names:
        keys = tuple(batch.column("item").to_pylist())
    else:
        times = batch.column("timestamp").cast(pa.int64()).to_pylist()
        keys = tuple(zip(batch.column("entity").to_pylist(), times, strict=True))
    code = batch.column("code")
    values = code.flatten().to_numpy(zero_copy_only=False).reshape(-1, code.type.list_size)
    return Portion(
        keys,
        values.astype(np.float32),
        batch.column(_FOLD).to_numpy(zero_copy_only=False),
        batch.column(_SCORE).to_numpy(zero_copy_only=False),
    )


def rows_of(path: Path, rows: NDArray[np.int64]) -> Portion:
    """The rows with these sorted numbers."""
    begin = 0
    found: list[Portion] = []
    for portion in portions(path):
        here = rows[np.searchsorted(rows, begin) : np.searchsorted(rows, begin + len(portion.keys))] - begin
        keys = tuple(portion.keys[i] for i in here.tolist())
        found.append(Portion(keys, portion.code[here], portion.fold[here], portion.score[here]))
        begin += len(portion.keys)
    return Portion(
        tuple(key for portion in found for key in portion.keys),
        np.concatenate([portion.code for portion in found]),
        np.concatenate([portion.fold for portion in found]),
        np.concatenate([portion.score for portion in found]),
    )


def nearest_rows(path: Path, queries: NDArray[np.float32], moments: CodeMoments, *, count: int) -> Nearest:
    """The rows whose standardised codes lie nearest to those of queries `(Q, D)`."""
    wanted = moments.standardised(queries)
    found, begin = Nearest.none(len(queries), count), 0
    for portion in portions(path):
        known = np.flatnonzero(portion.known)
        codes = moments.standardised(portion.code[known])
        found = found.with_codes(wanted, codes, begin + known)
        begin += len(portion.keys)
    return found
