import itertools
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers, ops

from mml import costs
from mml.costs import count_bytes, count_operations, counting, energy
from mml.layers import DenseMML
from mml.models import (
    VisionMLGRUConfig,
    VisionTransformerConfig,
    attention_vision_transformer,
    float_vision_mlgru,
    float_vision_transformer,
    vision_mlgru,
    vision_transformer,
)
from mml.ops import linear_recurrence
from mml.packing import load_packed, save_packed

SMALL = VisionTransformerConfig(
    input_shape=(8, 8, 3),
    num_classes=3,
    image_size=12,
    patch_size=6,
    projection_dim=10,
    transformer_layers=2,
    num_heads=2,
    head_units=(16, 7),
)


class Compute(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)

    def compute_output_shape(self, input_shape):
        return input_shape  # Keras would try the function on a batch of unknown size


def sequential(shape, *stack):
    return keras.Sequential([keras.Input(shape), *stack])


def counts(model):
    return count_operations(model).set_index(["operation", "dtype"])["count"].to_dict()


def packed(model, folder):
    save_packed(model, folder / "model.safetensors")
    return load_packed(folder / "model.safetensors")


def ternary_layers(model):
    return [layer for layer in model._flatten_layers() if isinstance(layer, DenseMML)]


@pytest.fixture
def only_products_multiply(monkeypatch):
    monkeypatch.setattr(counting, "_ELEMENTWISE", dict.fromkeys(counting._ELEMENTWISE, "function"))


# === Single layers ===


def test_dense_layer_adds_and_multiplies_for_each_weight_and_row():
    assert counts(sequential((5, 4), layers.Dense(3, activation="tanh"))) == {
        ("addition", "float32"): 5 * (4 * 3 + 3),
        ("multiplication", "float32"): 5 * 4 * 3,
        ("function", "float32"): 5 * 3,
    }


@pytest.mark.parametrize("rows", [(), (5,)])
def test_packed_layer_adds_once_for_each_nonzero_weight_and_row(rows, tmp_path):
    features, units = 6, 4
    model = packed(sequential((*rows, features), DenseMML(units)), tmp_path)
    w_ternary, _ = model.layers[0].ternary_kernel()
    found, rows = counts(model), int(np.prod(rows))
    assert 0 < np.count_nonzero(w_ternary) < features * units
    assert found["addition", "int32"] == rows * np.count_nonzero(w_ternary)
    # The norm's squares and their sum, and the bias.
    assert found["addition", "float32"] == rows * (features - 1 + units)
    # Squares, norm, gain, rounding, and the scales of the result; one factor per row in the norm and in the scales.
    assert found["multiplication", "float32"] == rows * (4 * features + units + 2)
    assert not [dtype for operation, dtype in found if operation == "multiplication" and dtype != "float32"]


def test_layer_that_is_not_packed_rounds_its_kernel_once_for_each_call():
    features, units, rows = 6, 4, 5
    found = counts(sequential((rows, features), DenseMML(units)))
    kernel = features * units
    row = {"multiplication": kernel + 4 * features + units + 2, "addition": kernel + features - 1 + units}
    # The kernel is divided by its mean absolute value.
    assert found["multiplication", "float32"] == rows * row["multiplication"] + kernel
    assert found["addition", "float32"] == rows * row["addition"] + kernel - 1
    assert ("addition", "int32") not in found


def test_integer_matrix_that_is_not_ternary_is_multiplied():
    class Integers(layers.Layer):
        def build(self, input_shape):
            self.matrix = self.add_weight(shape=(4, 3), dtype="int8", initializer="ones", trainable=False)

        def call(self, x):
            return ops.matmul(ops.cast(x, "int8"), self.matrix)  # int32

    model = sequential((4,), Integers())
    assert counts(model) == {("addition", "int32"): 12, ("comparison", "float32"): 4}
    model.layers[0].matrix.assign(np.full((4, 3), 2))
    assert counts(model) == {
        ("addition", "int32"): 12,
        ("multiplication", "int8"): 12,
        ("comparison", "float32"): 4,
    }


def test_attention_compares_each_token_with_each(only_products_multiply):
    tokens, features, heads, key_dim = 7, 6, 3, 5
    x = keras.Input((tokens, features))
    model = keras.Model(x, layers.MultiHeadAttention(heads, key_dim)(x, x))
    width = heads * key_dim
    projections, scores = 4 * tokens * features * width, 2 * tokens**2 * width
    assert counts(model)["multiplication", "float32"] == projections + scores


