"""The files of two runs, compared."""

import h5py
import numpy as np

LATEST, BEST = "latest.weights.h5", "best.weights.h5"  # a run that keeps the last weights has the former alone


def weights_in(path):
    """All arrays of a weights file: weights, optimizer, random states."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def assert_same_files(path, other):
    names = {each.name for each in path.glob("*.h5")}
    assert {LATEST} <= names == {each.name for each in other.glob("*.h5")} <= {LATEST, BEST}
    for name in sorted(names):
        ours, theirs = weights_in(path / name), weights_in(other / name)
        assert ours.keys() == theirs.keys() and ours
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key], err_msg=f"{name}: {key}")
    assert (path / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
