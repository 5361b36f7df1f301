"""The drift reference of a detector as named arrays, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.detector.drift_reference import CodeDirections, DriftReference
from aeflow.numerics.drift import ROBUST_EDGES, Profile
from aeflow.numerics.scaling import RobustScale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


def drift_arrays(reference: DriftReference) -> dict[str, NDArray[Any]]:
    """Names beginning with `drift.` -> arrays."""
    arrays = _profile_arrays("inputs", reference.inputs)
    if reference.scale is not None:
        arrays |= {"scale.center": reference.scale.center, "scale.scale": reference.scale.scale}
    if reference.leads is not None:
        arrays["leads"] = reference.leads
    if reference.directions is not None and reference.codes is not None:
        along = reference.directions
        arrays |= _profile_arrays("codes", reference.codes) | {
            "directions.chosen": along.chosen,
            "directions.center": along.center,
            "directions.axes": along.axes,
            "directions.scale.center": along.scale.center,
            "directions.scale.scale": along.scale.scale,
        }
    return {f"drift.{name}": array for name, array in arrays.items()}


def drift_from(quantities: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> DriftReference:
    """The reference of which `drift_arrays` gave `arrays`, here without `drift.`."""
    with_codes = "codes.shares" in arrays
    return DriftReference(
        quantities=tuple(quantities),
        scale=_scale(arrays, "scale") if "scale.center" in arrays else None,
        leads=arrays.get("leads"),
        inputs=_profile(arrays, "inputs"),
        directions=CodeDirections(
            arrays["directions.chosen"],
            arrays["directions.center"],
            arrays["directions.axes"],
            _scale(arrays, "directions.scale"),
        )
        if with_codes
        else None,
        codes=_profile(arrays, "codes") if with_codes else None,
    )


def _profile_arrays(name: str, profile: Profile) -> dict[str, NDArray[Any]]:
    return {
        f"{name}.shares": profile.shares,
        f"{name}.independent": profile.independent,
        f"{name}.blocks": np.array([profile.blocks], dtype=np.int64),
    }


def _profile(arrays: Mapping[str, NDArray[Any]], name: str) -> Profile:
    blocks = int(arrays[f"{name}.blocks"][0])
    return Profile(arrays[f"{name}.shares"], arrays[f"{name}.independent"], blocks, ROBUST_EDGES)


def _scale(arrays: Mapping[str, NDArray[Any]], name: str) -> RobustScale:
    return RobustScale(arrays[f"{name}.center"], arrays[f"{name}.scale"])
