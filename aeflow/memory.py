"""The heap of the process: what was freed goes back to the operating system.

glibc keeps what is freed in the midst of a heap, in pieces that later arrays do not fit into. So a long batch
would end with more memory than a short one, though both hold as much at a time: a sixth more for ten times the
rows. Elsewhere than on glibc there is nothing to do.
"""

from __future__ import annotations

import ctypes
import os
import sys

_M_ARENA_MAX = -8  # malloc.h of glibc
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def share_heaps() -> None:
    """Two heaps for all threads, where the environment does not say otherwise; before anything large is imported.

    glibc gives each thread a heap of its own: the more of a batch there is, the more of them have once been full.
    With two of them peak memory does not hang on which threads met, and is a tenth smaller.
    """
    mallopt = getattr(_LIBC, "mallopt", None)
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, 2)


PORTIONS = 4
"""A pass over a batch hands memory back after every so many portions: what is handed back has to be fetched again, which
after each portion took a twelfth of the time of an LSTM."""


def hand_back() -> None:
    """Give the system the pages that hold nothing any more."""
    trim = getattr(_LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)
