import keras
import numpy as np
import oracle
import pytest
from comparison import value_and_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mml import ops

# Compilation for a new shape may take longer than Hypothesis's default deadline.
settings.register_profile("ops", deadline=None, max_examples=50)
settings.load_profile("ops")

finite = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
# Few shapes, since each is compiled, and many values.
shapes = st.sampled_from([(1, 1), (1, 6), (6, 1), (2, 3), (5, 4), (2, 3, 4), (1, 2, 1)])
matrices = shapes.flatmap(lambda shape: hnp.arrays("float32", shape, elements=finite))


@given(matrices)
def test_ternarization_gives_three_values_and_the_mean_magnitude(w):
    w_ternary, scale = (np.asarray(array) for array in ops.absmean_ternarize(w))
    expected, expected_scale = oracle.absmean_ternarize(w.astype("float64"))
    assert w_ternary.shape == w.shape and w_ternary.dtype == w.dtype
    assert scale.shape == () and scale.dtype == w.dtype
    assert set(np.unique(w_ternary)) <= {-1, 0, 1}
    np.testing.assert_allclose(scale, expected_scale, rtol=1e-5)
    certain = np.abs(np.abs(w.astype("float64") / expected_scale) - 0.5) > 1e-5
    np.testing.assert_array_equal(w_ternary[certain], expected[certain])


