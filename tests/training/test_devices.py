"""`mml.training.devices`: runs on several devices and in several processes, and in mixed precision."""

import dataclasses
import functools
import json
import socket

import keras
import numpy as np
import pytest
from distributed_run import BATCH_SIZE, train_distributed
from forked import Forked
from killed_run import CONFIG, MLGRU, tiny_data
from run_files import LATEST, assert_same_files, weights_in

from mml.models import float_vision_mlgru
from mml.training import Run, train
from mml.training.checkpoints import read_history

# Of 45 images: two full steps, and one of 13 images and 3 to fill up.
SIXTEEN = dataclasses.replace(CONFIG, batch_size=BATCH_SIZE)


@pytest.fixture(scope="module")
def data():
    return tiny_data()


def finish(*processes, returncode=0):
    """What each process printed last, or all that it printed where it was to fail."""
    ended = [process.wait() for process in processes]
    assert [status for status, _ in ended] == [returncode] * len(ended), ended
    return [printed if returncode else json.loads(printed.splitlines()[-1]) for _, printed in ended]


def free_port():
    with socket.socket() as asked:
        asked.bind(("localhost", 0))
        return asked.getsockname()[1]


def both(directories, devices=4):
    """Two processes, as two hosts would run them."""
    port = free_port()
    return [
        Forked(train_distributed, directory, devices, BATCH_SIZE, (), (port, 2, number))
        for number, directory in enumerate(directories)
    ]


@pytest.fixture(scope="module")
def one_device(data, tmp_path_factory):
    return train(data, SIXTEEN, tmp_path_factory.mktemp("one"), verbose=0)


@pytest.fixture(scope="module")
def eight_devices(tmp_path_factory):
    """The same run on eight devices: its folder, and what it printed."""
    directory = tmp_path_factory.mktemp("eight")
    (printed,) = finish(Forked(train_distributed, directory, 8))
    (folder,) = directory.iterdir()
    return folder, printed


def assert_equal_within_rounding(folder, run):
    """As one device: the sums over a batch are added up in another order, and float32 rounds at 6e-8.

    AdamW divides a gradient by its size, so that a step is about as long as the learning rate where the gradient is
    almost nothing but rounding. So single weights may differ by that much per step, and the bound is on their mean.
    Likewise an activation at the edge of two of its 8-bit values may be rounded to the other one: losses are compared
    less tightly than float32 would allow.
    """
    history = Run(None, read_history(folder / "history.csv", len(run.records)), folder).history
    assert history["epoch"].tolist() == run.history["epoch"].tolist()
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(history[name][:1], run.history[name][:1], rtol=1e-5)
        np.testing.assert_allclose(history[name], run.history[name], rtol=1e-3)
    one_image = 1 / 45 + 1e-6  # two classes may be as likely as each other, within rounding
    np.testing.assert_allclose(history["acc"], run.history["acc"], atol=one_image)

    ours, theirs = (weights_in(path / LATEST) for path in (folder, run.path))
    assert ours.keys() == theirs.keys() and ours
    steps = int(ours["optimizer/vars/0"])
    for name in ours:
        if ours[name].dtype.kind == "f":
            assert np.abs(ours[name] - theirs[name]).mean() < 0.01 * SIXTEEN.learning_rate * steps, name
        else:  # steps done, and the states of the random generators
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


# === Eight devices, one process ===


def test_each_device_has_all_weights_and_its_share_of_the_images(eight_devices):
    _, printed = eight_devices
    assert printed["holders"] == [8]
    assert printed["shares"] == [[1] * 8, [2] * 8]  # 5 validation images, filled up to 8; 16 images to train on


def test_eight_devices_train_as_one(eight_devices, one_device):
    folder, _ = eight_devices
    assert folder.name == one_device.path.name
    assert_equal_within_rounding(folder, one_device)


