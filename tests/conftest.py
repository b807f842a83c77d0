"""Sets the backend before Keras is first imported; changing it later has no effect."""

import gc
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")  # `make backends` names the others

import keras
import matplotlib.pyplot as plt
import pytest

JAX = keras.backend.backend() == "jax"
if JAX:
    import jax
    from quick_compilation import compile_quickly
elif keras.backend.backend() == "torch":
    import torch

    @pytest.fixture(autouse=True)
    def gradients_in_training_only(monkeypatch):
        """NumPy takes no tensor that torch could differentiate."""
        monkeypatch.setattr(keras.Model, "fit", torch.enable_grad()(keras.Model.fit))
        with torch.no_grad():
            yield


def pytest_configure():
    """Compile quickly, and equal programs only once: most of the time of the tests is compilation."""
    if not JAX:
        return
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / "_build" / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compile_quickly()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Chapters come first, the last of them before the others: what runs long leaves no process alone at the end."""
    chapters = [item for item in items if item.path.suffix == ".ipynb"]
    chapters.sort(key=lambda item: item.path, reverse=True)
    items[:] = chapters + [item for item in items if item.path.suffix != ".ipynb"]


def pytest_collection_finish():
    """Look for garbage rarely, and not among the millions of objects of libraries: it takes a fifth of the time."""
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
def figures_are_drawn():
    """Each figure that a test leaves can be drawn, without a warning."""
    plt.close("all")
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")
