"""Each test asks a process of its own, for what is set stays set."""

import platform
import subprocess
import sys

import pytest

# Rows are sorted: what goes in has to lie in memory, and is half of a block that is freed at the end.
FAULTS = """
import resource
{first}
import jax, jax.numpy as jnp

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    jax.block_until_ready(program(x))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

x = jnp.zeros((4_000_000, 2))
program = jax.jit(lambda x: jnp.sum(jnp.sort(x + 1, axis=1)[:, 0])).lower(x).compile()
print(program.memory_analysis().temp_size_in_bytes, faults(), faults())
"""


glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc is what is set")


def faults_of_two_runs(first):
    """Return the page faults of a program's first and second run, which need a block of 30 MB at least."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(first=first)], capture_output=True, text=True, check=True
    )
    block, once, again = map(int, done.stdout.split())
    assert block > 30e6
    return once, again


@glibc_only
def test_what_one_run_frees_serves_the_next():
    once, again = faults_of_two_runs("")
    if again < once / 2:
        pytest.skip("this machine's malloc keeps blocks of this size by itself")
    once, again = faults_of_two_runs("import mml")
    assert again < once / 5


def test_another_c_library_is_left_alone(monkeypatch):
    import ctypes

    from mml.memory import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("loaded a C library"))
    keep_freed_memory()
