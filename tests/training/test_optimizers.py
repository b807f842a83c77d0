"""`mml.training.optimizers`: which weights decay, and when that ends."""

import keras
import numpy as np
import pytest

from mml.layers import RMSNorm
from mml.training.optimizers import AdamW, Muon

RATE, DECAY = 0.1, 0.2
OPTIMIZERS = pytest.mark.parametrize("optimizer", [AdamW, Muon])
X = np.zeros((2, 4), "float32")


def without_gradients(y_true, y_pred):
    """A loss that leaves the weights to the decay alone: an update of either algorithm is then 0."""
    return 0.0 * keras.ops.mean(y_pred, axis=-1)


def model_of_weights(optimizer, weight_decay=DECAY, **kwargs):
    """Kernels of two and three axes, gains of one and two axes, a bias of two axes, and a table; none of them 0."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Embedding(3, 4, name="table"),  # [B, 4, 4]
            RMSNorm(use_bias=True, name="norm_of_positions"),
            RMSNorm(per_feature_gain=True, name="norm"),
            keras.layers.Dense(5, name="hidden"),
            keras.layers.EinsumDense("bnd,dhk->bnhk", (4, 2, 3), bias_axes="hk", name="heads"),
            keras.layers.Flatten(),
            keras.layers.Dense(2, name="head"),
        ]
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(1, 2, size=weight.shape) for weight in model.weights])
    model.compile(optimizer(weight_decay=weight_decay, **kwargs), without_gradients)
    return model


def weights_of(model):
    """By the layer's name and the weight's; a loaded model's paths begin without the name of the model."""
    return {"/".join(weight.path.split("/")[-2:]): keras.ops.convert_to_numpy(weight) for weight in model.weights}


def train_steps(model, steps):
    model.fit(X, X[:, 0], batch_size=len(X), epochs=steps, verbose=0)


DECAYING = {"table/embeddings", "hidden/kernel", "heads/kernel", "head/kernel"}


def assert_decayed(model, before, factor):
    after = weights_of(model)
    assert DECAYING < after.keys() == before.keys()
    for path in after:
        np.testing.assert_allclose(
            after[path], before[path] * (factor if path in DECAYING else 1.0), rtol=1e-5, err_msg=path
        )


@OPTIMIZERS
def test_kernels_and_tables_decay_and_nothing_else_within_the_compiled_step(optimizer):
    model = model_of_weights(optimizer, learning_rate=RATE, decay_steps=3)
    before = weights_of(model)
    for step in range(1, 6):
        train_steps(model, 1)
        assert_decayed(model, before, (1 - RATE * DECAY) ** min(step, 3))
    assert int(model.optimizer.iterations) == 5


@OPTIMIZERS
def test_decay_follows_the_learning_rate(optimizer):
    schedule = keras.optimizers.schedules.PolynomialDecay(RATE, decay_steps=4, end_learning_rate=0.0)
    model = model_of_weights(optimizer, learning_rate=schedule, decay_steps=3)
    before = weights_of(model)
    train_steps(model, 4)
    assert_decayed(model, before, np.prod([1 - DECAY * RATE * (1 - step / 4) for step in range(3)]))


@OPTIMIZERS
def test_a_saved_optimizer_ends_decay_at_the_same_step(optimizer, tmp_path):
    model = model_of_weights(optimizer, learning_rate=RATE, decay_steps=3)
    before = weights_of(model)
    train_steps(model, 2)
    model.save(tmp_path / "model.keras")
    custom = {"without_gradients": without_gradients}
    loaded = keras.models.load_model(tmp_path / "model.keras", custom_objects=custom)
    assert type(loaded.optimizer) is optimizer
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    train_steps(loaded, 3)
    assert_decayed(loaded, before, (1 - RATE * DECAY) ** 3)


@OPTIMIZERS
def test_no_step_decays(optimizer):
    model = model_of_weights(optimizer, learning_rate=RATE, decay_steps=0)
    before = weights_of(model)
    train_steps(model, 2)
    assert_decayed(model, before, 1.0)


def test_muon_without_weight_decay():
    model = model_of_weights(Muon, learning_rate=RATE, decay_steps=3, weight_decay=None)
    before = weights_of(model)
    train_steps(model, 2)
    assert_decayed(model, before, 1.0)


@OPTIMIZERS
def test_weights_can_be_left_out(optimizer):
    model = model_of_weights(optimizer, learning_rate=RATE, decay_steps=3)
    model.optimizer.exclude_from_weight_decay(var_names=["kernel", "embeddings"])
    before = weights_of(model)
    train_steps(model, 2)
    assert_decayed(model, before, 1.0)


@OPTIMIZERS
@pytest.mark.parametrize("steps", [-1, 2.5, True, None, "3"])
def test_decay_steps_are_named_when_wrong(optimizer, steps):
    with pytest.raises(ValueError, match="`decay_steps` must be an integer of at least 0. Received: decay_steps="):
        optimizer(RATE, decay_steps=steps)


def test_muon_has_one_weight_decay():
    with pytest.raises(TypeError, match="adam_weight_decay"):
        Muon(RATE, decay_steps=3, adam_weight_decay=0.1)
