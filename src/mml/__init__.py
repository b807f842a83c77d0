"""Matmul-free vision transformers: ternary-weight layers for Keras, and tools to train, pack, and measure them.

`import mml` changes nothing in the process. It imports neither Keras nor a backend. A submodule such as `mml.layers`
is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mml import (
        activations,
        costs,
        data,
        images,
        initializers,
        layers,
        memory,
        models,
        ops,
        packing,
        presets,
        training,
    )

    __version__: str

__all__ = [
    "__version__",
    "activations",
    "costs",
    "data",
    "images",
    "initializers",
    "layers",
    "memory",
    "models",
    "ops",
    "packing",
    "presets",
    "training",
]


def __getattr__(name):
    if name == "__version__":
        return _version()
    if name in __all__:
        return importlib.import_module(f"mml.{name}")
    raise AttributeError(f"module 'mml' has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))


def _version():
    from importlib import metadata

    try:
        return metadata.version("mml-vision")
    except metadata.PackageNotFoundError as error:
        raise AttributeError(
            "`mml.__version__` is the version of the installed package mml-vision, which is not installed here. "
            "In a source tree, install it with: pip install --editable ."
        ) from error
