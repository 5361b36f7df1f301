"""Codes on a plane: seeded, and refused where there is nothing to draw."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from aeflow.exceptions import InputError
from aeflow.numerics.projection import Projection, project

CODES = np.random.default_rng(0).normal(size=(60, 6))


@pytest.mark.parametrize("how", [Projection.PCA, Projection.TSNE])
def test_the_same_codes_come_to_the_same_places(how):
    places = project(CODES, how, seed=1)
    assert places.shape == (60, 2)
    assert np.isfinite(places).all()
    assert (places == project(CODES, how, seed=1)).all()


def test_principal_axes_keep_the_directions_that_vary_most():
    flat = CODES * np.array([5, 3, 0.01, 0.01, 0.01, 0.01])
    places = project(flat, Projection.PCA, seed=0)
    centered = flat - flat.mean(axis=0)
    assert np.square(places).sum() == pytest.approx(np.square(centered).sum(), rel=1e-3)


def test_codes_of_one_number_can_be_drawn():
    assert project(CODES[:, :1], Projection.PCA, seed=0).shape == (60, 2)


def test_the_fewest_items_come_to_places_of_their_own():
    assert len(np.unique(project(CODES[:5], Projection.TSNE, seed=0), axis=0)) == 5


def test_too_few_items_are_refused():
    with pytest.raises(InputError, match="at least 5 items"):
        project(CODES[:4], Projection.PCA, seed=0)


def test_umap_keeps_apart_what_lies_apart():
    far = np.vstack([CODES, CODES + 50])
    places = project(far, Projection.UMAP, seed=1)
    one, other = places[: len(CODES)], places[len(CODES) :]
    assert places.shape == (2 * len(CODES), 2)
    within = max(np.linalg.norm(part - part.mean(axis=0), axis=1).mean() for part in (one, other))
    assert np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)) > 2 * within
    assert (places == project(far, Projection.UMAP, seed=1)).all()


def test_without_umap_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match=r"aeflow\[umap\]"):
        project(CODES, Projection.UMAP, seed=0)
