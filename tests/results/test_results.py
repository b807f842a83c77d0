"""The scripts that measured the tables: each writes a table of the same form, here from a small model on noise."""

import dataclasses
import subprocess
import types
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mml.presets
from mml import models
from mml.costs import count_bytes, count_operations, energy
from mml.data import CIFAR10_CLASSES, ImageDataset
from mml.models import VisionMLGRUConfig, VisionTransformerConfig, float_vision_mlgru, vision_mlgru
from mml.packing import load_packed, save_packed
from mml.training import RECIPES, TrainingConfig, compile_model
from mml_book.results import __main__ as results
from mml_book.results import comparison, image_model, inference, preset, search, seeds
from mml_book.results.table import agree, fingerprint, read_recipe

MODEL = VisionTransformerConfig(image_size=24, projection_dim=8, num_heads=2, transformer_layers=1, head_units=(8,))
CONFIG = TrainingConfig(MODEL, epochs=2, batch_size=8)
RECIPE = dataclasses.replace(
    RECIPES[0.1],
    model=VisionMLGRUConfig(stem_units=4, embedding_dim=8, ffn_dim=8, num_blocks=1),
    epochs=2,
    batch_size=8,
)
RESULTS = Path(seeds.__file__).parent
WITH_FINGERPRINTS = [
    path.stem for path in sorted(RESULTS.glob("*.csv")) if "fingerprint" in pd.read_csv(path, nrows=0)
]
BUILD = {
    "ternary": models.vision_transformer,
    "float": models.float_vision_transformer,
    "attention": models.attention_vision_transformer,
}


