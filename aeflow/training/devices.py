"""Where to compute, and in what precision to train."""

from __future__ import annotations

from typing import Literal

import torch

from aeflow.exceptions import InputError


def choose_device(wanted: str = "auto") -> torch.device:
    """The device that `compute.device` means. auto: a GPU where there is one, else the CPU.

    Raises:
        InputError: a GPU was asked for by name and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "compute.device asks for cuda, and torch finds no CUDA device",
            remedy="Set compute.device: auto, or install torch for this machine's GPU.",
        )
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            "compute.device asks for mps, and torch finds none", remedy="Set compute.device: auto."
        )
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """The type that the training multiplies in. auto: bfloat16 on a GPU that has it, else float32:
    a CPU has it in few models, and then float32 still repeats to the bit."""
    if wanted == "bfloat16":
        return torch.bfloat16
    if wanted == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32


def device_kind(wanted: str = "auto") -> Literal["cpu", "cuda", "mps"]:
    """The kind of the device that `choose_device` would give."""
    kind = choose_device(wanted).type
    return "cuda" if kind == "cuda" else "mps" if kind == "mps" else "cpu"
