"""Each test asks a process of its own, for what is set stays set."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
{first}
import numpy as np

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(25_000_000, "float32")  # 100 MB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), faults())
"""


glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc is what is set")


def faults_of_two_blocks(first):
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(first=first)], capture_output=True, text=True, check=True
    )
    return [int(number) for number in done.stdout.split()]


@glibc_only
def test_a_freed_block_serves_the_next_one():
    once, again = faults_of_two_blocks("")
    if again < once / 2:
        pytest.skip("this machine's malloc keeps blocks of this size by itself")
    once, again = faults_of_two_blocks("from mml.memory import keep_freed_memory; keep_freed_memory()")
    assert again < once / 10


@glibc_only
def test_importing_the_package_is_enough():
    once, again = faults_of_two_blocks("import mml")
    assert again < once / 10


def test_another_c_library_is_left_alone(monkeypatch):
    import ctypes

    from mml.memory import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("loaded a C library"))
    keep_freed_memory()
