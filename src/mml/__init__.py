"""Matmul-less (MML) vision transformers: ternary-weight layers for Keras, and what a chapter needs around them."""

from mml.memory import keep_freed_memory

keep_freed_memory()  # before JAX starts its threads
