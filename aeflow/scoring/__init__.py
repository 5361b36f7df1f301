"""A staged batch and a detector to scores, flags and evidence, in fixed memory."""

from aeflow.scoring.judged import FLAGS_FILE, LATE_QUARANTINE_FILE, SCORES_FILE, BatchScores, ScoringProgress
from aeflow.scoring.score import score_batch

__all__ = [
    "FLAGS_FILE",
    "LATE_QUARANTINE_FILE",
    "SCORES_FILE",
    "BatchScores",
    "ScoringProgress",
    "score_batch",
]
