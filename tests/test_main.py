"""`python -m mml`: what it prints against what the model computes, and what it says of bad files."""

import dataclasses
import doctest
import os
import re
import shlex
import subprocess
import sys
import sysconfig

import keras
import numpy as np
import pytest
from PIL import Image

import mml.__main__
from mml.__main__ import main
from mml.layers import DenseMML
from mml.packing import load_packed, read_packed, save_packed
from mml.presets import PRESETS

NAMES = ["cat", "dog", "red fox", "owl", "newt", "carp", "wasp"]


def classifier(*head, shape=(8, 8, 3)):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [keras.Input(shape), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), DenseMML(16), *head]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models and the images that all tests read."""
    folder = tmp_path_factory.mktemp("main")
    save_packed(classifier(keras.layers.Dense(7)), folder / "named.safetensors", NAMES)
    save_packed(classifier(keras.layers.Dense(3)), folder / "nameless.safetensors")
    rng = np.random.default_rng(0)
    for index in range(3):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        pixels[0, 0] = 255  # were 254 the largest, odd values would lie halfway between two steps of 8 bits
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (folder / "text.png").write_text("no image")
    (folder / "damaged.safetensors").write_bytes((folder / "named.safetensors").read_bytes()[:-1])
    return folder


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image, "float32")


def probabilities(logits):
    exponentials = np.exp(np.float64(logits))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def printed(output):
    """Read what `predict` prints: a dict of each image's classes and percentages, in order."""
    images, classes = {}, []
    for line in output.splitlines():
        match = re.fullmatch(r"  ([ \d]{3}\.\d)%  (.+)", line)
        if match:
            classes.append((match[2], float(match[1])))
        else:
            classes = images[line] = []
    return images


def expected(row, names, most=5):
    order = sorted(range(len(row)), key=lambda index: -row[index])[:most]
    return [(names[index], pytest.approx(100 * row[index], abs=0.051)) for index in order]


# === predict ===


def test_the_five_most_probable_classes(folder, capsys):
    paths = [str(folder / f"{index}.png") for index in (2, 0, 1)]
    assert main(["predict", "--model", str(folder / "named.safetensors"), *paths]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    model = load_packed(folder / "named.safetensors")
    rows = probabilities(model.predict(np.stack([pixels(path) for path in paths]), verbose=0))
    assert printed(output) == {path: expected(row, NAMES) for path, row in zip(paths, rows, strict=True)}
    assert list(printed(output)) == paths


def test_fewer_classes_without_names(folder, capsys):
    path = str(folder / "0.png")
    assert main(["predict", "--model", str(folder / "nameless.safetensors"), path]) == 0
    row = probabilities(load_packed(folder / "nameless.safetensors").predict(pixels(path)[None], verbose=0))[0]
    assert printed(capsys.readouterr().out) == {path: expected(row, ["class 0", "class 1", "class 2"])}


def functional(last):
    """A model that is not a `keras.Sequential`."""
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, last(keras.layers.Dense(3)(keras.layers.Flatten()(inputs))))


@pytest.mark.parametrize(
    "build",
    [
        lambda: classifier(keras.layers.Dense(3, activation="softmax")),
        lambda: classifier(DenseMML(3, activation="softmax")),
        lambda: classifier(keras.layers.Dense(3), keras.layers.Softmax()),
        lambda: classifier(keras.layers.Dense(3), keras.layers.Activation("softmax")),
        lambda: classifier(keras.Sequential([keras.layers.Dense(3), keras.layers.Softmax()])),
        lambda: functional(keras.layers.Softmax()),
        lambda: functional(keras.activations.softmax),
    ],
)
def test_one_softmax_is_enough(folder, tmp_path, capsys, build):
    model = build()
    save_packed(model, tmp_path / "model.safetensors")
    path = str(folder / "0.png")
    assert main(["predict", "--model", str(tmp_path / "model.safetensors"), path]) == 0
    row = model.predict(pixels(path)[None], verbose=0)[0]
    assert row.sum() == pytest.approx(1, abs=1e-5)
    assert printed(capsys.readouterr().out) == {path: expected(row, ["class 0", "class 1", "class 2"])}


def test_a_softmax_in_the_middle_is_not_the_last(folder, tmp_path, capsys):
    model = classifier(keras.layers.Dense(3, activation="softmax"), keras.layers.Dense(3))
    save_packed(model, tmp_path / "model.safetensors")
    path = str(folder / "0.png")
    assert main(["predict", "--model", str(tmp_path / "model.safetensors"), path]) == 0
    row = probabilities(model.predict(pixels(path)[None], verbose=0)[0])
    assert printed(capsys.readouterr().out) == {path: expected(row, ["class 0", "class 1", "class 2"])}


