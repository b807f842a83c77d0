"""Matmul-less (MML) vision transformers: ternary-weight layers for Keras, and what a chapter needs around them."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # what the package installs; has no effect once Keras is imported

from mml.memory import keep_freed_memory

keep_freed_memory()  # before JAX starts its threads
