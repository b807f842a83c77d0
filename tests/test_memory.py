"""Each test that sets something asks a process of its own, because what is set stays set."""

import ctypes
import importlib.util
import platform
import runpy
import subprocess
import sys

import keras
import pytest

from mml import memory
from mml.memory import keep_freed_memory

OPTION = "jax_cpu_enable_async_dispatch"
glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc is what is set")
jax_only = pytest.mark.skipif(keras.backend.backend() != "jax", reason="it is JAX's option that is set")


def run(script):
    """Return what a process prints."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# === What it does ===

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


def faults_of_runs(first):
    """Return the page faults of a program's first run and the fewest of a later one; each needs 30 MB at least."""
    block, once, again = map(int, run(FAULTS.format(first=first)).split())
    assert block > 30e6
    return once, again


@glibc_only
@jax_only
def test_what_one_run_frees_serves_the_next():
    once, again = faults_of_runs("")
    if again < once / 2:
        pytest.skip("this machine's malloc keeps blocks of this size by itself")
    _, kept = faults_of_runs("from mml.memory import keep_freed_memory; assert keep_freed_memory()")
    assert kept < again / 10


@glibc_only
@jax_only
@pytest.mark.parametrize(
    "before, answer, option",
    [
        ("", "True True", "False"),
        ("jax.numpy.ones(3) + 1", "False False", "True"),
        ("jax.config.update(OPTION, False); jax.numpy.ones(3) + 1", "True True", "False"),
        ("del jax.config._value_holders[OPTION]", "False False", "None"),
    ],
    ids=["before JAX has started", "after", "set by the user", "an option that JAX has dropped"],
)
def test_the_answer_is_whether_it_is_in_effect(before, answer, option):
    script = f"""
import jax
OPTION = "{OPTION}"
{before}
devices = jax.config.jax_num_cpu_devices
from mml.memory import keep_freed_memory
print(keep_freed_memory(), keep_freed_memory())
print(jax.config.values.get(OPTION))
assert jax.config.jax_num_cpu_devices == devices
jax.numpy.ones(3) + 1
"""
    assert run(script).splitlines() == [answer, option]


@pytest.mark.parametrize(
    "owner, name, value",
    [
        (platform, "libc_ver", lambda: ("", "")),
        (keras.backend, "backend", lambda: "torch"),
        (ctypes, "CDLL", lambda name: object()),
    ],
    ids=["another C library", "another backend", "no mallopt"],
)
def test_where_it_does_not_fit_nothing_is_changed(monkeypatch, owner, name, value):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("loaded a C library"))
    monkeypatch.setattr(memory, "_run_in_calling_thread", lambda: pytest.fail("changed JAX"))
    monkeypatch.setattr(owner, name, value)
    assert keep_freed_memory() is False


def test_it_runs_without_the_package(monkeypatch):
    """As `tests/benchmarks/worker.py` runs it, in the process of a contender that must not import mml."""
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    path = importlib.util.find_spec("mml.memory").origin
    assert runpy.run_path(path)["keep_freed_memory"]() is False


# === What an import does ===


@jax_only
def test_to_import_the_package_and_all_its_modules_changes_nothing():
    script = f"""
import importlib, os, pkgutil
import keras, jax  # what these change is their own affair
environment, options = dict(os.environ), dict(jax.config.values)
import ctypes
ctypes.CDLL = None  # no module calls mallopt
import mml
for module in pkgutil.walk_packages(mml.__path__, "mml."):
    if module.name != "mml.__main__":
        importlib.import_module(module.name)
assert dict(os.environ) == environment
assert dict(jax.config.values) == options and options["{OPTION}"] is True
jax.config.update("jax_num_cpu_devices", 2)  # which JAX refuses once it has started
print(keras.backend.backend())
"""
    assert run(script).split() == ["jax"]


def test_to_import_mml_alone_chooses_no_backend():
    script = """
import os, sys
environment = dict(os.environ)
import mml
assert dict(os.environ) == environment
print({"keras", "jax", "numpy", "torch", "tensorflow"} & set(sys.modules))
"""
    assert run(script).strip() == "set()"
