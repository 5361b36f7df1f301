"""The state of a training run after an epoch, so that a killed run goes on as if nothing had been.

One safetensors file: tensors in its body, the rest as JSON in its header; no pickle. A checkpoint
belongs to one fingerprint (data, model, options): one of another is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from aeflow.exceptions import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from aeflow.config import Training
    from aeflow.models.autoencoder import Autoencoder

_LOG = logging.getLogger(__name__)
_GROUPS = ("weights", "best", "optimizer", "generators")


@dataclass(frozen=True)
class Checkpoint:
    """What an epoch leaves: weights, best weights, optimizer and generator; counters in `facts`."""

    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    generators: dict[str, Tensor]
    facts: dict[str, Any]

    def write(self, path: Path, fingerprint: str) -> None:
        """Put the checkpoint in the place of the one before, whole or not at all.

        Raises:
            StorageError: the disk is full, or a right is missing.
        """
        tensors = {
            f"{group}/{name}": value.detach().cpu().contiguous()
            for group in _GROUPS
            for name, value in getattr(self, group).items()
        }
        text = {"fingerprint": fingerprint, "facts": json.dumps(self.facts, allow_nan=False)}
        fresh = path.with_name(f"{path.name}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as file:
                file.write(safetensors.torch.save(tensors, metadata=text))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            raise StorageError(
                f"the training's checkpoint cannot be written ({error})",
                where=str(path),
                remedy="Free some space or mend the rights; the training goes on from the epoch before.",
            ) from error


def read_checkpoint(path: Path, fingerprint: str) -> Checkpoint | None:
    """The checkpoint in `path`; None where there is none of this fingerprint, or a damaged one: the
    training then begins anew and ends in the same weights, so it is worth a warning, not a refusal."""
    if not path.is_file():
        return None
    parts: dict[str, dict[str, Tensor]] = {group: {} for group in _GROUPS}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = file.metadata() or {}
            if text["fingerprint"] != fingerprint:
                return None
            for key in file.keys():  # noqa: SIM118 - the file is no mapping
                group, name = key.split("/", 1)
                parts[group][name] = file.get_tensor(key)
            facts = json.loads(text["facts"])
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        _LOG.warning("%s: the checkpoint is damaged (%s); the training begins anew", path, error)
        return None
    return Checkpoint(**parts, facts=facts)


def stage_checkpoint(path: Path, stage: str) -> Path:
    """Where a stage before the training proper keeps its own."""
    return path.with_name(f"{path.name}.{stage}")


def discard(path: Path) -> None:
    """Remove the checkpoint and those of its stages: what they were for has come to its end."""
    for own in (path, *path.parent.glob(f"{path.name}.*")):
        own.unlink(missing_ok=True)


def whole_fingerprint(
    data: str, network: Autoencoder, training: Training, *, seed: int, computed: str
) -> str:
    """SHA-256 of everything that the weights of a run depend on: the fingerprint of its `data`, the
    network's options and the weights it starts from, how it is trained, and how it is `computed`."""
    facts = [
        data,
        network.options,
        list(network.item_shape),
        training.model_dump(mode="json"),
        seed,
        computed,
    ]
    whole = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, value in network.state_dict().items():
        whole.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors: `<parameter number>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, own in state.items()
        for name, value in own.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimizer of the same parameters the state that `optimizer_tensors` told."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        like = parameters[int(number)]
        # In the layout of the parameter, which need not be the contiguous one of the file.
        own = torch.empty_like(like).copy_(value) if value.shape == like.shape and name != "step" else value
        state.setdefault(int(number), {})[name] = own
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
