"""Why a detector went live or did not, for a person: `promotion.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aeflow.promotion import Decision, Figures


def promotion_page(pipeline: str, decision: Decision, compared: Mapping[str, Figures]) -> str:
    """The page, in Markdown. compared: what a detector is called -> its figures, the challenger first."""
    kinds = sorted({kind for figures in compared.values() for kind in figures.auroc_of})
    rows = [
        ("held-out normal items", [f"{f.items:,}" for f in compared.values()]),
        ("flagged of them", [_share(f.false_flag_share) for f in compared.values()]),
        ("flags on them", [_flags(f) for f in compared.values()]),
        ("AUROC of planted faults", [_number(f.planted_auroc) for f in compared.values()]),
        *(
            (f"... {_words(kind)}", [_number(f.auroc_of.get(kind)) for f in compared.values()])
            for kind in kinds
        ),
        ("planted faults found at its own cut", [_share(f.found_share) for f in compared.values()]),
        ("AUROC of flags that people judged", [_number(f.verdict_auroc) for f in compared.values()]),
    ]
    outcome = "goes live" if decision.promote else "does not go live"
    lines = [
        f"# {pipeline}: the challenger {outcome}",
        "",
        *(f"- {reason}" for reason in decision.reasons),
        "",
        f"| on the same data | {' | '.join(compared)} |",
        f"|---|{'---|' * len(compared)}",
        *(f"| {what} | {' | '.join(cells)} |" for what, cells in rows),
        "",
        "| gate | passed | |",
        "|---|---|---|",
        *(f"| {g.name} | {'yes' if g.passed else 'no'} | {g.sentence} |" for g in decision.gates),
        "",
    ]
    return "\n".join(lines)


def _flags(figures: Figures) -> str:
    if figures.false_flags is None:
        return "not measured"
    most = "" if figures.most_false_flags is None else f" (chance brings up to {figures.most_false_flags})"
    return f"{figures.false_flags}{most}"


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2%}"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"
