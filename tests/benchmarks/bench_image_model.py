"""Measure the speed of the model made for images: `make bench`, or

    python -m pytest -p no:randomly tests/benchmarks/bench_image_model.py

This takes a few minutes and writes `image_model_speed.csv`. With `--benchmark-disable` everything is done once and no
table is written. No test asserts anything about time. All models work in this process, and take turns in each round.

Its columns are those of the other speed tables (see `speed_tables`), except for `batch_size`. Its contenders are:

- `ternary`: the default `mml.models.vision_mlgru`.
- `packed`: the same model after `mml.packing.pack`, which can only predict.
- `float`: its twin `mml.models.float_vision_mlgru`, in which nothing is rounded.
- `attention`: `mml.models.attention_vision_transformer`, which is of the seed's size and many times larger.
- `limit`: the least time that a training step of `ternary` could take here, see `limit`.

`training_step` is a compiled step, from images in NumPy arrays to updated weights, at the recipe's batch size. The
recipe is `mml.training.RECIPES[0.1]`, but the seed's for `attention`, which is AdamW. `prediction_step` is a call of
`predict_on_batch`. `ours` in a column's name is `ternary` in training and `packed` in predictions.
"""

import limit
import pytest
import speed_tables
from rounds import interleave, timed, warm_up

from mml.data import load_cifar10
from mml.models import attention_vision_transformer, float_vision_mlgru, vision_mlgru
from mml.packing import pack
from mml.training import RECIPES, TrainingConfig, compile_model

RECIPE = RECIPES[0.1]
TRAINING_ROUNDS = 20
PREDICTION_ROUNDS = 100

# The warning that digits replace CIFAR-10, which the table says.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("memory_kept", "compiled_for_users")]


@pytest.fixture(scope="module")
def data():
    return load_cifar10(0.01)


def test_training_step(benchmark, data):
    recipes = {
        "ternary": (vision_mlgru, RECIPE),
        "float": (float_vision_mlgru, RECIPE),
        "attention": (attention_vision_transformer, TrainingConfig()),
    }
    batch = data.x_train[: RECIPE.batch_size], data.y_train[: RECIPE.batch_size]
    models, measures = {}, {"gemm": timed(limit.gemm()), "copy": timed(limit.copy())}
    for name, (build, recipe) in recipes.items():
        models[name] = build(images=data.x_train)
        compile_model(models[name], recipe, steps=1000)  # the number changes rates, not times
        measures[name] = timed(training_step(models[name], batch))
    seconds = interleave(benchmark, measures, TRAINING_ROUNDS, warm_up, target="ternary")
    notes = {"attention": f"{models['attention'].count_params():,} weights, trained by AdamW"}
    seconds["limit"], notes["limit"] = limit.least_seconds(
        models["ternary"], RECIPE.batch_size, seconds.pop("gemm"), seconds.pop("copy")
    )
    if benchmark.enabled:
        write("training_step", RECIPE.batch_size, seconds, "ternary", notes, data)


@pytest.mark.parametrize("batch_size", [1, 32])
def test_prediction_step(benchmark, data, batch_size):
    ternary = vision_mlgru(images=data.x_train)
    models = {
        "packed": pack(ternary),
        "ternary": ternary,
        "float": float_vision_mlgru(images=data.x_train),
        "attention": attention_vision_transformer(images=data.x_train),
    }
    x = data.x_train[:batch_size]
    measures = {name: timed(lambda model=model: model.predict_on_batch(x)) for name, model in models.items()}
    seconds = interleave(benchmark, measures, PREDICTION_ROUNDS, warm_up, target="packed")
    notes = {"attention": f"{models['attention'].count_params():,} weights"}
    if benchmark.enabled:
        write("prediction_step", batch_size, seconds, "packed", notes, data)


def training_step(model, batch):
    """Return a function that trains a model on a batch, and returns what a step changes."""

    def run():
        model.train_on_batch(*batch)
        return [variable.value for variable in model.variables]

    return run


def write(measure, batch_size, seconds, ours, notes, data):
    """Write the rows of one measure from `{contender: array of seconds}`."""
    rows = [
        {"measure": measure, "batch_size": batch_size, "contender": name, "unit": "s"}
        | speed_tables.compare(values, seconds[ours], percentiles=(25, 75))
        | {"note": notes.get(name, "")}
        for name, values in seconds.items()
    ]
    speed_tables.write("image_model_speed", rows, data)
