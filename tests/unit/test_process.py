"""How the process of a command lives and ends, seen from outside."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    known = {k: v for k, v in os.environ.items() if k != "ARROW_DEFAULT_MEMORY_POOL"}
    return subprocess.run(
        [sys.executable, "-c", code], env=known | env, capture_output=True, text=True, check=False
    )


POOL = "from aeflow.cli.process import settle; settle(); import pyarrow; print(pyarrow.default_memory_pool().backend_name)"


def test_arrow_takes_its_memory_where_everything_else_does():
    assert python(POOL).stdout.split() == ["system"]


def test_a_user_may_choose_another():
    assert python(POOL, ARROW_DEFAULT_MEMORY_POOL="mimalloc").stdout.split() == ["mimalloc"]


def test_what_was_printed_arrives_and_the_exit_code_is_that_of_the_command():
    done = python("from aeflow.cli.process import leave; print('last words', end=''); leave(2)")
    assert (done.stdout, done.returncode) == ("last words", 2)


HOLES = """
from aeflow.memory import hand_back, share_heaps
def resident_kb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
share_heaps()
held = [bytearray(50_000) for _ in range(2_000)]
del held[::2], held[:-1:2]  # what is left lies at the end of the heap, so that nothing before it goes back by itself
before = resident_kb()
hand_back()
print(before - resident_kb())
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other libraries hand memory back by themselves"
)
def test_memory_that_was_freed_between_what_is_still_held_goes_back_to_the_system():
    handed_back_kb = int(python(HOLES).stdout)
    assert handed_back_kb > 20_000
