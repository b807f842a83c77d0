"""The linear recurrence of the token mixer, computed over a whole sequence at once."""

import keras
from keras import ops

from mml.ops import hardware


def linear_recurrence(forget, candidate, initial_state=None):
    """Run `h_t = forget_t * h_(t-1) + (1 - forget_t) * candidate_t` over a whole sequence.

    Neither `forget` nor `candidate` depends on the state, so the recurrence is linear in `h`, and no layer runs
    inside the loop. On a CPU and on torch, a scan carries `h` from token to token. On other devices, an associative
    scan needs only `log2(time)` parallel rounds. The two methods round differently. The arithmetic uses the dtype of
    the arguments, or the wider one if they differ.

    Args:
        forget: Float tensor `[batch, time, features]`, in `[0, 1]`: how much of the state is kept.
        candidate: Float tensor `[batch, time, features]`: the new values.
        initial_state: Float tensor `[batch, features]`, the state before the first token. Zeros by default.

    Returns:
        Float tensor `[batch, time, features]`: the state after each token.

    Raises:
        ValueError: If the shapes do not fit together, or if there is no step.

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
    if len(forget.shape) != 3 or _differ(forget.shape, candidate.shape):
        raise ValueError(
            "`forget` and `candidate` must have the same shape [batch, time, features]. "
            f"Received: forget.shape={tuple(forget.shape)}, candidate.shape={tuple(candidate.shape)}"
        )
    if forget.shape[1] == 0:
        raise ValueError(f"`forget` must have at least one step. Received: forget.shape={tuple(forget.shape)}")
    if initial_state is None:
        initial_state = ops.zeros_like(candidate[:, 0])
    expected, shape = (forget.shape[0], forget.shape[2]), tuple(initial_state.shape)
    if _differ(shape, expected):
        raise ValueError(
            f"`initial_state` must have the shape [batch, features] = {expected}. "
            f"Received: initial_state.shape={shape}"
        )
    tensors = [ops.convert_to_tensor(tensor) for tensor in (forget, candidate, initial_state)]
    dtypes = [keras.backend.standardize_dtype(tensor.dtype) for tensor in tensors]
    # Keras's rules for promotion make float32 of float64.
    dtype = "float64" if "float64" in dtypes else keras.backend.result_type(*dtypes)
    return _linear_recurrence(*(ops.cast(tensor, dtype) for tensor in tensors))


def _differ(shape, other):
    """Return whether two shapes cannot be equal. A dimension of None is unknown and may be any number."""
    known = [(a, b) for a, b in zip(shape, other, strict=False) if a is not None and b is not None]
    return len(shape) != len(other) or any(a != b for a, b in known)


@ops.custom_gradient
def _linear_recurrence(forget, candidate, initial_state):
    states = _accumulate(forget, (1 - forget) * candidate, initial_state)  # [B, T, D]

    def gradient(*arguments, upstream=None):
        # A state receives gradient from its own step and, through the next step's gate, from all later steps. This
        # is the same recurrence, run backward.
        upstream = arguments[0] if upstream is None else upstream
        after = ops.concatenate([forget[:, 1:], ops.zeros_like(forget[:, :1])], axis=1)
        d_states = _accumulate(after, upstream, ops.zeros_like(initial_state), reverse=True)
        before = ops.concatenate([initial_state[:, None], states[:, :-1]], axis=1)
        return d_states * (before - candidate), d_states * (1 - forget), forget[:, 0] * d_states[:, 0]

    return states, gradient


def _accumulate(factor, term, state, reverse=False):
    """Run `state_t = factor_t * state_(t-1) + term_t` along the second axis."""
    if hardware.device_is_cpu():
        return _scan(factor, term, state, reverse)
    return _associative_scan(factor, term, state, reverse)


def _scan(factor, term, state, reverse):
    def step(state, now):
        state = now[0] * state + now[1]
        return state, state

    time_first = ops.transpose(factor, (1, 0, 2)), ops.transpose(term, (1, 0, 2))
    if factor.shape[1] is None:
        # Only on TensorFlow, where Keras's scan needs a known length.
        import tensorflow as tf

        states = tf.scan(lambda state, now: step(state, now)[0], time_first, state, reverse=reverse)
    else:
        _, states = ops.scan(step, state, time_first, length=factor.shape[1], reverse=reverse)
    return ops.transpose(states, (1, 0, 2))


def _associative_scan(factor, term, state, reverse):
    def compose(earlier, later):
        # later(earlier(h)) for the maps h -> a*h + b
        return later[0] * earlier[0], later[0] * earlier[1] + later[1]

    factors, terms = ops.associative_scan(compose, (factor, term), axis=1, reverse=reverse)
    return factors * state[:, None] + terms
