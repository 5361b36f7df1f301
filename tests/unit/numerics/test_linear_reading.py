"""A linear classifier that is told nothing of the items it tells the class of."""

from __future__ import annotations

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.linear_reading import (
    FOLDS,
    fit_reading,
    fold_edges,
    folds_of_names,
    folds_of_times,
    near_folds,
)

RNG = np.random.default_rng(0)


def clouds(classes: int, count: int = 60) -> tuple[np.ndarray, list[str]]:
    names = np.repeat([f"class {n}" for n in range(classes)], count)
    centers = 6 * np.eye(classes, 5)
    return RNG.normal(centers.repeat(count, axis=0)).astype(np.float32), names.tolist()


def told(codes, names, fold, **options) -> np.ndarray:
    reading = fit_reading(codes, names, fold, **options)
    return np.array(reading.classes)[reading.probabilities(codes, fold).argmax(axis=1)]


@pytest.mark.parametrize("classes", [2, 4])
def test_classes_that_lie_apart_are_told(classes):
    codes, names = clouds(classes)
    fold = folds_of_names([str(n) for n in range(len(names))])
    reading = fit_reading(codes, names, fold)
    shares = reading.probabilities(codes, fold)
    assert shares.sum(axis=1) == pytest.approx(np.ones(len(names)))
    assert (told(codes, names, fold) == names).mean() > 0.97


def test_no_item_is_told_by_a_classifier_that_saw_it():
    # Noise with as many numbers as items: a classifier that saw an item would know its class by heart.
    codes = RNG.normal(size=(100, 100)).astype(np.float32)
    names = RNG.choice(["a", "b"], 100).tolist()
    fold = np.arange(100) % FOLDS
    assert 0.25 < (told(codes, names, fold) == np.array(names)).mean() < 0.75


def test_changing_the_class_of_an_item_does_not_change_what_it_is_told():
    codes, names = clouds(3)
    fold = (np.arange(len(names)) % FOLDS).astype(np.int8)
    other = ["class 2", *names[1:]]
    first = [fit_reading(codes, n, fold).probabilities(codes[:1], fold[:1]) for n in (names, other)]
    assert (first[0] == first[1]).all()


def test_a_class_that_a_classifier_never_saw_has_no_probability():
    codes, names = clouds(3)
    fold = np.where(np.array(names) == "class 2", 0, 1 + np.arange(len(names)) % 4)
    shares = fit_reading(codes, names, fold).probabilities(codes, fold)
    assert (shares[fold == 0][:, 2] == 0).all()
    assert np.isfinite(shares).all()


def test_codes_that_are_not_known_have_no_probability():
    codes, names = clouds(2)
    fold = (np.arange(len(names)) % FOLDS).astype(np.int8)
    reading = fit_reading(codes, names, fold)
    assert np.isnan(reading.probabilities(np.full((1, 5), np.nan), np.zeros(1, np.int8))).all()


def test_a_single_class_is_refused():
    codes, names = clouds(1)
    with pytest.raises(InputError, match="items of two classes"):
        fit_reading(codes, names, (np.arange(len(names)) % FOLDS).astype(np.int8))


def test_the_same_name_falls_into_the_same_fold_and_all_folds_are_used():
    names = [f"group {n}" for n in range(100)]
    assert (folds_of_names(names) == folds_of_names(names[::-1])[::-1]).all()
    assert set(folds_of_names(names).tolist()) == set(range(FOLDS))


def test_folds_of_times_are_stretches_and_their_neighbourhood_is_not_seen():
    times = np.arange(100, dtype=np.int64) * 10
    edges = fold_edges(times)
    fold = folds_of_times(times, edges)
    assert (np.diff(fold) >= 0).all()
    assert np.bincount(fold).tolist() == [20] * FOLDS
    unseen = near_folds(times, edges, 25)
    assert np.flatnonzero(unseen[1]).tolist() == list(range(18, 43))
    assert unseen[fold, np.arange(100)].all()
