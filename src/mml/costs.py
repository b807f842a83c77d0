"""What one image costs: operations, bytes and an estimate of the energy, counted from the model itself.

A model's program is a list of JAX's primitive operations, each with the shapes of its operands (a jaxpr). To count
is to walk along that list, so nothing about a model is written down here.
"""

import math
from collections import Counter, defaultdict

import jax
import keras
import numpy as np
import pandas as pd

from mml.packing import pack_ternary

# Horowitz, 2014, figure 1.1.9: picojoules in a 45 nm process at 0.9 V.
HOROWITZ_PJ = {
    "int8 addition": 0.03,
    "int32 addition": 0.1,
    "int8 multiplication": 0.2,
    "int32 multiplication": 3.1,
    "float16 addition": 0.4,
    "float32 addition": 0.9,
    "float16 multiplication": 1.1,
    "float32 multiplication": 3.7,
    "8 bytes from a cache of 8 KB": 10,
    "8 bytes from a cache of 32 KB": 20,
    "8 bytes from a cache of 1 MB": 100,
    "8 bytes from DRAM": 1300,  # up to 2600
}

_STAND_INS = {
    "function": "multiplication",
    "comparison": "addition",
    "bool": "int8",
    "uint8": "int8",
    "int16": "int32",
    "uint16": "int32",
    "uint32": "int32",
    "bfloat16": "float16",
}

# The names are those of JAX's primitives. One operation for each entry of the result:
_ELEMENTWISE = {
    name: operation
    for operation, names in {
        "addition": "add add_any sub cumsum",
        "multiplication": "mul square cumprod",
        "function": "div rem pow integer_pow exp exp2 expm1 log log1p sqrt rsqrt cbrt sin cos tan asin acos atan "
        "atan2 sinh cosh tanh asinh acosh atanh logistic erf erfc erf_inv lgamma digamma",
        "comparison": "eq ne lt le gt ge max min cummax cummin select_n is_finite sign abs neg round floor ceil "
        "reduce_precision and or xor not shift_left shift_right_logical shift_right_arithmetic",
    }.items()
    for name in names.split()
}
# n - 1 for n entries that become one:
_REDUCTIONS = {
    name: operation
    for operation, names in {
        "addition": "reduce_sum reduce_window_sum",
        "multiplication": "reduce_prod",
        "comparison": "reduce_max reduce_min reduce_and reduce_or argmax argmin reduce_window_max reduce_window_min",
    }.items()
    for name in names.split()
}
# None:
_MOVEMENT = (
    "reshape transpose broadcast_in_dim squeeze rev slice dynamic_slice dynamic_update_slice split concatenate pad "
    "gather scatter iota copy stop_gradient bitcast_convert_type device_put optimization_barrier"
).split()
# What is in the program inside:
_CALLS = "jit pjit closed_call core_call remat remat2 checkpoint custom_jvp_call custom_vjp_call".split()


def count_operations(model: keras.Model) -> pd.DataFrame:
    """Count the arithmetic of a model in inference, for one image.

    - `addition`: additions, subtractions, and n - 1 for a sum of n numbers.
    - `multiplication`: multiplications.
    - `function`: all other arithmetic: division, roots, `exp`, `tanh` and so on, one for each value.
    - `comparison`: what needs no more than an addition does: comparison, choice, minimum and maximum, rounding,
      sign, absolute value, logic, and conversion to another number type.

    A product `[M, K] @ [K, N]` is M*K*N multiplications, in the wider type of its operands, and as many additions,
    in the type of its result: each sum starts from zero. So is a convolution, with the zeros that it is padded or
    dilated by. Only a product with an integer weight that holds -1, 0 and 1 has no multiplications: it takes one
    addition (or subtraction) for each row and each weight that is not zero.

    `mml.packing.load_packed` gives such weights to the layers of this package. Before that they hold float
    kernels, rounded anew in each call and multiplied as floats, and are counted so.

    Moving data costs no operation. All else that the program asks for is counted, also what a compiler might spare.
    It is the program for the device at hand: `mml.ops.linear_recurrence` takes more operations off a CPU. The types
    of `function` and `comparison` are those of what goes in.

    Args:
        model: A Keras model with a single input, whose shape is known but for the batch.

    Returns:
        A `pandas.DataFrame` with the columns `operation`, `dtype` and `count`, without zeros.

    Raises:
        RuntimeError: If the backend of Keras is not JAX.
        ValueError: If the model has no such input, if images in a batch are not independent of each other, or if the
            program has an operation of unknown cost, such as sorting, or a loop of unknown length.

    Example:

    >>> import keras
    >>> from mml.costs import count_operations
    >>> count_operations(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh")]))
            operation    dtype  count
    0        addition  float32     15
    1        function  float32      3
    2  multiplication  float32     12

    Reference:
        Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014,
        doi:10.1109/ISSCC.2014.6757323, on why to count them apart.
    """
    one_image, _ = _costs(model)
    rows = [(*key, count) for key, count in sorted(one_image.items()) if key[0] != "activations" and count]
    return pd.DataFrame(rows, columns=["operation", "dtype", "count"])


