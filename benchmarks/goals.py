"""What a figure should come to, and whether it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Goal:
    """at_least, at_most: exactly one of them."""

    at_least: float | None = None
    at_most: float | None = None

    @property
    def words(self) -> str:
        """Such as "0.84 or more"."""
        return f"{self.at_least:g} or more" if self.at_least is not None else f"{self.at_most:g} or less"

    def met_by(self, value: float) -> bool:
        """Whether a value reaches it."""
        if self.at_least is not None:
            return value >= self.at_least
        assert self.at_most is not None
        return value <= self.at_most


def judged(value: float, goal: Goal | None) -> dict[str, Any]:
    """The columns "goal", in words, and "met"; without a goal empty and None."""
    return {"goal": goal.words if goal else "", "met": goal.met_by(value) if goal else None}
