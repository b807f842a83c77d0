"""The least time that a training step could take on a machine.

    limit = (matrix_product_flops + newton_schulz_flops) / gemm_rate + optimizer_bytes / copy_rate

Everything else in a step (augmentation, norms, rounding, the recurrence, dropout) counts as free.

`matrix_product_flops`: a layer from `in` to `out` features takes `2 * batch * tokens * in * out` operations for its
output, as many for the gradient of its weights, and as many for the gradient of its input. The latter is left out for
the first layer, whose input is the image, although `mml` derives the gradient of its gain from it. The products
count as float32 ones, which a CPU computes fastest.

`newton_schulz_flops`: Muon makes each matrix orthogonal in five iterations. With `m` rows and `n` columns, `m <= n`,
an iteration is `A = X X^T`, `B = b A + c A A` and `a X + B X`. Its products take `2 * m * m * n`, `2 * m**3` and
`2 * m * m * n` operations. They count as Keras does them, although `A` is symmetric. AdamW has none.

`optimizer_bytes`: an optimizer reads a weight, its gradient and its moments, and writes the weight and the moments.
AdamW keeps two moments for each trainable weight, so these are 7 float32 numbers. Muon keeps one for a weight that it
does not leave to Adam, so these are 5. What its iterations read and write counts as free: matrices fit in the caches.

`gemm_rate`: 2 * 2048**3 operations over the time of a compiled float32 product of two matrices of 2048 x 2048.

`copy_rate`: bytes read and written over the time of a compiled pass over an array of 2**25 float32 numbers, which
reads each of them and writes it back changed. The pass works in place, like the optimizer's update. A copy to another
array is slower, because it has to wait for new memory and to read what it overwrites.
"""

import math

import jax
import jax.numpy as jnp
import keras
import numpy as np

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


def newton_schulz_flops(optimizer):
    """Count the operations of Muon's matrix products in a step. Another optimizer has none.

    Args:
        optimizer: A built optimizer of Keras.

    Example:

    >>> import keras
    >>> from limit import newton_schulz_flops
    >>> optimizer = keras.optimizers.Muon()
    >>> optimizer.build([keras.Variable([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), keras.Variable([7.0, 8.0])])
    >>> newton_schulz_flops(optimizer)  # 5 iterations of 2 * (2 * 2 * 3 + 2 * 2 * 2 + 2 * 2 * 3) operations
    320
    """
    if not isinstance(optimizer, keras.optimizers.Muon):
        return 0
    flops = 0
    for momentum, velocity in zip(optimizer.momentums, optimizer.adam_velocities, strict=True):
        if velocity is None:  # else this weight is left to Adam
            m, n = sorted(momentum.shape)
            flops += optimizer.ns_steps * 2 * (2 * m * m * n + m**3)
    return flops


def optimizer_bytes(optimizer, weights):
    """Count the bytes that a built optimizer reads and writes in a step.

    Example:

    >>> import keras
    >>> from limit import optimizer_bytes
    >>> weights = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).trainable_variables
    >>> optimizer = keras.optimizers.AdamW()
    >>> optimizer.build(weights)
    >>> optimizer_bytes(optimizer, weights)  # 9 weights
    252
    """
    # The optimizer's scalars are the number of steps and the learning rate.
    moments = [variable for variable in optimizer.variables if variable.shape]
    read_and_written = sum(math.prod(variable.shape) for variable in [*weights, *moments])
    gradients = sum(math.prod(weight.shape) for weight in weights)
    return 4 * (2 * read_and_written + gradients)


def least_seconds(model, batch_size, gemm_seconds, copy_seconds):
    """Compute the limit, and a note on what it consists of.

    Args:
        model: A compiled model.
        batch_size: Images in a step.
        gemm_seconds, copy_seconds: Arrays, the times of `gemm()` and `copy()` in each round.

    Returns:
        A pair of the array of seconds, one for each round, and the note.
    """
    model.optimizer.build(model.trainable_variables)
    products, newton_schulz = matrix_product_flops(model, batch_size), newton_schulz_flops(model.optimizer)
    size = optimizer_bytes(model.optimizer, model.trainable_variables)
    gemm_rate, copy_rate = GEMM_FLOPS / gemm_seconds, COPY_BYTES / copy_seconds
    note = (
        f"{products / 1e9:.1f} GFLOP of the model "
        + (f"and {newton_schulz / 1e9:.1f} GFLOP of Muon " if newton_schulz else "")
        + f"at {np.median(gemm_rate) / 1e9:.0f} GFLOP/s, {size / 1e6:.0f} MB at {np.median(copy_rate) / 1e9:.1f} GB/s"
    )
    return (products + newton_schulz) / gemm_rate + size / copy_rate, note


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
