"""The formulas in NumPy float64, written without looking at the package.

Every function also takes complex arrays, whose imaginary part carries a derivative: with `x + 1e-30j * direction`
as input, the imaginary part of the output is 1e-30 times the derivative along `direction`, exact to rounding
(complex-step differentiation; Squire and Trapp, SIAM Review 40, 1998). The straight-through estimator is then one
line: the value of the quantized array, the imaginary part of the latent one.

Weights come as flat lists in the order of `layer.get_weights()`.
"""

from contextlib import contextmanager

import numpy as np
from scipy.special import ndtr

STEP = 1e-30
_margins = None  # distances to the nearest rounding boundary, while `rounding_margins` is open


@contextmanager
def rounding_margins():
    """Yields a list that fills with the distance of each quantization's closest value to a rounding boundary.

    Two float32 programs may round a value on either side when it lies closer to a boundary than their own error.
    """
    global _margins
    _margins, before = [], _margins
    try:
        yield _margins
    finally:
        _margins = before


def away_from_boundaries(draw, forward, count, margin=1e-4):
    """The first `count` results of `draw(rng)`, over the seeds 0, 1, ..., where `forward` rounds nothing doubtful."""
    found = []
    for seed in range(1000):
        drawn = draw(np.random.default_rng(seed))
        with rounding_margins() as margins:
            forward(*[np.asarray(array, "float64") for array in drawn])
        if min(margins, default=1.0) > margin:
            found.append(drawn)
            if len(found) == count:
                return found
    raise AssertionError(f"only {len(found)} of 1000 draws keep {margin} away from rounding boundaries")


def gradients(forward, arguments, upstream):
    """Gradients of sum(forward(*arguments) * upstream) with respect to every array in `arguments`."""
    result = []
    for position, argument in enumerate(arguments):
        gradient = np.empty(np.shape(argument))
        for index in np.ndindex(gradient.shape):
            moved = np.array(argument, "complex128")
            moved[index] += 1j * STEP
            output = forward(*arguments[:position], moved, *arguments[position + 1 :])
            gradient[index] = np.sum(output.imag * upstream) / STEP
        result.append(gradient)
    return result


# Quantization


def absmax_quantize(x):
    scale = np.clip(np.max(np.abs(x), axis=-1, keepdims=True), 1e-5, 1e9) / 127
    if _margins is not None:
        _margins.append(np.min(np.abs(np.abs(x / scale) % 1 - 0.5)))
    return np.clip(np.round(x / scale), -128, 127), scale


def absmean_ternarize(w):
    magnitude = np.mean(np.where(np.real(w) < 0, -w, w))
    scale = magnitude if 1e-5 <= np.real(magnitude) <= 1e9 else np.clip(np.real(magnitude), 1e-5, 1e9)
    if _margins is not None:
        _margins.append(np.min(np.abs(np.abs(np.real(w / scale)) - 0.5)))
    return np.clip(np.round(np.real(w) / np.real(scale)), -1, 1), scale


def straight_through(x, quantized):
    return quantized + 1j * np.imag(x)


# Layers


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "linear": lambda x: x,
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "relu": lambda x: np.where(np.real(x) > 0, x, 0),
    "squared_relu": lambda x: np.where(np.real(x) > 0, x * x, 0),
    "gelu": lambda x: x * (ndtr(np.real(x)) + 1j * np.imag(x) * np.exp(-(np.real(x) ** 2) / 2) / np.sqrt(2 * np.pi)),
    "selu": lambda x: 1.0507009873554805 * np.where(np.real(x) > 0, x, 1.6732632423543772 * (np.exp(x) - 1)),
}


def rms_norm(x, gain=1.0, bias=0.0):
    norm = np.sqrt(np.sum(x * x, axis=-1, keepdims=True))
    return x / np.where(norm == 0, 1, norm) * np.sqrt(x.shape[-1]) * gain + bias


def dense(x, kernel, bias, gain, activation="linear"):
    x = rms_norm(np.asarray(x), gain)
    x_quantized, x_scale = absmax_quantize(np.real(x))
    w_ternary, w_scale = absmean_ternarize(kernel)
    y = straight_through(x, x_quantized * x_scale) @ straight_through(kernel, w_ternary) * w_scale + bias
    return ACTIVATIONS[activation](y)


def glu(x, *weights, activation="sigmoid"):
    gate, up = np.split(dense(x, *weights[:3]), 2, axis=-1)
    return dense(ACTIVATIONS[activation](gate) * up, *weights[3:])


def linear_recurrence(forget, candidate, initial_state=None):
    state = 0 if initial_state is None else initial_state
    states = []
    for t in range(forget.shape[1]):
        state = forget[:, t] * state + (1 - forget[:, t]) * candidate[:, t]
        states.append(state)
    return np.stack(states, axis=1)