def test_large_logits_do_not_overflow(folder, tmp_path, capsys):
    model = classifier(keras.layers.Dense(2, bias_initializer=keras.initializers.Constant(0)))
    model.layers[-1].bias.assign([5e4, -5e4])
    save_packed(model, tmp_path / "model.safetensors")
    assert main(["predict", "--model", str(tmp_path / "model.safetensors"), str(folder / "0.png")]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["  100.0%  class 0", "    0.0%  class 1"]


@pytest.mark.parametrize("shape", [(6, 10, 1), (6, 10, 3)])
def test_images_are_brought_to_the_models_size(folder, tmp_path, capsys, shape):
    # Of one color, so that any size and crop has the same pixels.
    model = classifier(keras.layers.Dense(3), shape=shape)
    save_packed(model, tmp_path / "model.safetensors")
    Image.new("L", (300, 20), 90).save(tmp_path / "gray.png")
    assert main(["predict", "--model", str(tmp_path / "model.safetensors"), str(tmp_path / "gray.png")]) == 0
    row = probabilities(model.predict(np.full((1, *shape), 90, "float32"), verbose=0))[0]
    assert list(printed(capsys.readouterr().out).values()) == [expected(row, ["class 0", "class 1", "class 2"])]


def test_more_images_than_a_batch(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mml.__main__, "BATCH", 2)
    paths = [str(folder / f"{index}.png") for index in range(3)]
    assert main(["predict", "--model", str(folder / "named.safetensors"), *paths]) == 0
    together = printed(capsys.readouterr().out)
    for path in paths:
        assert main(["predict", "--model", str(folder / "named.safetensors"), path]) == 0
        assert printed(capsys.readouterr().out)[path] == together[path]


def test_bad_images_are_named_and_the_others_predicted(folder, tmp_path, capsys):
    good = [str(folder / "0.png"), str(folder / "1.png")]
    bad = [str(tmp_path / "missing.png"), str(folder / "text.png"), str(folder)]
    images = [bad[0], good[0], bad[1], bad[2], good[1]]
    assert main(["predict", "--model", str(folder / "named.safetensors"), *images]) == 1
    output, errors = capsys.readouterr()
    assert list(printed(output)) == good
    lines = errors.splitlines()
    assert [line.startswith(f"Error: {path} ") for line, path in zip(lines, bad, strict=True)] == [True] * 3
    assert "does not exist" in lines[0] and "format is unknown" in lines[1] and "folder" in lines[2]


def test_all_images_are_read_before_the_model_is_built(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mml.packing.PackedFile.build", lambda packed: pytest.fail("built too early"))
    assert (
        main(["predict", "--model", str(folder / "named.safetensors"), str(folder / "text.png"), str(tmp_path)]) == 1
    )
    output, errors = capsys.readouterr()
    assert output == "" and len(errors.splitlines()) == 2


def test_the_same_image_twice_is_predicted_twice(folder, capsys):
    assert main(["predict", "--model", str(folder / "named.safetensors"), *[str(folder / "0.png")] * 2]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12 and lines[:6] == lines[6:]


# === Bad models ===


@pytest.mark.parametrize("command", [["predict", "--model"], ["info"]], ids=str)
@pytest.mark.parametrize("name", ["missing.safetensors", "damaged.safetensors", "text.png", "."])
def test_bad_models_are_named(folder, capsys, command, name):
    path = str(folder / name)
    assert main([*command, path, *([str(folder / "0.png")] if "predict" in command else [])]) == 1
    output, errors = capsys.readouterr()
    assert output == "" and len(errors.splitlines()) == 1
    assert errors.startswith(f"Error: {os.path.normpath(path)}")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)]), "Received: input shape 5"),
        (lambda: keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Flatten(), keras.layers.Dense(2)]), "x 2"),
        (lambda: keras.Sequential([keras.Input((None, 8, 3)), keras.layers.GlobalMaxPooling2D()]), "any x 8 x 3"),
        (lambda: classifier(keras.layers.Dense(1)), "two or more classes. Received: output shape (None, 1)"),
        (
            lambda: keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Dense(2)]),
            "Received: output shape (None, 8, 8, 2)",
        ),
        (lambda: functional(lambda x: [x, x]), "two or more classes"),
        (
            lambda: keras.Model(
                [a := keras.Input((8, 8, 3)), b := keras.Input((8, 8, 3))],
                keras.layers.Flatten()(keras.layers.Add()([a, b])),
            ),
            "Received: input shape unknown",
        ),
    ],
)
def test_models_of_something_else(folder, tmp_path, capsys, build, message):
    path = tmp_path / "model.safetensors"
    save_packed(build(), path)
    assert main(["predict", "--model", str(path), str(folder / "0.png")]) == 1
    output, errors = capsys.readouterr()
    assert output == "" and errors.startswith(f"Error: The model in {path} must ") and message in errors
    assert len(errors.splitlines()) == 1


