from __future__ import annotations

import os

import numpy as np
import pytest

from benchmarks.processes import python

MB = 1024**2


def test_the_peak_is_that_of_the_command_and_not_of_who_measures():
    ours = np.ones(300 * MB, dtype=np.uint8)
    small = python("pass", env=os.environ)
    large = python(f"x = bytearray({200 * MB})", env=os.environ)
    assert ours.all()
    assert small.peak_mb < 100
    assert 200 < large.peak_mb < 300


def test_time_and_work_are_those_of_the_command():
    asleep = python("import time; time.sleep(0.5)", env=os.environ)
    assert asleep.wall_s >= 0.5
    assert asleep.cpu_s < asleep.wall_s


def test_a_command_that_fails_is_told_with_what_it_printed():
    with pytest.raises(RuntimeError, match=r"ended with 3:\nno luck"):
        python("print('no luck'); raise SystemExit(3)", env=os.environ)