@given(matrices, st.integers(-20, 20))
def test_ternarization_does_not_depend_on_the_scale(w, exponent):
    w[np.abs(w) < 1e-3] = 1  # far from the bounds of the scale on both sides
    factor = np.float32(2.0) ** (exponent // 4)  # a power of two changes no digit
    before, scale = ops.absmean_ternarize(w)
    after, scaled = ops.absmean_ternarize(w * factor)
    np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(np.asarray(scale) * factor, scaled)


@pytest.mark.parametrize("value, expected_scale", [(0.0, 1e-5), (1e-7, 1e-5), (2e9, 1e9)])
def test_the_ternary_scale_is_clipped(value, expected_scale):
    w_ternary, scale = ops.absmean_ternarize(np.full((2, 3), value, "float32"))
    np.testing.assert_allclose(scale, expected_scale, rtol=1e-6)
    np.testing.assert_array_equal(w_ternary, np.full((2, 3), float(value > 1)))


@given(matrices)
def test_quantization_error_is_at_most_half_a_step(x):
    x_quantized, scale = (np.asarray(array) for array in ops.absmax_quantize(x))
    assert x_quantized.shape == x.shape and x_quantized.dtype == x.dtype
    assert scale.shape == (*x.shape[:-1], 1)
    np.testing.assert_array_equal(x_quantized, np.round(x_quantized))
    assert np.max(np.abs(x_quantized)) <= 127
    # 127 * 2**-22: the rounding error of float32 on the quantized value itself
    assert np.all(np.abs(x / scale.astype("float64") - x_quantized) <= 0.5 + 127 * 2.0**-22)
    largest = np.max(np.abs(x), axis=-1)
    np.testing.assert_array_equal(np.max(np.abs(x_quantized), axis=-1)[largest >= 1e-5], 127)


@given(matrices)
def test_quantization_equals_the_oracle_where_rounding_is_certain(x):
    expected, expected_scale = oracle.absmax_quantize(x.astype("float64"))
    x_quantized, scale = (np.asarray(array) for array in ops.absmax_quantize(x))
    np.testing.assert_allclose(scale, expected_scale, rtol=1e-6)
    certain = np.abs(np.abs(x / expected_scale) % 1 - 0.5) > 1e-4
    np.testing.assert_array_equal(x_quantized[certain], expected[certain])


def test_quantization_of_zeros_is_zeros():
    x_quantized, scale = ops.absmax_quantize(np.zeros((2, 3), "float32"))
    np.testing.assert_array_equal(x_quantized, np.zeros((2, 3)))
    np.testing.assert_allclose(scale, np.full((2, 1), 1e-5 / 127), rtol=1e-6)


def as_numpy(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("magnitude", [0, 1e-7, 1e-3, 1, 60000])
def test_codes_and_scales_in_low_precision_are_those_of_float32(dtype, magnitude):
    rng = np.random.default_rng(0)
    x = keras.ops.cast(magnitude * rng.uniform(-1, 1, size=(5, 64)), dtype)
    exact = as_numpy(x).astype("float32")
    for function in (ops.absmax_quantize, ops.absmean_ternarize):
        codes, scale = function(x)
        expected, expected_scale = function(exact)
        assert keras.backend.standardize_dtype(codes.dtype) == dtype
        assert keras.backend.standardize_dtype(scale.dtype) == "float32"
        np.testing.assert_array_equal(as_numpy(codes), expected)
        np.testing.assert_array_equal(scale, expected_scale)
        by_oracle, oracle_scale = getattr(oracle, function.__name__)(exact.astype("float64"))
        np.testing.assert_allclose(scale, oracle_scale, rtol=1e-6)
        assert np.mean(as_numpy(codes) == by_oracle) > 0.99, "all but what lies on a boundary"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gradients_in_low_precision(dtype):
    # The upstream gradient is small, as that of a mean over a batch is. float16 can hold it, but not its products
    # with the scales.
    rng = np.random.default_rng(0)
    x, upstream = rng.normal(size=(4, 3, 64)), 1e-4 * rng.normal(size=(4, 3, 8))
    gain, kernel = np.ones(64, "float32"), (0.02 * rng.normal(size=(64, 8))).astype("float32")
    x, upstream = (keras.ops.convert_to_numpy(keras.ops.cast(array, dtype)) for array in (x, upstream))
    low, gradients = value_and_gradients(ops.bit_linear, [x, gain, kernel], upstream)
    exact = [x.astype("float32"), gain, kernel]
    expected, expected_gradients = value_and_gradients(ops.bit_linear, exact, upstream.astype("float32"))
    for a, e in zip((low, *gradients), (expected, *expected_gradients), strict=True):
        a, e = as_numpy(a), as_numpy(e)
        assert np.all(np.isfinite(a)) and np.sqrt(np.mean((a - e) ** 2)) < 0.01 * np.sqrt(np.mean(e**2))


def test_quantization_is_without_gradient_and_the_ternary_scale_has_one():
    w = np.array([[0.3, -1.2], [0.8, 0.1]], "float32")
    # Beside `0 * w`, since torch differentiates nothing that has no gradient at all.
    for quantize in (ops.absmax_quantize, ops.absmean_ternarize):
        _, (gradient,) = value_and_gradients(
            lambda w, quantize=quantize: quantize(w)[0] + 0 * w, [w], np.ones_like(w)
        )
        np.testing.assert_array_equal(gradient, np.zeros((2, 2)))
    for factor, expected in ((1, np.sign(w) / 4), (1e-6, np.zeros((2, 2))), (1e10, np.zeros((2, 2)))):  # clipped
        _, (gradient,) = value_and_gradients(
            lambda w: ops.absmean_ternarize(w)[1], [w * np.float32(factor)], np.float32(1)
        )
        np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@given(
    hnp.arrays("float32", (3, 4), elements=finite),
    hnp.arrays("float32", (3, 4), elements=finite),
    hnp.arrays("float32", (3, 4), elements=finite),
)
def test_straight_through_has_the_value_of_one_and_the_gradient_of_the_other(x, quantized, upstream):
    value, (x_gradient, quantized_gradient) = value_and_gradients(ops.straight_through, [x, quantized], upstream)
    np.testing.assert_array_equal(value, quantized)
    np.testing.assert_array_equal(x_gradient, upstream)
    np.testing.assert_array_equal(quantized_gradient, np.zeros((3, 4)))


# The recurrence


@pytest.fixture(params=["cpu:0", "gpu:0"])
def device(request, monkeypatch):
    """The recurrence may choose its algorithm by the device; both must be right, whatever this machine has."""
    monkeypatch.setattr(keras.distribution, "list_devices", lambda *_: [request.param])


def draw_recurrence(seed, batch, time, features):
    rng = np.random.default_rng(seed)
    forget = rng.uniform(size=(batch, time, features)).astype("float32")
    candidate = rng.normal(size=(batch, time, features)).astype("float32")
    return forget, candidate, rng.normal(size=(batch, features)).astype("float32")


@pytest.mark.parametrize("batch, time, features", [(1, 1, 1), (2, 7, 3), (3, 16, 5), (2, 37, 4)])
@pytest.mark.parametrize("with_initial_state", [False, True])
def test_recurrence_equals_the_loop(device, batch, time, features, with_initial_state):
    arguments = draw_recurrence(0, batch, time, features)[: 3 if with_initial_state else 2]
    upstream = np.random.default_rng(1).normal(size=arguments[0].shape)
    states, gradients = value_and_gradients(ops.linear_recurrence, arguments, upstream.astype("float32"))
    exact = [array.astype("float64") for array in arguments]
    np.testing.assert_allclose(states, oracle.linear_recurrence(*exact), rtol=1e-5, atol=1e-6)
    for actual, expected in zip(gradients, oracle.gradients(oracle.linear_recurrence, exact, upstream), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.max(np.abs(expected)))


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), time=st.integers(2, 6), data=st.data())
def test_a_sequence_may_be_cut_anywhere(seed, time, data):
    forget, candidate, state = draw_recurrence(seed, 2, time, 3)
    cut = data.draw(st.integers(1, time - 1))
    whole = np.asarray(ops.linear_recurrence(forget, candidate, state))
    first = np.asarray(ops.linear_recurrence(forget[:, :cut], candidate[:, :cut], state))
    second = np.asarray(ops.linear_recurrence(forget[:, cut:], candidate[:, cut:], first[:, -1]))
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, rtol=1e-6, atol=1e-6)


