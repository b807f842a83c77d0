"""Compile programs three times as fast, for tests that ask what a program computes and not how.

XLA leaves out its optimizations and, where they can be turned off, its fusion emitters, whose own compiler takes most
of the time. The results differ by rounding alone. No public option of JAX reaches the programs that Keras compiles.
So this module replaces a private function.
"""

import contextlib

import jax
from jax._src import compiler

OPTIONS = [
    ("xla_backend_optimization_level", 0),
    ("xla_llvm_disable_expensive_passes", True),
]
if jax.__version_info__ < (0, 11):
    OPTIONS.append(("xla_cpu_use_fusion_emitters", False))

_options_of_jax = compiler.get_compile_options


def _quick_options(*args, **kwargs):
    options = _options_of_jax(*args, **kwargs)
    options.env_option_overrides = [*options.env_option_overrides, *OPTIONS]
    return options


def compile_quickly(quickly=True):
    """Choose how programs are compiled from now on, whatever has been compiled before."""
    compiler.get_compile_options = _quick_options if quickly else _options_of_jax
    jax.clear_caches()  # a program compiled the other way may round differently


def keep_programs(folder):
    """Keep each compiled program in this folder, however small it is, for the next test or process that needs it."""
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextlib.contextmanager
def optimized():
    """Compile as for users, where a test depends on how a program computes, as in equality to the last bit."""
    compile_quickly(False)
    try:
        yield
    finally:
        compile_quickly()
