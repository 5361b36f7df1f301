"""Codes on a plane. Legend: N items, D numbers of a code."""

from __future__ import annotations

from enum import StrEnum, auto
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 5
"""So few items at least make a map."""
# van der Maaten and Hinton, "Visualizing data using t-SNE", 2008: 5 to 50, and fewer than the items.
_PERPLEXITY = 30.0
_NEIGHBOURS = 15


class Projection(StrEnum):
    """How codes come onto a plane: their two principal axes, which keep distances; or t-SNE or UMAP, which
    keep neighbourhoods, and whose distances between groups mean little."""

    PCA = auto()
    TSNE = auto()
    UMAP = auto()


def project(codes: NDArray[np.float64], how: Projection, *, seed: int) -> NDArray[np.float64]:
    """Places `(N, 2)` of standardised codes `(N, D)`; the same codes and seed give the same places.

    Raises:
        InputError: fewer than five items, or UMAP is not installed.
    """
    if len(codes) < FEWEST:
        raise InputError(f"expected at least {FEWEST} items to draw a map of, got {len(codes)}")
    wide = codes if codes.shape[1] > 1 else np.column_stack([codes, np.zeros(len(codes))])
    method: Any
    if how is Projection.PCA:
        from sklearn.decomposition import PCA  # noqa: PLC0415 - scikit-learn takes a second to import

        method = PCA(n_components=2, svd_solver="full")
    elif how is Projection.TSNE:
        from sklearn.manifold import TSNE  # noqa: PLC0415

        perplexity = min(_PERPLEXITY, (len(wide) - 1) / 3)
        method = TSNE(n_components=2, perplexity=perplexity, random_state=seed)
    else:
        method = _umap(len(wide), seed)
    places: NDArray[np.float64] = method.fit_transform(wide)
    return places


def _umap(items: int, seed: int) -> Any:
    """McInnes, Healy and Melville, "UMAP: uniform manifold approximation and projection", 2018."""
    try:
        from umap import UMAP  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise InputError(
            "a UMAP map needs the package umap-learn, which is not installed",
            remedy="pip install 'aeflow[umap]', or take --map tsne.",
        ) from error
    return UMAP(n_neighbors=min(_NEIGHBOURS, items - 1), random_state=seed, n_jobs=1)