def gru(x, *weights, fully_mml=True, activation="silu", recurrent_activation="sigmoid"):
    """MLGRU (arXiv:2406.02528, section 3.3.1); not fully ternary, its data and output gates are ordinary products."""
    if fully_mml:
        forget, candidate, data = np.split(dense(x, *weights[:3]), 3, axis=-1)
    else:
        forget, candidate = np.split(dense(x, *weights[:3]), 2, axis=-1)
        data = x @ weights[3] + weights[4]
    state = linear_recurrence(ACTIVATIONS[recurrent_activation](forget), ACTIVATIONS[activation](candidate))
    output = ACTIVATIONS[recurrent_activation](data) * state
    return dense(output, *weights[3:]) if fully_mml else output @ weights[5] + weights[6]


def transformer_block(x, *weights, fully_mml=True):
    mixer = 6 if fully_mml else 7
    x = rms_norm(x + gru(x, *weights[:mixer], fully_mml=fully_mml), weights[mixer])
    return rms_norm(x + glu(x, *weights[mixer + 1 : -1], activation="silu"), weights[-1])


def starts(side, size, strides, padding):
    """Where the patches along a side begin; with "same", the fewest zeros, and the odd one at the end."""
    if padding == "valid":
        return range(0, side - size + 1, strides)
    last = (-(-side // strides) - 1) * strides
    before = max(last + size - side, 0) // 2
    return range(-before, last - before + 1, strides)


def patches(images, size, strides=None, padding="valid"):
    batch, height, width, channels = images.shape
    strides = strides or size
    tops, lefts = (starts(side, size, strides, padding) for side in (height, width))
    result = np.zeros((batch, len(tops) * len(lefts), size, size, channels), images.dtype)
    for patch, (top, left) in enumerate((top, left) for top in tops for left in lefts):
        for row in range(size):
            for column in range(size):
                if 0 <= top + row < height and 0 <= left + column < width:
                    result[:, patch, row, column] = images[:, top + row, left + column]
    return result.reshape(batch, len(tops) * len(lefts), -1)


def token_shift(x, grid):
    """Q-Shift (arXiv:2403.02308, equation 3) with a quarter of half of the features from each neighbor."""
    rows, columns = grid
    share = x.shape[-1] // 8
    shifted = np.array(x)
    for row in range(rows):
        for column in range(columns):
            for part, (up, left) in enumerate([(0, -1), (0, 1), (-1, 0), (1, 0)]):
                features = slice(part * share, (part + 1) * share)
                inside = 0 <= row + up < rows and 0 <= column + left < columns
                neighbor = x[:, (row + up) * columns + column + left, features] if inside else 0
                shifted[:, row * columns + column, features] = neighbor
    return shifted


def visiting_order(grid, direction):
    rows, columns = grid
    if direction in ("right", "left"):
        order = [row * columns + column for row in range(rows) for column in range(columns)]
    else:
        order = [row * columns + column for column in range(columns) for row in range(rows)]
    return order if direction in ("right", "down") else order[::-1]


def grid_scan(x, *weights, grid, direction):
    order = visiting_order(grid, direction)
    visited = gru(x[:, order], *weights)
    scanned = np.empty_like(visited)
    scanned[:, order] = visited
    return scanned


def vision_block(x, *weights, grid, direction):
    x = x + grid_scan(token_shift(x, grid), *weights[:6], grid=grid, direction=direction)
    return x + glu(token_shift(x, grid), *weights[6:], activation="silu")


def patch_embedding(x, *weights, use_mml=True, with_positions=False):
    weights, positions = (weights[:-1], weights[-1]) if with_positions else (weights, 0.0)
    return (dense(x, *weights) if use_mml else x @ weights[0] + weights[1]) + positions


def vision_mlgru(images, mean, variance, count, *weights, patch_size, merge_size, grid, directions):
    """The model made for images; `grid` is that of its tokens."""
    x = (images - mean) / np.sqrt(variance)
    height, width, _ = images.shape[1:]
    x = dense(patches(x, patch_size, 2, "same"), *weights[:3], "squared_relu")
    x = patches(x.reshape(len(x), -(-height // 2), -(-width // 2), -1), merge_size, 2, "same")
    x = patch_embedding(x, *weights[3:6])
    for number, direction in enumerate(directions):
        x = vision_block(x, *weights[6 + 12 * number : 18 + 12 * number], grid=grid, direction=direction)
    gain, kernel, bias = weights[-3:]
    return rms_norm(rms_norm(x).mean(axis=1), gain) @ kernel + bias
