"""How a Keras layer is compared with the oracle and with the peer."""

import keras
import numpy as np
import oracle

BACKEND = keras.backend.backend()
if BACKEND == "jax":
    import jax
elif BACKEND == "torch":
    import torch
else:
    import tensorflow as tf

TOLERANCE = 1e-5


def draw_weights(layer, rng, dtype="float32"):
    """Random weights for a built layer, nothing at a special value: gains about 1, all else about 0."""
    return [
        (rng.normal(size=weight.shape) * 0.5 + (weight.path.rsplit("/", 1)[-1] == "gain")).astype(dtype)
        for weight in layer.weights
    ]


def value_and_gradients(function, arguments, upstream):
    """The value of `function(*arguments)`, and the gradient of sum(value * upstream) for each argument."""
    if BACKEND == "jax":

        @jax.jit  # a program for each call: what the function reads beside its arguments may have changed
        def run(arguments, upstream):
            value, pull_back = jax.vjp(function, *arguments)
            return value, pull_back(upstream)

        return run(arguments, upstream)
    if BACKEND == "torch":
        tensors = [keras.ops.convert_to_tensor(argument).clone().requires_grad_() for argument in arguments]
        with torch.enable_grad():
            value = function(*tensors)
        return value.detach(), torch.autograd.grad(
            value, tensors, keras.ops.convert_to_tensor(upstream), materialize_grads=True
        )
    tensors = [tf.convert_to_tensor(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    return value, tape.gradient(value, tensors, upstream, unconnected_gradients="zero")


def output_and_gradients(layer):
    """A function, compiled on JAX, of (weights, x, upstream), on any weights in the order of `layer.get_weights()`.

    It returns the output, and the gradients of sum(output * upstream) for the input and each weight.
    """
    trainable = [weight.trainable for weight in layer.weights]
    assert all(trainable), "weights and trainable variables are the same list here"
    others = [variable.value for variable in layer.non_trainable_variables]  # random states

    def run(weights, x, upstream):
        def forward(x, *weights):
            return layer.stateless_call(weights, others, x)[0]

        output, gradients = value_and_gradients(forward, [x, *weights], upstream)
        return output, *gradients

    if BACKEND == "jax":
        run = jax.jit(run)
    return lambda weights, x, upstream: [
        keras.ops.convert_to_numpy(array) for array in run(weights, x, upstream.astype(x.dtype))
    ]


def assert_close(actual, expected, names, tolerance=TOLERANCE):
    """Each array differs from its counterpart by at most `tolerance` of the counterpart's largest magnitude."""
    for name, a, e in zip(names, actual, expected, strict=True):
        assert a.shape == e.shape, name
        assert np.all(np.isfinite(a)), name
        error = np.max(np.abs(a - e)) / np.max(np.abs(e))
        assert error <= tolerance, f"{name}: relative error {error:.2e}"


def names_of(layer):
    return [
        "output",
        "gradient of the input",
        *(f"gradient of {weight.path}" for weight in layer.trainable_variables),
    ]


def assert_equals_oracle(layer, forward, input_shape, count=2):
    """Output and all gradients of a float32 layer equal the oracle's, for `count` draws of weights and inputs."""
    if not layer.built:
        layer.build((None, *input_shape[1:]))

    def draw(rng):
        return [rng.normal(size=input_shape).astype("float32"), *draw_weights(layer, rng)]

    run = output_and_gradients(layer)
    for x, *weights in oracle.away_from_boundaries(draw, forward, count):
        arguments = [np.asarray(array, "float64") for array in (x, *weights)]
        expected = forward(*arguments).real
        upstream = np.random.default_rng(0).normal(size=expected.shape)
        assert_close(
            run(weights, x, upstream),
            [expected, *oracle.gradients(forward, arguments, upstream)],
            names_of(layer),
        )


def forward_kernel(dense):
    """The matrix with which a built DenseMML multiplies, found from what it gives to its activation.

    A unit vector stays one through norm and quantization, so that it selects one row; zeros select the bias.
    """
    kernel, gain = dense.get_weights()[0], dense.get_weights()[-1]  # gain: [features] or [..., features]
    features = len(kernel)
    inputs = np.zeros((features, *gain.shape), "float32")
    inputs[np.arange(features), ..., np.arange(features)] = 1
    activation, dense.activation = dense.activation, keras.activations.linear
    rows = np.asarray(dense(inputs)) - np.asarray(dense(np.zeros_like(inputs)))
    dense.activation = activation
    first_position = (slice(None),) + (0,) * (gain.ndim - 1)
    return rows[first_position] / gain[first_position[1:]][:, None] / np.sqrt(features)


def assert_ternary(layer):
    """Every DenseMML inside uses at most three values forward, however many its kernel variable holds."""
    found = [sublayer for sublayer in layer._flatten_layers() if type(sublayer).__name__ == "DenseMML"]
    assert found
    for dense in found:
        kernel = forward_kernel(dense)
        multiples = kernel / np.max(np.abs(kernel))
        np.testing.assert_allclose(multiples, np.round(multiples), atol=1e-5)
        assert len(np.unique(np.asarray(dense.kernel))) > 3
