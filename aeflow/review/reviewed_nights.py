"""What verdicts say of the cut: how many flags of the last nights were false, and what was promised.

Nights count from the first to the last that somebody said true or false of, whether or not they had a flag: counted
by their flags alone they would look worse than they were. Flags that are suppressed count neither way: nobody was
troubled with them, and a cut that rose for them would hide what has nothing to do with them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from aeflow.numerics.reviewed_cut import ReviewedNight, reviewed_cut
from aeflow.report.receipt import MovedCut, read_receipt
from aeflow.report.reviewed import reviewed_flags
from aeflow.report.stored import FLAGS_FILE, reading
from aeflow.report.summary import read_summary
from aeflow.store.verdicts import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from aeflow.config import PipelineConfig
    from aeflow.detector import Detector
    from aeflow.store.paths import Paths
    from aeflow.store.verdicts import Verdict

_MOST_NIGHTS = 100  # the last ones: three small files are read of each


def cut_after_review(
    config: PipelineConfig,
    paths: Paths,
    said: Iterable[Verdict],
    detector: Detector,
    version: int,
    *,
    batch: str,
    now: datetime,
) -> MovedCut | None:
    """The cut for `batch` by what was said of other nights that `detector`, which is `version` of the pipeline's,
    has scored, and that still bears on others at the time `now`. None where that of the calibration stays.

    Raises:
        StorageError, IntegrityError: a report cannot be read.
    """
    rule = config.review
    if rule.cut == "fixed" or detector.calibration.promise == "false_discovery_rate":
        return None
    decided = [
        flag
        for flag in reviewed_flags(paths, said)
        if flag.present
        and flag.detector_version == version
        and flag.decided is not None
        and now < flag.decided[1] + timedelta(days=rule.expiry_days)
    ]
    false = {flag.flag_id: flag.standing is Standing.FALSE for flag in decided}
    looked_at = {str(flag.row["batch"]) for flag in decided} - {batch}
    if not looked_at:
        return None
    first, last = min(looked_at), max(looked_at)
    within = [name for name in paths.published() if first <= name <= last and name != batch]
    known = {
        name: _night(paths, name, version, detector.calibration.alpha, false)
        for name in within[-_MOST_NIGHTS:]
    }
    nights = {name: night for name, night in known.items() if night is not None}
    found = reviewed_cut(
        detector.calibration,
        list(nights.values()),
        least=detector.least_p_value,
        most_times=rule.most_shift,
        lower=rule.cut == "rise_and_fall",
    )
    if found is None:
        return None
    return MovedCut(
        **vars(found),
        calibrated_alpha=detector.calibration.alpha,
        first_night=min(nights),
        last_night=max(nights),
    )


def with_cut(detector: Detector, moved: MovedCut | None) -> Detector:
    """The detector with that cut in place of its own; itself where none is given."""
    if moved is None:
        return detector
    calibration = detector.calibration.cut_at(moved.alpha, expected=moved.expected, rests_on=moved.rests_on)
    return replace(detector, calibration=calibration)


def _night(
    paths: Paths, batch: str, version: int, alpha: float, false: Mapping[str, bool]
) -> ReviewedNight | None:
    """What is known of a night; None where another detector scored it."""
    report = paths.report(batch)
    receipt = read_receipt(report)
    if receipt.detector_version != version:
        return None
    with reading(report / FLAGS_FILE), pq.ParquetFile(report / FLAGS_FILE) as file:
        flags = file.read(columns=["flag_id", "p_value", "suppressed"]).to_pylist()
    raised = {flag["flag_id"]: flag["p_value"] for flag in flags if not flag["suppressed"]}
    called_false = [p for flag_id, p in raised.items() if false.get(flag_id)]
    undecided = [p for flag_id, p in raised.items() if flag_id not in false]
    return ReviewedNight(
        items=float(read_summary(report).scored),
        alpha=alpha if receipt.moved_cut is None else receipt.moved_cut.alpha,
        false=np.array(called_false, dtype=np.float64),
        undecided=np.array(undecided, dtype=np.float64),
    )