def load_noise(split, source):
    assert source == "cifar10", "no table may be measured on anything else"
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (20, 32, 32, 3)).astype("uint8"), rng.integers(10, size=(20, 1)).astype("uint8")
    return ImageDataset(x, y, x[:10], y[:10], CIFAR10_CLASSES, "Noise.")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a script with a smaller model, data and numbers, in an empty folder; return its table."""
    monkeypatch.chdir(tmp_path)

    def run(script, **constants):
        for name, value in constants.items():
            monkeypatch.setattr(script, name, value)
        script.main(tmp_path / "table.csv")
        assert list(tmp_path.glob("*.csv")) == [tmp_path / "table.csv"]
        return pd.read_csv("table.csv")

    return run


def test_tables_are_written_in_the_order_in_which_they_are_named(monkeypatch, tmp_path, capsys):
    kept, written = [], []
    monkeypatch.setattr(results, "keep_freed_memory", lambda: kept.append(True))
    monkeypatch.setattr(results, "TABLES", dict.fromkeys(("one", "two", "three"), (1, written.append)))
    results.main(["--folder", str(tmp_path), "three", "one"])
    assert kept and written == [tmp_path / "three.csv", tmp_path / "one.csv"]
    results.main(["--folder", str(tmp_path)])
    assert [path.stem for path in written[2:]] == ["one", "two", "three"]
    with pytest.raises(SystemExit):
        results.main(["four"])
    assert "TABLE must be one of one, two, three. Received: four" in capsys.readouterr().err


def test_every_table_has_one_command_that_makes_it():
    by_bench = {"speed", "tokens", "step_profile", "image_model_speed", "inference"}
    committed = {path.stem for path in RESULTS.glob("*.csv")}
    assert committed - by_bench <= set(results.TABLES)
    # `comparison_full` reads `comparison_tuning`, so it comes after it.
    names = [name for name in results.TABLES if name != "comparison_full"]
    assert names == sorted(names, key=lambda name: results.TABLES[name][0]), "the cheapest first"
    order = list(results.TABLES)
    for table in ("comparison", "comparison_full"):
        assert order.index("comparison_tuning") < order.index(table), "after the table that it reads"


def assert_same_columns(table, name):
    committed = pd.read_csv(RESULTS / f"{name}.csv")
    assert list(table.columns) == list(committed.columns)
    assert table.dtypes.to_dict() == committed.dtypes.to_dict()


def test_seeds(run):
    table = run(seeds, SEEDS=range(2), TEST_IMAGES=(5, 10), TrainingConfig=lambda: CONFIG, load_cifar10=load_noise)
    named = {"accuracy_5": "accuracy_100", "accuracy_10": "accuracy_1017"}
    assert_same_columns(table.rename(columns=named), "seeds")
    assert list(table["seed"]) == [0, 1]
    for images in (5, 10):
        hits = table[f"accuracy_{images}"] * images
        np.testing.assert_allclose(hits, hits.round(), atol=1e-3)


def test_inference(run, monkeypatch, capsys):
    def in_this_process(command, **options):
        assert command[2] == "memory"
        capsys.readouterr()
        inference.memory(*command[3:])
        return subprocess.CompletedProcess(command, 0, capsys.readouterr().out, "")

    # Not `subprocess.run` itself, with which another module asks Git for the commit.
    monkeypatch.setattr(inference, "subprocess", types.SimpleNamespace(run=in_this_process))
    build = {name: lambda build=build: build(MODEL) for name, build in BUILD.items()}
    table = run(inference, BUILD=build, BATCHES=(2,), ROUNDS=2, keep_freed_memory=lambda: True)
    assert_same_columns(table, "inference")
    table = table.set_index("model")
    assert list(table.index) == ["packed", *BUILD]
    assert (table["low"] <= table["milliseconds"]).all() and (table["milliseconds"] <= table["high"]).all()
    assert table.loc["packed", "weights_mb"] < table.loc["ternary", "weights_mb"]
    assert table["file_mb"].idxmin() == "packed"


def test_search(run, monkeypatch):
    small = {"load_cifar10": load_noise, "FEW": 10, "VALIDATION_IMAGES": 5, "EPOCHS": {10: 2, 8: 1}}
    small |= {"BASE": dataclasses.replace(RECIPE, validation_split=0), "SEEDS": {10: range(2), 8: range(1)}}
    few = {"base": {}, "wider": {"ffn_dim": 12, "augmentation": {"erasing": 0.25}}}
    table = run(search, TRIALS={10: few}, **small)
    assert_same_columns(table, "search")
    assert list(zip(table["trial"], table["seed"], strict=True)) == [("base", 0), ("base", 1), ("wider", 0)]
    assert table["parameters"][2] > table["parameters"][0] == table["parameters"][1]
    hits = table["val_accuracy"] * 5
    np.testing.assert_allclose(hits, hits.round(), atol=1e-3)

    trials = {10: few, 8: {"squared ReLU": {"build": "with_squared_relu"}}}
    again = run(search, TRIALS=trials, **small)
    pd.testing.assert_frame_equal(again[:3], table)  # not run again, or the seconds would differ
    assert list(again["images"]) == [10, 10, 10, 8]
    assert list(again["epochs"]) == [2, 2, 2, 1]

    stale = again.assign(fingerprint=[*again["fingerprint"][:2], "9.9 9.9 9.9", again["fingerprint"][3]])
    stale.to_csv("table.csv", index=False)
    key = ["trial", "images", "seed"]
    renewed = run(search, TRIALS=trials, **small).set_index(key)
    expected = again.set_index(key).drop(columns="seconds")
    pd.testing.assert_frame_equal(renewed.drop(columns="seconds").loc[expected.index], expected)


def test_the_search_has_trials_that_differ():
    for images, trials in search.TRIALS.items():
        recipe = dataclasses.replace(search.BASE, epochs=search.EPOCHS[images])
        assert len({repr(search.changed(recipe, changes)) for changes in trials.values()}) == len(trials)


def rows_by_recipe():
    """One row of each table for each model and recipe, whatever the seed and the number of epochs."""
    rows = {}
    for name in WITH_FINGERPRINTS:
        for row in pd.read_csv(RESULTS / f"{name}.csv").to_dict("records"):
            config, build = read_recipe(row)
            config = dataclasses.replace(config, epochs=1, batch_size=1, seed=0)
            rows.setdefault((name, config, build), row)
    return [pytest.param(key[0], row, id=f"{key[0]}-{index}") for index, (key, row) in enumerate(rows.items())]


@pytest.mark.parametrize(("name", "row"), rows_by_recipe())
def test_the_mathematics_is_that_of_the_table(name, row):
    today = fingerprint(*read_recipe(row))
    assert agree(today, row["fingerprint"]), (
        f"{name}.csv was measured with losses {row['fingerprint']}, and today they are {today}. "
        f"Measure it again: python -m mml_book.results {name}"
    )


def test_tables_agree_on_the_runs_that_they_share():
    """The same run rounds differently on another machine, but its accuracy stays about the same."""
    rows = pd.concat(pd.read_csv(RESULTS / f"{name}.csv").assign(table=name) for name in WITH_FINGERPRINTS)
    shared = [run for _, run in rows.groupby(["recipe", "build", "training_data"]) if run["table"].nunique() > 1]
    assert shared
    for run in shared:
        for metric in run.filter(like="accuracy").dropna(axis="columns", how="all"):
            assert run[metric].max() - run[metric].min() <= 0.02, run[["table", "seed", metric]]


def test_the_preset_has_the_same_scores_everywhere():
    tested = pd.read_csv(RESULTS / "preset.csv").set_index(["part", "class"])["accuracy"]
    described = mml.presets.PRESETS["cifar10"]
    assert described.accuracy == tested[f"test, first {described.test_images:,}", "all"]
    (beside,) = pd.read_csv(RESULTS / "comparison_full.csv").itertuples()
    # Another processor may classify an image on the border differently.
    assert beside.ternary_accuracy == pytest.approx(tested[f"test, first {beside.test_images:,}", "all"], abs=0.002)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.csv")), ids=lambda path: path.stem)
def test_each_row_says_where_it_comes_from(path):
    table = pd.read_csv(path)
    data = "data" if "data" in table else "training_data"
    assert table[["keras", "jax", "device", "processor", "commit", data]].notna().all(axis=None)
    assert table["commit"].str.fullmatch("[0-9a-f]{12}").all(), "without uncommitted changes"


def test_a_fingerprint_tells_models_apart_but_not_lengths_of_runs():
    recipe = dataclasses.replace(RECIPES[0.1], model=VisionMLGRUConfig(num_blocks=1))
    known = fingerprint(recipe, models.vision_mlgru)
    other_length = dataclasses.replace(recipe, epochs=7, batch_size=3, seed=5, validation_split=0, keep="best")
    assert fingerprint(other_length, models.vision_mlgru) == known
    for build in (models.float_vision_mlgru, image_model.without_shift, image_model.without_pooling):
        assert not agree(fingerprint(recipe, build), known)


@pytest.mark.parametrize("name", ["accuracy", "ablation"])
def test_image_model(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    builds = {variant: build for variant, (_, build) in image_model.VARIANTS.items()}
    few = {variant: (RECIPE, builds[variant]) for variant in ("whole", "positions")}
    for constant, value in {
        "load_cifar10": load_noise,
        "TEST_IMAGES": 10,
        "SEEDS": range(2),
        "ABLATION_SEEDS": range(1),
        "RECIPES": {0.01: RECIPE},
        "VARIANTS": few,
    }.items():
        monkeypatch.setattr(image_model, constant, value)
    getattr(image_model, name)("table.csv")
    table = pd.read_csv("table.csv")
    getattr(image_model, name)("table.csv")
    pd.testing.assert_frame_equal(pd.read_csv("table.csv"), table)  # nothing is run again
    if name == "accuracy":
        assert_same_columns(table, "image_model_accuracy")
        assert list(table["seed"]) == [0, 1]
    else:
        assert list(table["variant"]) == list(few)
        assert table["parameters"][1] - table["parameters"][0] == 64 * RECIPE.model.embedding_dim


def test_each_variant_differs_as_its_name_says():
    images, config = load_noise(0.1, "cifar10").x_train, RECIPE.model
    weights = {weight.path.split("/", 1)[1]: weight for weight in models.vision_mlgru(config, images).weights}

    def changed(build):
        return {weight.path.split("/", 1)[1]: weight for weight in build(config, images).weights}

    positions = "positions/embeddings"
    assert set(changed(image_model.with_positions)) - set(weights) == {f"embedding/{positions}"}
    assert changed(image_model.without_pooling)["head/kernel"].shape == (64 * config.embedding_dim, 10)
    bias = "mixer/recurrence/gates/bias"
    for build in (search.with_spread_biases, search.with_positions_and_spread_biases):
        spread = np.asarray(changed(build)[f"block_0/{bias}"])
        np.testing.assert_allclose(
            spread[: config.embedding_dim], np.linspace(0, 3.5, config.embedding_dim), rtol=1e-6
        )
        np.testing.assert_array_equal(spread[config.embedding_dim :], 0)

    model = image_model.without_shift(config, images)
    keras.utils.set_random_seed(0)
    (block,) = (layer for layer in model.layers if layer.name == "block_0")
    x = np.random.default_rng(0).normal(size=(2, 64, config.embedding_dim)).astype("float32")
    mixed = x + np.asarray(block.mixer(x))
    np.testing.assert_allclose(block(x), mixed + np.asarray(block.ffn(mixed)), rtol=1e-4, atol=1e-5)


def test_preset(run, monkeypatch, tmp_path):
    folder = tmp_path / "presets"
    folder.mkdir()
    monkeypatch.setattr(mml.presets, "FOLDER", folder)
    config = dataclasses.replace(RECIPE, validation_split=0)
    data = dataclasses.replace(load_noise(1.0, "cifar10"), y_test=np.arange(10, dtype="uint8")[:, None])
    table = run(preset, CONFIG=config, load_cifar10=lambda split, source: data, TEST_IMAGES=(10,))
    assert_same_columns(table, "preset")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("cifar10.json", "cifar10.safetensors", "cifar10.weights.h5")
    ]
    described = mml.presets._read(folder / "cifar10.json")
    assert described.model == config.model and described.test_images == 10
    tested = table[table["part"] == "test, first 10"]
    assert tested["accuracy"].iloc[0] == pytest.approx(described.accuracy, abs=1e-4)
    monkeypatch.setitem(mml.presets.PRESETS, "cifar10", described)
    images = load_noise(0.1, "cifar10").x_test.astype("float32")
    latent, packed = (mml.presets.from_preset("cifar10", trainable) for trainable in (True, False))
    np.testing.assert_allclose(packed.predict(images, verbose=0), latent.predict(images, verbose=0), atol=1e-2)
    monkeypatch.delattr(preset, "train")
    preset.main(tmp_path / "table.csv")  # nothing is trained again


def test_comparison(run, monkeypatch, tmp_path):
    seeds = dict.fromkeys(comparison.MODELS, range(1))
    small = {"RECIPE": RECIPE, "SEEDS": seeds, "TEST_IMAGES": 10, "load_cifar10": load_noise}
    for name, value in {
        "load_cifar10": load_noise,
        "FEW": 10,
        "VALIDATION_IMAGES": 5,
        "EPOCHS": {10: 1},
    }.items():
        monkeypatch.setattr(search, name, value)
    monkeypatch.setattr(comparison, "RECIPE", RECIPE)
    monkeypatch.setattr(comparison, "TRIALS", comparison.TRIALS[3:5])
    monkeypatch.chdir(tmp_path)
    comparison.tuning(tmp_path / "comparison_tuning.csv")
    trials = pd.read_csv("comparison_tuning.csv")
    assert list(trials.groupby("model").size()) == [2] * len(comparison.MODELS), "the same number of trials for each"
    for name, value in small.items():
        monkeypatch.setattr(comparison, name, value)
    comparison.main(tmp_path / "comparison.csv")
    table = pd.read_csv("comparison.csv").set_index("model")
    for name in table.index:
        tried = trials[trials["model"] == name].set_index("optimizer")["val_accuracy"]
        chosen = read_recipe(table.loc[name])[0]
        assert tried[chosen.optimizer] == tried.max()
    hits = 10 * table.filter(like="accuracy").drop(columns="train_accuracy")
    np.testing.assert_allclose(hits, hits.round(), atol=1e-6)
    for row in table.itertuples():
        assert comparison.from_hex(row.correct, 10).sum() == round(10 * row.accuracy)

    monkeypatch.setattr(preset, "CONFIG", RECIPE)
    comparison.full(tmp_path / "comparison_full.csv")
    table = pd.read_csv("comparison_full.csv")
    (row,) = table.itertuples()
    data = load_noise(1.0, "cifar10")
    for correct, accuracy in ((row.correct, row.accuracy), (row.ternary_correct, row.ternary_accuracy)):
        assert comparison.from_hex(correct, 10).sum() == round(10 * accuracy)
    predicted = mml.presets.from_preset("cifar10").predict(data.x_test, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(comparison.from_hex(row.ternary_correct, 10), predicted == data.y_test[:, 0])
    chosen, build = read_recipe(table.iloc[0])
    tried = trials[trials["model"] == "float"].set_index("optimizer")["val_accuracy"]
    assert build is float_vision_mlgru and tried[chosen.optimizer] == tried.max()


def test_which_images_are_correct_survives_the_file(tmp_path):
    correct = np.random.default_rng(0).random((3, 13)) < 0.5
    correct[0] = False  # "0000", which could be read as a number
    pd.DataFrame({"correct": map(comparison.to_hex, correct)}).to_csv(tmp_path / "table.csv")
    read = pd.read_csv(tmp_path / "table.csv")["correct"]
    np.testing.assert_array_equal([comparison.from_hex(text, 13) for text in read], correct)


def test_models_of_about_the_same_number_of_weights():
    sizes = {name: build(VisionMLGRUConfig()).count_params() for name, build in comparison.MODELS.items()}
    for name in ("float", "attention", "convolution"):
        assert sizes[name] == pytest.approx(sizes["ternary"], rel=0.015)


def bytes_of_weights(model, bytes_per_weight):
    """The size of a float model with kernels of so many bytes per weight; in 8 bits, each output has a scale, too."""
    kernels = [weight for weight in model.weights if weight.path.endswith("/kernel")]
    scales = sum(kernel.shape[-1] for kernel in kernels) if bytes_per_weight == 1 else 0
    in_kernels = sum(np.prod(kernel.shape) for kernel in kernels)
    return bytes_per_weight * in_kernels + 4 * (scales + model.count_params() - in_kernels)


@pytest.mark.parametrize("build", [comparison.narrow_float, comparison.narrow_convolution])
def test_the_narrow_models_in_8_bits_are_about_as_large_as_the_packed_file(build, tmp_path):
    save_packed(vision_mlgru(), tmp_path / "ternary.safetensors")
    in_bytes = bytes_of_weights(build(VisionMLGRUConfig()), 1)
    assert in_bytes == pytest.approx((tmp_path / "ternary.safetensors").stat().st_size, rel=0.1)


def test_the_comparison_shows_what_chapter_10_says_in_words():
    table = pd.read_csv(RESULTS / "comparison.csv")
    assert table.groupby("model")["seed"].apply(list).to_dict() == {
        name: list(each) for name, each in comparison.SEEDS.items()
    }
    means = 100 * table.groupby("model")[["accuracy", "bfloat16_accuracy", "int8_accuracy"]].mean()
    in_floats, in_8_bits = means["accuracy"], means["int8_accuracy"]
    assert 2.5 < in_floats["float"] - in_floats["ternary"] < 3.5, "about three points"
    assert 0 < in_floats["ternary"] - in_8_bits["narrow float"] < 3, "a little less accurate"
    assert in_8_bits["narrow convolution"] > in_floats[["ternary", "float"]].max() + 2, "more accurate than both"
    (full,) = pd.read_csv(RESULTS / "comparison_full.csv").itertuples()
    assert 1.5 < 100 * (full.accuracy - full.ternary_accuracy) < 2.5, "about two points"
    for form in ("bfloat16", "int8"):
        lost = means[f"{form}_accuracy"] - in_floats
        assert lost.drop("ternary").abs().max() < 0.5, "hardly changes the accuracy of any of them"

    difference, both = difference_and_interval(table, "ternary", "narrow float")
    assert 0.9 < difference / both < 1, "just too close to call"
    for rival in ("float", "attention", "convolution", "narrow convolution", "linear"):
        difference, both = difference_and_interval(table, "ternary", rival)
        assert abs(difference) > both, "a clear difference"


def difference_and_interval(table, one, other):
    """Return a difference in points, and the half-width of its interval over seeds and images together."""
    runs = table.assign(correct=[comparison.from_hex(row.correct, row.test_images) for row in table.itertuples()])
    runs = runs.pivot(index="seed", columns="model", values="correct")[[one, other]].dropna()
    hits = 100 * np.array(runs.to_numpy().tolist(), "float64")  # [seeds, 2, images]
    by_image = (hits[:, 0] - hits[:, 1]).mean(axis=0)
    by_seed = (hits[:, 0] - hits[:, 1]).mean(axis=1)
    over_seeds = np.diff(stats.t.interval(0.95, len(by_seed) - 1, scale=stats.sem(by_seed)))[0] / 2
    over_images = 1.96 * stats.sem(by_image)
    return by_seed.mean(), np.hypot(over_seeds, over_images)


def test_bytes_and_energy_are_as_chapter_10_says_in_words(tmp_path):
    path = tmp_path / "ternary.safetensors"
    save_packed(vision_mlgru(), path)
    packed = load_packed(path)
    packed_energy = energy(count_operations(packed), count_bytes(packed)).set_index(["part", "kind"])["microjoules"]

    def energies(build, bytes_per_weight):
        model = build(VisionMLGRUConfig())
        size = bytes_of_weights(model, bytes_per_weight)
        table = energy(count_operations(model), count_bytes(model)).set_index(["part", "kind"])["microjoules"]
        table["memory", "weights"] *= size / (4 * model.count_params())
        return size, table

    def ratios(build, bytes_per_weight):
        size, table = energies(build, bytes_per_weight)
        return size / path.stat().st_size, table.sum() / packed_energy.sum()

    assert ratios(float_vision_mlgru, 4) == pytest.approx((15, 12), rel=0.04), "a fifteenth and a twelfth"
    assert ratios(float_vision_mlgru, 1) == pytest.approx((4, 6), rel=0.05), "a quarter and a sixth"
    bytes_ratio, energy_ratio = ratios(comparison.narrow_float, 1)
    assert 1 < bytes_ratio < 1.1 and 1.6 < energy_ratio < 2, "slightly larger, almost twice the energy"
    bytes_ratio, energy_ratio = ratios(comparison.narrow_convolution, 1)
    assert bytes_ratio == pytest.approx(1, rel=0.05) and 1.33 < energy_ratio < 1.5, "over a third more energy"

    # Horowitz, figure 1.1.9, in picojoules: an 8-bit product and its addition in 32 bits, instead of both in float32.
    in_8_bits = (0.2 + 0.1) / (3.7 + 0.9)

    def ratio_with_8_bit_inputs(build):
        table = energies(build, 1)[1]
        return (table["memory"].sum() + in_8_bits * table["arithmetic"].sum()) / packed_energy.sum()

    assert ratio_with_8_bit_inputs(float_vision_mlgru) > 2, "to less than half"
    assert 0.8 < ratio_with_8_bit_inputs(comparison.narrow_float) < 1, "slightly less than the ternary model"
    assert ratio_with_8_bit_inputs(comparison.narrow_convolution) < 1, "less"
    saved = (ratio_with_8_bit_inputs(float_vision_mlgru) - 1) * packed_energy.sum()
    saved_by_weights = (energies(float_vision_mlgru, 1)[1] - packed_energy)["memory", "weights"]
    assert saved_by_weights > saved / 2, "most of that saving comes from the smaller weights"

    *ternary, _ = (weight.shape for weight in vision_mlgru().trainable_weights if weight.path.endswith("/kernel"))
    more_bytes = sum(map(np.prod, ternary)) * (1 - 1 / 5)  # the last kernel, the classifier's, is not ternary
    with_one_byte = packed_energy.sum() + more_bytes * 1300 / 8 / 1e6  # 1.3 nJ for 8 bytes from DRAM
    for build in (comparison.narrow_float, comparison.narrow_convolution):
        assert energies(build, 1)[1].sum() < with_one_byte, "more energy than either narrow model in int8"


def test_attention_of_the_comparison_is_that_of_keras():
    config = dataclasses.replace(RECIPE.model, embedding_dim=8)
    model = comparison.attention(config, load_noise(0.1, "cifar10").x_train)
    x = np.random.default_rng(0).normal(size=(2, 64, 8)).astype("float32")
    roles = [model.get_layer(f"block_0_{role}") for role in ("query", "key", "value")]
    output = model.get_layer("block_0_output")
    peer = keras.layers.MultiHeadAttention(comparison.HEADS, 8 // comparison.HEADS)
    peer(x, x)
    shape = (8, comparison.HEADS, 8 // comparison.HEADS)
    peer.set_weights(
        [array for role in roles for array in (np.asarray(role.kernel).reshape(shape), np.zeros(shape[1:]))]
        + [np.asarray(output.kernel).reshape(*shape[1:], 8), np.zeros(8)]
    )
    assert all(role.input is roles[0].input for role in roles)
    np.testing.assert_allclose(keras.Model(roles[0].input, output.output)(x), peer(x, x), rtol=1e-4, atol=1e-5)


def test_attention_of_the_comparison_knows_where_a_token_is():
    model = comparison.attention(dataclasses.replace(RECIPE.model, embedding_dim=8))
    embedding = model.get_layer("embedding")
    assert embedding.quantization == "float"
    assert embedding.positions.embeddings.shape == (64, 8)


def test_convolution_of_the_comparison_is_that_of_keras_and_muon_takes_it():
    model = comparison.convolution(RECIPE.model)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 32)).astype("float32")
    layer = [layer for layer in model.layers if isinstance(layer, comparison._Convolution)][1]
    peer = keras.layers.Conv2D(64, 3, padding="same", use_bias=False)
    peer.build(x.shape)
    peer.kernel.assign(np.reshape(layer.kernel, (3, 3, 32, 64)))
    np.testing.assert_allclose(layer(x), peer(x), rtol=1e-5, atol=1e-5)
    compile_model(model, RECIPE, steps=10)
    assert not model.optimizer._should_use_adamw(layer.kernel)


def test_rounded_kernels():
    kernel = np.array([[1.0, -0.5], [0.25, 0.0], [-0.251, 0.1]], "float32")
    steps = comparison.to_int8(kernel) / (np.abs(kernel).max(axis=0) / 127)
    np.testing.assert_allclose(steps, [[127, -127], [32, 0], [-32, 25]], atol=1e-4)
    np.testing.assert_array_equal(comparison.to_int8(np.zeros((2, 2), "float32")), 0)
    assert comparison.to_bfloat16(np.float32([1 + 2**-7, 1 + 2**-9])).tolist() == [1 + 2**-7, 1]

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, bias_initializer="ones")])
    model.layers[0].kernel.assign(kernel)
    rounded, bias = comparison.rounded_kernels(model.weights, comparison.to_int8)
    np.testing.assert_array_equal(rounded, comparison.to_int8(kernel))
    np.testing.assert_array_equal(bias, 1)
    np.testing.assert_array_equal(model.get_weights()[0], kernel)


def test_rounding_keeps_what_the_normalization_knows():
    images = load_noise(0.1, "cifar10").x_train
    model = comparison.linear(RECIPE.model, images)
    before = np.asarray(model(images[:8].astype("float32")))
    for form, tolerance in {"": 0, "bfloat16_": 0.02, "int8_": 0.02}.items():
        kept = model.get_weights()
        model.set_weights(comparison.rounded_kernels(model.weights, comparison.ROUNDINGS[form]))
        after = np.asarray(model(images[:8].astype("float32")))
        model.set_weights(kept)
        np.testing.assert_allclose(after, before, atol=tolerance * np.abs(before).max())
