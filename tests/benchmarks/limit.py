"""The least time that a training step could take on a machine.

    limit = matrix_product_flops / gemm_rate + optimizer_bytes / copy_rate

Everything else in a step (augmentation, norms, rounding, the recurrence, dropout) counts as free.

`matrix_product_flops`: a layer from `in` to `out` features takes `2 * batch * tokens * in * out` operations for its
output, as many for the gradient of its weights, and as many for the gradient of its input. The first layer does not
need the latter, because its input is the image. The products count as float32 ones, which a CPU computes fastest.

`optimizer_bytes`: AdamW reads a weight, its gradient and two moments, and writes the weight and the moments. These
are 7 float32 numbers for each trainable weight.

`gemm_rate`: 2 * 2048**3 operations over the time of a compiled float32 product of two matrices of 2048 x 2048.

`copy_rate`: bytes read and written over the time of a compiled pass over an array of 2**25 float32 numbers, which
reads each of them and writes it back changed. The pass works in place, like the optimizer's update. A copy to another
array is slower, because it has to wait for new memory and to read what it overwrites.
"""

import math

import jax
import jax.numpy as jnp
import keras

from mml.layers import DenseMML

GEMM_SIZE = 2048
GEMM_FLOPS = 2 * GEMM_SIZE**3
COPY_SIZE = 2**25
COPY_BYTES = 2 * 4 * COPY_SIZE


def matrix_product_flops(model, batch_size):
    """Count the operations of a model's matrix products in a training step.

    Example:

    >>> import keras
    >>> from limit import matrix_product_flops
    >>> model = keras.Sequential([keras.Input((5, 2)), keras.layers.Dense(3), keras.layers.Dense(4)])
    >>> matrix_product_flops(model, batch_size=10)  # 50 tokens, 2 * (2 * 2 * 3 + 3 * 3 * 4) operations each
    4800
    """
    flops = 0
    for layer in model._flatten_layers():
        if isinstance(layer, (DenseMML, keras.layers.Dense)):
            tokens = math.prod(layer.get_build_config()["input_shape"][1:-1])
            products = 3 if flops else 2
            flops += products * 2 * batch_size * tokens * math.prod(layer.kernel.shape)
    return flops


def optimizer_bytes(model):
    """Count the bytes that AdamW reads and writes in a step.

    Example:

    >>> import keras
    >>> from limit import optimizer_bytes
    >>> optimizer_bytes(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]))  # 9 weights
    252
    """
    return 7 * 4 * sum(math.prod(weight.shape) for weight in model.trainable_weights)


def gemm():
    """Return a function that does the product that `gemm_rate` is measured with."""
    a = jax.random.normal(jax.random.key(0), (GEMM_SIZE, GEMM_SIZE))
    product = jax.jit(jnp.matmul)
    return lambda: product(a, a)


def copy():
    """Return a function that makes the pass that `copy_rate` is measured with."""
    array = jnp.ones(COPY_SIZE)
    negate = jax.jit(jnp.negative, donate_argnums=0)

    def run():
        nonlocal array
        array = negate(array)
        return array

    return run
