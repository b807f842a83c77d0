"""Use the library with nothing but its core and one backend of Keras, in the environments that `make core` sets up.

python tests/core_only.py BACKEND
"""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CORE = {"keras", "numpy", "safetensors", "filelock", "pillow"}
# SciPy comes with JAX.
ABSENT = {
    "jax": ["matplotlib", "pandas", "seaborn", "sklearn", "tensorflow", "torch"],
    "torch": ["jax", "matplotlib", "pandas", "scipy", "seaborn", "sklearn", "tensorflow"],
}


def check_environment(backend):
    """The environment holds what it should: the core, one backend, and nothing of the extra."""
    needed = [each for each in importlib.metadata.requires("mml-vision") if "extra ==" not in each]
    assert {each.split(">")[0] for each in needed} == CORE, needed
    found = [name for name in ABSENT[backend] if importlib.util.find_spec(name)]
    assert not found, f"not the core only: {found}"


def check_import():
    """Importing the library changes no environment variable and imports no backend."""
    before = dict(os.environ)
    import mml

    assert dict(os.environ) == before
    assert not {"keras", "jax", "torch"} & set(sys.modules)
    assert mml.__version__ == importlib.metadata.version("mml-vision")


def check_model(path):
    """A model of ternary layers is built, trained, packed, saved, and loaded. Its packed file is at `path`."""
    import keras
    import numpy as np

    import mml

    keras.utils.set_random_seed(0)
    config = mml.models.VisionTransformerConfig(
        image_size=24, projection_dim=16, num_heads=2, transformer_layers=1, head_units=(16,)
    )
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype("uint8")
    labels = np.arange(8)[:, None].astype("uint8")
    model = mml.models.vision_transformer(config, images=images)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(images, labels, batch_size=8, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()

    expected = model.predict(images, verbose=0)
    packed = mml.packing.pack(model)
    np.testing.assert_allclose(packed.predict(images, verbose=0), expected, atol=1e-4)
    mml.packing.save_packed(model, path, class_names=[f"name {index}" for index in range(10)])
    np.testing.assert_allclose(mml.packing.load_packed(path).predict(images, verbose=0), expected, atol=1e-4)
    model.save(path.with_suffix(".keras"))
    loaded = keras.saving.load_model(path.with_suffix(".keras"))
    np.testing.assert_allclose(loaded.predict(images, verbose=0), expected, atol=1e-4)

    data = mml.data.ImageDataset(images, labels, images, labels, tuple("0123456789"), "Noise.")
    run = mml.training.train(data, mml.training.TrainingConfig(config, epochs=1), path.parent / "runs", verbose=0)
    with says_what_to_install("pandas"):
        run.history  # noqa: B018


def check_command_line(path):
    """Both ways to start it choose the backend that is installed."""
    from PIL import Image

    picture = path.with_name("picture.png")
    Image.new("RGB", (50, 40), "red").save(picture)
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    for start in ([sys.executable, "-m", "mml"], [str(Path(sys.executable).with_name("mml"))]):
        for arguments, words in (
            (["predict", "--model", path, picture], "name "),
            (["info", path], "ternary weights"),
        ):
            ran = subprocess.run(
                [*start, *arguments], env=environment, cwd=path.parent, capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, ran.stderr
            assert words in ran.stdout, ran.stdout


@contextlib.contextmanager
def says_what_to_install(package):
    """Functions that need more than the core say what to install."""
    try:
        yield
    except ImportError as error:
        assert package in str(error) and "pip install 'mml-vision[book]'" in str(error), error
    else:
        raise AssertionError(f"needs {package}, and does not say so")


def check_what_needs_more(backend):
    """The digits and the book's package need packages of the extra, and so do the costs on torch."""
    import keras

    import mml

    with says_what_to_install("sklearn"):
        mml.data.load_cifar10(source="digits")
    with says_what_to_install("pandas"):
        importlib.import_module("mml_book")
    with says_what_to_install("jax" if backend == "torch" else "pandas"):
        mml.costs.count_operations(keras.Sequential([keras.Input((4,)), mml.layers.DenseMML(2)]))


def main(backend):
    check_environment(backend)
    check_import()
    os.environ["KERAS_BACKEND"] = backend
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        check_model(path)
        check_command_line(path)
    check_what_needs_more(backend)
    print(f"The core works on {backend}.")


if __name__ == "__main__":
    main(sys.argv[1])
