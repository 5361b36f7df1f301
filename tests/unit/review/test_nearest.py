from __future__ import annotations

import numpy as np
import pytest

from aeflow.config import Review
from aeflow.review.catalogue import read_catalogue
from aeflow.review.likeness import likeness_to_nearest
from aeflow.review.nearest import Nearest
from aeflow.scoring.suppression import bounds_of
from aeflow.store.paths import Paths
from benchmarks.review_store import write_night
from tests.unit.review.conftest import WHAT

BOUNDS = bounds_of(Review())


def anew(catalogue, judged):
    like = catalogue.like
    return likeness_to_nearest(like, like.at(np.array([catalogue.place[flag] for flag in judged])), BOUNDS)


def test_what_is_kept_up_to_date_is_what_is_computed_anew(tmp_path):
    paths = Paths(tmp_path, "pumps")
    nearest, random, judged = Nearest(BOUNDS), np.random.default_rng(3), []
    catalogue = read_catalogue(paths)
    for night in range(4):
        write_night(paths, WHAT, night)
        catalogue = read_catalogue(paths, catalogue)
        for _ in range(6):
            if judged and random.random() < 0.4:
                judged.pop(random.integers(len(judged)))
            else:
                others = [flag for flag in catalogue.flag_ids if flag not in judged]
                judged.append(others[random.integers(len(others))])
            told = nearest.to_judged(catalogue, judged)
            assert told == pytest.approx(anew(catalogue, judged) if judged else 1.0, abs=1e-6)


def test_a_judged_flag_that_a_newer_report_no_longer_has_bears_on_nothing(tmp_path):
    paths = Paths(tmp_path, "pumps")
    for night in range(2):
        write_night(paths, WHAT, night)
    both = read_catalogue(paths)
    judged = [both.flag_ids[0], both.flag_ids[13]]
    nearest = Nearest(BOUNDS)
    nearest.to_judged(both, judged)
    moved = tmp_path / "moved"
    paths.report("2024-01-01").rename(moved)
    left = read_catalogue(paths, both)
    assert nearest.to_judged(left, judged[1:]) == pytest.approx(anew(left, judged[1:]))
