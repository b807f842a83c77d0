"""Operations and bytes of one image, counted from the model itself.

JAX traces a model into a list of primitive operations, each with the shapes of its operands (a jaxpr). The functions
here walk along that list, so they know nothing about particular models or layers.
"""

import math
from collections import Counter
from typing import TYPE_CHECKING

import keras
import numpy as np

from mml.optional import require

if TYPE_CHECKING:
    import pandas

# The names are those of JAX's primitives. These cost one operation for each entry of the result:
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
# These cost n - 1 operations where n entries become one:
_REDUCTIONS = {
    name: operation
    for operation, names in {
        "addition": "reduce_sum reduce_window_sum",
        "multiplication": "reduce_prod",
        "comparison": "reduce_max reduce_min reduce_and reduce_or argmax argmin reduce_window_max reduce_window_min",
    }.items()
    for name in names.split()
}
# These cost nothing:
_MOVEMENT = (
    "reshape transpose broadcast_in_dim squeeze rev slice dynamic_slice dynamic_update_slice split concatenate pad "
    "stack tile gather scatter iota copy stop_gradient bitcast_convert_type device_put optimization_barrier"
).split()
# These cost what the program inside costs:
_CALLS = "jit pjit closed_call core_call remat remat2 checkpoint custom_jvp_call custom_vjp_call".split()


def count_operations(model: keras.Model) -> "pandas.DataFrame":
    """Count the arithmetic operations of a model in inference for one image.

    - `addition`: additions and subtractions. A sum of n numbers takes n - 1 of them.
    - `multiplication`: multiplications.
    - `function`: all other arithmetic, such as division, roots, `exp`, and `tanh`. Each value counts as one.
    - `comparison`: operations that cost no more than an addition: comparison, choice, minimum and maximum, rounding,
      sign, absolute value, logic, and conversion to another number type.

    A product `[M, K] @ [K, N]` takes M*K*N multiplications, in the wider type of its operands. It takes as many
    additions, in the type of its result, because each sum starts from zero. A convolution is counted in the same way,
    including the zeros from padding and dilation.

    A product with an integer weight that holds only -1, 0, and 1 takes no multiplications. It takes one addition (or
    subtraction) for each row and each nonzero weight.

    A packed model holds such weights (see `mml.packing.pack`). A model in the ternary state holds float kernels. In
    each call, it rounds them and multiplies them as floats, and those operations are counted.

    Moving data costs no operations. Everything else in the program is counted, even what a compiler might save. For a
    conditional, the branch with more operations is counted. The program is the one for the current device:
    `mml.ops.linear_recurrence` takes more operations on a device other than a CPU. `function` and `comparison` have
    the type of their operands.

    Args:
        model: A Keras model with a single input. Only its batch size may be unknown.

    Returns:
        A `pandas.DataFrame` with the columns `operation`, `dtype`, and `count`. Operations that do not occur are
        omitted.

    Raises:
        ImportError: If jax or pandas is not installed.
        RuntimeError: If the Keras backend is not JAX.
        ValueError: If the model has no such input, if the images of a batch depend on each other, or if the program
            has an operation of unknown cost, such as sorting or a loop of unknown length.

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
        doi:10.1109/ISSCC.2014.6757323, on why to count them separately.
    """
    one_image, _ = _costs(model)
    rows = [(*key, count) for key, count in sorted(one_image.items()) if key[0] != "activations" and count]
    import pandas

    return pandas.DataFrame(rows, columns=["operation", "dtype", "count"])


def count_bytes(model: keras.Model) -> "pandas.DataFrame":
    """Count the bytes that a model in inference has to move for one image.

    - `weights`: all weights, each read once, as they are stored. Integer weights that hold only -1, 0, and 1 have
      the type `ternary` and take 1.6 bits each, five per byte, as `mml.packing.pack_ternary` stores them.
    - `activations`: the inputs and outputs of the matrix products and convolutions, without the weights. For a
      conditional, those of the branch with more operations are counted.

    Args:
        model: A Keras model, as for `count_operations`.

    Returns:
        A `pandas.DataFrame` with the columns `data`, `dtype`, and `bytes`.

    Raises:
        ImportError: As for `count_operations`.
        RuntimeError: As for `count_operations`.
        ValueError: As for `count_operations`.

    Example:

    >>> import keras
    >>> from mml.costs import count_bytes
    >>> count_bytes(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
              data    dtype  bytes
    0  activations  float32     28
    1      weights  float32     60
    """
    _, each_further_image = _costs(model)  # without what all images share: the weights and what is computed from them
    sizes = Counter({key: size for key, size in each_further_image.items() if key[0] == "activations" and size})
    for weight in model.weights:
        if _is_ternary(weight):
            sizes["weights", "ternary"] += math.ceil(math.prod(weight.shape) / 5)
        else:
            sizes["weights", str(weight.dtype)] += weight.value.nbytes
    import pandas

    return pandas.DataFrame([(*key, size) for key, size in sorted(sizes.items())], columns=["data", "dtype", "bytes"])


