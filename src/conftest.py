"""The examples in the docstrings run on JAX, unless `KERAS_BACKEND` names another backend."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
