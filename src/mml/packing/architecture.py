"""A model's architecture as data: the parts that inference needs, and what a file may hold."""

import inspect
from typing import Any

import keras

# Layers that run code or read files that their configuration names.
_REFUSED = {
    *("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"),
    *("StringLookup", "IntegerLookup", "TextVectorization"),
}
_PLAIN = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__slice__", "__ellipsis__"}
_TRAINING = ("initializer", "regularizer", "constraint")  # arguments that only training needs


def named_layers(layer, prefix=""):
    """Yield each model and layer that may own weights, with a name that stays the same in a rebuilt model.

    Args:
        layer: A Keras model or layer.
        prefix: Prefix of the names.

    Returns:
        An iterator of pairs `(name, layer)`.

    Example:

    >>> import keras
    >>> from mml.layers import DenseMML
    >>> from mml.packing.architecture import named_layers
    >>> model = keras.Sequential([keras.Input((4,)), DenseMML(8, name="dense")])
    >>> [name for name, _ in named_layers(model)]
    ['own', 'dense.0', 'dense.1']
    """
    if isinstance(layer, keras.Model):
        yield f"{prefix}own", layer
        for child in layer.layers:
            yield from named_layers(child, f"{prefix}{child.name}.")
    else:
        for index, part in enumerate(layer._flatten_layers()):
            yield f"{prefix}{index}", part


def for_inference(config, keep_build=False):
    """Remove what only training needs from a configuration, and pack the ternary layers in it.

    Args:
        config: A configuration as `keras.saving.serialize_keras_object` returns it.
        keep_build: Whether to keep what is needed to build a subclassed model.

    Returns:
        A configuration of the same form. All initial values are `"zeros"`.

    Example:

    >>> from mml.packing.architecture import for_inference
    >>> for_inference({"quantization": "ternary", "kernel_initializer": "glorot_uniform"})
    {'quantization': 'packed', 'kernel_initializer': 'zeros'}
    """
    if isinstance(config, (list, tuple)):
        return [for_inference(item, keep_build) for item in config]
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
        elif key == "quantization" and value == "ternary":
            kept[key] = "packed"
        elif key not in ("compile_config", "trainable") and (keep_build or key != "build_config"):
            kept[key] = for_inference(value, keep_build)
    return kept


def check_layers(model):
    """Check that all layers of a model and the functions in them come from Keras or this package.

    Args:
        model: A Keras model.

    Raises:
        ValueError: If one does not. The message names it.

    Example:

    >>> import keras
    >>> from mml.packing.architecture import check_layers
    >>> check_layers(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
    """
    for layer in model._flatten_layers():
        # A model keeps the loss with which it was compiled.
        training = (*_TRAINING, "loss") if isinstance(layer, keras.Model) else _TRAINING
        parts = [part for name, part in vars(layer).items() if callable(part) and not name.endswith(training)]
        for part in (layer, *(part for part in parts if not isinstance(part, keras.layers.Layer))):
            module = getattr(part, "__module__", None) or type(part).__module__
            if module.split(".")[0] not in ("keras", "mml"):
                raise ValueError(
                    "`model` must hold only layers and functions of Keras and mml. "
                    f"Received: {module}.{getattr(part, '__name__', part)} in the layer {layer.name!r}"
                )


def check_config(config, layer):
    """Check that a configuration holds only parts of Keras and this package that run no custom code.

    Args:
        config: A configuration as `keras.saving.serialize_keras_object` returns it, or a part of one.
        layer: Name of the layer that it belongs to, for the error message.

    Raises:
        ValueError: If it holds anything else. The message names it.

    Example:

    >>> from mml.packing.architecture import check_config
    >>> check_config({"class_name": "system", "module": "os", "config": {}}, "the model")
    Traceback (most recent call last):
    ValueError: A packed model must hold only layers and functions of Keras and mml that run no custom code. ...
    """
    if isinstance(config, (list, tuple)):
        for item in config:
            check_config(item, layer)
    if not isinstance(config, dict):
        return
    if "class_name" in config:
        inner = config.get("config")
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            layer = inner["name"]
        if not _known(config["class_name"], config.get("module"), config.get("registered_name"), inner):
            what = inner if config["class_name"] == "function" else config["class_name"]
            raise ValueError(
                "A packed model must hold only layers and functions of Keras and mml that run no custom code. "
                f"Received: {config.get('module')}.{what} in the layer {layer!r}"
            )
    for value in config.values():
        check_config(value, layer)


def _known(class_name, module, registered_name, inner):
    if class_name in _PLAIN:
        return True
    if not isinstance(class_name, str) or not isinstance(module, str) or class_name in _REFUSED:
        return False
    if module.split(".")[0] == "mml":
        return registered_name == f"mml>{class_name}"
    if registered_name not in (None, class_name, inner):  # it would name a different object than the module does
        return False
    if class_name == "function":
        by_name = module == "builtins" and (hasattr(keras.activations, str(inner)) or _registered_here(inner))
        return module.split(".")[0] == "keras" or by_name
    return module.split(".")[0] == "keras"


def _registered_here(name):
    function = keras.saving.get_registered_object(name) if isinstance(name, str) else None
    return inspect.isfunction(function) and function.__module__.split(".")[0] == "mml"