def test_names_that_do_not_fit(folder, capsys, monkeypatch):
    packed = dataclasses.replace(read_packed(folder / "nameless.safetensors"), class_names=("cat", "dog"))
    monkeypatch.setattr("mml.packing.read_packed", lambda path: packed)
    assert main(["predict", "--model", "nameless.safetensors", str(folder / "0.png")]) == 1
    output, errors = capsys.readouterr()
    assert output == "" and errors.endswith("must name each of its 3 classes. Received: 2 names\n")


def test_outputs_that_are_no_numbers(folder, tmp_path, capsys):
    model = classifier(keras.layers.Rescaling(3e38), keras.layers.Rescaling(3e38), keras.layers.Dense(2))
    save_packed(model, tmp_path / "model.safetensors")
    assert main(["predict", "--model", str(tmp_path / "model.safetensors"), str(folder / "0.png")]) == 1
    output, errors = capsys.readouterr()
    assert output == "" and re.fullmatch(
        r"Error: The model in .* gives outputs that are not finite for .*0\.png\.\n", errors
    )


def test_names_cannot_command_the_terminal(folder, tmp_path, capsys):
    save_packed(classifier(keras.layers.Dense(2)), tmp_path / "m.safetensors", ["\x1b[2J\nowl", "Käuzchen"])
    assert main(["predict", "--model", str(tmp_path / "m.safetensors"), str(folder / "0.png"), "a\x1b\nb\udc80"]) == 1
    output, errors = capsys.readouterr()
    assert sorted(line[10:] for line in output.splitlines()[1:]) == ["Käuzchen", r"\x1b[2J\nowl"]
    assert errors == "Error: a\\x1b b\\udc80 does not exist.\n"
    assert main(["info", str(tmp_path / "m.safetensors")]) == 0
    assert r"classes  \x1b[2J\nowl, Käuzchen" in capsys.readouterr().out


# === info ===


@pytest.mark.parametrize("rest", ["float16", "float32"])
def test_info_counts_what_the_file_holds(tmp_path, capsys, rest):
    model = classifier(DenseMML(10), keras.layers.Dense(7))
    path = tmp_path / "model.safetensors"
    save_packed(model, path, NAMES, rest=rest)
    assert main(["info", str(path)]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    lines = output.splitlines()
    assert lines[0] == f"file     {path}"
    assert f"size     {path.stat().st_size:,} bytes, checksum OK" in lines
    assert "input    8 x 8 x 3" in lines
    assert "classes  cat, dog, red fox, owl, newt, carp, wasp" in lines
    assert "layers   1 Rescaling, 1 Flatten, 2 DenseMML, 1 Dense" in lines

    kernels = [layer.kernel.numpy() for layer in model.layers if isinstance(layer, DenseMML)]
    zeros = sum((abs(kernel) < abs(kernel).mean() / 2).sum() for kernel in kernels)
    n_ternary = 192 * 16 + 16 * 10
    packed_bytes = -(-192 * 16 // 5) + 16 * 10 // 5
    n_rest = 16 + 192 + 10 + 16 + 10 * 7 + 7  # biases, gains and the last layer
    width = 2 if rest == "float16" else 4
    size = path.stat().st_size
    table = {line[:16].strip(): line[16:].split(maxsplit=2) for line in lines[lines.index("") + 2 :]}
    assert table == {
        "ternary weights": [
            f"{n_ternary:,}",
            f"{packed_bytes:,}",
            f"{8 * packed_bytes / n_ternary:.2f} bits per weight, {zeros / n_ternary:.1%} zeros",
        ],
        "other weights": [f"{n_rest:,}", f"{width * n_rest:,}", rest],
        "header": [f"{size - packed_bytes - width * n_rest:,}", "architecture,", "names, scales"],
        "whole file": [f"{size:,}"],
        "all as float32": [
            f"{n_ternary + n_rest:,}",
            f"{4 * (n_ternary + n_rest):,}",
            f"{4 * (n_ternary + n_rest) / size:.1f} times the file",
        ],
    }
    assert 4 * (n_ternary + n_rest) == 4 * model.count_params()
    header = int.from_bytes(path.read_bytes()[:8], "little")
    assert size - packed_bytes - width * n_rest == 8 + header  # eight bytes say how long it is


def test_info_builds_no_model(folder, capsys, monkeypatch):
    monkeypatch.setattr("mml.packing.PackedFile.build", lambda packed: pytest.fail("built"))
    assert main(["info", str(folder / "nameless.safetensors")]) == 0
    assert "classes  without names" in capsys.readouterr().out


def test_info_of_models_without_ternary_weights_or_any(tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    save_packed(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), path)
    assert main(["info", str(path)]) == 0
    assert re.search(r"ternary weights +0 +0\n", capsys.readouterr().out)
    save_packed(keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()]), path)
    assert main(["info", str(path)]) == 0
    assert re.search(r"other weights +0 +0\n", capsys.readouterr().out)


