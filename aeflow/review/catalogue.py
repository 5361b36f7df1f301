"""Every flag of every published report as columns in memory: what queues, trends and likeness are made of.

The report folders stay the only truth. A catalogue is read from them, and read anew for the reports that
changed: so there is no file that could be stale, and 100,000 flags are sorted in a few milliseconds.

Legend: N flags in all, B batches, F flags of one report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aeflow.exceptions import IntegrityError, StorageError
from aeflow.report.receipt import RECEIPT_FILE, read_receipt
from aeflow.report.stored import FLAGS_FILE, reading
from aeflow.report.summary import read_summary
from aeflow.review.likeness import Marks, entity_marks, flag_directions, joined, worst_boxes_of
from aeflow.store.files import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.store.paths import Paths

_COLUMNS = ["flag_id", "entity", "item", "start", "p_value", "severity", "channels", "boxes"]
_LATER = ("signature", "suppressed")  # columns that earlier reports do not have
_NO_TIME = np.iinfo(np.int64).min

Signature = tuple[int, int, int]
"""Of a report's receipt: a report that is published anew has another one."""


@dataclass(frozen=True, eq=False)
class Night:
    """One published report with its flags, the severest first as in `flags.parquet`.

    flag_id, name: F texts; the name is the item, or the entity. entity: F texts, "" for images.
    channel: F texts, the channel with the largest share. share: `(F,)` float32, its part of the score.
    start_us: `(F,)` int64, microseconds since 1970 in UTC; the least int64 where there is none.
    severity: `(F,)` float32; p_value: `(F,)` float64; like: see `likeness`.
    suppressed: `(F,)` bool, like one that was called false.
    """

    batch: str
    folder: Path
    signature: Signature
    kind: str
    version: int
    scored: int
    sentence: str
    flag_id: list[str]
    name: list[str]
    entity: list[str]
    channel: list[str]
    share: NDArray[np.float32]
    start_us: NDArray[np.int64]
    severity: NDArray[np.float32]
    p_value: NDArray[np.float64]
    like: Marks
    suppressed: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The flags of all reports, batches in the order of their ids. A flag is known by its place 0..N-1."""

    nights: tuple[Night, ...]
    unread: Mapping[str, str] = field(default_factory=dict)
    """Batch -> why its report cannot be read: shown, and no reason to hide the others."""

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """`(B + 1,)`: the flags of night b have the places `offsets[b]..offsets[b + 1]`."""
        return np.concatenate([[0], np.cumsum([len(night.flag_id) for night in self.nights])]).astype(
            np.int64
        )

    @property
    def size(self) -> int:
        """N."""
        return int(self.offsets[-1])

    @cached_property
    def night(self) -> NDArray[np.int32]:
        """`(N,)` the night of each flag."""
        return np.repeat(np.arange(len(self.nights), dtype=np.int32), np.diff(self.offsets))

    @cached_property
    def severity(self) -> NDArray[np.float32]:
        """`(N,)`."""
        return _joined([night.severity for night in self.nights], np.float32)

    @cached_property
    def p_value(self) -> NDArray[np.float64]:
        """`(N,)`."""
        return _joined([night.p_value for night in self.nights], np.float64)

    @cached_property
    def suppressed(self) -> NDArray[np.bool_]:
        """`(N,)`."""
        return _joined([night.suppressed for night in self.nights], np.bool_)

    @cached_property
    def start_us(self) -> NDArray[np.int64]:
        """`(N,)`."""
        return _joined([night.start_us for night in self.nights], np.int64)

    @cached_property
    def like(self) -> Marks:
        """What flags are compared by."""
        return joined([night.like for night in self.nights])

    @cached_property
    def version(self) -> NDArray[np.int64]:
        """`(N,)` the detector version of each flag's report."""
        return np.array([night.version for night in self.nights], dtype=np.int64)[self.night]

    @cached_property
    def flag_ids(self) -> list[str]:
        """N ids."""
        return [flag for night in self.nights for flag in night.flag_id]

    @cached_property
    def names(self) -> list[str]:
        """N items or entities."""
        return [name for night in self.nights for name in night.name]

    @cached_property
    def place(self) -> dict[str, int]:
        """Flag id -> place."""
        return {flag: place for place, flag in enumerate(self.flag_ids)}

    @cached_property
    def entities(self) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        """The names of all entities that have flags, sorted, and `(N,)` which one each flag is of."""
        texts = pa.array([name for night in self.nights for name in night.entity], pa.string())
        names, codes = np.unique(texts.to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
        return tuple(names.tolist()), codes.astype(np.int32)

    @cached_property
    def folded_names(self) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """All names without regard to case, each once, and `(N,)` which one each flag has: for a search."""
        folded = pa.array([name.casefold() for name in self.names], pa.string()).dictionary_encode()
        return tuple(folded.dictionary.to_pylist()), np.asarray(folded.indices).astype(np.int64)

    @cached_property
    def by_severity(self) -> NDArray[np.int64]:
        """All places, the severest first; of the same severity the less likely, then the later."""
        return np.lexsort((-np.arange(self.size), self.p_value, -self.severity))

    @cached_property
    def by_time(self) -> NDArray[np.int64]:
        """All places, the newest first: by night, then by time, then by severity."""
        return np.lexsort((-self.severity, -self.start_us, -self.night))

    def prepare(self) -> None:
        """Compute everything that is computed once, so that no page has to wait for it."""
        for name, kind in vars(type(self)).items():
            if isinstance(kind, cached_property):
                getattr(self, name)

    @property
    def batches(self) -> list[str]:
        """Ids of all nights, in order."""
        return [night.batch for night in self.nights]

    def within(self, place: int) -> tuple[Night, int]:
        """The night of a flag, and its row in that night's `flags.parquet`."""
        number = int(self.night[place])
        return self.nights[number], place - int(self.offsets[number])


EMPTY = Catalogue(())


def read_catalogue(
    paths: Paths, before: Catalogue = EMPTY, told: Callable[[int, int], None] | None = None
) -> Catalogue:
    """All published reports. Those that `before` holds unchanged are not read again; where all are,
    `before` itself is returned. One that cannot be read is named in `unread`.

    Args:
        paths: where the reports lie.
        before: an earlier catalogue.
        told: called with how many reports were looked at, and how many there are.
    """
    known = {night.batch: night for night in before.nights}
    nights: list[Night] = []
    unread: dict[str, str] = {}
    batches = paths.published()
    for done, batch in enumerate(batches):
        folder = paths.report(batch)
        try:
            signature = _signature(folder)
            had = known.get(batch)
            unchanged = had is not None and had.signature == signature
            nights.append(had if had is not None and unchanged else _read(batch, folder, signature))
        except (StorageError, IntegrityError) as error:
            unread[batch] = str(error)
        if told is not None:
            told(done + 1, len(batches))
    same = len(nights) == len(before.nights) and all(
        a is b for a, b in zip(nights, before.nights, strict=True)
    )
    return before if same and unread == before.unread else Catalogue(tuple(nights), unread)


def _signature(folder: Path) -> Signature:
    with storage_errors(folder, "read the report"):
        found = (folder / RECEIPT_FILE).stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(batch: str, folder: Path, signature: Signature) -> Night:
    receipt, summary = read_receipt(folder), read_summary(folder)
    path = folder / FLAGS_FILE
    with reading(path):
        there = pq.read_schema(path).names
        columns = [*_COLUMNS, *(name for name in _LATER if name in there)]
        table = pq.read_table(path, columns=columns, partitioning=None)
    texts = {name: pc.fill_null(table.column(name), "").to_pylist() for name in ("flag_id", "entity", "item")}
    channel, share = _largest(table.column("channels").combine_chunks())
    return Night(
        batch=batch,
        folder=folder,
        signature=signature,
        kind=summary.kind,
        version=receipt.detector_version,
        scored=summary.scored,
        sentence=summary.sentence,
        flag_id=texts["flag_id"],
        name=[
            item or entity or summary.pipeline
            for item, entity in zip(texts["item"], texts["entity"], strict=True)
        ],
        entity=texts["entity"],
        channel=channel,
        share=share,
        start_us=_times(table, "start"),
        severity=np.asarray(table.column("severity")).astype(np.float32),
        p_value=np.asarray(table.column("p_value")).astype(np.float64),
        like=_marks(table, texts["entity"], receipt.detector_version),
        suppressed=_suppressed(table),
    )


def _suppressed(table: pa.Table) -> NDArray[np.bool_]:
    if "suppressed" not in table.column_names:
        return np.zeros(len(table), bool)
    return np.asarray(pc.fill_null(table.column("suppressed"), pa.scalar(value=False)))


def _marks(table: pa.Table, entities: list[str], version: int) -> Marks:
    channels, direction = flag_directions(table.column("channels").combine_chunks())
    return Marks(
        entity=entity_marks(entities),
        version=np.full(len(table), version, np.int64),
        channels=channels,
        direction=direction,
        signature=_signatures(table),
        box=worst_boxes_of(table.column("boxes").combine_chunks()),
    )


def _signatures(table: pa.Table) -> NDArray[np.float32]:
    """`(F, S)`, NaN where there is none; S is 0 where reports of its time had none."""
    if "signature" not in table.column_names:
        return np.zeros((len(table), 0), np.float32)
    lists = table.column("signature").combine_chunks()
    sizes = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
    found = np.full((len(table), int(sizes.max(initial=0))), np.nan, np.float32)
    if found.size:
        found[sizes > 0] = np.asarray(pc.list_flatten(lists)).reshape(-1, found.shape[1])
    return found


def _largest(channels: pa.ListArray) -> tuple[list[str], NDArray[np.float32]]:
    """The first channel of each flag, "" where it names none, and its share."""
    some = np.asarray(pc.fill_null(pc.list_value_length(channels), 0)) > 0
    names, shares = [""] * len(channels), np.zeros(len(channels), np.float32)
    if some.any():
        first = pc.list_element(channels.filter(pa.array(some)), 0)
        shares[some] = np.asarray(first.field("share"))
        for place, name in zip(
            np.flatnonzero(some).tolist(), first.field("channel").to_pylist(), strict=True
        ):
            names[place] = name
    return names, shares


def _times(table: pa.Table, column: str) -> NDArray[np.int64]:
    times = table.column(column).cast(pa.int64())
    filled: NDArray[np.int64] = pc.fill_null(times, pa.scalar(_NO_TIME, pa.int64())).to_numpy()
    return filled


def _joined(parts: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
