"""Stateless functions on `keras.ops`: quantisation, the linear recurrence, patches.

Everything here takes and returns tensors of the active Keras backend and can be differentiated.
"""

import math

import keras
from keras import ops

from mml.validation import positive_integer

_SMALLEST, _LARGEST = 1e-5, 1e9  # a scale is clipped to this range, so that zeros divide safely
_SMALLEST_NORM = 1e-7
_INT8_MAX = 127


def rms_normalize(x):
    """Divide each vector along the last axis by its root mean square: `x / ||x|| * sqrt(features)`.

    A vector shorter than 1e-7 is divided by 1e-7 instead of its length, so that zeros stay zeros, with a
    finite gradient.

    Args:
        x: Float tensor `[..., features]`.

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
    return _rms_normalize(ops.convert_to_tensor(x))


@ops.custom_gradient
def _rms_normalize(x):
    normalized = ops.cast(_wide(x) * _inverse_rms(x), x.dtype)

    def gradient(*arguments, upstream=None):
        upstream = _computed_once(arguments[0] if upstream is None else upstream, x)
        return _rms_gradient(x, normalized, upstream)

    return normalized, gradient


def _computed_once(upstream, x):
    """Keep XLA from computing a gradient anew for each of its uses.

    Between norms and residual connections the gradient passes through all blocks by element-wise steps alone.
    On a CPU, XLA of JAX 0.7 walks that way again for each sum on it, and a training step takes twice as long.
    """
    if keras.backend.backend() != "jax" or not _device_is_cpu():
        return upstream
    # A branch is compiled by itself. Which one it will be, the compiler cannot know: always the first.
    some_value = ops.sum(ops.ravel(x)[:1])
    return ops.cond(ops.cast(some_value > 0, "int8") < 2, lambda: upstream, lambda: ops.zeros_like(upstream))


def _rms_gradient(x, normalized, upstream):
    """Leave out what would only lengthen `x`, which the norm takes back."""
    along = ops.sum(_wide(upstream) * _wide(normalized), axis=-1, keepdims=True) / x.shape[-1]
    # Below the smallest norm the divisor is a constant.
    along = ops.where(_sum_of_squares(x) > _SMALLEST_NORM**2, along, 0)
    return ops.cast(_inverse_rms(x) * (_wide(upstream) - _wide(normalized) * along), x.dtype)


def _inverse_rms(x):
    # The bound stands inside the root, which has no finite value at zero.
    return x.shape[-1] ** 0.5 * ops.rsqrt(ops.maximum(_sum_of_squares(x), _SMALLEST_NORM**2))


def _sum_of_squares(x):
    return ops.sum(ops.square(_wide(x)), axis=-1, keepdims=True)  # [..., 1]


def _wide(x):
    # Sums of squares or of a whole matrix leave the range of float16.
    dtype = keras.backend.standardize_dtype(x.dtype)
    return x if dtype == "float64" else ops.cast(x, "float32")


def absmean_ternarize(w):
    """Round a matrix to -1, 0 and 1, at the scale of its mean absolute value.

    With `scale = mean(|w|)`, clipped to `[1e-5, 1e9]`, each entry becomes
    `clip(round(w / scale), -1, 1)`, so that `w ≈ w_ternary * scale`.

    Args:
        w: Float tensor of any shape; one scale serves all of it.

    Returns:
        A pair `(w_ternary, scale)`: a tensor of `w`'s shape and dtype that holds -1, 0 and 1 only, and a
        scalar of the same dtype. `w_ternary` has no gradient (see `straight_through`), `scale` has.

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
    # Not `ops.mean`, which brings float64 down to float32.
    mean = ops.sum(ops.abs(_wide(w))) / math.prod(w.shape)
    scale = ops.cast(ops.clip(mean, _SMALLEST, _LARGEST), w.dtype)
    return ops.stop_gradient(ops.clip(ops.round(w * (1 / scale)), -1, 1)), scale


def absmax_quantize(x):
    """Round each vector along the last axis to 8-bit integers, at the scale of its largest absolute value.

    With `scale = max(|x|) / 127`, its numerator clipped to `[1e-5, 1e9]`, each entry becomes
    `clip(round(x / scale), -128, 127)`, so that `x ≈ x_quantized * scale`.

    Args:
        x: Float tensor `[..., features]`; each vector of `features` gets its own scale.

    Returns:
        A pair `(x_quantized, scale)` without gradients: integers kept in `x`'s float dtype, `[..., features]`,
        and scales, `[..., 1]`.

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
    largest = ops.clip(ops.max(ops.abs(x), axis=-1, keepdims=True), _SMALLEST, _LARGEST)
    return ops.clip(ops.round(x * (_INT8_MAX / largest)), -_INT8_MAX - 1, _INT8_MAX), largest / _INT8_MAX


def straight_through(x, quantized):
    """Take the value of `quantized` and the gradient of `x`.

    Rounding is flat almost everywhere, so its true gradient is zero and would stop all learning. The
    straight-through estimator pretends, in the backward pass alone, that nothing was rounded.

    Args:
        x: Float tensor that the gradient goes to.
        quantized: Tensor of the same shape, to the bit the value of the result.

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
    # x - x is exactly 0; the usual x + (quantized - x) would leave a rounding error on the result.
    return ops.stop_gradient(quantized) + (x - ops.stop_gradient(x))


