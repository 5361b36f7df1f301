"""What entities share."""

from __future__ import annotations

import fnmatch
from typing import Literal, Self

from pydantic import Field, model_validator

from aeflow.config.base import Section


class Entities(Section):
    """Series of many entities: which of them belong together, and how many networks there are. Each entity has
    a scaling, a spread of its errors and, with enough scores, a calibration of its own, whatever stands here."""

    networks: Literal["shared", "cohorts", "each"] = "shared"
    """shared: one network learns from all entities; cohorts: one for each cohort; each: one for each entity.
    Entities that one network cannot serve, and what is new, are served by that of the cohort or of all. All
    of them are one detector, and one version in the registry."""
    cohorts: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Name of a cohort -> globs of the names of its entities; the first cohort that fits counts. A new entity is
    scored by the scaling and the calibration of its cohort, and one that belongs to none by those of all."""

    @model_validator(mode="after")
    def _cohorts_are_given(self) -> Self:
        if self.networks == "cohorts" and not self.cohorts:
            msg = "networks: cohorts needs cohorts, such as {presses: [press-*], pumps: [pump-*]}"
            raise ValueError(msg)
        empty = sorted(name for name, globs in self.cohorts.items() if not globs or not name.strip())
        if empty:
            msg = f"cohorts have a name and at least one glob; not so: {empty}"
            raise ValueError(msg)
        return self

    def cohort_of(self, entity: str) -> str | None:
        """The cohort of an entity, known or new; None where it belongs to none."""
        for name, globs in self.cohorts.items():
            if any(entity == glob or fnmatch.fnmatchcase(entity, glob) for glob in globs):
                return name
        return None
