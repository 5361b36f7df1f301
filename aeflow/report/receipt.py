"""What a report was made of, so that it can be made again and compared: `receipt.json`."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Literal

from aeflow.report.stored import Stored
from aeflow.store.digests import sha256_file

if TYPE_CHECKING:
    from aeflow.report.summary import Summary

RECEIPT_FILE = "receipt.json"
_PACKAGES = ("aeflow", "numpy", "pillow", "pyarrow", "torch")

Device = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Provenance:
    """What a run was made of. Digests are SHA-256 in hexadecimal; device is the kind, not which one."""

    input_digest: str
    config_digest: str
    detector_digest: str
    calibration_digest: str
    seed: int
    device: Device
    moved_cut: MovedCut | None = None


class MovedCut(Stored):
    """What verdicts on earlier nights made of the calibration's cut; with this alone the batch comes out the
    same."""

    alpha: float
    """The p-value at or below which an item is flagged."""
    calibrated_alpha: float
    """What the calibration alone had said."""
    expected: float
    """False flags in a batch, by the calibration and the reviewed nights together."""
    rests_on: float
    """The number of independent flags that this is estimated from."""
    promised: float
    """False flags of the reviewed nights together."""
    false: int
    """Flags of them that were called false."""
    undecided: int
    """Flags of them of which nothing is decided."""
    nights: int
    first_night: str
    last_night: str


class Receipt(Stored):
    """See the module. Names no time, host or folder."""

    schema_version: str = "1"
    pipeline: str
    batch: str
    detector_version: int
    seed: int
    device: Device
    input_digest: str
    config_digest: str
    detector_digest: str
    calibration_digest: str
    files: dict[str, str]
    """File of the report -> SHA-256; the receipt itself and the page that shows it are not among them."""
    versions: dict[str, str]
    """Python and the packages that decide a score or a byte."""
    moved_cut: MovedCut | None = None
    """None: the cut is that of the calibration."""


def make_receipt(folder: Path, summary: Summary, provenance: Provenance, files: tuple[str, ...]) -> Receipt:
    """The receipt of the report in `folder`, of which `files` are proven."""
    return Receipt(
        pipeline=summary.pipeline,
        batch=summary.batch,
        detector_version=summary.detector_version,
        seed=provenance.seed,
        device=provenance.device,
        input_digest=provenance.input_digest,
        config_digest=provenance.config_digest,
        detector_digest=provenance.detector_digest,
        calibration_digest=provenance.calibration_digest,
        files={name: sha256_file(folder / name) for name in sorted(files)},
        versions=installed_versions(),
        moved_cut=provenance.moved_cut,
    )


def installed_versions() -> dict[str, str]:
    """Python and the packages that decide a score or a byte, with their versions, sorted."""
    return dict(sorted({"python": platform.python_version(), **{p: version(p) for p in _PACKAGES}}.items()))


def read_receipt(folder: Path) -> Receipt:
    """The receipt in a report folder.

    Raises:
        StorageError, IntegrityError: it cannot be read, or is none.
    """
    return Receipt.read(folder / RECEIPT_FILE)


def differences(published: Receipt, now: Receipt) -> list[str]:
    """What differs between two receipts, one sentence each; empty if nothing does."""
    found = []
    for name in Receipt.model_fields:
        before, after = getattr(published, name), getattr(now, name)
        if isinstance(before, dict):
            keys = sorted(before.keys() | after.keys())
            found += [_difference(f"{name} {key}", before.get(key), after.get(key)) for key in keys]
        else:
            found.append(_difference(name, before, after))
    return [sentence for sentence in found if sentence]


def _difference(what: str, before: object, after: object) -> str:
    if before == after:
        return ""
    was, came = ("absent" if value is None else str(value) for value in (before, after))
    return f"{what.replace('_', ' ')}: the published report has {was}, now it is {came}"