def test_eight_devices_train_by_muon_as_one(data, tmp_path):
    """The float twin, for one epoch: at this learning rate, what rounding does soon adds up."""
    config = dataclasses.replace(MLGRU, epochs=1, batch_size=BATCH_SIZE)
    run = train(data, config, tmp_path / "one", verbose=0, build=float_vision_mlgru)
    distributed = functools.partial(train_distributed, config=config, build=float_vision_mlgru)
    (printed,) = finish(Forked(distributed, tmp_path / "eight", 8))
    assert printed["holders"] == [8]
    assert_equal_within_rounding(tmp_path / "eight" / run.path.name, run)


def test_killed_by_sigterm_eight_devices_go_on_as_if_nothing_had_happened(eight_devices, tmp_path):
    finish(Forked(train_distributed, tmp_path, 8, BATCH_SIZE, ("after", LATEST, 1)), returncode=-15)
    finish(Forked(train_distributed, tmp_path, 8, BATCH_SIZE, ("half", LATEST, 1)), returncode=-15)
    finish(Forked(train_distributed, tmp_path, 8))
    folder, _ = eight_devices
    assert_same_files(tmp_path / folder.name, folder)


def test_a_run_goes_on_with_another_number_of_devices(data, one_device, tmp_path):
    finish(Forked(train_distributed, tmp_path, 8, BATCH_SIZE, ("after", LATEST, 2)), returncode=-15)
    assert_equal_within_rounding(train(data, SIXTEEN, tmp_path, verbose=0).path, one_device)


def test_a_batch_that_eight_devices_cannot_share(tmp_path):
    (errors,) = finish(Forked(train_distributed, tmp_path / "runs", 8, 20), returncode=1)
    assert (
        "ValueError: `batch_size` must be a multiple of 8, the number of devices that share a batch. Received"
        in errors
    )
    assert not (tmp_path / "runs").exists()


# === Two processes ===


def test_two_processes_of_four_devices_train_as_one_device(one_device, tmp_path):
    for printed in finish(*both([tmp_path, tmp_path])):
        assert printed["holders"] == [8]
        assert printed["shares"] == [[1] * 4, [2] * 4]
        assert printed["epochs"] == CONFIG.epochs
    (folder,) = tmp_path.iterdir()
    assert_equal_within_rounding(folder, one_device)
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in one_device.path.iterdir())


def test_two_processes_without_a_common_folder(one_device, tmp_path):
    processes = both([one_device.path.parent, tmp_path], devices=1)
    for errors in finish(*processes, returncode=1):
        assert "share one folder" in errors


# === What cannot be trained ===


def test_only_data_parallelism(data, tmp_path):
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), ["cpu:0"])
    layout = keras.distribution.LayoutMap(mesh)
    with (
        keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch").scope(),
        pytest.raises(ValueError, match="must be a `DataParallel`, or must not be set. Received: <ModelParallel"),
    ):
        train(data, CONFIG, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


# === Mixed precision ===


def test_mixed_precision_is_another_run_of_about_the_same_losses(data, one_device, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    run = train(data, SIXTEEN, tmp_path, verbose=0)
    assert run.path.name != one_device.path.name
    assert json.loads((run.path / "config.json").read_text())["dtype_policy"] == "mixed_bfloat16"
    assert "dtype_policy" not in json.loads((one_device.path / "config.json").read_text())
    for weight in run.model.trainable_weights:
        assert weight.dtype == "float32", weight.path  # steps far below the weights' own size must add up
    assert {layer.compute_dtype for layer in run.model.layers} == {"bfloat16"}
    # bfloat16 rounds at 0.4%; the tiny model's losses are near that of guessing, 2.3.
    np.testing.assert_allclose(run.history["loss"], one_device.history["loss"], rtol=0.05)
    logits = run.model.predict(data.x_train[45:], verbose=0).astype("float64")
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log_p, data.y_train[45:].astype(int), 1).mean()
    best = int(run.history["val_acc"].idxmax())
    assert run.history["val_loss"][best] == pytest.approx(expected, rel=1e-4)


def test_float16_is_refused(data, tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    with pytest.raises(ValueError, match="must not compute in float16.*Received: 'mixed_float16'"):
        train(data, CONFIG, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
