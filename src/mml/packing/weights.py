"""Weights for inference, taken from one layer and given to another."""

import numpy as np
from keras import ops

from mml.layers import DenseMML


def take_weights(layer):
    """Return the weights that a layer itself owns, with the ternary kernel separate from the rest.

    Args:
        layer: A built Keras layer.

    Returns:
        A pair `(ternary, rest)`. For a `DenseMML` in the ternary or the packed state, `ternary` is what its
        `ternary_kernel` returns. For any other layer, it is None. `rest` is a dictionary of NumPy arrays. They are
        copies because two variables must not share an array: on JAX, `predict` of one model would delete the
        other's.

    Raises:
        ValueError: If a `DenseMML` has a kernel that is not finite, or weights other than its kernel and bias.

    Example:

    >>> from mml.layers import DenseMML
    >>> from mml.packing.weights import take_weights
    >>> layer = DenseMML(3)
    >>> layer.build((None, 2))
    >>> (w_ternary, w_scale), rest = take_weights(layer)
    >>> w_ternary.shape, list(rest)
    ((3, 2), ['bias'])
    """
    ternary, rest = None, {}
    if isinstance(layer, DenseMML) and layer.quantization != "float":
        kernel = [layer.kernel] if layer.quantization == "ternary" else [layer.w_ternary, layer.w_scale]
        if not all(np.isfinite(ops.convert_to_numpy(part)).all() for part in kernel):
            raise ValueError(
                "`model` must have finite weights. "
                f"Received: values that are not finite in the kernel of {layer.path}"
            )
        own: dict = {}
        layer.save_own_variables(own)
        if len(own) > len(kernel) + (layer.bias is not None):
            raise ValueError(
                "Each `DenseMML` in `model` must own only a kernel and a bias. "
                f"Received: {layer.path}, which also owns other weights"
            )
        ternary = layer.ternary_kernel()
        if layer.bias is not None:
            rest["bias"] = layer.bias
    else:
        layer.save_own_variables(rest)
    # safetensors writes an array's memory as it is laid out, so it must be in row-major order.
    return ternary, {name: np.array(ops.convert_to_numpy(value), order="C") for name, value in rest.items()}


def give_weights(layer, ternary, rest):
    """Set the weights that a layer itself owns.

    Args:
        layer: A built Keras layer.
        ternary: A pair `(w_ternary, w_scale)` for a packed `DenseMML`, and None for any other layer.
        rest: The other weights by name, as `take_weights` returns them.

    Raises:
        ValueError: If they do not fit the layer.
        KeyError: If the bias is missing.

    Example:

    >>> import numpy as np
    >>> from mml.layers import DenseMML
    >>> from mml.packing.weights import give_weights
    >>> layer = DenseMML(1, quantization="packed")
    >>> layer.build((None, 2))
    >>> give_weights(layer, (np.array([[1, -1]]), 0.5), {"bias": np.zeros(1)})
    >>> layer.ternary_kernel()
    (array([[ 1, -1]], dtype=int8), array(0.5, dtype=float32))
    """
    packed = isinstance(layer, DenseMML) and layer.quantization == "packed"
    if packed != (ternary is not None):
        raise ValueError(
            "A packed `DenseMML` must get a ternary kernel, and other layers must not. "
            f"Received: {layer.name} {'without' if packed else 'with'} a ternary kernel"
        )
    if not packed:
        layer.load_own_variables(rest)
        return
    layer.set_ternary_kernel(*ternary)
    if layer.bias is not None:
        layer.bias.assign(rest["bias"])