def test_convolution_multiplies_its_kernel_at_each_position():
    model = sequential((9, 8, 4), layers.Conv2D(6, (3, 2), groups=2, strides=2, use_bias=False))
    assert counts(model)["multiplication", "float32"] == (4 * 4 * 6) * (3 * 2 * 4 // 2)


def test_pooling_compares_or_adds():
    assert counts(sequential((6, 6, 2), layers.MaxPooling2D(3))) == {("comparison", "float32"): 2 * 2 * 2 * 8}
    assert counts(sequential((6, 6, 2), layers.AveragePooling2D(3)))["addition", "float32"] == 2 * 2 * 2 * 8


def test_loop_of_known_length_is_counted_at_each_step():
    time, features, units = 5, 4, 3
    found = counts(sequential((time, features), layers.SimpleRNN(units)))
    assert found["multiplication", "float32"] == time * (features * units + units**2)
    assert found["function", "float32"] == time * units


class Loop(layers.Layer):
    """Multiplies with an integer matrix in each step of a loop: with the same one, or with one that changes."""

    def __init__(self, changes):
        super().__init__()
        self.changes = changes

    def build(self, input_shape):
        self.matrix = self.add_weight(shape=(4, 4), dtype="int8", initializer="ones", trainable=False)

    def call(self, x):
        def step(matrix, row):
            return -matrix, ops.matmul(row, matrix if self.changes else self.matrix)

        rows = ops.swapaxes(ops.cast(x, "int8"), 0, 1)  # [T, B, 4]
        _, products = ops.scan(step, ops.convert_to_tensor(self.matrix), rows)
        return ops.swapaxes(products, 0, 1)


def test_only_what_stays_the_same_in_a_loop_is_a_ternary_weight():
    same, changing = (counts(sequential((5, 4), Loop(changes))) for changes in (False, True))
    assert same["addition", "int32"] == changing["addition", "int32"] == 5 * 16
    assert ("multiplication", "int8") not in same
    assert changing["multiplication", "int8"] == 5 * 16


def test_recurrence_multiplies_twice_for_each_value(monkeypatch):
    monkeypatch.setattr("mml.ops.hardware.device_is_cpu", lambda: True)
    found = counts(sequential((5, 4), Compute(lambda x: linear_recurrence(x, x))))
    assert found == {("addition", "float32"): 2 * 20, ("multiplication", "float32"): 2 * 20}


def test_of_two_branches_the_costlier_is_counted():
    def branch(x):
        return ops.cond(ops.any(x > 0), lambda: x * x * x, lambda: -x)

    found = counts(sequential((4,), Compute(branch)))
    assert found["multiplication", "float32"] == 8


@pytest.mark.parametrize("swapped", [False, True])
def test_bytes_do_not_make_a_branch_dearer(swapped):
    def additions(x):
        return x + x + x + x  # 12 operations, no product

    def product(x):
        # 8 operations. With the bytes that enter and leave the product, the number would be larger.
        return ops.broadcast_to(ops.matmul(x, ops.ones((4, 1))), ops.shape(x))

    def branch(x):
        return ops.cond(ops.any(x > 0), *[lambda f=f: f(x) for f in (additions, product)[:: -1 if swapped else 1]])

    model = sequential((4,), Compute(branch))
    assert counts(model)["addition", "float32"] == 12
    assert ("multiplication", "float32") not in counts(model)
    assert count_bytes(model).empty


def test_powers_are_multiplications_and_roots_functions():
    assert counts(sequential((4,), Compute(lambda x: ops.sqrt(x**5) + x**-2))) == {
        ("multiplication", "float32"): 3 * 4,  # x², x⁴, x⁴ * x
        ("function", "float32"): 2 * 4,
        ("addition", "float32"): 4,
    }


@pytest.mark.parametrize(
    ("names", "operation"),
    [
        ("add subtract cumsum", "addition"),
        ("multiply square cumprod", "multiplication"),
        ("divide exp expm1 log log1p sqrt rsqrt sin cos tan tanh sinh cosh arctan arcsinh erf sigmoid", "function"),
        ("maximum minimum abs sign negative round floor ceil less greater_equal equal isfinite", "comparison"),
    ],
)
def test_each_value_costs_one_operation(names, operation):
    for name in names.split():
        function = getattr(ops, name)
        takes_two = name in "add subtract multiply divide maximum minimum less greater_equal equal".split()
        found = counts(sequential((4,), Compute(lambda x, f=function, two=takes_two: f(x, x) if two else f(x))))
        assert found == {(operation, "float32"): 4}, name


@pytest.mark.parametrize(
    ("name", "operation"),
    [("sum", "addition"), ("prod", "multiplication"), ("max", "comparison"), ("min", "comparison")],
)
def test_a_reduction_costs_one_operation_less_than_it_has_values(name, operation):
    function = getattr(ops, name)
    assert counts(sequential((5, 4), Compute(lambda x: function(x, axis=-1)))) == {(operation, "float32"): 5 * 3}


def test_moving_data_costs_nothing():
    assert count_operations(sequential((4, 6), layers.Permute((2, 1)), layers.Flatten())).empty


# === Whole models ===


def products(config):
    """Multiplications in the products around the blocks, for one image."""
    height, width, channels = config.input_shape
    enlarge = config.image_size * channels * (height * width + config.image_size * width)
    tokens = config.num_patches
    embed = tokens * config.patch_size**2 * channels * config.projection_dim
    sizes = (tokens * config.projection_dim, *config.head_units, config.num_classes)
    head = sum(before * after for before, after in itertools.pairwise(sizes))
    return enlarge + embed + head


def test_products_of_the_float_model(only_products_multiply):
    tokens, width = SMALL.num_patches, SMALL.projection_dim
    # Three gates and an output; gate, up and down, twice as wide as a token.
    block = tokens * width**2 * (3 + 1 + 3 * 2)
    expected = products(SMALL) + SMALL.transformer_layers * block
    assert counts(float_vision_transformer(SMALL))["multiplication", "float32"] == expected


def test_products_of_the_attention_model(only_products_multiply):
    tokens, width = SMALL.num_patches, SMALL.projection_dim
    # Each head is as wide as a token: query, key, value and output; the scores and what they weigh.
    attention = 4 * tokens * width**2 * SMALL.num_heads + 2 * tokens**2 * width * SMALL.num_heads
    expected = products(SMALL) + SMALL.transformer_layers * (attention + 2 * tokens * width * 2 * width)
    assert counts(attention_vision_transformer(SMALL))["multiplication", "float32"] == expected


def test_packed_model_adds_where_the_float_model_multiplies(tmp_path):
    model = packed(vision_transformer(SMALL), tmp_path)
    head = len(SMALL.head_units)  # after the tokens are one long vector
    kernels = [np.count_nonzero(layer.ternary_kernel()[0]) for layer in ternary_layers(model)]
    nonzeros = SMALL.num_patches * sum(kernels[:-head]) + sum(kernels[-head:])
    positions = SMALL.num_patches  # their numbers are brought into range
    assert counts(model)["addition", "int32"] == nonzeros + positions


def test_packed_model_multiplies_as_floats_only_what_is_not_ternary(tmp_path, only_products_multiply):
    height, width, channels = SMALL.input_shape
    enlarge = SMALL.image_size * channels * (height * width + SMALL.image_size * width)
    found = counts(packed(vision_transformer(SMALL), tmp_path))
    assert {key: n for key, n in found.items() if key[0] == "multiplication"} == {
        ("multiplication", "float32"): enlarge + SMALL.head_units[-1] * SMALL.num_classes
    }


SMALL_MLGRU = VisionMLGRUConfig(
    input_shape=(8, 12, 3), num_classes=3, stem_units=5, merge_size=3, embedding_dim=10, ffn_dim=14, num_blocks=3
)


def test_products_of_the_float_model_made_for_images(only_products_multiply):
    patches, tokens, width = 4 * 6, 2 * 3, SMALL_MLGRU.embedding_dim
    stem = patches * 6 * 6 * 3 * SMALL_MLGRU.stem_units + tokens * 3 * 3 * SMALL_MLGRU.stem_units * width
    block = tokens * width * (4 * width + 3 * SMALL_MLGRU.ffn_dim)
    assert counts(float_vision_mlgru(SMALL_MLGRU))["multiplication", "float32"] == stem + 3 * block + width * 3


def test_no_linear_layer_of_the_packed_model_made_for_images_multiplies_but_the_last(
    tmp_path, only_products_multiply
):
    model = packed(vision_mlgru(SMALL_MLGRU), tmp_path)
    found = counts(model)
    last = SMALL_MLGRU.embedding_dim * SMALL_MLGRU.num_classes
    assert {key: n for key, n in found.items() if key[0] == "multiplication"} == {("multiplication", "float32"): last}
    stem, *others = (np.count_nonzero(layer.ternary_kernel()[0]) for layer in ternary_layers(model))
    assert len(others) == 1 + 4 * SMALL_MLGRU.num_blocks
    patches, tokens = 4 * 6, 2 * 3
    assert found["addition", "int32"] == patches * stem + tokens * sum(others)


# === Bytes and energy ===


def test_bytes_of_weights_and_of_what_enters_and_leaves_a_product():
    model = sequential((5, 4), layers.Dense(3), layers.LayerNormalization(), layers.Dense(2, dtype="bfloat16"))
    assert count_bytes(model).set_index(["data", "dtype"])["bytes"].to_dict() == {
        ("activations", "bfloat16"): 5 * (3 + 2) * 2,
        ("activations", "float32"): 5 * (4 + 3) * 4,
        ("weights", "bfloat16"): (3 * 2 + 2) * 2,
        ("weights", "float32"): (4 * 3 + 3 + 2 * 3) * 4,
    }


def test_ternary_weights_have_the_bytes_of_the_packed_file(tmp_path):
    model = packed(sequential((6,), DenseMML(4)), tmp_path)
    assert count_bytes(model).set_index(["data", "dtype"])["bytes"].to_dict() == {
        ("activations", "int8"): 6,
        ("activations", "int32"): 4 * 4,
        ("weights", "ternary"): 5,  # of 24 weights
        ("weights", "float32"): (6 + 4 + 1) * 4,  # gain, bias, scale
    }


def test_the_figures_are_the_published_ones():
    # Horowitz, ISSCC 2014, figure 1.1.9, in picojoules.
    assert costs.HOROWITZ_PJ == {
        **{"int8 addition": 0.03, "int32 addition": 0.1, "float16 addition": 0.4, "float32 addition": 0.9},
        **{"int8 multiplication": 0.2, "int32 multiplication": 3.1},
        **{"float16 multiplication": 1.1, "float32 multiplication": 3.7},
        **{"8 bytes from a cache of 8 KB": 10, "8 bytes from a cache of 32 KB": 20},
        **{"8 bytes from a cache of 1 MB": 100, "8 bytes from DRAM": 1300},
    }


def test_energy_is_that_of_the_published_figures():
    operations = pd.DataFrame(
        [
            ("addition", "int32", 10),
            ("addition", "float32", 10),
            ("multiplication", "bfloat16", 10),
            ("function", "float32", 10),
            ("comparison", "bool", 100),
        ],
        columns=["operation", "dtype", "count"],
    )
    memory = pd.DataFrame(
        [("weights", "ternary", 80), ("weights", "float32", 8), ("activations", "int8", 16)],
        columns=["data", "dtype", "bytes"],
    )
    found = energy(operations, memory).set_index(["part", "kind"])["microjoules"].to_dict()
    assert found == pytest.approx(
        {
            ("arithmetic", "addition"): 10e-6,
            ("arithmetic", "multiplication"): 11e-6,
            ("arithmetic", "function"): 37e-6,
            ("arithmetic", "comparison"): 3e-6,
            ("memory", "weights"): 11 * 1300e-6,
            ("memory", "activations"): 2 * 100e-6,
        }
    )


# === Errors ===


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (ops.sort, "known cost.* 'sort'"),
        (lambda x: ops.while_loop(lambda x: ops.any(x < 9), lambda x: (x + 1,), (x,))[0], "known cost.* 'while'"),
        (
            lambda x: ops.matmul(x, ops.transpose(x)),
            "each image separately.* the third image costs {.*} and the fourth {.*}",
        ),
    ],
)
def test_what_cannot_be_counted_is_named(function, message):
    with pytest.raises(ValueError, match=message):
        count_operations(sequential((4,), Compute(function)))


