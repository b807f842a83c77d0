"""The command line, which shows what a packed model sees in image files and what its file holds."""

import argparse
import collections
import importlib.util
import json
import math
import os
import sys
import textwrap

import numpy as np

from mml.files import keras_home
from mml.images import read_image

PROG = "python -m mml"
BACKENDS = ("jax", "torch", "tensorflow")  # the first one that is installed is used
DEFAULT = "cifar10"  # the preset to use if no file is named
BATCH = 32  # images predicted at once, which limits the memory for activations
MOST = 5  # classes printed per image
WIDTH = 100  # of a line, in characters


def main(arguments: list[str] | None = None) -> int:
    """Run one command: `predict [--model FILE] IMAGE...` or `info [FILE]`.

    Without a file, the model is the one that comes with the package, `mml.presets.PRESETS["cifar10"]`.

    `predict` prints the most probable classes of each image, at most five. It reads all images before it builds
    the model, and skips those that it cannot read (see `mml.images.read_image`). The probabilities are the softmax of
    the model's outputs, or the outputs themselves if the model ends in a softmax.

    `info` prints what the file holds: its classes and layers, and the number and bytes of its weights.

    Results go to stdout. Errors go to stderr, one line for each file.

    If Keras is not imported yet and the environment variable `KERAS_BACKEND` is not set, this function sets it. It
    chooses the backend that Keras's configuration file names, or else the first one of `jax`, `torch`, and
    `tensorflow` that is installed.

    Args:
        arguments: List of strings. By default, those with which Python was started.

    Returns:
        The exit status: 0, or 1 if the model or an image could not be used or if no backend is installed.

    Raises:
        SystemExit: With status 2 if the arguments are wrong, with 0 after `--help`.

    Example:

    >>> from mml.__main__ import main
    >>> main(["info", "missing.safetensors"])
    1
    """
    if arguments is None:  # started as a program
        for stream in (sys.stdout, sys.stderr):  # a name may have characters that the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    parsed = _parser().parse_args(arguments)
    if not _choose_backend():
        return _complain(f"Keras needs a backend: {', '.join(BACKENDS)}. Install one, for example: pip install jax")

    from mml.packing import read_packed  # imports Keras, with the backend chosen
    from mml.presets import PRESETS

    if parsed.model is None:
        parsed.model = PRESETS[DEFAULT].packed_path
    try:
        packed = read_packed(parsed.model)
    except OSError as error:
        return _complain(f"{parsed.model} cannot be read: {error.strerror or error}.")
    except ValueError as error:
        return _complain(error)
    try:
        status = _predict(packed, parsed.images) if parsed.command == "predict" else _info(packed)
        sys.stdout.flush()
    except ValueError as error:
        return _complain(error)
    except BrokenPipeError:  # the reader of the output, such as `head`, has stopped
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes again when it exits
        return 1
    return status


def _parser():
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="Use a packed model: a file of ternary weights, written by mml.packing.save_packed.",
        epilog=f"Run `{PROG} COMMAND --help` for more about a command.",
    )
    which = "the model for CIFAR-10's ten classes that comes with the package"
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    predict = commands.add_parser(
        "predict",
        help="print the most probable classes of images",
        description=f"Print the {MOST} most probable classes of each image. Images of any size and format are "
        "cropped around their center and resized to what the model takes. Files that cannot be read are named on "
        "stderr, and the exit status is then 1.",
    )
    predict.add_argument("--model", metavar="FILE", help=f"a packed model's file (default: {which})")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="an image file")
    info = commands.add_parser(
        "info",
        help="print the contents of a packed model's file",
        description="Print the contents of a packed model's file: its classes and layers, the number and bytes of "
        "its weights, and how many bytes they would take as float32.",
    )
    info.add_argument("model", metavar="FILE", nargs="?", help=f"a packed model's file (default: {which})")
    return parser


def _choose_backend():
    """Set an installed backend if none is set, and return whether Keras has one."""
    if os.environ.get("KERAS_BACKEND") or "keras" in sys.modules:
        return True
    for backend in (_configured_backend(), *BACKENDS):
        if backend and importlib.util.find_spec(backend):
            os.environ["KERAS_BACKEND"] = backend
            return True
    return False


def _configured_backend():
    """Return the backend that Keras's configuration file names, or None.

    Keras creates that file, with its default, if there is none.
    """
    try:
        backend = json.loads((keras_home() / "keras.json").read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):  # Keras then uses its default or says what is wrong
        return None
    return backend if isinstance(backend, str) and backend.isidentifier() else None


