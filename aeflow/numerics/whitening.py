"""Residuals of channels that err together, made independent: the Mahalanobis distance in additive parts.

Legend: N items, K columns, E entities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_entities, expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OWN_ROWS_A_COLUMN = 3
"""An entity with fewer residuals than this for each column takes the covariance of all."""


def shrunk_covariance(residual: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The covariance around 0 of residuals `(N, K)`, drawn towards a multiple of the identity, `(K, K)`.

    By as much as minimises the expected squared error: Ledoit and Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices", Journal of Multivariate Analysis 2004.

    Raises:
        InputError: no row, or a value that is not finite.
    """
    expect_shape("residual", residual, (None, None))
    n, size = residual.shape
    if n == 0 or not np.isfinite(residual).all():
        msg = f"a covariance needs finite residuals, got {n} rows of {size}"
        raise InputError(msg)
    values = residual.astype(np.float64)
    sample: NDArray[np.float64] = values.T @ values / n
    level = np.trace(sample) / size
    target = level * np.eye(size)
    distance = ((sample - target) ** 2).sum()
    noise = ((values**2).T @ (values**2) / n - sample**2).sum() / n
    share = min(1.0, noise / distance) if distance > 0 else 1.0
    return np.asarray(share * target + (1 - share) * sample)


def fit_whitening(
    residual: NDArray[np.floating[Any]],
    observed: NDArray[np.bool_],
    entity: NDArray[np.integer[Any]],
    n_entities: int,
) -> NDArray[np.float32]:
    """The inverse root of the covariance of each entity's residuals, `(E + 1, K, K)` float32.

    The squares of `inverse root @ residual` sum to the squared Mahalanobis distance. Of all matrices of which
    that is so, the symmetric one changes the channels least, so that a square still belongs to its channel:
    Kessy, Lewin and Strimmer, "Optimal whitening and decorrelation", The American Statistician 2018.

    The last matrix is of all entities together; an entity with few residuals takes it too.

    Args:
        residual: `(N, K)` of normal items, in units of their spread; 0 where not observed.
        observed: `(N, K)`.
        entity: `(N,)` codes 0 .. n_entities - 1.
        n_entities: E.

    Raises:
        InputError: shapes or codes that do not fit, or no row.
    """
    expect_shape("residual", residual, (None, None))
    expect_shape("observed", observed, residual.shape)
    expect_shape("entity", entity, residual.shape[:1])
    expect_entities(entity, n_entities)
    whole = np.where(observed, residual, 0.0)
    pooled = _inverse_root(shrunk_covariance(whole))
    found = np.tile(pooled.astype(np.float32), (n_entities + 1, 1, 1))
    for code in range(n_entities):
        mine = whole[entity == code]
        if len(mine) >= _OWN_ROWS_A_COLUMN * mine.shape[1]:
            found[code] = _inverse_root(shrunk_covariance(mine))
    return found


def whiten(
    residual: NDArray[np.floating[Any]], whitening: NDArray[np.float32], entity: NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    """Each residual `(N, K)` times the matrix of its entity, `(N, K)` float32.

    Args:
        residual: `(N, K)`, as in `fit_whitening`.
        whitening: `(E + 1, K, K)` of `fit_whitening`.
        entity: `(N,)` codes; -1, an entity never seen before, takes the last matrix.

    Raises:
        InputError: shapes that differ.
    """
    expect_shape("entity", entity, residual.shape[:1])
    found = np.empty(residual.shape, dtype=np.float32)
    values = residual.astype(np.float32, copy=False)
    order = np.argsort(entity, kind="stable")
    codes, begins = np.unique(entity[order], return_index=True)
    for code, begin, end in zip(codes.tolist(), begins, np.append(begins, order.size)[1:], strict=True):
        mine = order[begin:end]
        # Row by row of the same products, whatever else is in the batch.
        found[mine] = np.einsum("nk,kj->nj", values[mine], whitening[code])
    return found


def _inverse_root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    variance, directions = np.linalg.eigh(covariance)
    floor = max(variance[-1] * 1e-6, np.finfo(np.float64).tiny)
    root: NDArray[np.float64] = (directions / np.sqrt(np.maximum(variance, floor))) @ directions.T
    return root