def test_input_has_to_be_known():
    left, right = keras.Input((4,)), keras.Input((4,))
    for model in (
        keras.Sequential([layers.Dense(3)]),
        sequential((None, 4), layers.Dense(3)),
        keras.Sequential([keras.Input(batch_shape=(2, 4)), layers.Dense(3)]),
        keras.Model([left, right], layers.Add()([left, right])),
    ):
        with pytest.raises(
            ValueError, match="must have one input whose shape is known except for the batch size. Received"
        ):
            count_bytes(model)


def test_type_without_a_figure_is_named():
    operations = pd.DataFrame([("addition", "float64", 1)], columns=["operation", "dtype", "count"])
    with pytest.raises(ValueError, match="known energy. Received: addition of float64"):
        energy(operations, pd.DataFrame(columns=["data", "dtype", "bytes"]))


def test_other_backends_are_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(RuntimeError, match="must be 'jax'. Received: 'torch'"):
        count_operations(sequential((4,), layers.Dense(3)))


@pytest.mark.parametrize("package", ["jax", "pandas"])
def test_a_package_that_is_missing_is_named_before_anything_is_counted(monkeypatch, package):
    model = sequential((4,), layers.Dense(3))
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(counting, "_cost_of_batch", lambda *args: pytest.fail("counted"))
    message = f"`mml.costs` needs {package}. Install it with: pip install 'mml-vision\\[book\\]'"
    for function in (count_operations, count_bytes):
        with pytest.raises(ImportError, match=message):
            function(model)
    if package == "pandas":
        with pytest.raises(ImportError, match=message):
            energy(pd.DataFrame(), pd.DataFrame())
