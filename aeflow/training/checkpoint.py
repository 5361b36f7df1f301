"""The state of a training run after an epoch, so that a killed run goes on as if nothing had been.

Tensors are safetensors, the rest is JSON; no pickle. A checkpoint belongs to one fingerprint (data,
model, options): one of another is as good as none.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


@dataclass(frozen=True)
class Checkpoint:
    """What an epoch leaves: weights, best weights, optimizer and generator; counters in `facts`."""

    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    generators: dict[str, Tensor]
    facts: dict[str, Any]

    def write(self, folder: Path, fingerprint: str) -> None:
        """Put the checkpoint in the place of the one before, whole or not at all."""
        fresh = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        groups = {
            "weights": self.weights,
            "best": self.best,
            "optimizer": self.optimizer,
            "generators": self.generators,
        }
        tensors = {
            f"{group}/{k}": v.detach().cpu().contiguous()
            for group, part in groups.items()
            for k, v in part.items()
        }
        safetensors.torch.save_file(tensors, fresh / "state.safetensors")
        text = json.dumps({"fingerprint": fingerprint, **self.facts})
        (fresh / "facts.json").write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)


def read_checkpoint(folder: Path, fingerprint: str) -> Checkpoint | None:
    """The checkpoint in `folder`; None where there is none of this fingerprint."""
    if not (folder / "facts.json").is_file():
        return None
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    if facts.pop("fingerprint") != fingerprint:
        return None
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "best": {}, "optimizer": {}, "generators": {}}
    for name, value in safetensors.torch.load_file(folder / "state.safetensors").items():
        group, key = name.split("/", 1)
        parts[group][key] = value
    return Checkpoint(**parts, facts=facts)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors: `<parameter number>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, own in state.items()
        for name, value in own.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], network: nn.Module
) -> None:
    """Give an optimizer of `network` the state that `optimizer_tensors` told."""
    device = next(network.parameters()).device
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        # AdamW counts its steps on the CPU.
        state.setdefault(int(number), {})[name] = value if name == "step" else value.to(device)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