def test_info_counts_layers_of_models_within(tmp_path, capsys):
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
    model = keras.Sequential([keras.Input((8, 8, 3)), inner, keras.layers.Dense(3)])
    save_packed(model, tmp_path / "model.safetensors")
    assert main(["info", str(tmp_path / "model.safetensors")]) == 0
    assert "layers   1 Flatten, 2 Dense\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "config",
    [{}, {"config": 5}, {"config": {"layers": 5}}, {"config": {"layers": ["Dense", {"class_name": "Dense"}]}}],
)
def test_an_architecture_that_does_not_tell(folder, capsys, monkeypatch, config):
    packed = dataclasses.replace(read_packed(folder / "named.safetensors"), config=config)
    monkeypatch.setattr("mml.packing.read_packed", lambda path: packed)
    assert main(["info", "named.safetensors"]) == 0
    assert "input    unknown\n" in capsys.readouterr().out
    assert main(["predict", "--model", "named.safetensors", str(folder / "0.png")]) == 1
    assert "1 or 3 channels. Received: input shape unknown" in capsys.readouterr().err


def test_many_names_are_wrapped(tmp_path, capsys):
    names = [f"class-number {index}" for index in range(40)]
    save_packed(classifier(keras.layers.Dense(40)), tmp_path / "model.safetensors", names)
    assert main(["info", str(tmp_path / "model.safetensors")]) == 0
    output = capsys.readouterr().out
    assert max(len(line) for line in output.splitlines()[1:]) <= 100
    assert re.findall(r"class-number \d+", output) == names


# === Arguments ===


