"""How the process of a command lives and ends: its memory, its garbage, its last moment."""

from __future__ import annotations

import gc
import logging
import os
import sys

from aeflow.memory import share_heaps


def settle() -> None:
    """Settings of the process, before anything large is imported.

    - What is imported stays: looking through it for garbage took a tenth of the time of the imports.
    - Threads share two heaps (`aeflow.memory`), and Arrow's columns lie in them too.
    """
    gc.set_threshold(100_000, 50, 50)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read when pyarrow is imported
    share_heaps()


def leave(status: int) -> None:
    """End with this exit code, without taking the interpreter apart, which takes a second after Great
    Expectations and torch: the operating system does it at once."""
    logging.shutdown()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