def _costs(model):
    """Return the cost of a call with one image, and the cost that each further image adds."""
    for package in ("jax", "pandas"):
        require(package, "`mml.costs`")
    if keras.backend.backend() != "jax":
        raise RuntimeError(f"The Keras backend must be 'jax'. Received: {keras.backend.backend()!r}")
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1 or inputs[0].shape[0] is not None or None in inputs[0].shape[1:]:
        shapes = [tuple(tensor.shape) for tensor in inputs]
        raise ValueError(
            "`model` must have one input whose shape is known except for the batch size. "
            f"Received: input shapes {shapes}"
        )

    # A layer may pad a single row to two for speed, which is not part of the model. So start from two images.
    two, three, four = (_cost_of_batch(model, images) for images in (2, 3, 4))
    third = {key: three[key] - two[key] for key in three}
    fourth = {key: four[key] - three[key] for key in four}
    if third != fourth:
        raise ValueError(
            "`model` must treat each image separately and at the same cost. "
            f"Received: a model in which the third image costs {third} and the fourth {fourth}"
        )
    return {key: two[key] - third[key] for key in two}, third


def _cost_of_batch(model, images):
    import jax

    trainable = [variable.value for variable in model.trainable_variables]
    non_trainable = [variable.value for variable in model.non_trainable_variables]
    x = jax.ShapeDtypeStruct((images, *model.inputs[0].shape[1:]), model.inputs[0].dtype)

    def predict(*arguments):
        return model.stateless_call(*arguments, training=False)[0]

    program = jax.make_jaxpr(predict)(trainable, non_trainable, x)
    weights = zip(program.jaxpr.invars, trainable + non_trainable, strict=False)  # the last one holds the images
    nonzeros = {id(variable): int(np.count_nonzero(value)) for variable, value in weights if _is_ternary(value)}
    return _cost(program.jaxpr, nonzeros)


def _is_ternary(weight):
    if len(weight.shape) != 2 or "int" not in str(weight.dtype):
        return False
    values = np.asarray(weight)
    return values.size > 0 and values.min() >= -1 and values.max() <= 1


def _cost(jaxpr, nonzeros):
    """Return the cost of one run of a program: `{(operation, dtype): count, ("activations", dtype): bytes}`.

    `nonzeros` maps the `id` of each variable that is a ternary weight to the number of its nonzero entries.
    """
    cost: Counter[tuple[str, str]] = Counter()
    for equation in jaxpr.eqns:
        name, params, out = equation.primitive.name, equation.params, equation.outvars[0].aval
        if name in _CALLS:
            inner = params["jaxpr"] if "jaxpr" in params else params["call_jaxpr"]
            cost.update(_cost_of_call(inner, equation.invars, nonzeros))
        elif name == "cond":
            branches = [_cost_of_call(branch, equation.invars[1:], nonzeros) for branch in params["branches"]]
            cost.update(max(branches, key=_arithmetic))
        elif name == "scan":
            step = _cost_of_call(params["jaxpr"], _constants(equation), nonzeros)
            cost.update({key: count * params["length"] for key, count in step.items()})
        elif name in ("dot_general", "conv_general_dilated"):
            cost.update(_cost_of_product(equation, nonzeros))
        elif name not in _MOVEMENT:
            operand = equation.invars[-1].aval  # the first operand of a choice is its condition
            operation, count = _count(name, params, operand, out)
            cost[operation, str(operand.dtype)] += count
    return cost


def _constants(scan):
    """Return the operands of a loop that are the same in each step. They come first, before the carried ones."""
    step = getattr(scan.params["jaxpr"], "jaxpr", scan.params["jaxpr"])
    # Operands and results that are stacked over the steps have one more axis outside the loop.
    stacked = sum(_rank(outer) != _rank(inner) for outer, inner in zip(scan.invars, step.invars, strict=True))
    carried = sum(_rank(outer) == _rank(inner) for outer, inner in zip(scan.outvars, step.outvars, strict=True))
    return scan.invars[: len(scan.invars) - stacked - carried]


def _rank(variable):
    return len(variable.aval.shape)


def _arithmetic(cost):
    return sum(count for (operation, _), count in cost.items() if operation != "activations")


def _cost_of_call(inner, operands, nonzeros):
    inner = getattr(inner, "jaxpr", inner)
    pairs = zip(inner.invars, operands, strict=False)
    return _cost(inner, {id(name): nonzeros[id(operand)] for name, operand in pairs if id(operand) in nonzeros})


def _cost_of_product(equation, nonzeros):
    import jax

    left, right = equation.invars
    out = equation.outvars[0].aval
    numbers = equation.params["dimension_numbers"]
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = numbers
        terms = math.prod(left.aval.shape[axis] for axis in contracted)
    else:
        terms = right.aval.size // right.aval.shape[numbers.rhs_spec[0]]  # the kernel of one output channel
    products = out.size * terms

    cost: Counter[tuple[str, str]] = Counter()
    ternary = [operand for operand in (left, right) if id(operand) in nonzeros]
    if ternary:
        rows = products // ternary[0].aval.size
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
    raise ValueError(f"`model` must consist of operations of known cost. Received: JAX's primitive {name!r}")