def count_bytes(model: keras.Model) -> pd.DataFrame:
    """Count the bytes that a model in inference has to move for one image.

    - `weights`: all weights, each read once, as they are stored. Integer weights that hold -1, 0 and 1 have the type
      `ternary` and the 1.6 bits a weight of `mml.packing.pack_ternary`, as in a packed file.
    - `activations`: what goes into the matrix products and convolutions and comes out of them, weights left out.

    Args:
        model: A Keras model, as for `count_operations`.

    Returns:
        A `pandas.DataFrame` with the columns `data`, `dtype` and `bytes`.

    Raises:
        RuntimeError: As `count_operations`.
        ValueError: As `count_operations`.

    Example:

    >>> import keras
    >>> from mml.costs import count_bytes
    >>> count_bytes(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
              data    dtype  bytes
    0  activations  float32     28
    1      weights  float32     60
    """
    _, each_further_image = _costs(model)  # without what is shared: the weights, or what comes from them
    sizes = Counter({key: size for key, size in each_further_image.items() if key[0] == "activations" and size})
    for weight in model.weights:
        if _is_ternary(weight):
            sizes["weights", "ternary"] += pack_ternary(weight).nbytes
        else:
            sizes["weights", str(weight.dtype)] += weight.value.nbytes
    return pd.DataFrame([(*key, size) for key, size in sorted(sizes.items())], columns=["data", "dtype", "bytes"])


def energy(operations: pd.DataFrame, memory: pd.DataFrame) -> pd.DataFrame:
    """Estimate the energy of one image from published figures for a single operation.

    The figures, `HOROWITZ_PJ`, are of a 45 nm process, so only ratios carry over to a newer one. They leave out
    what a processor spends on its instructions, which is more than the arithmetic unless the processor is built
    for the task. Where no figure is published, the estimate is low: a `function` costs as much as a
    multiplication, a `comparison` as much as an addition. 16-bit integers are charged as 32-bit ones, bfloat16
    as float16, truth values as 8-bit integers. Weights come from DRAM, at the lower end of its range, and
    activations go to and from a cache of 1 MB.

    Args:
        operations: What `count_operations` returns.
        memory: What `count_bytes` returns.

    Returns:
        A `pandas.DataFrame` with the columns `part` (`arithmetic` or `memory`), `kind` (an operation, `weights` or
        `activations`) and `microjoules`.

    Raises:
        ValueError: If there is no figure for a number type, such as float64.

    Example:

    >>> import keras
    >>> from mml.costs import count_bytes, count_operations, energy
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    >>> energy(count_operations(model), count_bytes(model))
             part            kind  microjoules
    0  arithmetic        addition     0.000018
    1  arithmetic  multiplication     0.000059
    2      memory     activations     0.000400
    3      memory         weights     0.013000

    Reference:
        Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014,
        doi:10.1109/ISSCC.2014.6757323, figure 1.1.9.
    """
    picojoules: defaultdict[tuple[str, str], float] = defaultdict(float)
    for operation, dtype, count in operations.itertuples(index=False):
        figure = " ".join(_STAND_INS.get(word, word) for word in (dtype, operation))
        if figure not in HOROWITZ_PJ:
            raise ValueError(f"`operations` must be of types with a known energy. Received: {operation} of {dtype}")
        picojoules["arithmetic", operation] += count * HOROWITZ_PJ[figure]
    for data, _, size in memory.itertuples(index=False):
        place = {"weights": "DRAM", "activations": "a cache of 1 MB"}[data]
        picojoules["memory", data] += size / 8 * HOROWITZ_PJ[f"8 bytes from {place}"]
    rows = [(*key, total / 1e6) for key, total in sorted(picojoules.items())]
    return pd.DataFrame(rows, columns=["part", "kind", "microjoules"])


def _costs(model):
    """Count what a call with one image costs, and what each further image adds."""
    if keras.backend.backend() != "jax":
        raise RuntimeError(f"The backend of Keras must be 'jax'. Received: {keras.backend.backend()!r}")
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1 or inputs[0].shape[0] is not None or None in inputs[0].shape[1:]:
        shapes = [tuple(tensor.shape) for tensor in inputs]
        raise ValueError(f"`model` must have one input, unknown in its batch only. Received: input shapes {shapes}")

    # One row may be filled up to two for speed, which is no part of the model: so one image is found from more.
    two, three, four = (_cost_of_batch(model, images) for images in (2, 3, 4))
    further = {key: three[key] - two[key] for key in three}
    if further != {key: four[key] - three[key] for key in four}:
        raise ValueError("`model` must treat each image by itself, at the same cost.")
    return {key: two[key] - further[key] for key in two}, further