def test_gates_at_their_ends_keep_or_replace_the_state(device):
    _, candidate, state = draw_recurrence(0, 2, 5, 3)
    kept = ops.linear_recurrence(np.ones_like(candidate), candidate, state)
    np.testing.assert_array_equal(kept, np.repeat(state[:, None], 5, axis=1))
    np.testing.assert_array_equal(ops.linear_recurrence(np.zeros_like(candidate), candidate, state), candidate)


@pytest.mark.parametrize(
    "forget, candidate, state, named",
    [
        ((2, 5, 3), (2, 4, 3), None, "candidate"),
        ((2, 5, 3), (2, 5, 4), None, "candidate"),
        ((5, 3), (5, 3), None, "forget"),
        ((2, 5, 3), (2, 5, 3), (2, 4), "initial_state"),
        ((2, 5, 3), (2, 5, 3), (3,), "initial_state"),
        ((2, 0, 3), (2, 0, 3), None, "at least one step"),
    ],
)
def test_recurrence_names_what_does_not_fit(forget, candidate, state, named):
    state = None if state is None else np.zeros(state, "float32")
    with pytest.raises(ValueError, match=named):
        ops.linear_recurrence(np.zeros(forget, "float32"), np.zeros(candidate, "float32"), state)


def test_recurrence_of_different_dtypes_has_the_wider_one():
    forget, candidate, state = draw_recurrence(0, 2, 5, 3)
    expected = ops.linear_recurrence(forget, candidate.astype("float16").astype("float32"), state)
    states = ops.linear_recurrence(forget, candidate.astype("float16"), state)
    assert keras.backend.standardize_dtype(states.dtype) == "float32"
    np.testing.assert_array_equal(states, expected)


def test_products_of_integers():
    integers = np.random.default_rng(0).integers(-9, 10, (4, 6))
    gain, kernel = np.ones(6, "float32"), np.random.default_rng(1).normal(size=(6, 3)).astype("float32")
    w_ternary, w_scale = ops.absmean_ternarize(kernel)
    w_ternary = np.asarray(w_ternary).astype("int8").T
    for x, function in (
        (integers, ops.rms_normalize),
        (integers, lambda x: ops.bit_linear(x, gain, kernel)),
        (integers, lambda x: ops.ternary_linear(x, gain, w_ternary, w_scale)),
    ):
        np.testing.assert_array_equal(function(x), function(x.astype("float32")))


# Patches


@st.composite
def images_and_patch_size(draw):
    # Batch, rows, columns, patch size and channels.
    batch, rows, columns, patch_size, channels = draw(
        st.sampled_from([(1, 1, 1, 1, 1), (2, 1, 3, 2, 3), (1, 4, 2, 3, 1), (3, 2, 2, 4, 4), (2, 3, 4, 1, 2)])
    )
    dtype = draw(st.sampled_from(["uint8", "int32", "float32", "float16", "bool"]))
    shape = batch, rows * patch_size, columns * patch_size, channels
    seed = draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).integers(0, 256, size=shape).astype(dtype), patch_size


@given(images_and_patch_size())
def test_patches_are_in_raster_order_and_invertible(drawn):
    images, patch_size = drawn
    patches = np.asarray(ops.patchify(images, patch_size))
    assert patches.dtype == images.dtype
    np.testing.assert_array_equal(patches, oracle.patches(images, patch_size))
    restored = np.asarray(ops.unpatchify(patches, patch_size, *images.shape[1:3]))
    assert restored.dtype == images.dtype
    np.testing.assert_array_equal(restored, images)


@given(images_and_patch_size())
def test_unpatchify_is_the_right_inverse_too(drawn):
    images, patch_size = drawn
    height, width = images.shape[1:3]
    patches = oracle.patches(images, patch_size)
    restored = ops.unpatchify(patches, patch_size, height, width)
    np.testing.assert_array_equal(ops.patchify(restored, patch_size), patches)


