"""How the process of a command lives and ends: its memory, its garbage, its last moment."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys

_M_ARENA_MAX = -8  # malloc.h of glibc


def settle() -> None:
    """Settings of the process, before anything large is imported.

    - What is imported stays: looking through it for garbage took a tenth of the time of the imports.
    - glibc gives each thread a heap of its own and hands none of them back; the more of a batch there is,
      the more of them have once been full. With two heaps, and Arrow's columns in them too, peak memory
      no longer hangs on which threads met, and is a tenth smaller. Elsewhere than on glibc there is
      nothing to set.
    """
    gc.set_threshold(100_000, 50, 50)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read when pyarrow is imported
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 2)


def leave(status: int) -> None:
    """End with this exit code, without taking the interpreter apart, which takes a second after Great
    Expectations and torch: the operating system does it at once."""
    logging.shutdown()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