def bit_linear(x, gain, kernel):
    """Multiply normalised, 8-bit vectors by a ternary matrix (BitLinear).

    The value is that of

        n = rms_normalize(x) * gain
        n_quantized, n_scale = absmax_quantize(n)
        w_ternary, w_scale = absmean_ternarize(kernel)
        y = (n_quantized @ w_ternary) * n_scale * w_scale

    and the gradient is that of `straight_through` for `n` and `kernel`. It is written out, since automatic
    differentiation goes over the tensors more often, and memory is what a training step waits for.

    Args:
        x: Float tensor `[batch, ..., features]`.
        gain: Float tensor `[features]`, or `[..., features]` with one value for each position and feature.
        kernel: Float tensor `[features, units]`.

    Returns:
        Float tensor `[batch, ..., units]`.

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
    # On TensorFlow, `convert_to_tensor` leaves a variable one, and its gradient would read a later value.
    values = [tensor.value if isinstance(tensor, keras.Variable) else tensor for tensor in (x, gain, kernel)]
    return _bit_linear(*(ops.convert_to_tensor(value) for value in values))


@ops.custom_gradient
def _bit_linear(x, gain, kernel):
    features, units = kernel.shape
    normalized = rms_normalize(x)  # [..., features]
    n_quantized, n_scale = absmax_quantize(normalized * gain)  # [..., features], [..., 1]
    w_ternary, w_scale = absmean_ternarize(kernel)  # [features, units], []
    # With two axes, the products need no transposed copies.
    n_quantized = ops.reshape(n_quantized, (-1, features))  # [rows, features]
    n_scale = ops.reshape(n_scale, (-1, 1))  # [rows, 1]
    product = ops.matmul(n_quantized, w_ternary)  # [rows, units]
    y = ops.reshape(product * (n_scale * w_scale), (*ops.shape(x)[:-1], units))

    def gradient(*arguments, upstream=None):
        dy = ops.reshape(arguments[0] if upstream is None else upstream, (-1, units))
        # Straight through: n_quantized * n_scale passes for n, and w_ternary * w_scale for the kernel.
        dn = ops.reshape(ops.matmul(dy * w_scale, ops.transpose(w_ternary)), ops.shape(x))
        dw = ops.matmul(ops.transpose(n_quantized), dy * (n_scale * w_scale))

        # The kernel has a part in w_scale too, unless that is clipped. Of two equal sums, the shorter one.
        if product.shape[0] is not None and product.shape[0] < features:
            d_scale = ops.sum(_wide(dy * n_scale * product))
        else:
            d_scale = ops.sum(_wide(dw * w_ternary)) / _wide(w_scale)
        clipped = ops.logical_or(w_scale <= _SMALLEST, w_scale >= _LARGEST)
        d_mean = ops.where(clipped, 0, d_scale / (features * units))
        dw = dw + ops.cast(d_mean, kernel.dtype) * ops.sign(kernel)

        d_gain = ops.sum(dn * normalized, axis=tuple(range(len(x.shape) - len(gain.shape))))
        return _rms_gradient(x, normalized, dn * gain), d_gain, dw

    return y, gradient


def ternary_linear(x, gain, w_ternary, w_scale):
    """Multiply normalised, 8-bit vectors by a matrix that is ternary already: `bit_linear` for inference.

    The product is one of 8-bit integers, summed up in 32 bits, so it is exact.

    Args:
        x: Float tensor `[batch, ..., features]`.
        gain: Float tensor `[features]`, or `[..., features]` with one value for each position and feature.
        w_ternary: int8 tensor `[units, features]` that holds -1, 0 and 1: the kernel transposed, so that what
            is added up for one output lies side by side.
        w_scale: Float scalar.

    Returns:
        Float tensor `[batch, ..., units]`: that of `bit_linear` for the kernel that `w_ternary` and `w_scale` come
        from, see `absmean_ternarize`.

    Example:

    >>> import numpy as np
    >>> from mml.ops import ternary_linear
    >>> x, gain = np.array([[3.0, -4.0]], "float32"), np.ones(2, "float32")
    >>> print(np.asarray(ternary_linear(x, gain, np.array([[1, -1]], "int8"), 0.8)).round(3))
    [[1.582]]

    Reference:
        Zhu et al., "Scalable MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.2.
    """
    x = ops.convert_to_tensor(x)
    units, features = w_ternary.shape
    n_quantized, n_scale = absmax_quantize(rms_normalize(x) * gain)  # [..., features], [..., 1]
    n_quantized = ops.reshape(n_quantized, (-1, features))  # [rows, features]
    rows = n_quantized.shape[0]  # None on TensorFlow, where it is not known before the images come

    def cast(tensor, dtype):
        # A branch is compiled by itself. Fused with what comes before and after, the conversion would change how
        # that is rounded, and `bit_linear` has none. A scale is never 0.
        return ops.cond(w_scale > 0, lambda: ops.cast(tensor, dtype), lambda: ops.zeros_like(tensor, dtype))

    n_quantized = cast(n_quantized, "int8")
    if rows == 1:
        # XLA takes ten times as long for one row of integers as for two.
        n_quantized = ops.pad(n_quantized, ((0, 1), (0, 0)))
    product = ops.einsum("rf,uf->ru", n_quantized, w_ternary)[:rows]  # int32 [rows, units]
    y = cast(product, x.dtype) * (ops.reshape(n_scale, (-1, 1)) * w_scale)
    return ops.reshape(y, (*ops.shape(x)[:-1], units))


def linear_recurrence(forget, candidate, initial_state=None):
    """Run `h_t = forget_t * h_(t-1) + (1 - forget_t) * candidate_t` over a whole sequence.

    Neither gate depends on the state, so the recurrence is linear in `h` and needs no layer inside the loop.
    A scan carries `h` from token to token where that is fastest, on a CPU, and on torch; elsewhere an
    associative scan gets there in `log2(time)` parallel rounds.

    Args:
        forget: Float tensor `[batch, time, features]`, in `[0, 1]`: how much of the state stays.
        candidate: Float tensor `[batch, time, features]`: what comes in.
        initial_state: Float tensor `[batch, features]`, the state before the first token. Zeros by default.

    Returns:
        Float tensor `[batch, time, features]`: the state after each token.

    Raises:
        ValueError: If the shapes do not fit each other.

    Example:

    >>> import numpy as np
    >>> from mml.ops import linear_recurrence
    >>> forget = np.full((1, 3, 1), 0.5, "float32")
    >>> candidate = np.array([[[8.0], [0.0], [4.0]]], "float32")
    >>> print(np.asarray(linear_recurrence(forget, candidate))[0, :, 0])
    [4. 2. 3.]

    Reference:
        Zhu et al., "Scalable MatMul-free Language Modeling", 2024, arXiv:2406.02528, section 3.3.1;
        Martin and Cundy, "Parallelizing Linear Recurrent Neural Nets Over Sequence Length", 2018,
        arXiv:1709.04057, section 2.
    """
    if len(forget.shape) != 3 or tuple(forget.shape) != tuple(candidate.shape):
        raise ValueError(
            "`forget` and `candidate` must have the same shape [batch, time, features]. "
            f"Received: forget.shape={tuple(forget.shape)}, candidate.shape={tuple(candidate.shape)}"
        )
    if initial_state is not None and tuple(initial_state.shape) != (forget.shape[0], forget.shape[2]):
        raise ValueError(
            f"`initial_state` must have the shape [batch, features] = {(forget.shape[0], forget.shape[2])}. "
            f"Received: initial_state.shape={tuple(initial_state.shape)}"
        )
    if initial_state is None:
        initial_state = ops.zeros_like(candidate[:, 0])
    return _linear_recurrence(*(ops.convert_to_tensor(tensor) for tensor in (forget, candidate, initial_state)))


@ops.custom_gradient
def _linear_recurrence(forget, candidate, initial_state):
    states = _accumulate(forget, (1 - forget) * candidate, initial_state)  # [B, T, D]

    def gradient(*arguments, upstream=None):
        # The gradient of a state comes from its own step and, through the next one's gate, from later ones:
        # the same recurrence, backwards.
        upstream = arguments[0] if upstream is None else upstream
        after = ops.concatenate([forget[:, 1:], ops.zeros_like(forget[:, :1])], axis=1)
        d_states = _accumulate(after, upstream, ops.zeros_like(initial_state), reverse=True)
        before = ops.concatenate([initial_state[:, None], states[:, :-1]], axis=1)
        return d_states * (before - candidate), d_states * (1 - forget), forget[:, 0] * d_states[:, 0]

    return states, gradient


def _accumulate(factor, term, state, reverse=False):
    """Run `state_t = factor_t * state_(t-1) + term_t` along the second axis."""
    if _device_is_cpu():
        return _scan(factor, term, state, reverse)
    return _associative_scan(factor, term, state, reverse)


def _device_is_cpu():
    if keras.backend.backend() == "torch":
        return True  # there Keras's associative scan knows the CPU and float32 only, and does not list devices
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


def _scan(factor, term, state, reverse):
    def step(state, now):
        state = now[0] * state + now[1]
        return state, state

    time_first = ops.transpose(factor, (1, 0, 2)), ops.transpose(term, (1, 0, 2))
    _, states = ops.scan(step, state, time_first, length=factor.shape[1], reverse=reverse)
    return ops.transpose(states, (1, 0, 2))


def _associative_scan(factor, term, state, reverse):
    def compose(earlier, later):
        # later(earlier(h)) for the maps h -> a*h + b
        return later[0] * earlier[0], later[0] * earlier[1] + later[1]

    factors, terms = ops.associative_scan(compose, (factor, term), axis=1, reverse=reverse)
    return factors * state[:, None] + terms


def patchify(images, patch_size):
    """Cut images into square patches, left to right and top to bottom.

    Args:
        images: Tensor `[batch, height, width, channels]` of any dtype. The batch may be unknown.
        patch_size: Edge of a patch in pixels, a positive integer that divides height and width.

    Returns:
        Tensor `[batch, patches, patch_size * patch_size * channels]` of the same dtype, with
        `patches = (height / patch_size) * (width / patch_size)`; within a patch, pixels are in raster order
        too, and a pixel's channels lie together.

    Raises:
        ValueError: If `images` does not have four axes, or if `patch_size` does not divide height and width.

    Example:

    >>> import numpy as np
    >>> from mml.ops import patchify, unpatchify
    >>> images = np.arange(24).reshape(1, 2, 4, 3)
    >>> patches = patchify(images, 2)
    >>> patches.shape
    (1, 2, 12)
    >>> np.array_equal(unpatchify(patches, 2, height=2, width=4), images)
    True

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, arXiv:2010.11929, section 3.1.
    """
    if len(images.shape) != 4:
        raise ValueError(
            "`images` must have the shape [batch, height, width, channels]. "
            f"Received: images.shape={tuple(images.shape)}"
        )
    _, height, width, channels = images.shape
    rows, columns = patch_grid(height, width, patch_size)
    x = ops.reshape(images, (-1, rows, patch_size, columns, patch_size, channels))  # [B, rows, P, columns, P, C]
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # [B, rows, columns, P, P, C]
    return ops.reshape(x, (-1, rows * columns, patch_size * patch_size * channels))  # [B, N, P*P*C]


def unpatchify(patches, patch_size, height, width):
    """Put patches together again: the exact inverse of `patchify`.

    Args:
        patches: Tensor `[batch, patches, patch_size * patch_size * channels]` of any dtype.
        patch_size: Edge of a patch in pixels.
        height: Height of the images in pixels, a multiple of `patch_size`.
        width: Width of the images in pixels, a multiple of `patch_size`.

    Returns:
        Tensor `[batch, height, width, channels]` of the same dtype.

    Raises:
        ValueError: If the patches cannot come from images of that size.

    Example:

    >>> import numpy as np
    >>> from mml.ops import unpatchify
    >>> unpatchify(np.zeros((5, 6, 12)), 2, height=4, width=6).shape
    (5, 4, 6, 3)
    """
    rows, columns = patch_grid(height, width, patch_size)
    if len(patches.shape) != 3 or patches.shape[1] != rows * columns or patches.shape[2] % patch_size**2:
        raise ValueError(
            f"`patches` must have the shape [batch, {rows * columns}, {patch_size**2} * channels] to form images "
            f"of {height}x{width} pixels. Received: patches.shape={tuple(patches.shape)}"
        )
    channels = patches.shape[2] // patch_size**2
    x = ops.reshape(patches, (-1, rows, columns, patch_size, patch_size, channels))  # [B, rows, columns, P, P, C]
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # [B, rows, P, columns, P, C]
    return ops.reshape(x, (-1, height, width, channels))


def patch_grid(height, width, patch_size):
    """Count the rows and columns of patches in an image.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        patch_size: Edge of a patch in pixels.

    Returns:
        A pair of integers `(rows, columns)`.

    Raises:
        ValueError: If one is not a positive integer, or if `patch_size` does not divide both others.

    Example:

    >>> from mml.ops import patch_grid
    >>> patch_grid(72, 48, 6)
    (12, 8)
    """
    for name, value in (("height", height), ("width", width), ("patch_size", patch_size)):
        positive_integer(name, value)
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"The image's height and width must be multiples of `patch_size`={patch_size}. "
            f"Received: height={height}, width={width}"
        )
    return height // patch_size, width // patch_size
