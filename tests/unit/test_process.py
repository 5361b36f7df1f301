"""How the process of a command lives and ends, seen from outside."""

from __future__ import annotations

import os
import subprocess
import sys


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
