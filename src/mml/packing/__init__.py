"""Packed models, with ternary kernels of 8 bits per weight in memory and 1.6 bits per weight in a file.

`pack` turns a trained model into its packed form in memory. `save_packed` writes this form to a file, and
`load_packed` reads it.

A packed model's file is a safetensors file (https://github.com/huggingface/safetensors): eight bytes with the length
of a JSON header, the header, and the bytes of the arrays. Its metadata are strings:

- `format`: `mml packed model`, and `version`: `1`;
- `config`: the architecture, as Keras serializes it, without the parts that only training needs;
- `class_names`: a JSON list, or `null`;
- `rest`: `float16` or `float32`, the type of the floats that are not ternary;
- `ternary`: a JSON object with `[units, features, scale]` for each ternary kernel;
- `sha256`: the digest of the whole file, computed with zeros instead of its own 64 digits.

The name of an array consists of the layer, the position of a layer within it, and the weight. The array of a ternary
kernel holds its packed bytes (see `pack_ternary`).
"""

from mml.packing.models import load_packed, pack, save_packed
from mml.packing.packed_file import FORMAT, VERSION, PackedFile, read_packed
from mml.packing.trits import additions_only_product, pack_ternary, unpack_ternary

__all__ = [
    "FORMAT",
    "VERSION",
    "PackedFile",
    "additions_only_product",
    "load_packed",
    "pack",
    "pack_ternary",
    "read_packed",
    "save_packed",
    "unpack_ternary",
]
