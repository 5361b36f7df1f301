"""What is odd, and yet happens: a batch that stays bad beside one that was mended, a config edited after
training, options that mean nothing."""

from __future__ import annotations

import shutil

import pytest


def test_a_batch_that_stays_bad_does_not_keep_a_mended_one_from_being_replayed(space):
    digits = space.folder / "data" / "digits"
    (digits / "alarming").mkdir()
    (digits / "alarming" / "one.png").touch()
    broken = digits / "tonight" / "broken.png"
    broken.touch()
    space.refused("score", "digits", "--batch", "alarming")
    space.ok("score", "digits", "--batch", "tonight")
    shutil.copyfile(next(digits.glob("history/*.png")), broken)

    message = space.refused("quarantine", "digits", "--replay")

    assert "alarming" in message
    assert space.summary("digits", "tonight")["scored"] == 41
    assert not space.summary("digits", "tonight")["quarantined"]


@pytest.mark.parametrize("command", ["score", "evaluate"])
def test_a_config_edited_after_training_is_refused_by_the_key_that_was_edited(space, command):
    labels = space.folder / "labels.csv"
    labels.write_text("timestamp,label\n2022-05-01T00:00:00+02:00,1\n")
    what = {"score": ("--batch", "2022-W17"), "evaluate": ("--labels", str(labels))}[command]
    space.set("water", prepare={"window_points": 24})
    message = space.refused(command, "water", *what)
    assert "prepare.window_points 12, the config now says 24" in message
    assert "aeflow train" in message


def test_training_tells_what_of_the_history_was_set_aside_damaged_images_too(space):
    history = space.folder / "data" / "digits" / "history"
    one, other = sorted(history.glob("*.png"))[:2]
    one.write_bytes(b"")
    other.write_bytes(other.read_bytes()[:-30])
    said = space.ok("train", "digits")
    assert "from a history of 298 valid items (set aside: truncated 1, zero_bytes 1)" in said


def test_a_history_without_a_valid_image_is_refused_with_the_reasons(space):
    for file in (space.folder / "data" / "digits" / "history").glob("*.png"):
        file.write_bytes(b"")
    assert "zero_bytes 300" in space.refused("train", "digits")


def test_a_label_given_twice_is_one_that_is_found(space):
    tonight = sorted((space.folder / "data" / "digits" / "tonight").glob("*.png"))
    lines = [f"tonight/{file.name},{int(file.name.startswith('7'))}" for file in tonight]
    labels = space.folder / "labels.csv"
    labels.write_text("\n".join(["item,label", *lines, *lines, "tonight/gone.png,0"]) + "\n")
    said = space.ok("evaluate", "digits", "--labels", str(labels))
    assert "40 labelled items compared" in said
    assert "1 not in the source or set aside" in said


def test_bounds_that_hold_no_batch_are_not_called_done(space):
    message = space.refused("score", "water", "--from", "2030-W01", "--to", "2030-W02")
    assert "the source has no batch from 2030-W01 to 2030-W02: its first is 2022-W11" in message


def test_the_version_is_told(space):
    assert space.ok("--version").startswith("aeflow ")
