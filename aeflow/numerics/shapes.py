"""Refuse arrays that do not have the shape, the order or the values that a formula needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def expect_shape(name: str, array: NDArray[Any], shape: tuple[int | None, ...]) -> None:
    """Refuse `array` unless its shape is `shape`; None stands for any length.

    Raises:
        InputError: says the shape that was expected and the one that came.
    """
    fits = array.ndim == len(shape) and all(
        want is None or want == got for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        expected = ", ".join("any" if want is None else str(want) for want in shape)
        msg = f"{name} must have the shape ({expected}), got {array.shape}"
        raise InputError(msg)


def expect_entities(entity: NDArray[np.integer[Any]], n_entities: int, *, lowest: int = 0) -> None:
    """Refuse entity codes that are no integers in `lowest .. n_entities - 1`.

    Raises:
        InputError: gives the first few codes outside.
    """
    if not np.issubdtype(entity.dtype, np.integer):
        msg = f"entity must hold integer codes, got {entity.dtype}"
        raise InputError(msg)
    outside = entity[(entity < lowest) | (entity >= n_entities)]
    if outside.size:
        msg = (
            f"entity codes must lie in {lowest} .. {n_entities - 1}, "
            f"got {np.unique(outside)[:5].tolist()} in {outside.size} rows"
        )
        raise InputError(msg)


def expect_binary(name: str, labels: NDArray[Any]) -> NDArray[np.bool_]:
    """`labels` as bool; refuses anything but 0, 1, False and True.

    Raises:
        InputError: gives the first few other values.
    """
    if labels.dtype == np.bool_:
        return labels
    other = labels[(labels != 0) & (labels != 1)]
    if other.size:
        msg = f"{name} must be 0 (normal) or 1 (abnormal), got {np.unique(other)[:5].tolist()}"
        raise InputError(msg)
    return np.asarray(labels == 1)


def expect_finite(name: str, array: NDArray[Any]) -> None:
    """Refuse NaN and infinities.

    Raises:
        InputError: gives their number.
    """
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        msg = f"{name} must be finite, got {bad} of {array.size} values that are NaN or infinite"
        raise InputError(msg)
