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


def bfloat16_ok(device: torch.device) -> bool:
    """Whether `device` multiplies in bfloat16 itself."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        # Without it convolutions crawl, and LSTMs fail with a message about primitives.
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - there is no other way to ask
    return False


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """The type that the training multiplies in. auto: bfloat16 on a GPU that has it, else float32:
    a CPU has it in few models, and then float32 still repeats to the bit.

    Raises:
        InputError: bfloat16 was asked for, and the device has none.
    """
    if wanted == "bfloat16" and not bfloat16_ok(device):
        raise InputError(
            f"training.precision asks for bfloat16, and this {device.type} has none",
            remedy="Set training.precision: auto.",
        )
    if wanted == "bfloat16" or (wanted == "auto" and device.type == "cuda" and bfloat16_ok(device)):
        return torch.bfloat16
    return torch.float32


def device_kind(wanted: str = "auto") -> Literal["cpu", "cuda", "mps"]:
    """The kind of the device that `choose_device` would give."""
    kind = choose_device(wanted).type
    return "cuda" if kind == "cuda" else "mps" if kind == "mps" else "cpu"
