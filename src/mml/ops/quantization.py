"""Ternary weights, 8-bit activations, and the products of the two."""

import math

import keras
from keras import ops

from mml.ops.hardware import at_least_float32, floating
from mml.ops.normalization import rms_gradient, rms_normalize

_SMALLEST, _LARGEST = 1e-5, 1e9  # the lower bound of a scale prevents division by zero
_INT8_MAX = 127


def absmean_ternarize(w):
    """Round a matrix to -1, 0, and 1 at the scale of its mean absolute value.

    With `scale = mean(|w|)`, clipped to `[1e-5, 1e9]`, each entry becomes
    `clip(round(w / scale), -1, 1)`, so that `w ≈ w_ternary * scale`. The arithmetic uses float32, or float64 for
    float64 inputs.

    Args:
        w: Float tensor of any shape. All entries share one scale.

    Returns:
        A pair `(w_ternary, scale)`: a tensor of `w`'s shape and dtype that holds only -1, 0, and 1, and a
        float32 scalar (float64 for float64 inputs). `w_ternary` has no gradient (see `straight_through`), but
        `scale` does.

    Example:

    >>> import numpy as np
    >>> from mml.ops import absmean_ternarize
    >>> w_ternary, scale = absmean_ternarize(np.array([[0.9, -0.1], [-0.6, 0.4]], "float32"))
    >>> print(np.asarray(w_ternary), float(scale))
    [[ 1. -0.]
     [-1.  1.]] 0.5

    Reference:
        Ma et al., "The Era of 1-bit LLMs", 2024, arXiv:2402.17764, section 2, equations 1 to 3.
    """
    w = ops.convert_to_tensor(w)
    wide = at_least_float32(w)
    # `ops.mean` would compute the mean of float64 in float32.
    mean = ops.sum(ops.abs(wide)) / math.prod(w.shape)
    scale = ops.clip(mean, _SMALLEST, _LARGEST)
    w_ternary = ops.clip(ops.round(wide * (1 / scale)), -1, 1)
    return ops.stop_gradient(ops.cast(w_ternary, w.dtype)), scale


def absmax_quantize(x):
    """Round each vector along the last axis to 8-bit integers at the scale of its largest absolute value.

    With `scale = max(|x|) / 127`, where the numerator is clipped to `[1e-5, 1e9]`, each entry becomes
    `clip(round(x / scale), -128, 127)`, so that `x ≈ x_quantized * scale`. The arithmetic uses float32, or float64
    for float64 inputs.

    Args:
        x: Float tensor `[..., features]`. Each vector along the last axis gets its own scale.

    Returns:
        A pair `(x_quantized, scale)` without gradients: integers stored in `x`'s float dtype, `[..., features]`,
        and float32 scales (float64 for float64 inputs), `[..., 1]`.

    Example:

    >>> import numpy as np
    >>> from mml.ops import absmax_quantize
    >>> x_quantized, scale = absmax_quantize(np.array([[0.5, -2.54, 0.004]], "float32"))
    >>> print(np.asarray(x_quantized), np.asarray(scale))
    [[  25. -127.    0.]] [[0.02]]

    Reference:
        Ma et al., "The Era of 1-bit LLMs", 2024, arXiv:2402.17764, section 2; Zhu et al., "Scalable
        MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.2, algorithm 1.
    """
    x = ops.stop_gradient(ops.convert_to_tensor(x))
    wide = at_least_float32(x)
    largest = ops.clip(ops.max(ops.abs(wide), axis=-1, keepdims=True), _SMALLEST, _LARGEST)
    x_quantized = ops.clip(ops.round(wide * (_INT8_MAX / largest)), -_INT8_MAX - 1, _INT8_MAX)
    return ops.cast(x_quantized, x.dtype), largest / _INT8_MAX


