"""Whether a new detector goes live: a pure decision with its reasons in writing.

Both detectors are measured on the same held-out part of the history, which is normal, and on the same
seeded faults planted into it. No label and no clock is looked at.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

# A challenger must not lose more than this to count as "not worse": planted faults are a sample.
_TOLERANCE = 0.005


@dataclass(frozen=True)
class Figures:
    """How a detector did on held-out normal data and on faults planted into it.

    items: held-out items. false_flag_share: of them that would be flagged. promised_share: what the
    promise allows. planted_auroc: chance that a planted fault scores above a normal item; None where
    there was nothing to measure on.
    """

    items: int
    false_flag_share: float | None
    promised_share: float | None
    planted_auroc: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion, and why, one sentence a reason."""

    promote: bool
    reasons: tuple[str, ...]


def decide(
    challenger: Figures, baseline: Figures, champion: Figures | None, *, outdated: bool = False
) -> Decision:
    """Compare a challenger with the linear baseline and with the champion, if there is one.

    Without a champion the challenger goes live, since something has to; that it does not beat the
    baseline is then said. With one, it must beat the baseline and not fall behind the champion.
    outdated: there is a champion, and it cannot score what the pipeline now prepares: as without one.
    """
    reasons = [_against(challenger, baseline, "the linear baseline")]
    beats_baseline = _at_least(challenger, baseline)
    if champion is None:
        reasons.append(_OUTDATED if outdated else "There is no champion yet.")
        if not beats_baseline and _comparable(challenger, baseline):
            reasons.append("It goes live all the same; consider a linear model (model.family) instead.")
        return Decision(promote=True, reasons=tuple(reasons))
    reasons.append(_against(challenger, champion, "the champion"))
    beats_champion = _at_least(challenger, champion)
    return Decision(promote=beats_baseline and beats_champion, reasons=tuple(reasons))


_OUTDATED = "The champion was trained on other channels or another preparation, and can no longer score this pipeline."


def _comparable(one: Figures, other: Figures) -> bool:
    return one.planted_auroc is not None and other.planted_auroc is not None


def _at_least(one: Figures, other: Figures) -> bool:
    if one.planted_auroc is None or other.planted_auroc is None:
        return False
    return one.planted_auroc >= other.planted_auroc - _TOLERANCE


def _against(challenger: Figures, other: Figures, name: str) -> str:
    if challenger.planted_auroc is None or other.planted_auroc is None:
        return f"It could not be compared with {name}: split.test leaves too few held-out items."
    verdict = (
        "tells planted faults apart as well as"
        if _at_least(challenger, other)
        else "tells fewer planted faults apart than"
    )
    return f"It {verdict} {name} (AUROC {challenger.planted_auroc:.3f} against {other.planted_auroc:.3f})."
