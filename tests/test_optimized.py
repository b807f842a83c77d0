"""The formulas hold for programs that XLA optimizes, as it does for users; the other tests leave that out."""

import functools

import oracle
import pytest
from comparison import assert_equals_oracle
from quick_compilation import optimized

from mml.layers import TransformerBlockMML


@pytest.mark.parametrize("fully_mml", [True, False])
def test_a_block_equals_the_formula(fully_mml):
    forward = functools.partial(oracle.transformer_block, fully_mml=fully_mml)
    with optimized():
        assert_equals_oracle(TransformerBlockMML(8, 12, 2, fully_mml=fully_mml), forward, (2, 5, 8), count=1)
