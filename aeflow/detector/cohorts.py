"""Entities that belong together: what serves those of them that are new, and those with too little of their own.

Legend: N items, E entities, K cohorts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from numpy.typing import NDArray

    from aeflow.config import Entities

D = TypeVar("D", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Groups:
    """The cohorts of some entities.

    names: K, in the order of the config. cohort: `(E,)` int64 into `names`; -1 of an entity of none.
    """

    names: tuple[str, ...]
    cohort: NDArray[np.int64]

    @classmethod
    def of(cls, config: Entities, entities: tuple[str, ...]) -> Self:
        """As the config says."""
        names = tuple(config.cohorts)
        number = {name: code for code, name in enumerate(names)} | {None: -1}
        return cls(names, np.array([number[config.cohort_of(e)] for e in entities], dtype=np.int64))

    def members(self, entity: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Which items `(N,)` are of an entity that belongs to a cohort; `entity` are their codes."""
        return np.asarray(self.cohort[entity] >= 0)

    def codes(self, entity: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The cohort of each item `(N,)`."""
        return np.asarray(self.cohort[entity])

    def fit(
        self,
        fit: Callable[..., NDArray[D]],
        values: tuple[NDArray[Any], ...],
        entity: NDArray[np.integer[Any]],
    ) -> NDArray[D]:
        """What `fit(*values, entity, n_entities)` learns of each entity `(E + 1, ...)`, the last row being of all
        together, with a row for each cohort before that: `(E + K + 1, ...)`."""
        own = fit(*values, entity, len(self.cohort))
        if not self.names:
            return own
        members = self.members(entity)
        if not members.any():
            return with_cohorts(own, np.repeat(own[-1:], len(self.names) + 1, axis=0))
        of_members = [value[members] for value in values]
        return with_cohorts(own, fit(*of_members, self.codes(entity[members]), len(self.names)))


def with_cohorts(own: NDArray[D], of_cohorts: NDArray[D]) -> NDArray[D]:
    """Rows of entities and of all `(E + 1, ...)`, with those of cohorts (of `(K + 1, ...)` all but the last)
    before the last."""
    return np.concatenate([own[:-1], of_cohorts[:-1], own[-1:]])
