import json

import keras
import numpy as np
import pytest

from mml.initializers import Linspace


@pytest.mark.parametrize("shape", [(1,), (5,), (3, 4), (2, 1, 7)], ids=str)
def test_values_are_evenly_spaced_along_the_last_axis(shape):
    values = keras.ops.convert_to_numpy(Linspace(-1, 3.5)(shape))
    expected = [-1 + 4.5 * index / max(shape[-1] - 1, 1) for index in range(shape[-1])]
    assert values.dtype == "float32"
    np.testing.assert_allclose(values, np.broadcast_to(expected, shape), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_dtype_is_the_one_asked_for(dtype):
    values = Linspace(0, 3)((4,), dtype)
    assert keras.backend.standardize_dtype(values.dtype) == dtype
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.ops.cast(values, "float32")), [0, 1, 2, 3])


def test_by_default_the_dtype_is_that_of_keras(monkeypatch):
    monkeypatch.setattr(keras.config, "floatx", lambda: "float16")
    assert keras.backend.standardize_dtype(Linspace(0, 3)((4,)).dtype) == "float16"


def test_a_configuration_holds_both_ends():
    config = json.loads(json.dumps(keras.initializers.serialize(Linspace(-0.5, 3))))
    restored = keras.initializers.get(config)
    assert type(restored) is Linspace and (restored.start, restored.stop) == (-0.5, 3.0)
    np.testing.assert_array_equal(restored((6,)), Linspace(-0.5, 3)((6,)))


@pytest.mark.parametrize("name", ["start", "stop"])
@pytest.mark.parametrize("value", [None, "0", True, float("nan"), float("inf"), [0]], ids=str)
def test_ends_must_be_finite_numbers(name, value):
    with pytest.raises(ValueError) as error:
        Linspace(**{"start": 0, "stop": 1, name: value})
    assert str(error.value) == f"`{name}` must be a finite number. Received: {name}={value!r}"
