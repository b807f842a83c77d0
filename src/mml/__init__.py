"""Matmul-less (MML) vision transformers: ternary-weight layers for Keras, and what a chapter needs around them."""
