"""What the limit counts, beside the products in JAX's own program of a training step, and counts by hand."""

import math

import jax
import keras
import limit
import numpy as np
import pytest

from mml.layers import DenseMML
from mml.models import Augmentation, VisionMLGRUConfig, float_vision_mlgru, vision_mlgru
from mml.training import TrainingConfig, compile_model

# All sizes differ, so that none can be taken for another.
MODEL = VisionMLGRUConfig(
    input_shape=(12, 8, 3), stem_units=6, embedding_dim=16, ffn_dim=22, num_blocks=2, augmentation=Augmentation()
)
MUON = TrainingConfig(MODEL, batch_size=5, optimizer="muon")
ADAMW = TrainingConfig(MODEL, batch_size=5)


def products(jaxpr):
    """Count the operations of all matrix products in a program, and in those that it calls."""
    flops = 0
    for equation in jaxpr.eqns:
        if equation.primitive is jax.lax.dot_general_p:
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            flops += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
        values = jax.tree.leaves(list(equation.params.values()))
        flops += sum(products(called) for called in values if hasattr(called, "eqns"))
    return flops


def training_step(model, images):
    model.optimizer.build(model.trainable_variables)
    batch = np.zeros((images, *model.input_shape[1:]), "float32"), np.zeros((images, 1), "uint8")
    model.train_on_batch(*batch)  # builds the metrics
    state = tuple(
        [variable.value for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    )
    return jax.make_jaxpr(model.train_step)(state, batch).jaxpr


@pytest.mark.parametrize("build", [vision_mlgru, float_vision_mlgru])
@pytest.mark.parametrize("recipe", [MUON, ADAMW], ids=["muon", "adamw"])
def test_products_are_those_of_the_program(build, recipe):
    model = build(MODEL)
    compile_model(model, recipe, steps=10)
    program = training_step(model, recipe.batch_size)
    counted = limit.matrix_product_flops(model, recipe.batch_size) + limit.newton_schulz_flops(model.optimizer)
    # The gain of the first layer: the limit leaves this product out.
    rows, columns = MODEL.patch_grid
    left_out = 2 * recipe.batch_size * rows * columns * math.prod(model.get_layer("stem").kernel.shape)
    assert counted + left_out == products(program)


def test_the_moments_that_are_read_and_written():
    model = keras.Sequential([keras.Input((4,)), DenseMML(6), keras.layers.Dense(3)])
    sizes = {"kernel": 4 * 6, "bias": 6, "gain": 4, "last kernel": 6 * 3, "last bias": 3}
    compile_model(model, MUON, steps=10)
    model.optimizer.build(model.trainable_variables)
    by_adam = sum(sizes.values()) - sizes["kernel"]
    # A weight is read and written, and so is each of its moments; its gradient is read.
    expected = 4 * (5 * sizes["kernel"] + 7 * by_adam)
    assert limit.optimizer_bytes(model.optimizer, model.trainable_variables) == expected


def test_the_limit_is_the_time_of_products_and_of_memory():
    model = keras.Sequential([keras.Input((4,)), DenseMML(6), keras.layers.Dense(3)])
    compile_model(model, MUON, steps=10)
    seconds, note = limit.least_seconds(model, 10, np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    model_flops = 2 * 10 * (2 * 4 * 6 + 3 * 6 * 3)
    muon_flops = 5 * 2 * (4 * 4 * 6 + 4 * 4 * 4 + 4 * 4 * 6)
    size = 4 * (5 * 24 + 7 * 31)
    of_products = (model_flops + muon_flops) / (2 * 2048**3)
    np.testing.assert_allclose(seconds, [of_products + size / 2**28, 2 * of_products + size / 2**28])
    assert "of Muon" in note
