"""What nothing is learnt from although it is fit to score: what people confirmed to be abnormal, and what
is flagged and was not called false.

It is set aside when a history is taken in, as rows that are unfit are: where it was, a gap is left.

Legend: R rows of a portion, E entities, K spans of one entity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from aeflow.data.row_rules import CODE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

    from aeflow.data.row_rules import Rows

CONFIRMED, FLAGGED = "confirmed_abnormal", "flagged"
REASONS = (CONFIRMED, FLAGGED)
"""Codes of `schemas.REASONS`; what has both is confirmed."""


@dataclass(frozen=True)
class Span:
    """A stretch of an entity, both ends inclusive, in microseconds since 1970, UTC."""

    entity: str
    first_us: int
    last_us: int
    reason: str


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Stretches of series, and images by the SHA-256 of their files: digest -> reason.

    spans: (entity, reason) -> first and last microsecond of each, `(K,)` int64 both, sorted and apart.
    """

    spans: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_spans(cls, spans: Iterable[Span]) -> Self:
        """Stretches in any order; they may overlap."""
        by_key: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for span in spans:
            by_key.setdefault((span.entity, span.reason), []).append((span.first_us, span.last_us))
        return cls({key: _joined(sorted(pairs)) for key, pairs in by_key.items()})

    def faults(self, rows: Rows, names: np.ndarray) -> np.ndarray:
        """The number in `row_rules.FAULTS` of each row that is left out, (R,) int8, 0 of all others; `names`
        are those of the entities by number."""
        fault = np.zeros(len(rows.entity), np.int8)
        if not self.spans or not len(rows.entity):
            return fault
        edges = np.flatnonzero(np.diff(rows.entity, prepend=-2))
        for begin, end in zip(edges, [*edges[1:], len(rows.entity)], strict=True):
            time, own = rows.time_us[begin:end], fault[begin:end]
            for reason in reversed(REASONS):
                spans = self.spans.get((str(names[rows.entity[begin]]), reason))
                if spans is not None:
                    at = np.searchsorted(spans[0], time, side="right") - 1
                    own[(at >= 0) & (time <= spans[1][at])] = CODE[reason]
        return fault


NOTHING = LeftOut()


def _joined(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    joined = [list(pairs[0])]
    for first, last in pairs[1:]:
        if first <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    together = np.array(joined, dtype=np.int64)
    return together[:, 0], together[:, 1]