def _cost_of_batch(model, images):
    trainable = [variable.value for variable in model.trainable_variables]
    non_trainable = [variable.value for variable in model.non_trainable_variables]
    x = jax.ShapeDtypeStruct((images, *model.inputs[0].shape[1:]), model.inputs[0].dtype)

    def predict(*arguments):
        return model.stateless_call(*arguments, training=False)[0]

    program = jax.make_jaxpr(predict)(trainable, non_trainable, x)
    weights = zip(program.jaxpr.invars, trainable + non_trainable, strict=False)  # the last one is the images
    nonzeros = {id(variable): int(np.count_nonzero(value)) for variable, value in weights if _is_ternary(value)}
    return _cost(program.jaxpr, nonzeros)


def _is_ternary(weight):
    if len(weight.shape) != 2 or "int" not in str(weight.dtype):
        return False
    values = np.asarray(weight)
    return values.size > 0 and values.min() >= -1 and values.max() <= 1


def _cost(jaxpr, nonzeros):
    """Count what one run of a program costs: `{(operation, dtype): count, ("activations", dtype): bytes}`.

    `nonzeros` has, for the `id` of each variable that is a ternary weight, how many of its entries are not zero.
    """
    cost: Counter[tuple[str, str]] = Counter()
    for equation in jaxpr.eqns:
        name, params, out = equation.primitive.name, equation.params, equation.outvars[0].aval
        if name in _CALLS:
            inner = params["jaxpr"] if "jaxpr" in params else params["call_jaxpr"]
            cost.update(_cost_of_call(inner, equation.invars, nonzeros))
        elif name == "cond":
            branches = [_cost_of_call(branch, equation.invars[1:], nonzeros) for branch in params["branches"]]
            cost.update(max(branches, key=Counter.total))
        elif name == "scan":
            # The other operands change from step to step.
            step = _cost_of_call(params["jaxpr"], equation.invars[: params["num_consts"]], nonzeros)
            cost.update({key: count * params["length"] for key, count in step.items()})
        elif name in ("dot_general", "conv_general_dilated"):
            cost.update(_cost_of_product(equation, nonzeros))
        elif name not in _MOVEMENT:
            operand = equation.invars[-1].aval  # of a choice, not the condition
            operation, count = _count(name, params, operand, out)
            cost[operation, str(operand.dtype)] += count
    return cost


def _cost_of_call(inner, operands, nonzeros):
    inner = getattr(inner, "jaxpr", inner)
    pairs = zip(inner.invars, operands, strict=False)
    return _cost(inner, {id(name): nonzeros[id(operand)] for name, operand in pairs if id(operand) in nonzeros})


def _cost_of_product(equation, nonzeros):
    left, right = equation.invars
    out = equation.outvars[0].aval
    numbers = equation.params["dimension_numbers"]
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = numbers
        terms = math.prod(left.aval.shape[axis] for axis in contracted)
    else:
        terms = right.aval.size // right.aval.shape[numbers.rhs_spec[0]]  # of a kernel, for one output channel
    products = out.size * terms

    cost: Counter[tuple[str, str]] = Counter()
    ternary = [operand for operand in (left, right) if id(operand) in nonzeros]
    if ternary:
        rows = products // ternary[0].aval.size  # that each weight meets
        cost["addition", str(out.dtype)] += rows * nonzeros[id(ternary[0])]
    else:
        cost["addition", str(out.dtype)] += products
        cost["multiplication", str(jax.numpy.promote_types(left.aval.dtype, right.aval.dtype))] += products
    for tensor in (left.aval, right.aval, out):
        cost["activations", str(tensor.dtype)] += tensor.size * tensor.dtype.itemsize
    return cost


def _count(name, params, operand, out):
    if name == "convert_element_type":
        return "comparison", out.size * (operand.dtype != out.dtype)
    if name == "clamp":
        return "comparison", 2 * out.size
    if name == "integer_pow" and params["y"] > 0:
        # by repeated squaring
        return "multiplication", out.size * (params["y"].bit_length() + params["y"].bit_count() - 2)
    if name in _ELEMENTWISE:
        return _ELEMENTWISE[name], out.size
    if name in _REDUCTIONS:
        together = math.prod(params["window_dimensions"]) if "window" in name else operand.size // out.size
        return _REDUCTIONS[name], out.size * (together - 1)
    raise ValueError(f"`model` must be made of operations of known cost. Received: JAX's primitive {name!r}")