STRIDES = [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3), (3, 4), (6, 2), (6, 4), (5, 7)]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("patch_size, strides", STRIDES)
@pytest.mark.parametrize("size", [(6, 6), (7, 10), (9, 6)], ids=str)
def test_overlapping_patches_are_the_windows_of_a_convolution(size, patch_size, strides, padding):
    images = np.random.default_rng(0).integers(-99, 99, size=(2, *size, 3)).astype("float32")
    patches = np.asarray(ops.patchify(images, patch_size, strides, padding))
    rows, columns = ops.patch_grid(*size, patch_size, strides, padding)
    np.testing.assert_array_equal(patches, oracle.patches(images, patch_size, strides, padding))
    kernel = np.random.default_rng(1).integers(-9, 9, size=(patch_size, patch_size, 3, 4)).astype("float32")
    product = (patches @ kernel.reshape(-1, 4)).reshape(2, rows, columns, 4)  # of whole numbers, and so exact
    np.testing.assert_array_equal(product, keras.ops.conv(images, kernel, strides, padding))


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_gradients_of_overlapping_patches(padding):
    images = np.random.default_rng(0).normal(size=(2, 5, 4, 2)).astype("float32")
    upstream = np.random.default_rng(1).normal(size=oracle.patches(images, 3, 2, padding).shape).astype("float32")
    _, (gradient,) = value_and_gradients(lambda x: ops.patchify(x, 3, 2, padding), [images], upstream)
    (expected,) = oracle.gradients(lambda x: oracle.patches(x, 3, 2, padding), [images], upstream)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "bool"])
def test_overlapping_patches_keep_the_dtype(dtype):
    images = np.random.default_rng(0).integers(0, 2, size=(2, 5, 4, 2)).astype(dtype)
    patches = np.asarray(ops.patchify(images, 3, 2, "same"))
    assert patches.dtype == dtype
    np.testing.assert_array_equal(patches, oracle.patches(images, 3, 2, "same"))


def test_strides_of_a_patch_leave_the_rest_of_an_image_out():
    images = np.random.default_rng(0).normal(size=(1, 5, 7, 2)).astype("float32")
    np.testing.assert_array_equal(ops.patchify(images, 2, 2), oracle.patches(images[:, :4, :6], 2))


@pytest.mark.parametrize("strides", [0, -1, 2.0, "2", True])
def test_strides_that_are_no_positive_integer_are_refused(strides):
    with pytest.raises(ValueError, match=f"`strides` must be a positive integer. Received: strides={strides!r}"):
        ops.patchify(np.zeros((1, 4, 4, 3)), 2, strides)


def test_another_padding_is_refused():
    with pytest.raises(ValueError, match="`padding` must be 'valid' or 'same'. Received: padding='full'"):
        ops.patchify(np.zeros((1, 4, 4, 3)), 2, 1, "full")


@pytest.mark.parametrize("height, width", [(2, 5), (5, 2)])
def test_without_padding_a_patch_fits_into_an_image(height, width):
    with pytest.raises(ValueError, match=f"`patch_size`=3. Received: height={height}, width={width}"):
        ops.patchify(np.zeros((1, height, width, 3)), 3, 1)


def test_patches_of_one_known_image():
    image = np.arange(2 * 4).reshape(1, 2, 4, 1)
    np.testing.assert_array_equal(ops.patchify(image, 2), [[[0, 1, 4, 5], [2, 3, 6, 7]]])


@pytest.mark.parametrize("height, width", [(5, 4), (4, 5), (3, 3), (2, 3)])
def test_an_image_that_patches_do_not_fill_is_refused(height, width):
    with pytest.raises(ValueError, match=rf"(?s)patch_size.*{height}.*{width}"):
        ops.patchify(np.zeros((1, height, width, 3)), 2)


@pytest.mark.parametrize("patch_size", [0, -2, 2.0, "2", None])
def test_a_patch_size_that_is_no_positive_integer_is_refused(patch_size):
    with pytest.raises(ValueError, match="patch_size"):
        ops.patchify(np.zeros((1, 4, 4, 3)), patch_size)
    with pytest.raises(ValueError, match="patch_size"):
        ops.unpatchify(np.zeros((1, 4, 12)), patch_size, 4, 4)


def test_one_image_without_batch_is_refused():
    with pytest.raises(ValueError, match="images"):
        ops.patchify(np.zeros((4, 4, 3)), 2)


@pytest.mark.parametrize("shape", [(1, 5, 12), (1, 4, 13), (4, 12)])
def test_patches_that_form_no_such_image_are_refused(shape):
    with pytest.raises(ValueError, match="patches"):
        ops.unpatchify(np.zeros(shape), 2, height=4, width=4)


@pytest.mark.parametrize("height, width", [(3, 4), (4, 0), (-4, 4)])
def test_no_image_of_an_impossible_size(height, width):
    with pytest.raises(ValueError, match="height|width"):
        ops.unpatchify(np.zeros((1, 4, 12)), 2, height=height, width=width)
