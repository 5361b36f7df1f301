"""A detector as a folder: weights and arrays as safetensors, everything else as JSON. No pickle.

detector.json        config, calibrations, cadences, reference, sizes
network.safetensors  the network's weights
arrays.safetensors   scale, spread, how rare the scores of fused networks are, calibration scores, moments of the codes,
                     fingerprints of the items it was fitted on, what later batches are held against for drift, a few
                     normal items
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
import safetensors.torch

from aeflow.config import ImagePrepare, PipelineConfig
from aeflow.data.reference import Reference
from aeflow.data.series import Cadences
from aeflow.detector.detector import Detector, FittedOn
from aeflow.detector.drift_storage import drift_arrays, drift_from
from aeflow.detector.exemplars import exemplar_arrays, exemplars_from
from aeflow.detector.fusing import Fusing
from aeflow.detector.image_scores import ImageNormal
from aeflow.detector.series_scores import SeriesNormal, UsualErrors
from aeflow.exceptions import DetectorError
from aeflow.models.bank import NetworkBank
from aeflow.models.catalog import build
from aeflow.models.contrast import contrast_of
from aeflow.models.fused import fused_networks, fusion_rule
from aeflow.numerics.calibration import Calibration
from aeflow.numerics.gridding import Cadence
from aeflow.numerics.likeness import CodeSpace
from aeflow.numerics.scaling import RobustScale

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.models.autoencoder import Autoencoder

FORMAT = 1
BASELINE_FOLDER = "baseline"
_FILES = ("arrays.safetensors", "detector.json", "network.safetensors")


def save(detector: Detector, folder: Path) -> None:
    """Write the detector into `folder`, which is made. The same detector gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {
        "fitted.items": detector.fitted_on.items,
        "fitted.groups": detector.fitted_on.groups,
    }
    calibrations = {"": detector.calibration, **detector.entity_calibrations}
    for kind, of_kind in (("calibration", calibrations), ("cohort", detector.cohort_calibrations)):
        for number, name in enumerate(sorted(of_kind)):
            parts = of_kind[name].to_arrays()
            arrays |= {f"{kind}.{number}.{key}": value for key, value in parts.items()}
    if detector.code_space is not None:
        arrays |= {"code.center": detector.code_space.center, "code.scale": detector.code_space.scale}
    normal = detector.normal
    arrays |= _error_arrays(normal)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "config": detector.config.model_dump(mode="json"),
        "item_shape": list(detector.network.item_shape),
        "networks": len(getattr(detector.network, "members", [detector.network])),
        "calibrations": {name: c.to_json() for name, c in calibrations.items()},
        "cohort_calibrations": {name: c.to_json() for name, c in detector.cohort_calibrations.items()},
        "reference": detector.reference.to_json(),
        "code_radius": None if detector.code_space is None else detector.code_space.radius,
        "fitted_on": {
            "digest": detector.fitted_on.digest,
            "rows": detector.fitted_on.rows,
            "seed": detector.fitted_on.seed,
            "until_us": dict(detector.fitted_on.until_us),
            "batches": list(detector.fitted_on.batches),
        },
    }
    if isinstance(normal, SeriesNormal):
        arrays |= {"scale.center": normal.scale.center, "scale.scale": normal.scale.scale}
        if normal.member is not None:
            arrays["member"] = normal.member
        facts["entities"] = list(normal.entities)
        facts["cadences"] = {
            "known": {name: [c.step_us, c.phase_us] for name, c in normal.cadences.known.items()},
            "default": [normal.cadences.default.step_us, normal.cadences.default.phase_us],
        }
    if detector.exemplars is not None:
        arrays |= exemplar_arrays(detector.exemplars)
        facts["exemplars"] = list(detector.exemplars.names)
    if detector.drift is not None:
        arrays |= drift_arrays(detector.drift)
        facts["drift"] = {"quantities": list(detector.drift.quantities)}
    safetensors.numpy.save_file(
        {k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / "arrays.safetensors"
    )
    weights = {k: v.detach().cpu().contiguous() for k, v in detector.network.state_dict().items()}
    safetensors.torch.save_file(weights, folder / "network.safetensors")
    text = json.dumps(facts, sort_keys=True, indent=1, allow_nan=False)
    (folder / "detector.json").write_text(text + "\n", encoding="utf-8")


def load(folder: Path) -> Detector:
    """The detector that `save` wrote.

    Raises:
        DetectorError: the folder is not a detector, or of a newer format.
    """
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise DetectorError(f"expected {', '.join(_FILES)}; missing: {', '.join(missing)}", where=str(folder))
    facts = json.loads((folder / "detector.json").read_text(encoding="utf-8"))
    if facts.get("format") != FORMAT:
        raise DetectorError(
            f"expected a detector of format {FORMAT}, got {facts.get('format')!r}",
            where=str(folder),
            remedy="It was written by another version of aeflow: use that version, or train again.",
        )
    arrays = safetensors.numpy.load_file(folder / "arrays.safetensors")
    config = PipelineConfig.model_validate(facts["config"])
    network = build(config.model, tuple(facts["item_shape"]))
    if facts.get("networks", 1) > 1:
        others = [build(config.model, tuple(facts["item_shape"])) for _ in range(1, facts["networks"])]
        network = NetworkBank([network, *others])
    network.load_state_dict(safetensors.torch.load_file(folder / "network.safetensors"))
    calibrations = _calibrations(facts["calibrations"], arrays, "calibration")
    fitted = facts["fitted_on"]
    return Detector(
        config=config,
        network=network,
        normal=_normal(network, config, facts, arrays),
        calibration=calibrations.pop(""),
        entity_calibrations=calibrations,
        cohort_calibrations=_calibrations(facts.get("cohort_calibrations", {}), arrays, "cohort"),
        reference=Reference.from_json(facts["reference"]),
        fitted_on=FittedOn(
            fitted["digest"],
            fitted["rows"],
            fitted["seed"],
            arrays["fitted.items"],
            arrays["fitted.groups"],
            fitted["until_us"],
            tuple(fitted["batches"]),
        ),
        code_space=_code_space(facts, arrays),
        exemplars=exemplars_from(facts["exemplars"], _prefixed(arrays, "exemplars."))
        if "exemplars" in facts
        else None,
        drift=drift_from(facts["drift"]["quantities"], _prefixed(arrays, "drift."))
        if "drift" in facts
        else None,
    )


def calibration_digest(detector: Detector) -> str:
    """SHA-256 of what turns scores into flags."""
    whole = hashlib.sha256()
    of_entities = sorted({"": detector.calibration, **detector.entity_calibrations}.items())
    for name, calibration in [*of_entities, *sorted(detector.cohort_calibrations.items())]:
        whole.update(json.dumps([name, calibration.to_json()], sort_keys=True).encode())
        for key, value in sorted(calibration.to_arrays().items()):
            whole.update(key.encode() + np.ascontiguousarray(value).tobytes())
    return whole.hexdigest()


def _code_space(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> CodeSpace | None:
    radius = facts.get("code_radius")
    return (
        None
        if radius is None
        else CodeSpace(np.atleast_2d(arrays["code.center"]), np.atleast_2d(arrays["code.scale"]), radius)
    )


def _calibrations(
    described: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], kind: str
) -> dict[str, Calibration]:
    return {
        name: Calibration.from_parts(described[name], _prefixed(arrays, f"{kind}.{number}."))
        for number, name in enumerate(sorted(described))
    }


def _normal(
    network: Autoencoder, config: PipelineConfig, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> SeriesNormal | ImageNormal:
    rule = fusion_rule(network)
    fusing = None if rule is None else Fusing(rule, arrays["fusing.curves"])
    of_members = [_prefixed(arrays, _member_prefix(i)) for i in range(len(fused_networks(network)))]
    if "cadences" not in facts:
        assert isinstance(config.prepare, ImagePrepare)
        spread = np.stack([of_one["spread"] for of_one in of_members])
        return ImageNormal(spread, contrast_of(config.prepare), fusing, config.scoring.smooth_px)
    known = {name: Cadence(*pair) for name, pair in facts["cadences"]["known"].items()}
    return SeriesNormal(
        entities=tuple(facts["entities"]),
        cadences=Cadences(known, Cadence(*facts["cadences"]["default"])),
        scale=RobustScale(arrays["scale.center"], arrays["scale.scale"]),
        errors=tuple(
            UsualErrors(
                spread=of_one["spread"],
                usual_level=of_one.get("usual_level", np.ones(len(of_one["spread"]), dtype=np.float32)),
                whitening=of_one.get("whitening"),
            )
            for of_one in of_members
        ),
        fusing=fusing,
        cohorts=config.entities,
        member=arrays.get("member"),
    )


def _error_arrays(normal: SeriesNormal | ImageNormal) -> dict[str, NDArray[Any]]:
    """What is usual of the errors, of further members with a prefix."""
    arrays: dict[str, NDArray[Any]] = {}
    if isinstance(normal, ImageNormal):
        arrays |= {f"{_member_prefix(i)}spread": spread for i, spread in enumerate(normal.spread)}
    else:
        for prefix, usual in ((_member_prefix(i), one) for i, one in enumerate(normal.errors)):
            arrays |= {f"{prefix}spread": usual.spread, f"{prefix}usual_level": usual.usual_level}
            if usual.whitening is not None:
                arrays[f"{prefix}whitening"] = usual.whitening
    if normal.fusing is not None:
        arrays["fusing.curves"] = normal.fusing.curves
    return arrays


def _member_prefix(number: int) -> str:
    return f"fusing.{number}." if number else ""


def _prefixed(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
