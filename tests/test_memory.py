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
print(program.memory_analysis().temp_size_in_bytes, faults(), min(faults() for _ in range(3)))
"""


glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc is what is set")


def faults_of_runs(first):
    """Return the page faults of a program's first run and the fewest of a later one; each needs 30 MB at least."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(first=first)], capture_output=True, text=True, check=True
    )
    block, once, again = map(int, done.stdout.split())
    assert block > 30e6
    return once, again


@glibc_only
def test_what_one_run_frees_serves_the_next():
    once, again = faults_of_runs("")
    if again < once / 2:
        pytest.skip("this machine's malloc keeps blocks of this size by itself")
    _, kept = faults_of_runs("import mml")
    assert kept < again / 10


@pytest.mark.parametrize(
    "function, answer", [("platform.libc_ver", ("", "")), ("keras.backend.backend", "torch")], ids=["libc", "backend"]
)
def test_another_c_library_or_backend_is_left_alone(monkeypatch, function, answer):
    import ctypes

    from mml.memory import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(function, lambda: answer)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("loaded a C library"))
    keep_freed_memory()
