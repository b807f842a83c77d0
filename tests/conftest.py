"""What all tests share: quick compilation, the order of the chapters, and a fresh state of Keras."""

import gc
import os
import platform
from pathlib import Path

import keras
import pytest

JAX = keras.backend.backend() == "jax"
if JAX:
    import jax
    from quick_compilation import compile_quickly, keep_programs, optimized
elif keras.backend.backend() == "torch":
    import torch

    @pytest.fixture(autouse=True)
    def gradients_in_training_only(monkeypatch):
        """NumPy takes no tensor that torch could differentiate."""
        monkeypatch.setattr(keras.Model, "fit", torch.enable_grad()(keras.Model.fit))
        with torch.no_grad():
            yield


def pytest_configure():
    """Compile quickly, and compile equal programs only once: tests spend most of their time on compilation."""
    if JAX:
        compiled = Path(__file__).parents[1] / "_build" / "compiled"
        keep_programs(os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(compiled))
        compile_quickly()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Run the chapters first, the last ones before the others: what takes long should not be left for the end."""
    chapters = [item for item in items if item.path.suffix == ".ipynb"]
    chapters.sort(key=lambda item: item.path, reverse=True)
    items[:] = chapters + [item for item in items if item.path.suffix != ".ipynb"]


def pytest_collection_finish():
    """Collect garbage rarely, and never scan the libraries' objects. This saves a fifth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@pytest.fixture(autouse=True)
def keras_state():
    """Each test starts from the same seed, names and policy, whatever ran before it."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def float64():
    """JAX has it when asked for."""
    if JAX:
        jax.config.update("jax_enable_x64", True)
    yield
    if JAX:
        jax.config.update("jax_enable_x64", False)


@pytest.fixture
def figures_are_drawn():
    """Each figure that a test leaves can be drawn, without a warning."""
    import matplotlib.pyplot as plt  # which the library's own tests do without

    plt.close("all")
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


# === For the benchmarks ===


@pytest.fixture(scope="session")
def memory_kept():
    """What is measured in this process has the same setting as the process of ours."""
    from mml.memory import keep_freed_memory

    assert keep_freed_memory() or platform.libc_ver()[0] != "glibc", "JAX has started before the benchmarks"


@pytest.fixture(scope="module")
def compiled_for_users():
    """Programs are compiled again, with the optimizations that tests leave out."""
    jax.config.update("jax_enable_compilation_cache", False)
    with optimized():
        yield
    jax.config.update("jax_enable_compilation_cache", True)
