"""Small files for inference: ternary kernels packed five weights to a byte.

A packed model is a [safetensors](https://github.com/huggingface/safetensors) file: eight bytes with the length of a
JSON header, the header, and the bytes of the arrays. Its metadata, strings all of them, are

- `format`: `mml packed model`, and `version`: `1`;
- `config`: the architecture, as Keras serialises it, without what only training needs;
- `class_names`: a JSON list, or `null`;
- `rest`: `float16` or `float32`, the type of the floats that are not ternary;
- `ternary`: a JSON object, `[units, features, scale]` of each ternary kernel;
- `sha256`: the digest of the whole file, taken with zeros in the place of its own 64 digits.

The arrays are named by the layer, the position of a layer within it, and the weight. That of a ternary kernel holds
its bytes, see `pack_ternary`.
"""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors.numpy
from keras import ops
from numpy.typing import ArrayLike

from mml.files import replacing
from mml.layers import DenseMML

FORMAT, VERSION = "mml packed model", "1"
_TRITS_PER_BYTE = 5  # 3**5 = 243 of 256 values
_POWERS = 3 ** np.arange(_TRITS_PER_BYTE, dtype="uint8")
_TRITS = (np.arange(243, dtype="uint8")[:, None] // _POWERS % 3).astype("int8") - 1  # [243, 5]

# Layers that run code or read files that their configuration names.
_REFUSED = {
    *("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"),
    *("StringLookup", "IntegerLookup", "TextVectorization"),
}
_PLAIN = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__slice__", "__ellipsis__"}
_TRAINING = ("initializer", "regularizer", "constraint")  # arguments that only training needs
_INITIALIZERS = ("zeros", "ones", "uniform", "normal", "random_uniform", "random_normal", "glorot_uniform")


def pack_ternary(w_ternary: ArrayLike) -> np.ndarray:
    """Write ternary weights as bytes, five to a byte.

    A byte is `sum((w + 1) * 3**i)` over five weights that follow each other in memory; the last one is filled up
    with zeros.

    Args:
        w_ternary: Array of any shape and number type that holds -1, 0 and 1 only.

    Returns:
        `numpy.uint8` array `[ceil(size / 5)]`.

    Raises:
        ValueError: If there are other values.

    Example:

    >>> import numpy as np
    >>> from mml.packing import pack_ternary
    >>> pack_ternary(np.array([[1, 0, -1], [0, 0, 1]])).tolist()
    [113, 122]

    Reference:
        3**5 = 243 values fit into a byte: 1.6 bits a weight, where log2(3) = 1.585 is the least on average.
    """
    w_ternary = np.asarray(w_ternary)
    if not _is_ternary(w_ternary):
        raise ValueError("`w_ternary` must hold -1, 0 and 1 only.")
    trits = w_ternary.astype("int8").reshape(-1)
    filled = np.ones(-(-trits.size // _TRITS_PER_BYTE) * _TRITS_PER_BYTE, "uint8")
    filled[: trits.size] += trits.view("uint8")  # -1 is 255, which wraps round to 0
    return (filled.reshape(-1, _TRITS_PER_BYTE) * _POWERS).sum(axis=1, dtype="uint8")


def unpack_ternary(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Read what `pack_ternary` wrote.

    Args:
        packed: `numpy.uint8` array `[ceil(size / 5)]`.
        shape: Shape of the weights.

    Returns:
        `numpy.int8` array of that shape that holds -1, 0 and 1 only.

    Raises:
        ValueError: If the number of bytes does not fit the shape, or if a byte stands for no five weights.

    Example:

    >>> import numpy as np
    >>> from mml.packing import unpack_ternary
    >>> unpack_ternary(np.array([113, 122], "uint8"), (2, 3)).tolist()
    [[1, 0, -1], [0, 0, 1]]
    """
    size = int(np.prod(shape, dtype="int64"))
    if packed.shape != (-(-size // _TRITS_PER_BYTE),):
        raise ValueError(
            f"`packed` must have {-(-size // _TRITS_PER_BYTE)} bytes for {size} weights. "
            f"Received: packed.shape={packed.shape}"
        )
    if packed.size and packed.max() >= len(_TRITS):
        raise ValueError(f"`packed` must hold bytes below {len(_TRITS)}. Received: {packed.max()}")
    trits = np.take(_TRITS, packed, axis=0).reshape(-1)
    if trits[size:].any():
        raise ValueError("`packed` must be filled up with zeros.")
    return trits[:size].reshape(shape)


def additions_only_product(x_quantized: ArrayLike, w_ternary: ArrayLike) -> np.ndarray:
    """Multiply 8-bit vectors by a ternary matrix without a multiplication: the reference, in the fewest lines.

    An output is the sum of the inputs whose weight is 1, less the sum of those whose weight is -1.

    Args:
        x_quantized: int8 array `[rows, features]`.
        w_ternary: Integer array `[units, features]` that holds -1, 0 and 1.

    Returns:
        int32 array `[rows, units]`, equal to `x_quantized @ w_ternary.T`.

    Raises:
        ValueError: If the arrays are not such, or if there are so many features that a sum might not fit into
            32 bits: 2**24 or more.

    Example:

    >>> import numpy as np
    >>> from mml.packing import additions_only_product
    >>> x_quantized = np.array([[100, 20, 3]], "int8")
    >>> additions_only_product(x_quantized, np.array([[1, 0, -1], [-1, -1, -1]])).tolist()
    [[97, -123]]

    Reference:
        Zhu et al., "Scalable MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.1.
    """
    x_quantized, w_ternary = np.asarray(x_quantized), np.asarray(w_ternary)
    if x_quantized.dtype != np.int8 or x_quantized.ndim != 2 or x_quantized.shape[1] >= 2**24:
        raise ValueError(
            "`x_quantized` must be int8 [rows, features], with fewer than 2**24 features. "
            f"Received: {x_quantized.dtype} {list(x_quantized.shape)}"
        )
    if w_ternary.ndim != 2 or w_ternary.shape[1] != x_quantized.shape[1] or not _is_ternary(w_ternary):
        raise ValueError(
            f"`w_ternary` must hold -1, 0 and 1 only, [units, {x_quantized.shape[1]}]. "
            f"Received: {w_ternary.dtype} {list(w_ternary.shape)}"
        )
    product = np.zeros((len(x_quantized), len(w_ternary)), "int32")
    for unit, weights in enumerate(w_ternary):
        for feature in np.flatnonzero(weights == 1):
            product[:, unit] += x_quantized[:, feature]
        for feature in np.flatnonzero(weights == -1):
            product[:, unit] -= x_quantized[:, feature]
    return product


@dataclasses.dataclass(frozen=True)
class PackedFile:
    """What a packed model's file holds, read and checked.

    Args:
        path: The file.
        size: Its size in bytes.
        version: Version of the layout.
        config: The architecture, as Keras serialises it.
        class_names: Names of the outputs, or None.
        rest: `"float16"` or `"float32"`, the type of what is not ternary.
        ternary_shapes: Maps the name of each ternary kernel to its shape, units and features.
        ternary_scales: Maps it to its scale, a float.
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
        """Build the model, see `load_packed`."""
        budget = sum(map(math.prod, self.ternary_shapes.values())) + sum(a.size for a in self.arrays.values())

        class Stored(keras.initializers.Initializer):
            """Zeros until the file's values come, and no more of them than the file has."""

            def __call__(self, shape, dtype=None):
                nonlocal budget
                budget -= math.prod(shape)
                if budget < 0:
                    raise ValueError("The architecture has more weights than the file.")
                return ops.zeros(shape, dtype)

        try:
            with keras.saving.custom_object_scope(dict.fromkeys((*_INITIALIZERS, "Stored"), Stored)):
                model = keras.saving.deserialize_keras_object(_for_inference(self.config), safe_mode=True)
            self._assign(model)
        except Exception as error:  # a foreign architecture may fail anywhere in Keras
            raise ValueError(f"{self.path} cannot be loaded: its architecture and its weights do not fit.") from error
        model.trainable = False
        return model

    def _assign(self, model):
        stores: dict[str, dict[str, np.ndarray]] = {}
        for key, array in self.arrays.items():
            name, _, weight = key.rpartition("/")
            stores.setdefault(name, {})[weight] = array
        for name, layer in _named_layers(model):
            store = stores.pop(name, {})
            if isinstance(layer, DenseMML):
                key = f"{name}/kernel"
                shape = self.ternary_shapes[key]
                if shape != layer.kernel.shape[::-1]:
                    raise ValueError(f"{name} has a kernel of shape {layer.kernel.shape[::-1]}, the file {shape}")
                layer.set_ternary_kernel(unpack_ternary(store["kernel"], shape), self.ternary_scales[key])
                if layer.bias is not None:
                    layer.bias.assign(store["bias"])
            else:
                layer.load_own_variables(store)
        if stores:
            raise ValueError(f"no layer has the names {list(stores)}")


def save_packed(
    model: keras.Model,
    path: str | os.PathLike,
    class_names: Iterable[str] | None = None,
    rest: str = "float32",
) -> None:
    """Write a model for inference, its ternary kernels at 1.6 bits a weight.

    Args:
        model: A built `keras.Sequential` or functional `keras.Model` of layers of Keras and of this package.
        path: The file. It is written to a temporary name and moved into place when it is complete.
        class_names: Names of the model's outputs in order, or None.
        rest: What the other weights are stored as. With `"float32"` predictions stay the same to the bit; with
            `"float16"` the file is smaller.

    Raises:
        ValueError: If the model is not built, if it holds a layer or function that is neither Keras's nor this
            package's or that runs code of its own, if `class_names` does not fit it, if `rest` is another type,
            or if a weight is not finite or too large for it.

    Example:

    >>> import tempfile
    >>> import keras, numpy as np
    >>> from pathlib import Path
    >>> from mml.layers import DenseMML
    >>> from mml.packing import load_packed, save_packed
    >>> model = keras.Sequential([keras.Input((4,)), DenseMML(8), keras.layers.Dense(2)])
    >>> x = np.ones((1, 4), "float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_packed(model, Path(folder) / "model.safetensors")
    ...     loaded = load_packed(Path(folder) / "model.safetensors")
    >>> np.array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    True

    Reference:
        Ma et al., "The Era of 1-bit LLMs", 2024, arXiv:2402.17764, section 2.
    """
    if rest not in ("float16", "float32"):
        raise ValueError(f"`rest` must be 'float16' or 'float32'. Received: rest={rest!r}")
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a Keras model. Received: {type(model)}")
    if not model.built:
        raise ValueError("`model` must be built: call it once, or give it an input shape.")
    _check_layers(model)
    config = _for_inference(keras.saving.serialize_keras_object(model))
    _check_config(config, model.name)
    if class_names is not None:
        class_names = list(class_names)
        if not all(isinstance(name, str) for name in class_names) or len(class_names) != model.output_shape[-1]:
            raise ValueError(
                f"`class_names` must be {model.output_shape[-1]} strings, one an output. Received: {class_names}"
            )

    arrays, ternary = {}, {}
    for name, layer in _named_layers(model):
        store = {}
        if isinstance(layer, DenseMML):
            w_ternary, w_scale = layer.ternary_kernel()
            arrays[f"{name}/kernel"] = pack_ternary(w_ternary)
            ternary[f"{name}/kernel"] = *w_ternary.shape, float(w_scale)
            if layer.bias is not None:
                store["bias"] = layer.bias
        else:
            layer.save_own_variables(store)
        for key, value in store.items():
            arrays[f"{name}/{key}"] = _stored(f"{name}/{key}", ops.convert_to_numpy(value), rest)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config": _json(config),
        "class_names": _json(class_names),
        "rest": rest,
        "ternary": _json(ternary),
        "sha256": "0" * 64,
    }
    raw = safetensors.numpy.save(arrays, metadata)
    raw = raw.replace(_digest_field("0" * 64), _digest_field(hashlib.sha256(raw).hexdigest()), 1)
    with replacing(path) as partial:
        partial.write_bytes(raw)


def read_packed(path: str | os.PathLike) -> PackedFile:
    """Read and check a packed model's file, without building the model.

    Args:
        path: The file.

    Returns:
        A `PackedFile`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no packed model, of another version, damaged, or holds what `save_packed` refuses.

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
        # Nothing is parsed but the header until the checksum has been seen to fit.
        metadata = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
        file_format, version, digest = (metadata[key] for key in ("format", "version", "sha256"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no packed model, or its header is damaged.") from error
    if (file_format, version) != (FORMAT, VERSION):
        raise ValueError(
            f"{path} must be a {FORMAT!r} of version {VERSION!r}. Received: {file_format!r}, {version!r}"
        )
    if hashlib.sha256(raw.replace(_digest_field(digest), _digest_field("0" * 64), 1)).hexdigest() != digest:
        raise ValueError(f"{path} is damaged: its contents do not fit its checksum.")
    try:
        config, names, ternary = (json.loads(metadata[key]) for key in ("config", "class_names", "ternary"))
        _check_config(config, "the model")
        arrays = safetensors.numpy.load(raw)
        shapes = {key: (int(units), int(features)) for key, (units, features, _) in ternary.items()}
        scales = {key: float(scale) for key, (_, _, scale) in ternary.items()}
        for key, shape in shapes.items():
            unpack_ternary(arrays[key], shape)
        names = None if names is None else tuple(map(str, names))
        return PackedFile(path, len(raw), version, config, names, metadata["rest"], shapes, scales, arrays)
    except Exception as error:  # written by other means, it may hold anything
        raise ValueError(f"{path} is no packed model that can be loaded: {error}") from error


def load_packed(path: str | os.PathLike) -> keras.Model:
    """Build the model that `save_packed` wrote, for inference.

    Its ternary products are sums of 8-bit integers, and its kernels take a byte a weight in memory. Nothing in the
    file is run: it holds arrays, and names of layers of Keras and of this package.

    Args:
        path: The file.

    Returns:
        A Keras model that cannot be trained. What it predicts is to the bit what the saved one predicts if the rest
        is float32. (That is so for `predict`, which compiles both. Called directly, `model(x)`, a model runs
        operation by operation and rounds otherwise; so the saved one differs from itself, too.)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no packed model, of another version, damaged, or holds what `save_packed` refuses.

    Example:

    >>> from mml.packing import load_packed
    >>> load_packed("nowhere.safetensors")
    Traceback (most recent call last):
        ...
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.safetensors'
    """
    return read_packed(path).build()


def _is_ternary(array):
    return bool(np.all((array == 0) | (array == 1) | (array == -1)))


def _named_layers(layer, prefix=""):
    """Yield each layer that may own weights, with a name that is the same in a model built anew."""
    if isinstance(layer, keras.Model):
        for child in layer.layers:
            yield from _named_layers(child, f"{prefix}{child.name}.")
    else:
        for index, part in enumerate(layer._flatten_layers()):
            yield f"{prefix}{index}", part


def _for_inference(config):
    """Leave out of a configuration what only training needs; initial values are all `zeros`."""
    if isinstance(config, (list, tuple)):
        return [_for_inference(item) for item in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return config["config"]["name"]  # means the same
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if key.endswith("initializer") and value is not None:
            kept[key] = "zeros"
        elif key.endswith(_TRAINING):
            kept[key] = None
        elif key not in ("build_config", "compile_config", "trainable"):
            kept[key] = _for_inference(value)
    return kept


def _check_layers(model):
    """Raise a ValueError at a layer, or a function in a layer, that is neither Keras's nor this package's."""
    for layer in model._flatten_layers():
        parts = [part for name, part in vars(layer).items() if callable(part) and not name.endswith(_TRAINING)]
        for part in (layer, *(part for part in parts if not isinstance(part, keras.layers.Layer))):
            module = getattr(part, "__module__", None) or type(part).__module__
            if module.split(".")[0] not in ("keras", "mml"):
                raise ValueError(
                    "`model` must hold layers and functions of Keras and mml only. "
                    f"Received: in the layer {layer.name!r}, {module}.{getattr(part, '__name__', part)}"
                )


def _check_config(config, layer):
    """Raise a ValueError at what is neither Keras's nor this package's, and at what would run code."""
    if isinstance(config, (list, tuple)):
        for item in config:
            _check_config(item, layer)
    if not isinstance(config, dict):
        return
    if "class_name" in config:
        inner = config.get("config")
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            layer = inner["name"]
        if not _known(config["class_name"], config.get("module"), config.get("registered_name"), inner):
            what = inner if config["class_name"] == "function" else config["class_name"]
            raise ValueError(
                "Only layers and functions of Keras and mml that run no code of their own can be packed. "
                f"Received: in the layer {layer!r}, {config.get('module')}.{what}"
            )
    for value in config.values():
        _check_config(value, layer)


def _known(class_name, module, registered_name, inner):
    if class_name in _PLAIN:
        return True
    if not isinstance(class_name, str) or not isinstance(module, str) or class_name in _REFUSED:
        return False
    if module.split(".")[0] == "mml":
        return registered_name == f"mml>{class_name}"
    if registered_name not in (None, class_name, inner):  # it would name another object than the module does
        return False
    if class_name == "function":
        return module.split(".")[0] == "keras" or (module == "builtins" and hasattr(keras.activations, str(inner)))
    return module.split(".")[0] == "keras"


def _stored(name, array, rest):
    if not keras.backend.is_float_dtype(str(array.dtype)):
        return array
    with np.errstate(over="ignore"):
        stored = array.astype(rest)
    if not np.isfinite(stored).all():
        raise ValueError(f"`model` must have weights that are finite in {rest}. Received: {name}, which has others")
    return stored


def _json(value):
    return json.dumps(value, separators=(",", ":"))


def _digest_field(digest):
    return f'"sha256":"{digest}"'.encode()
