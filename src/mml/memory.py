"""Memory that a training step gives back is kept for the next one."""

import ctypes
import platform

import keras

# The parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let glibc keep what JAX's steps on a CPU free, up to their peak, rather than return it to the system at once.

    A compiled step asks for one block of some hundred megabytes and frees it at its end. glibc gives a block of
    that size back to Linux, which has to find and clear 4096 bytes at a time when the next step asks again: about
    a third of a training step. Only the heap of the thread that called the program can hold such a block, so JAX
    is told to run it there, and no longer returns before a step on a CPU is done.

    It has no effect where the C library is another, with another backend than JAX, and once JAX has started.

    Example:

    >>> from mml.memory import keep_freed_memory
    >>> keep_freed_memory()

    Reference:
        The GNU C Library Reference Manual, section 3.2.3.10, "Malloc Tunable Parameters".
    """
    if platform.libc_ver()[0] != "glibc" or keras.backend.backend() != "jax":
        return
    import jax  # only where it is the backend

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_MMAP_MAX, 0)  # from the heap, not from a mapping of its own ...
    mallopt(_TRIM_THRESHOLD, -1)  # ... that is not cut back
