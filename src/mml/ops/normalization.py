"""Division of vectors by their root mean square."""

import keras
from keras import ops

from mml.ops import hardware

_SMALLEST_NORM = 1e-7


def rms_normalize(x):
    """Divide each vector along the last axis by its root mean square: `x / ||x|| * sqrt(features)`.

    If the norm `||x||` is below 1e-7, the function divides by 1e-7 instead. So zeros stay zeros, and their gradient
    is finite. The arithmetic uses float32, or float64 for float64 inputs. On torch, Keras computes parts of it in
    float32 even then.

    Args:
        x: Tensor `[..., features]`. Integers are cast to Keras's default float type.

    Returns:
        Float tensor of the same shape and dtype.

    Example:

    >>> import numpy as np
    >>> from mml.ops import rms_normalize
    >>> print(np.asarray(rms_normalize(np.array([[3.0, 4.0], [0.0, 0.0]], "float32"))).round(3))
    [[0.849 1.131]
     [0.    0.   ]]

    Reference:
        Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, arXiv:1910.07467, equation 4.
    """
    return _rms_normalize(hardware.floating(x))


@ops.custom_gradient
def _rms_normalize(x):
    normalized = ops.cast(hardware.at_least_float32(x) * _inverse_rms(x), x.dtype)

    def gradient(*arguments, upstream=None):
        upstream = _computed_once(arguments[0] if upstream is None else upstream, x)
        return rms_gradient(x, normalized, upstream)

    return normalized, gradient


def _computed_once(upstream, x):
    """Keep XLA from recomputing a gradient for each of its uses.

    Norms and residual connections pass the gradient through all blocks in element-wise steps only. On a CPU, the
    XLA of JAX 0.7 repeats those steps for each sum along the way, and a training step takes twice as long.
    """
    if keras.backend.backend() != "jax" or not hardware.device_is_cpu():
        return upstream
    # XLA does not fuse across a `cond`. The predicate is always true, but XLA cannot know that.
    some_value = ops.sum(ops.ravel(x)[:1])
    return ops.cond(ops.cast(some_value > 0, "int8") < 2, lambda: upstream, lambda: ops.zeros_like(upstream))


def rms_gradient(x, normalized, upstream):
    """Compute the gradient of `rms_normalize` with respect to its input.

    Normalization cancels a change of length, so the part of `upstream` that points along `x` is removed.

    Args:
        x: Float tensor `[..., features]`, the input of `rms_normalize`.
        normalized: Float tensor of the same shape, `rms_normalize(x)`.
        upstream: Float tensor of the same shape, the gradient with respect to `normalized`.

    Returns:
        Float tensor of the shape and dtype of `x`.

    Example:

    >>> import numpy as np
    >>> from mml.ops import rms_normalize
    >>> from mml.ops.normalization import rms_gradient
    >>> x = np.array([[3.0, 4.0]], "float32")
    >>> gradient = np.asarray(rms_gradient(x, rms_normalize(x), np.array([[1.0, 0.0]], "float32")))
    >>> print(gradient.round(3), round(float((gradient * x).sum()), 6))
    [[ 0.181 -0.136]] 0.0
    """
    x = ops.convert_to_tensor(x)
    upstream, normalized = hardware.at_least_float32(upstream), hardware.at_least_float32(normalized)
    along = ops.sum(upstream * normalized, axis=-1, keepdims=True) / x.shape[-1]
    # A vector below the smallest norm is divided by a constant.
    along = ops.where(_sum_of_squares(x) > _SMALLEST_NORM**2, along, 0)
    return ops.cast(_inverse_rms(x) * (upstream - normalized * along), x.dtype)


def _inverse_rms(x):
    # The bound is inside the root, because the inverse root of zero is infinite.
    return x.shape[-1] ** 0.5 * ops.rsqrt(ops.maximum(_sum_of_squares(x), _SMALLEST_NORM**2))


def _sum_of_squares(x):
    return ops.sum(ops.square(hardware.at_least_float32(x)), axis=-1, keepdims=True)  # [..., 1]
