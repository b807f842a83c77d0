"""What all benchmarks share: the data, and programs that are compiled and that use memory as for users."""

import platform

import jax
import pytest
from quick_compilation import optimized

from mml.data import load_cifar10
from mml.memory import keep_freed_memory


@pytest.fixture(scope="session")
def memory_kept():
    """What is measured in this process has the same setting as the process of ours."""
    assert keep_freed_memory() or platform.libc_ver()[0] != "glibc", "JAX has started before the benchmarks"


@pytest.fixture(scope="module")
def compiled_for_users():
    """Programs are compiled anew, with the optimizations that tests leave out."""
    jax.config.update("jax_enable_compilation_cache", False)
    with optimized():
        yield
    jax.config.update("jax_enable_compilation_cache", True)


@pytest.fixture(scope="module")
def data():
    return load_cifar10(0.01)
