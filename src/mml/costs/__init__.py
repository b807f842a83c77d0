"""What one image costs: operations, bytes and an estimate of the energy, counted from the model itself.

It needs the packages jax and pandas, and JAX as the backend of Keras.
"""

from mml.costs.counting import count_bytes, count_operations
from mml.costs.horowitz import HOROWITZ_PJ, energy

__all__ = ["HOROWITZ_PJ", "count_bytes", "count_operations", "energy"]
