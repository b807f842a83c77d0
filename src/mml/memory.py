"""Memory that a training step gives back is kept for the next one."""

import ctypes
import platform

# The parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory():
    """Let glibc keep what the process frees, up to its peak, rather than return it to the system at once.

    A compiled step asks for one block of some hundred megabytes and frees it at its end. glibc gives a block of
    that size back to Linux, which has to find and clear 4096 bytes at a time when the next step asks again: about
    a third of a training step on a CPU. It does nothing where the C library is another, and has no effect on
    threads that JAX started before.

    Example:

    >>> from mml.memory import keep_freed_memory
    >>> keep_freed_memory()

    Reference:
        The GNU C Library Reference Manual, section 3.2.3.10, "Malloc Tunable Parameters".
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_ARENA_MAX, 1)  # only the first arena can hold blocks of that size
    mallopt(_MMAP_MAX, 0)  # from the heap, not from a mapping of its own ...
    mallopt(_TRIM_THRESHOLD, -1)  # ... that is not cut back