def _predict(packed, paths):
    shape = _input_shape(packed.config)
    sizes_known = shape is not None and all(isinstance(size, int) and size > 0 for size in shape)
    if not sizes_known or len(shape) != 3 or shape[2] not in (1, 3):
        raise ValueError(
            f"The model in {packed.path} must take images of shape height x width x channels, with 1 or 3 channels. "
            f"Received: input shape {_shape_text(shape)}"
        )
    read, failed = [], 0
    for path in paths:
        try:
            # The pixels are whole numbers. As bytes, they take a quarter of the memory.
            read.append((path, read_image(path, *shape).astype("uint8")))
        except (FileNotFoundError, ValueError) as error:
            failed = _complain(error)
    if not read:
        return failed

    model = packed.build()
    names, outputs = packed.class_names, model.output_shape
    if not isinstance(outputs, tuple) or len(outputs) != 2 or (outputs[1] or 0) < 2:
        raise ValueError(
            f"The model in {packed.path} must give one number per class, for two or more classes. "
            f"Received: output shape {outputs}"
        )
    names = names or [f"class {index}" for index in range(outputs[1])]
    if len(names) != outputs[1]:
        raise ValueError(f"{packed.path} must name each of its {outputs[1]} classes. Received: {len(names)} names")
    normalized = _ends_in_softmax(model)
    for start in range(0, len(read), BATCH):
        batch = read[start : start + BATCH]
        rows = model.predict(np.stack([image for _, image in batch]).astype("float32"), verbose=0)
        for (path, _), row in zip(batch, rows.astype("float64"), strict=True):
            if not np.isfinite(row).all():
                failed = _complain(f"The model in {packed.path} gives outputs that are not finite for {path}.")
                continue
            probabilities = row if normalized else _softmax(row)
            print(_one_line(path))
            for index in np.argsort(-probabilities, kind="stable")[:MOST]:
                print(f"  {probabilities[index]:6.1%}  {_one_line(names[index])}")
    return failed


def _softmax(logits):
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def _ends_in_softmax(model):
    import keras

    last = model
    while isinstance(last, keras.Model):
        last = last.outputs[0]._keras_history.operation
    # A `Softmax` layer, or the operation of that name that a functional model makes from the function.
    return type(last).__name__ == "Softmax" or getattr(last, "activation", None) is keras.activations.softmax


def _info(packed):
    from mml.packing import unpack_ternary

    shapes = packed.ternary_shapes
    rest = [array for name, array in packed.arrays.items() if name not in shapes]
    n_ternary, n_rest = sum(map(math.prod, shapes.values())), sum(array.size for array in rest)
    ternary_bytes = sum(packed.arrays[name].nbytes for name in shapes)
    rest_bytes = sum(array.nbytes for array in rest)
    zeros = sum(np.sum(unpack_ternary(packed.arrays[name], shape) == 0) for name, shape in shapes.items())
    float_bytes = 4 * (n_ternary + n_rest)
    share = f"{8 * ternary_bytes / n_ternary:.2f} bits per weight, {zeros / n_ternary:.1%} zeros" if n_ternary else ""

    for label, items in (
        ("file", [str(packed.path)]),
        ("size", [f"{packed.size:,} bytes", "checksum OK"]),
        ("format", [f"version {packed.version}"]),
        ("input", [_shape_text(_input_shape(packed.config))]),
        ("classes", packed.class_names or ["without names"]),
        ("layers", _layer_counts(packed.config)),
    ):
        # Lines break only between items.
        text = ", ".join(_one_line(item).replace(" ", "\xa0") for item in items)
        lines = textwrap.wrap(text, WIDTH - 9, break_long_words=False, break_on_hyphens=False)
        print(f"{label:9}" + f"\n{'':9}".join(lines).replace("\xa0", " "))
    print(f"\n{'':16}{'number':>14}{'bytes':>14}")
    for label, number, size, note in (
        ("ternary weights", f"{n_ternary:,}", ternary_bytes, share),
        ("other weights", f"{n_rest:,}", rest_bytes, ", ".join(sorted({str(array.dtype) for array in rest}))),
        ("header", "", packed.size - ternary_bytes - rest_bytes, "architecture, names, scales"),
        ("whole file", "", packed.size, ""),
        ("all as float32", f"{n_ternary + n_rest:,}", float_bytes, f"{float_bytes / packed.size:.1f} times the file"),
    ):
        print(f"{label:16}{number:>14}{size:>14,}  {note}".rstrip())
    return 0


def _inner_layers(config):
    """Return the layers of a model in Keras's serialized form, including those of models within it."""
    try:
        layers = config["config"]["layers"]
        layers = [layer for layer in layers if layer["class_name"] != "InputLayer"]  # nothing is computed there
        return [inner for layer in layers for inner in _inner_layers(layer) or [layer]]
    except (KeyError, TypeError):  # a single layer, or another form
        return []


def _layer_counts(config):
    counts = collections.Counter(str(layer["class_name"]) for layer in _inner_layers(config))
    return [f"{count} {name}" for name, count in counts.items()] or ["unknown"]


def _input_shape(config):
    """Return the shape of a model's only input without the batch, or None if the serialized form does not say."""
    try:
        inputs = [layer for layer in config["config"]["layers"] if layer["class_name"] == "InputLayer"]
        return tuple(inputs[0]["config"]["batch_shape"][1:]) if len(inputs) == 1 else None
    except (KeyError, TypeError):
        return None


def _shape_text(shape):
    return "unknown" if shape is None else " x ".join("any" if size is None else str(size) for size in shape)


def _complain(error):
    print(f"Error: {_one_line(' '.join(str(error).splitlines()))}", file=sys.stderr)
    return 1


def _one_line(text):
    # Names come from files. They must not send control characters to the terminal.
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


if __name__ == "__main__":
    sys.exit(main())
