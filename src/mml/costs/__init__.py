"""The cost of one image: operations, bytes, and an estimate of the energy, counted from the model itself.

The functions need the packages jax and pandas, and JAX as the Keras backend.
"""

from mml.costs.counting import count_bytes, count_operations
from mml.costs.horowitz import HOROWITZ_PJ, energy

__all__ = ["HOROWITZ_PJ", "count_bytes", "count_operations", "energy"]
