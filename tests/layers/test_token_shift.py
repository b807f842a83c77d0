import functools

import numpy as np
import oracle
import pytest
from comparison import assert_equals_oracle

from mml.layers import TokenShift


def tokens(grid, features=16, batch=2):
    return np.random.default_rng(0).normal(size=(batch, grid[0] * grid[1], features)).astype("float32")


@pytest.mark.parametrize("grid", [(3, 4), (4, 2), (1, 5), (5, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("features", [16, 8, 13, 5])
def test_equals_the_formula(grid, features):
    x = tokens(grid, features)
    np.testing.assert_array_equal(TokenShift(grid)(x), oracle.token_shift(x, grid))


def test_gradients_equal_the_formula_s():
    assert_equals_oracle(TokenShift((2, 3)), functools.partial(oracle.token_shift, grid=(2, 3)), (2, 6, 9), count=1)


def test_a_masked_token_gives_its_neighbors_zeros_whatever_it_holds():
    grid = (3, 4)
    x = tokens(grid)
    mask = np.random.default_rng(1).uniform(size=x.shape[:2]) < 0.6
    x[~mask] = np.nan
    expected = oracle.token_shift(np.where(mask[..., None], x, 0), grid)
    np.testing.assert_array_equal(np.asarray(TokenShift(grid)(x, mask=mask))[mask], expected[mask])


def test_one_mask_serves_all_images():
    x, mask = tokens((2, 3)), np.array([[1, 0, 1, 1, 0, 1]], "bool")
    expected = TokenShift((2, 3))(x, mask=np.repeat(mask, 2, axis=0))
    np.testing.assert_array_equal(TokenShift((2, 3))(x, mask=mask), expected)


def test_it_has_no_weights_and_keeps_the_mask():
    layer, mask = TokenShift((2, 3)), np.ones((2, 6), "bool")
    x = tokens((2, 3))
    layer(x)
    assert layer.variables == [] and layer.compute_mask(x, mask) is mask


@pytest.mark.parametrize("grid", [3, "23", (2,), (1, 2, 3), None], ids=str)
def test_a_grid_must_be_a_pair(grid):
    with pytest.raises(ValueError, match="`grid` must be a pair of positive integers: rows and columns. Received"):
        TokenShift(grid)


@pytest.mark.parametrize("side", [0, -1, 2.5, "4", None, True])
def test_its_sides_must_be_positive_integers(side):
    for grid in ((side, 2), (2, side)):
        with pytest.raises(ValueError, match="`grid` must be a pair of positive integers.* Received: ") as error:
            TokenShift(grid)
        assert str(error.value).endswith(f"Received: grid={grid}")


@pytest.mark.parametrize("shape", [(2, 5, 8), (2, 7, 8), (2, 8), (2, 2, 3, 8)], ids=str)
def test_other_inputs_are_refused(shape):
    with pytest.raises(ValueError, match="token_shift.*expected"):
        TokenShift((2, 3))(np.zeros(shape, "float32"))


@pytest.mark.parametrize("shape", [(2, 5), (2, 1), (6,), (2, 6, 1)], ids=str)
def test_other_masks_are_refused(shape):
    message = r"`mask` must have the shape \[batch, steps\] = \[2, 6\]. Received: mask.shape=\("
    with pytest.raises(ValueError, match=message):
        TokenShift((2, 3))(tokens((2, 3)), mask=np.ones(shape, "bool"))
