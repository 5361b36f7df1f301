"""What lies on the disk when a training run ends early, and what the next one makes of it."""

from __future__ import annotations

import logging

import pytest
import torch

from aeflow.exceptions import StorageError
from aeflow.training.checkpoint import Checkpoint, discard, read_checkpoint

FACTS = {"history": [{"epoch": 1, "train_loss": 0.1 + 0.2}], "best": 1e-300, "best_epoch": 1}


def state(value=1.0):
    tensors = {"a.weight": torch.full((3, 2), value), "a.steps": torch.tensor(7)}
    return Checkpoint(
        weights=tensors,
        best={"a.weight": torch.zeros(3, 2)},
        optimizer={"0.step": torch.tensor(4.0)},
        generators={"order": torch.get_rng_state()},
        facts=FACTS,
    )


def test_what_is_written_is_read_back_to_the_bit(tmp_path):
    state().write(tmp_path / "deep" / "c", "f")
    found = read_checkpoint(tmp_path / "deep" / "c", "f")
    for group in ("weights", "best", "optimizer", "generators"):
        before, after = getattr(state(), group), getattr(found, group)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[k], after[k]) and before[k].dtype == after[k].dtype for k in before)
    assert found.facts == FACTS


def test_a_checkpoint_replaces_the_one_before_and_leaves_nothing_else(tmp_path):
    for value in (1.0, 2.0):
        state(value).write(tmp_path / "c", "f")
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
    assert read_checkpoint(tmp_path / "c", "f").weights["a.weight"][0, 0] == 2.0


def test_weights_in_another_layout_are_written_as_their_values(tmp_path):
    kernel = torch.arange(2 * 3 * 2 * 2.0).reshape(2, 3, 2, 2)
    turned = kernel.to(memory_format=torch.channels_last)
    Checkpoint({"k": turned}, {}, {}, {}, {}).write(tmp_path / "c", "f")
    assert torch.equal(read_checkpoint(tmp_path / "c", "f").weights["k"], kernel)


def test_where_there_is_none_of_this_fingerprint_there_is_none(tmp_path):
    assert read_checkpoint(tmp_path / "c", "f") is None
    state().write(tmp_path / "c", "f")
    assert read_checkpoint(tmp_path / "c", "g") is None


def test_a_file_that_was_being_written_when_the_run_was_killed_does_not_count(tmp_path):
    (tmp_path / "c.new").write_bytes(b"half of")
    assert read_checkpoint(tmp_path / "c", "f") is None
    state().write(tmp_path / "c", "f")
    (tmp_path / "c.new").write_bytes(b"half of the next")
    assert read_checkpoint(tmp_path / "c", "f").weights["a.weight"][0, 0] == 1.0


@pytest.mark.parametrize("kept", [0, 5, 40, -1, -100])
def test_a_torn_checkpoint_is_told_and_the_training_begins_anew(kept, tmp_path, caplog):
    path = tmp_path / "c"
    state().write(path, "f")
    path.write_bytes(path.read_bytes()[:kept])
    with caplog.at_level(logging.WARNING, logger="aeflow"):
        assert read_checkpoint(path, "f") is None
    assert "damaged" in caplog.text
    assert str(path) in caplog.text


def test_a_safetensors_file_of_something_else_is_no_checkpoint(tmp_path):
    import safetensors.torch

    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "c")
    assert read_checkpoint(tmp_path / "c", "f") is None


def test_a_folder_in_the_way_is_refused_with_its_path(tmp_path):
    (tmp_path / "c" / "inside").mkdir(parents=True)
    assert read_checkpoint(tmp_path / "c", "f") is None
    with pytest.raises(StorageError, match=r"checkpoint cannot be written(.|\n)*Free some space"):
        state().write(tmp_path / "c", "f")


def test_discarding_removes_all_of_it_and_may_be_done_twice(tmp_path):
    state().write(tmp_path / "c", "f")
    (tmp_path / "c.new").write_bytes(b"half of")
    for _ in range(2):
        discard(tmp_path / "c")
        assert list(tmp_path.iterdir()) == []
