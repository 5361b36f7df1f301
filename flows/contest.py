"""A challenger beside the linear baseline and the champion: tried on the same data, and decided upon."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aeflow import detector as detectors
from aeflow import registry
from aeflow.detector.planted import compare, measure
from aeflow.promotion import Decision, Figures, decide
from aeflow.report.promotion_page import promotion_page
from aeflow.report.reviewed import reviewed_flags
from aeflow.review.judged_again import compare_judged, decided, score_judged, unseen_by, verdict_auroc
from aeflow.store.verdicts import open_verdicts
from aeflow.training.devices import choose_device
from flows.io_tasks import io_step, step

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.detector import Detector
    from aeflow.detector.fitting import History
    from aeflow.detector.planted import Trial
    from aeflow.promotion import Against
    from aeflow.registry import DetectorRef
    from aeflow.report.reviewed import ReviewedFlag
    from aeflow.store.paths import Paths


@dataclass(frozen=True)
class Contest:
    """What came of it. champion: its figures, None where there is none that can score the pipeline. page:
    `promotion.md`."""

    challenger: Figures
    baseline: Figures
    champion: Figures | None
    decision: Decision
    page: str


def hold_contest(
    config: PipelineConfig,
    paths: Paths,
    history: History,
    challenger: Detector,
    baseline: Detector,
    *,
    broken_since: str | None = None,
) -> Contest:
    """Try all three on the test part of `history`, on the same planted faults, and on what people said of flags
    that neither challenger nor champion can have learnt from. broken_since: the batch since which the champion is known
    not to keep its promise."""
    device = choose_device(config.compute.device)
    live, champion = live_detector(paths)
    rivals = [d for d in (challenger, champion) if d is not None]
    judged = unseen_by(decided(reviewed_flags(paths, open_verdicts(paths).all())), rivals)
    mine = try_detector(challenger, history, judged, config.seed, device)
    linear = try_detector(baseline, history, judged, config.seed, device)
    theirs = None
    if champion is not None and champion.fits(config):
        theirs = try_detector(champion, history, judged, config.seed, device)
    of_champion = None
    if theirs is not None:
        of_champion = replace(theirs.figures(judged), broken_since=broken_since or "")
    decision = decide(
        mine.figures(judged),
        linear.figures(judged),
        of_champion,
        against_baseline=_against(mine, linear, judged, config.seed),
        against_champion=None if theirs is None else _against(mine, theirs, judged, config.seed),
        outdated=champion is not None and theirs is None,
    )
    compared = {"challenger": mine.figures(judged), "linear baseline": linear.figures(judged)}
    if of_champion is not None and live is not None:
        compared[f"champion, version {live.version}"] = of_champion
    return Contest(
        challenger=mine.figures(judged),
        baseline=linear.figures(judged),
        champion=of_champion,
        decision=decision,
        page=promotion_page(config.name, decision, compared),
    )


@dataclass(frozen=True)
class Tried:
    """One detector's trial, and its scores of the judged flags `(F,)`."""

    trial: Trial
    judged: NDArray[np.float32]

    def figures(self, flags: list[ReviewedFlag]) -> Figures:
        """All of it in numbers."""
        return self.trial.figures(verdict_auroc=verdict_auroc(flags, self.judged))


@step
def try_detector(
    detector: Detector, history: History, judged: list[ReviewedFlag], seed: int, device: torch.device
) -> Tried:
    """One detector on the held-out part and on the judged flags."""
    trial = measure(detector, history, seed=seed, device=device)
    return Tried(trial, score_judged(detector, judged, device=device))


@io_step
def live_detector(paths: Paths) -> tuple[DetectorRef | None, Detector | None]:
    """The champion, and which version it is; None where nothing is live."""
    live = registry.resolve(paths)
    if live is None:
        return None, None
    return live, detectors.load(registry.fetch(paths, live.version, digest=live.digest))


def _against(one: Tried, other: Tried, judged: list[ReviewedFlag], seed: int) -> Against:
    by = compare(one.trial, other.trial, seed=seed)
    return by.with_verdicts(compare_judged(judged, one.judged, other.judged, seed=seed))
