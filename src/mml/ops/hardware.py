"""Device and dtype helpers for the operations."""

import keras
from keras import ops


def device_is_cpu():
    """Return whether Keras computes on a CPU.

    On torch, the answer is always True, because Keras does not list torch's devices. `linear_recurrence` then also
    avoids Keras's associative scan, which on torch works only in float32 and only on a CPU.

    Returns:
        A `bool`.

    Example:

    >>> from mml.ops.hardware import device_is_cpu
    >>> isinstance(device_is_cpu(), bool)
    True
    """
    if keras.backend.backend() == "torch":
        return True
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


def floating(x):
    """Convert to a tensor, and cast integers and booleans to Keras's default float type.

    Args:
        x: Tensor of any shape and dtype.

    Returns:
        Float tensor of the same shape. A float tensor keeps its dtype.

    Example:

    >>> import numpy as np
    >>> from mml.ops.hardware import floating
    >>> print(floating(np.ones(2, "int32")).dtype, floating(np.ones(2, "float16")).dtype)
    float32 float16
    """
    x = ops.convert_to_tensor(x)
    return x if keras.backend.is_float_dtype(x.dtype) else ops.cast(x, keras.config.floatx())


def at_least_float32(x):
    """Cast a tensor to float32, unless it is float64.

    Scales, 8-bit codes, and sums of squares need more precision than bfloat16 has and more range than float16 has.

    Args:
        x: Float tensor of any shape.

    Returns:
        Tensor of the same shape, float32 or float64.

    Example:

    >>> import numpy as np
    >>> from mml.ops.hardware import at_least_float32
    >>> print(at_least_float32(np.ones(2, "float16")).dtype)
    float32
    """
    x = ops.convert_to_tensor(x)
    return x if keras.backend.standardize_dtype(x.dtype) in ("float32", "float64") else ops.cast(x, "float32")
