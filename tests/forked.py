"""Processes for tests, forked from a server that has imported Keras and the package, which takes seconds.

The server has not started JAX, so each process can still choose its devices.
"""

import gc
import multiprocessing
import os
import tempfile

import jax
from quick_compilation import compile_quickly, keep_programs

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["mml.training"])  # and so Keras and JAX


class Forked:
    """A process that runs `target(*args)`, and compiles as this one does.

    Args:
        target: A function that another process can import.
        *args: Its arguments, which pickle must be able to copy.
    """

    def __init__(self, target, *args):
        self._output = tempfile.NamedTemporaryFile("r")  # noqa: SIM115, it is closed with this object
        cache = jax.config.jax_compilation_cache_dir
        self._process = FORKS.Process(target=_run, args=(self._output.name, cache, target, args))
        self._process.start()

    def is_alive(self):
        """Whether the process still runs."""
        return self._process.is_alive()

    def kill(self):
        """Kill the process at once, by SIGKILL."""
        self._process.kill()

    def wait(self):
        """Wait for the end: the exit status, negative for a signal, and what was printed."""
        self._process.join()
        return self._process.exitcode, self._output.read()


def _run(output, cache, target, args):
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    gc.disable()
    keep_programs(cache)
    compile_quickly()
    target(*args)