def straight_through(x, quantized):
    """Return the value of `quantized` with the gradient of `x`.

    Rounding is flat almost everywhere, so its true gradient is zero and would stop all learning. The
    straight-through estimator pretends, in the backward pass only, that nothing was rounded.

    Args:
        x: Float tensor that receives the gradient.
        quantized: Tensor of the same shape, the exact value of the result.

    Returns:
        Tensor of the same shape.

    Example:

    >>> import numpy as np
    >>> from mml.ops import straight_through
    >>> x = np.array([0.2, 0.8], "float32")
    >>> print(np.asarray(straight_through(x, np.round(x))))
    [0. 1.]

    Reference:
        Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
        Computation", 2013, arXiv:1308.3432, section 4.
    """
    # x - x is exactly 0. The usual x + (quantized - x) would leave a rounding error in the result.
    return ops.stop_gradient(quantized) + (x - ops.stop_gradient(x))


def bit_linear(x, gain, kernel):
    """Multiply normalized, 8-bit vectors by a ternary matrix (BitLinear).

    The result is that of

        n = rms_normalize(x) * gain
        n_quantized, n_scale = absmax_quantize(n)
        w_ternary, w_scale = absmean_ternarize(kernel)
        y = (n_quantized @ w_ternary) * n_scale * w_scale

    The gradient treats `n_quantized * n_scale` as if it were `n`. For the kernel, the gradient passes straight
    through `w_ternary` and differentiates `w_scale`, as in keras-matmulless: it treats the kernel as
    `straight_through(kernel, w_ternary) * w_scale`. BitNet's published code differs: it detaches the scaled matrix
    as a whole, `kernel + stop_gradient(w_ternary * w_scale - kernel)`. That gradient has no factor `w_scale`, and no
    part of it flows through the scale.

    The gradient is written out here because automatic differentiation would read and write more tensors, and a
    training step probably spends much of its time on memory access.

    The norm, the scales, and the 8-bit codes are computed in float32, or in float64 for float64 inputs. The product
    is computed in `x`'s dtype. The exception is float16: the sums can exceed its range, so the product is then
    computed in float32. In float32, the product is a sum of integers and is exact below 2**24. In bfloat16, it is
    rounded.

    Args:
        x: Tensor `[batch, ..., features]`. Integers are cast to Keras's default float type.
        gain: Float tensor `[features]`, or `[..., features]` with one value for each position and feature.
        kernel: Float tensor `[features, units]`.

    Returns:
        Float tensor `[batch, ..., units]` of `x`'s dtype.

    Example:

    >>> import numpy as np
    >>> from mml.ops import bit_linear
    >>> x, gain = np.array([[3.0, -4.0]], "float32"), np.ones(2, "float32")
    >>> kernel = np.array([[0.9], [-0.7]], "float32")
    >>> print(np.asarray(bit_linear(x, gain, kernel)).round(3))
    [[1.582]]

    Reference:
        Ma et al., "The Era of 1-bit LLMs", 2024, arXiv:2402.17764, section 2; Zhu et al., "Scalable
        MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.2, algorithm 1.
    """
    # On TensorFlow, `convert_to_tensor` returns a variable unchanged, and the gradient would read its later value.
    values = [tensor.value if isinstance(tensor, keras.Variable) else tensor for tensor in (x, gain, kernel)]
    return _bit_linear(*map(floating, values))


