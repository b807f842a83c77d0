"""Models packed for inference, in memory and in files."""

import hashlib
import json
import os
from collections.abc import Iterable

import keras
import numpy as np
import safetensors.numpy

from mml.files import replacing
from mml.packing.architecture import check_config, check_layers, for_inference, named_layers
from mml.packing.packed_file import FORMAT, VERSION, digest_field, read_packed
from mml.packing.trits import pack_ternary
from mml.packing.weights import give_weights, take_weights


def pack(model: keras.Model) -> keras.Model:
    """Turn a model into its packed form for inference, with 8-bit ternary kernels instead of latent float ones.

    The ternary layers of this package are packed wherever they are in the model, even within other layers. Layers in
    the float state and Keras layers stay as they are. The model itself does not change.

    In a version of Keras that knows this mode, `model.quantize("ternary")` does the same to these layers in place. It
    also rounds Keras's own `Dense` layers, which `pack` does not.

    Args:
        model: A built Keras model of layers from Keras and this package. It may also hold other layers if Keras can
            serialize them. If they have ternary layers inside, their configuration must hold `quantization`.

    Returns:
        A new Keras model with the same names, which cannot be trained. On JAX on a CPU, if the policy is float32, its
        `predict` gives the same bits as that of `model`.

    Raises:
        ValueError: If `model` is not a Keras model, is not built, has a ternary kernel that is not finite,
            or holds a custom layer that does not save the `quantization` of the ternary layers inside it.

    Example:

    >>> import keras, numpy as np
    >>> from mml.layers import DenseMML
    >>> from mml.packing import pack
    >>> model = keras.Sequential([keras.Input((4,)), DenseMML(8), keras.layers.Dense(2)])
    >>> packed = pack(model)
    >>> [weight.dtype for weight in packed.layers[0].weights]
    ['float32', 'int8', 'float32', 'float32']
    >>> x = np.ones((1, 4), "float32")
    >>> np.array_equal(packed.predict(x, verbose=0), model.predict(x, verbose=0))
    True

    Reference:
        Ma et al., "The Era of 1-bit LLMs", 2024, arXiv:2402.17764, section 2.
    """
    _check_model(model)
    config = for_inference(keras.saving.serialize_keras_object(model), keep_build=True)
    packed = keras.saving.deserialize_keras_object(config, safe_mode=False)
    for (_, source), (_, target) in zip(named_layers(model), named_layers(packed), strict=True):
        ternary, rest = take_weights(source)
        if ternary and target.quantization != "packed":
            raise ValueError(
                "A custom layer in `model` must save the `quantization` of the ternary layers inside it in its "
                f"configuration. Received: {source.path}, a ternary layer whose `quantization` is not saved"
            )
        give_weights(target, ternary, rest)
    packed.trainable = False
    return packed


def save_packed(
    model: keras.Model,
    path: str | os.PathLike,
    class_names: Iterable[str] | None = None,
    rest: str = "float32",
) -> None:
    """Write a model to a file for inference, with ternary kernels of 1.6 bits per weight.

    Args:
        model: A built `keras.Sequential` or functional `keras.Model` of layers from Keras and this package.
        path: The file. It is written under a temporary name and moved into place when it is complete.
        class_names: Names of the model's outputs in order, or None.
        rest: Type in which the other weights are stored. With `"float32"`, predictions stay the same (see
            `load_packed`). With `"float16"`, the file is smaller.

    Raises:
        ValueError: If the model is not built, if it holds a layer or function that is not from Keras or this package
            or that runs custom code, if two layers have the same name, if `class_names` does not fit it, if `rest` is
            another type, or if a weight is not finite or is too large for that type.

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
    _check_model(model)
    check_layers(model)
    config = for_inference(keras.saving.serialize_keras_object(model))
    check_config(config, model.name)
    if class_names is not None:
        class_names = list(class_names)
        if not all(isinstance(name, str) for name in class_names) or len(class_names) != model.output_shape[-1]:
            raise ValueError(
                f"`class_names` must be {model.output_shape[-1]} strings, one per output. Received: {class_names}"
            )

    arrays, kernels = {}, {}
    layers = list(named_layers(model))
    names = [name for name, _ in layers]
    if len(set(names)) < len(names):
        raise ValueError(f"The layers of `model` must have different names. Received: {names}")
    for name, layer in layers:
        ternary, others = take_weights(layer)
        if ternary:
            w_ternary, w_scale = ternary
            arrays[f"{name}/kernel"] = pack_ternary(w_ternary)
            kernels[f"{name}/kernel"] = *w_ternary.shape, float(w_scale)
        for key, array in others.items():
            arrays[f"{name}/{key}"] = _stored(f"{name}/{key}", array, rest)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config": _json(config),
        "class_names": _json(class_names),
        "rest": rest,
        "ternary": _json(kernels),
        "sha256": "0" * 64,
    }
    raw = safetensors.numpy.save(arrays, metadata)
    raw = raw.replace(digest_field("0" * 64), digest_field(hashlib.sha256(raw).hexdigest()), 1)
    with replacing(path) as partial:
        partial.write_bytes(raw)


def load_packed(path: str | os.PathLike) -> keras.Model:
    """Load a model that `save_packed` wrote, for inference.

    Its ternary products are sums of 8-bit integers, and its kernels take one byte per weight in memory. Loading runs
    no code from the file, which holds arrays and the names of layers from Keras and this package.

    Args:
        path: The file.

    Returns:
        A Keras model that cannot be trained. On JAX on a CPU, if `rest` and the dtype policy are float32,
        `predict` gives the same bits as `predict` of the saved model. A direct call, `model(x)`, runs operation by
        operation and rounds slightly differently, for either model.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a packed model, has another version, is damaged, or holds what `save_packed` refuses.

    Example:

    >>> from mml.packing import load_packed
    >>> load_packed("nowhere.safetensors")
    Traceback (most recent call last):
        ...
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.safetensors'
    """
    return read_packed(path).build()


def _check_model(model):
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a Keras model. Received: {type(model)}")
    if not model.built:
        raise ValueError("`model` must be built: call it once, or give it an input shape.")


def _stored(name, array, rest):
    if not keras.backend.is_float_dtype(str(array.dtype)):
        return array
    with np.errstate(over="ignore"):
        stored = array.astype(rest)
    if not np.isfinite(stored).all():
        raise ValueError(
            f"`model` must have weights that are finite in {rest}. "
            f"Received: {name}, with absolute values up to {np.abs(array).max()}"
        )
    return stored


def _json(value):
    return json.dumps(value, separators=(",", ":"))
