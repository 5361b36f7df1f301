from __future__ import annotations

import pytest
import torch

from aeflow.exceptions import InputError
from aeflow.training import devices
from aeflow.training.devices import choose_device, choose_precision


@pytest.fixture
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_accelerator")
def test_auto_falls_back_to_the_cpu():
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.usefixtures("no_accelerator")
@pytest.mark.parametrize("wanted", ["cuda", "mps"])
def test_a_device_asked_for_by_name_must_be_there(wanted):
    with pytest.raises(InputError, match=rf"asks for {wanted}(.|\n)*compute.device: auto"):
        choose_device(wanted)


def test_auto_takes_the_gpu_that_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")


def test_auto_trains_in_bfloat16_only_on_a_gpu_that_has_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert choose_precision("auto", torch.device("cuda")) == torch.bfloat16
    assert choose_precision("float32", torch.device("cuda")) == torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert choose_precision("auto", torch.device("cuda")) == torch.float32
    assert choose_precision("auto", torch.device("cpu")) == torch.float32


def test_bfloat16_asked_for_by_name_must_be_there(monkeypatch):
    for has in (True, False):
        monkeypatch.setattr(devices, "bfloat16_ok", lambda _device, has=has: has)
        if has:
            assert choose_precision("bfloat16", torch.device("cpu")) == torch.bfloat16
            assert choose_precision("auto", torch.device("cpu")) == torch.float32
        else:
            with pytest.raises(InputError, match=r"this cpu has none(.|\n)*training.precision: auto"):
                choose_precision("bfloat16", torch.device("cpu"))
