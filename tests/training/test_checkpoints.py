"""`mml.training.checkpoints`: files that are complete and of the right epoch."""

import keras
import pytest

from mml.training import Checkpoint
from mml.training.checkpoints import read_history


def test_checkpoint_keeps_the_best(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    checkpoint = Checkpoint(tmp_path / "best.weights.h5", monitor="val_acc", mode="max", save_best_only=True)
    checkpoint.set_model(model)
    for epoch, (value, accuracy) in enumerate([(1.0, 0.2), (2.0, 0.6), (3.0, 0.5), (4.0, 0.6)]):
        model.layers[0].bias.assign([value])
        checkpoint.on_epoch_end(epoch, {"val_acc": accuracy})
    model.load_weights(tmp_path / "best.weights.h5")
    assert float(model.layers[0].bias[0]) == 2.0
    assert [path.name for path in tmp_path.iterdir()] == ["best.weights.h5"]


def test_checkpoint_never_moves_what_another_epoch_left(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    path = tmp_path / "{odd} name.weights.h5"
    checkpoint = Checkpoint(path, monitor="val_acc", mode="max", save_best_only=True)
    checkpoint.set_model(model)
    checkpoint.on_epoch_end(0, {"val_acc": 0.5})
    best = path.read_bytes()
    (tmp_path / f"partial.{path.name}").write_bytes(best[:100])
    checkpoint.on_epoch_end(1, {"val_acc": 0.4})
    assert path.read_bytes() == best
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("loss\n0.5\n", "KeyError: 'epoch'"),
        ("epoch,loss\n0,0.5\n", r"ValueError: it must have a row for each of 2 epochs.* has rows for \[0\]"),
        ("epoch,loss\n1,0.5\n2,0.4\n", r"ValueError: it must have .* has rows for \[1, 2\]"),
    ],
)
def test_what_is_wrong_with_a_history_is_said(tmp_path, content, reason):
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(ValueError, match=f"history.csv is missing, damaged, .*: {reason}. Delete the folder"):
        read_history(tmp_path / "history.csv", 2)
