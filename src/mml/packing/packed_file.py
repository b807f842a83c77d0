"""A packed model's file, which is read, checked, and built into a model."""

import dataclasses
import hashlib
import json
import math
import os
from pathlib import Path

import keras
import numpy as np
import safetensors.numpy
from keras import ops

from mml.packing.architecture import check_config, for_inference, named_layers
from mml.packing.trits import unpack_ternary
from mml.packing.weights import give_weights

FORMAT, VERSION = "mml packed model", "1"
_INITIALIZERS = ("zeros", "ones", "uniform", "normal", "random_uniform", "random_normal", "glorot_uniform")


@dataclasses.dataclass(frozen=True)
class PackedFile:
    """Contents of a packed model's file, read and checked.

    Args:
        path: The file.
        size: Its size in bytes.
        version: Version of the layout.
        config: The architecture, as Keras serializes it.
        class_names: Names of the outputs, or None.
        rest: `"float16"` or `"float32"`, the type of the floats that are not ternary.
        ternary_shapes: Maps the name of each ternary kernel to its shape, `(units, features)`.
        ternary_scales: Maps the name of each ternary kernel to its scale, a float.
        arrays: Maps names to NumPy arrays.

    Example:

    >>> import tempfile
    >>> import keras
    >>> from pathlib import Path
    >>> from mml.layers import DenseMML
    >>> from mml.packing import read_packed, save_packed
    >>> model = keras.Sequential([keras.Input((4,)), DenseMML(8, name="dense")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_packed(model, Path(folder) / "model.safetensors")
    ...     packed = read_packed(Path(folder) / "model.safetensors")
    >>> packed.ternary_shapes, packed.arrays["dense.0/kernel"].nbytes
    ({'dense.0/kernel': (8, 4)}, 7)
    """

    path: Path
    size: int
    version: str
    config: dict
    class_names: tuple[str, ...] | None
    rest: str
    ternary_shapes: dict[str, tuple[int, int]]
    ternary_scales: dict[str, float]
    arrays: dict[str, np.ndarray]

    def build(self) -> keras.Model:
        """Build the model (see `load_packed`)."""
        budget = sum(map(math.prod, self.ternary_shapes.values())) + sum(a.size for a in self.arrays.values())

        class Stored(keras.initializers.Initializer):
            """Zeros to be replaced by the file's values, and no more of them than the file has."""

            def __call__(self, shape, dtype=None):
                nonlocal budget
                budget -= math.prod(shape)
                if budget < 0:
                    raise ValueError("The architecture has more weights than the file.")
                return ops.zeros(shape, dtype)

        try:
            with keras.saving.custom_object_scope(dict.fromkeys((*_INITIALIZERS, "Stored"), Stored)):
                config = for_inference(self.config)
                model = keras.saving.deserialize_keras_object(config, safe_mode=True)
            self._assign(model)
            for layer in model._flatten_layers():  # Keras could not load them again with this initializer
                for name, value in vars(layer).copy().items():
                    if isinstance(value, Stored):
                        setattr(layer, name, keras.initializers.Zeros())
        except Exception as error:  # a foreign architecture may fail anywhere in Keras
            raise ValueError(
                f"{self.path} cannot be loaded: its architecture and its weights do not fit together."
            ) from error
        model.trainable = False
        return model

    def _assign(self, model):
        stores: dict[str, dict[str, np.ndarray]] = {}
        for key, array in self.arrays.items():
            name, _, weight = key.rpartition("/")
            stores.setdefault(name, {})[weight] = array
        for name, layer in named_layers(model):
            store, key = stores.pop(name, {}), f"{name}/kernel"
            ternary = None
            if key in self.ternary_shapes:
                ternary = unpack_ternary(store.pop("kernel"), self.ternary_shapes[key]), self.ternary_scales[key]
            give_weights(layer, ternary, store)
        if stores:
            raise ValueError(
                "The file must hold weights only for layers of its architecture. "
                f"Received: weights for {list(stores)}"
            )


def read_packed(path: str | os.PathLike) -> PackedFile:
    """Read and check a packed model's file without building the model.

    Args:
        path: The file.

    Returns:
        A `PackedFile`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a packed model, has another version, is damaged, or holds what `save_packed` refuses.

    Example:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import keras
    >>> from mml.packing import read_packed, save_packed
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_packed(model, Path(folder) / "model.safetensors", ["cat", "dog"])
    ...     packed = read_packed(Path(folder) / "model.safetensors")
    >>> packed.class_names
    ('cat', 'dog')
    """
    path = Path(path)
    raw = path.read_bytes()
    try:
        # Only the header is parsed before the checksum is verified.
        metadata = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
        file_format, version, digest = (metadata[key] for key in ("format", "version", "sha256"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a packed model, or its header is damaged.") from error
    if (file_format, version) != (FORMAT, VERSION):
        raise ValueError(
            f"{path} must have the format {FORMAT!r}, version {VERSION!r}. "
            f"Received: format {file_format!r}, version {version!r}"
        )
    if hashlib.sha256(raw.replace(digest_field(digest), digest_field("0" * 64), 1)).hexdigest() != digest:
        raise ValueError(f"{path} is damaged: its contents do not match its checksum.")
    try:
        config, names, ternary = (json.loads(metadata[key]) for key in ("config", "class_names", "ternary"))
        check_config(config, "the model")
        arrays = safetensors.numpy.load(raw)
        shapes = {key: (int(units), int(features)) for key, (units, features, _) in ternary.items()}
        scales = {key: float(scale) for key, (_, _, scale) in ternary.items()}
        for key, shape in shapes.items():
            unpack_ternary(arrays[key], shape)
        names = None if names is None else tuple(map(str, names))
        return PackedFile(path, len(raw), version, config, names, metadata["rest"], shapes, scales, arrays)
    except Exception as error:  # a file written by other means may hold anything
        raise ValueError(
            f"{path} is not a packed model that can be loaded: {type(error).__name__}: {error}"
        ) from error


def digest_field(digest):
    """Return the part of a header that holds the file's digest.

    Args:
        digest: 64 hexadecimal digits.

    Returns:
        `bytes`.

    Example:

    >>> from mml.packing.packed_file import digest_field
    >>> digest_field("00")
    b'"sha256":"00"'
    """
    return f'"sha256":"{digest}"'.encode()
