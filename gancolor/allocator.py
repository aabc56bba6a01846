"""The system's memory allocator, under a training or an evaluation on a CPU."""

import ctypes
import os
import sys
from functools import cache

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER, _MOST_MMAPS, _LARGEST = -1, 65536, 2**25


def keep_freed_memory(keep: bool = True) -> None:
    """Whether memory that is freed is kept for what is allocated next, or given back to the system at once.

    glibc gives back each piece over 32 MB, and the next step fetches it again page by page: a third of the time of a
    step whose batch is large. Kept, it costs up to a fifth of the peak, since pieces of other sizes leave gaps. Where
    there is no glibc, or the environment tells it what to do, nothing is done.
    """
    libc = _glibc()
    if libc is None or any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    libc.mallopt(_MMAP_MAX, 0 if keep else _MOST_MMAPS)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER if keep else 2 * _LARGEST)  # where glibc's own adjustment ends
    if not keep:
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if hasattr(libc, "gnu_get_libc_version") else None
    except OSError:
        return None
