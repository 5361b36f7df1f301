"""Which judged flags count in a contest."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aeflow.data.periods import to_us
from aeflow.detector.detector import FittedOn, fingerprint
from aeflow.report.reviewed import ReviewedFlag
from aeflow.review.judged_again import score_judged, unseen_by
from aeflow.store.verdicts import Standing
from tests.unit.report.test_reviewed import HOUR, START, event, image

NOTHING = np.empty(0, dtype=np.uint64)
FITTED = FittedOn("0" * 64, 1, 0, NOTHING, NOTHING, {}, ("b",))


def flag(row, tmp_path):
    return ReviewedFlag(row, Standing.FALSE, (), tmp_path, 1, present=True)


def detector(kind, fitted, **more):
    return SimpleNamespace(config=SimpleNamespace(kind=kind), fitted_on=fitted, **more)


def test_events_until_the_last_point_that_either_was_fitted_to_do_not_count(tmp_path):
    flags = [flag(event(str(h), h, 1), tmp_path) for h in (1, 5, 9)]
    flags.append(flag(event("new", 1, 1, entity="another"), tmp_path))
    early, late = (
        detector("series", replace(FITTED, until_us={"pump": to_us(START + h * HOUR)})) for h in (1, 5)
    )
    assert [f.flag_id for f in unseen_by(flags, [early])] == ["5", "9", "new"]
    assert [f.flag_id for f in unseen_by(flags, [early, late])] == ["9", "new"]
    assert unseen_by(flags, [late, early]) == unseen_by(flags, [early, late])


def test_images_that_either_knows_do_not_count_nor_any_where_groups_cannot_be_told(tmp_path):
    flags = [flag(image(name, name) | {"sha256": name}, tmp_path) for name in ("one", "two", "three")]
    one, two = (detector("images", replace(FITTED, items=np.array([fingerprint(n)]))) for n in ("one", "two"))
    assert [f.flag_id for f in unseen_by(flags, [one, two])] == ["three"]
    grouped = detector("images", replace(FITTED, groups=np.array([fingerprint("plate")])))
    assert unseen_by(flags, [grouped]) == []


@pytest.mark.parametrize("look_back", [4, 400])
def test_a_window_alone_does_not_tell_a_score_that_looks_back(tmp_path, look_back):
    flags = [flag(event("f", 1, 1), tmp_path)]
    smoothing = detector("series", FITTED, look_back=look_back, network=torch.nn.Identity())
    assert np.isnan(score_judged(smoothing, flags, device=torch.device("cpu"))).all()