@ops.custom_gradient
def _bit_linear(x, gain, kernel):
    features, units = kernel.shape
    product_dtype = "float32" if keras.backend.standardize_dtype(x.dtype) == "float16" else x.dtype
    wide_gain = at_least_float32(gain)
    normalized = rms_normalize(at_least_float32(x))  # [..., features]
    n_quantized, n_scale = absmax_quantize(normalized * wide_gain)  # [..., features], [..., 1]
    w_ternary, w_scale = absmean_ternarize(kernel)  # [features, units], []
    # Matrices with two axes need no transposed copies.
    n_quantized = ops.cast(ops.reshape(n_quantized, (-1, features)), product_dtype)  # [rows, features]
    n_scale = ops.reshape(n_scale, (-1, 1))  # [rows, 1]
    w_ternary = ops.cast(w_ternary, product_dtype)
    product = at_least_float32(ops.matmul(n_quantized, w_ternary))  # [rows, units]
    y = ops.reshape(ops.cast(product * (n_scale * w_scale), x.dtype), (*ops.shape(x)[:-1], units))

    def gradient(*arguments, upstream=None):
        dy = at_least_float32(ops.reshape(arguments[0] if upstream is None else upstream, (-1, units)))
        dn = ops.matmul(ops.cast(dy * w_scale, product_dtype), ops.transpose(w_ternary))
        dn = at_least_float32(ops.reshape(dn, ops.shape(x)))
        dw = ops.matmul(ops.transpose(n_quantized), ops.cast(dy * (n_scale * w_scale), product_dtype))
        dw = at_least_float32(dw)

        # The kernel also acts through w_scale, unless w_scale is clipped. `product` and `dw` give the same sum, so
        # use the smaller one.
        if product.shape[0] is not None and product.shape[0] < features:
            d_scale = ops.sum(dy * n_scale * product)
        else:
            d_scale = ops.sum(dw * at_least_float32(w_ternary)) / w_scale
        clipped = ops.logical_or(w_scale <= _SMALLEST, w_scale >= _LARGEST)
        d_mean = ops.where(clipped, 0, d_scale / (features * units))
        dw = ops.cast(dw + ops.cast(d_mean, dw.dtype) * ops.sign(at_least_float32(kernel)), kernel.dtype)

        d_gain = ops.sum(dn * normalized, axis=tuple(range(len(x.shape) - len(gain.shape))))
        return rms_gradient(x, normalized, dn * wide_gain), ops.cast(d_gain, gain.dtype), dw

    return y, gradient


def ternary_linear(x, gain, w_ternary, w_scale):
    """Multiply normalized, 8-bit vectors by an already ternary matrix: `bit_linear` for inference.

    The product of 8-bit integers is summed in 32 bits, so it is exact. When XLA compiles it for a CPU in float32,
    the result equals that of `bit_linear` bit for bit.

    Args:
        x: Tensor `[batch, ..., features]`. Integers are cast to Keras's default float type.
        gain: Float tensor `[features]`, or `[..., features]` with one value for each position and feature.
        w_ternary: int8 tensor `[units, features]` that holds -1, 0, and 1. It is the transposed kernel, so that the
            weights of one output are next to each other in memory.
        w_scale: Float scalar above 0.

    Returns:
        Float tensor `[batch, ..., units]` of `x`'s dtype: the result of `bit_linear` for the kernel from which
        `w_ternary` and `w_scale` come (see `absmean_ternarize`). It has no gradient with respect to `x`.

    Example:

    >>> import numpy as np
    >>> from mml.ops import ternary_linear
    >>> x, gain = np.array([[3.0, -4.0]], "float32"), np.ones(2, "float32")
    >>> print(np.asarray(ternary_linear(x, gain, np.array([[1, -1]], "int8"), 0.8)).round(3))
    [[1.582]]

    Reference:
        Zhu et al., "Scalable MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.2.
    """
    x, w_ternary = floating(x), ops.convert_to_tensor(w_ternary)
    units, features = w_ternary.shape
    n = rms_normalize(at_least_float32(x)) * at_least_float32(gain)
    n_quantized, n_scale = absmax_quantize(n)  # [..., features], [..., 1]
    w_scale = ops.cast(w_scale, n.dtype)
    n_quantized = ops.reshape(n_quantized, (-1, features))  # [rows, features]
    rows = n_quantized.shape[0]  # None on TensorFlow, where the number of images is not known yet

    def multiply():
        codes = ops.cast(n_quantized, "int8")
        if rows == 1:
            # XLA takes ten times as long for one row of integers as for two.
            codes = ops.pad(codes, ((0, 1), (0, 0)))
        return ops.cast(ops.einsum("rf,uf->ru", codes, w_ternary)[:rows], n.dtype)  # summed in int32

    # XLA does not fuse across a `cond`. The predicate is always true, but XLA cannot know that. If the conversions
    # were fused with the steps around the product, those steps would round differently than in `bit_linear`, which
    # has no such conversions.
    product = ops.cond(w_scale > 0, multiply, lambda: ops.zeros((ops.shape(n_quantized)[0], units), n.dtype))
    y = product * (ops.reshape(n_scale, (-1, 1)) * w_scale)  # [rows, units]
    return ops.reshape(ops.cast(y, x.dtype), (*ops.shape(x)[:-1], units))
