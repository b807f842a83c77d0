import functools

import keras
import numpy as np
import oracle
import pytest
from comparison import assert_equals_oracle, draw_weights

from mml.initializers import Linspace
from mml.layers import GridScanMML

DIRECTIONS = ["right", "left", "down", "up"]
every_direction = pytest.mark.parametrize("direction", DIRECTIONS)


def with_weights(layer, features=6):
    layer.build((None, layer.grid[0] * layer.grid[1], features))
    layer.set_weights(draw_weights(layer, np.random.default_rng(0)))
    return layer


def tokens(grid, batch=3):
    return np.random.default_rng(1).normal(size=(batch, grid[0] * grid[1], 6)).astype("float32")


@every_direction
@pytest.mark.parametrize("grid", [(2, 3), (3, 1)], ids=str)
def test_equals_the_formula(direction, grid):
    assert_equals_oracle(
        GridScanMML(8, grid, direction),
        functools.partial(oracle.grid_scan, grid=grid, direction=direction),
        (2, grid[0] * grid[1], 6),
        count=1,
    )


# In the order of the visits, on a grid of 2 x 3 tokens that are numbered row by row.
VISITS = {
    "right": [0, 1, 2, 3, 4, 5],
    "left": [5, 4, 3, 2, 1, 0],
    "down": [0, 3, 1, 4, 2, 5],
    "up": [5, 2, 4, 1, 3, 0],
}


@every_direction
def test_a_token_sees_itself_and_those_visited_before(direction):
    layer, x = with_weights(GridScanMML(8, (2, 3), direction)), tokens((2, 3), batch=1)
    before = np.asarray(layer(x))
    order = VISITS[direction]
    for visit, token in enumerate(order):
        changed = x.copy()
        changed[:, token] += 1
        moved = np.any(np.abs(np.asarray(layer(changed)) - before) > 1e-6, axis=-1)[0]
        assert set(np.flatnonzero(moved)) == set(order[visit:])


@every_direction
@pytest.mark.parametrize("padding", ["row above", "row below", "column left", "column right"])
def test_a_grid_padded_with_masked_tokens_gives_what_the_grid_gives(direction, padding):
    small = with_weights(GridScanMML(8, (2, 3), direction))
    edges = {"row above": ((1, 0), (0, 0)), "row below": ((0, 1), (0, 0))}
    edges |= {"column left": ((0, 0), (1, 0)), "column right": ((0, 0), (0, 1))}
    x = tokens((2, 3))
    mask = np.pad(np.ones((3, 2, 3), "bool"), ((0, 0), *edges[padding]))
    padded = np.pad(x.reshape(3, 2, 3, 6), ((0, 0), *edges[padding], (0, 0)), constant_values=100.0)
    rows, columns = mask.shape[1:]
    large = GridScanMML(8, (rows, columns), direction)
    large.build((None, rows * columns, 6))
    large.set_weights(small.get_weights())
    mask = mask.reshape(3, -1)
    found = np.asarray(large(padded.reshape(3, -1, 6), mask=mask))[mask].reshape(3, 6, 8)
    np.testing.assert_allclose(found, small(x), rtol=1e-5, atol=1e-6)


@every_direction
def test_a_mask_may_be_any_and_keeps_its_place(direction):
    layer, x = with_weights(GridScanMML(8, (2, 3), direction)), tokens((2, 3))
    mask = np.array([[1, 1, 0, 1, 0, 1], [0, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], "bool")
    found = np.asarray(layer(x, mask=mask))
    weights = [weight.astype("float64") for weight in layer.get_weights()]
    order = np.array(VISITS[direction])
    for image, kept, outputs in zip(x.astype("float64"), mask, found, strict=True):
        visited = order[kept[order]]
        expected = oracle.gru(image[None, visited], *weights)[0].real
        np.testing.assert_allclose(outputs[visited], expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(layer.compute_mask(x, mask), mask)
    for image, kept, outputs in zip(x, mask, found, strict=True):  # and one mask serves all images
        together = layer(np.stack([image, image]), mask=kept[None])
        np.testing.assert_allclose(together[1], outputs, rtol=1e-5, atol=1e-6)


def test_forget_biases_start_where_they_are_told():
    layer = GridScanMML(4, (2, 3), forget_bias_initializer=Linspace(1, 4))
    layer.build((None, 6, 5))
    gates, output = (weight for weight in layer.weights if weight.name == "bias")
    np.testing.assert_allclose(gates, [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(output, np.zeros(4))
    plain = GridScanMML(4, (2, 3))
    plain.build((None, 6, 5))
    assert not np.any(keras.ops.convert_to_numpy(plain.weights[1]))


@pytest.mark.parametrize("units", [0, -1, 2.5, "4", None, True])
def test_units_must_be_a_positive_integer(units):
    with pytest.raises(ValueError, match=rf"`units` must be a positive integer.*{units}"):
        GridScanMML(units, (2, 3))


def test_a_grid_must_be_a_pair():
    with pytest.raises(ValueError, match="`grid` must be a pair of positive integers: rows and columns. Received"):
        GridScanMML(8, 6)


@pytest.mark.parametrize("direction", ["Right", "forward", "", None, 1], ids=str)
def test_other_directions_are_refused(direction):
    message = rf"`direction` must be 'right', 'left', 'down', or 'up'. Received: direction={direction!r}"
    with pytest.raises(ValueError, match=message):
        GridScanMML(8, (2, 3), direction)


@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 7, 6), (2, 6), (2, 2, 3, 6)], ids=str)
def test_other_inputs_are_refused(shape):
    with pytest.raises(ValueError, match="grid_scan_mml.*expected"):
        GridScanMML(8, (2, 3))(np.zeros(shape, "float32"))


@every_direction
@pytest.mark.parametrize("shape", [(3, 5), (3, 1), (6,), (3, 6, 1)], ids=str)
def test_other_masks_are_refused(direction, shape):
    with pytest.raises(ValueError, match=r"`mask` must have the shape \[batch, steps\] = \[3, 6\]."):
        GridScanMML(8, (2, 3), direction)(tokens((2, 3)), mask=np.ones(shape, "bool"))