@pytest.mark.parametrize(
    "arguments",
    [[], ["predict"], ["predict", "--model", "model"], ["info", "a", "b"], ["info", "--model", "a"], ["train"]],
    ids=str,
)
def test_wrong_usage(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m mml")


def test_without_a_file_the_model_is_the_one_that_comes_with_the_package(folder, capsys):
    image = str(folder / "0.png")
    assert main(["predict", image]) == 0
    by_default = capsys.readouterr().out
    assert main(["predict", "--model", str(PRESETS["cifar10"].packed_path), image]) == 0
    assert capsys.readouterr().out == by_default
    assert {name for name, _ in printed(by_default)[image]} < set(PRESETS["cifar10"].class_names)

    assert main(["info"]) == 0
    assert str(PRESETS["cifar10"].packed_path) in capsys.readouterr().out


def test_images_may_come_before_the_model(folder, capsys):
    paths = [str(folder / f"{index}.png") for index in range(2)]
    assert main(["predict", *paths, "--model", str(folder / "named.safetensors")]) == 0
    assert list(printed(capsys.readouterr().out)) == paths


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["info", "--help"]])
def test_help(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0
    output, errors = capsys.readouterr()
    assert output.startswith("usage: python -m mml") and errors == ""


def test_example_in_the_docstring(tmp_path, monkeypatch):
    # pytest passes by files named __main__.
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(mml.__main__)
    assert result.attempted == 2 and result.failed == 0


# === The backend ===

# Chooses a backend as if only the packages named on the command line were installed.
CHOOSE = """
import importlib.util, os, sys

installed = sys.argv[1].split()
importlib.util.find_spec = lambda name: name in installed or None
import mml.__main__
assert "keras" not in sys.modules
chosen = mml.__main__._choose_backend()
print(chosen, os.environ.get("KERAS_BACKEND"), "keras" in sys.modules)
"""


def choose(installed, home, **environment):
    """What a process chooses in which only these backends are installed, with this folder as home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KERAS")}
    done = subprocess.run(
        [sys.executable, "-c", CHOOSE, installed],
        env=kept | {"HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("installed", "backend"),
    [("jax", "jax"), ("torch", "torch"), ("tensorflow", "tensorflow"), ("tensorflow torch", "torch")],
)
def test_an_installed_backend_is_chosen(tmp_path, installed, backend):
    assert choose(installed, tmp_path) == ["True", backend, "False"]


def test_without_any_backend_none_is_chosen(tmp_path):
    assert choose("", tmp_path) == ["False", "None", "False"]


@pytest.mark.parametrize("variable", ["HOME", "KERAS_HOME"])
@pytest.mark.parametrize(
    ("text", "backend"),
    [
        ('{"backend": "torch"}', "torch"),
        ('{"backend": "tensorflow"}', "jax"),  # what Keras writes by itself, and it is not installed
        ('{"backend": "no/name"}', "jax"),
        ('{"backend": 5}', "jax"),
        ('{"floatx": "float32"}', "jax"),
        ("[]", "jax"),
        ("{", "jax"),
    ],
)
def test_the_configuration_file_of_keras_comes_first(tmp_path, variable, text, backend):
    folder = tmp_path / ".keras" if variable == "HOME" else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / "keras.json").write_text(text)
    environment = {} if variable == "HOME" else {"KERAS_HOME": str(folder)}
    assert choose("jax torch", tmp_path, **environment) == ["True", backend, "False"]


def test_a_backend_that_is_set_stays(tmp_path):
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"backend": "torch"}')
    assert choose("jax torch", tmp_path, KERAS_BACKEND="tensorflow") == ["True", "tensorflow", "False"]
    assert choose("jax torch", tmp_path, KERAS_BACKEND="") == ["True", "torch", "False"]  # Keras reads it as not set


def test_once_keras_is_imported_nothing_is_set(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND")
    assert mml.__main__._choose_backend() is True
    assert "KERAS_BACKEND" not in os.environ


def test_without_any_backend_it_says_what_to_install(folder, capsys, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_HOME", str(folder))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["info", str(folder / "named.safetensors")]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert (
        errors == "Error: Keras needs a backend: jax, torch, tensorflow. Install one, for example: pip install jax\n"
    )


# === As a program ===

MODULE = [sys.executable, "-m", "mml"]
SCRIPT = [os.path.join(sysconfig.get_path("scripts"), "mml")]


def run(*arguments, start=MODULE, **environment):
    kept = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [*start, *map(str, arguments)],
        # Keras 3.13 warns on stderr when it is imported beside NumPy 2.0.
        env=kept | {"JAX_PLATFORMS": "cpu", "PYTHONIOENCODING": "ascii", "PYTHONWARNINGS": "ignore"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("start", [MODULE, SCRIPT], ids=["module", "script"])
def test_program_predicts(folder, tmp_path, start):
    save_packed(classifier(keras.layers.Dense(2)), tmp_path / "model.safetensors", ["Käuzchen", "Maus"])
    result = run(
        "predict", "--model", tmp_path / "model.safetensors", folder / "0.png", folder / "text.png", start=start
    )
    assert result.returncode == 1
    assert result.stdout.splitlines()[0] == str(folder / "0.png")
    assert {line[10:] for line in result.stdout.splitlines()[1:]} == {r"K\xe4uzchen", "Maus"}
    assert result.stderr.startswith(f"Error: {folder / 'text.png'} ") and result.stderr.count("\n") == 1


def test_program_on_a_bad_model(folder):
    result = run("info", folder / "damaged.safetensors")
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith(f"Error: {folder / 'damaged.safetensors'} ") and result.stderr.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="pipes of a shell")
def test_program_whose_reader_stops():
    command = f"{shlex.quote(sys.executable)} -m mml info | true"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 1 and result.stderr == ""


def test_help_needs_no_keras(tmp_path):
    (tmp_path / "keras.py").write_text("raise RuntimeError('imported')")
    result = run("predict", "--help", PYTHONPATH=str(tmp_path))
    assert result.returncode == 0 and result.stderr == ""
    assert (
        "RuntimeError: imported" in run("info", "model", PYTHONPATH=str(tmp_path)).stderr
    )  # this is what was avoided
