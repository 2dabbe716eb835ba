"""TensorFlow functions by path, each with TensorFlow's own signature and written with Keras layers and operations.

A function that Keras has a layer for is written as that layer. An argument that is not in a signature here is refused,
and so is a value that Keras has no equal for: nothing is passed over.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from octconvert.loading.tensorflow.values import (
    Open,
    Outputs,
    Untranslatable,
    axes,
    check_size,
    constant,
    constant_tensor,
    integers,
    is_float,
    is_number,
    is_tensor,
    known_size,
    pair,
    rank,
    require_float,
    tensor,
)

Function = Callable[..., Any]
TABLE: dict[str, Function] = {}
REASONS: dict[str, str] = {}  # why a function is missing, where more can be said than that Keras has no equal
# Of the functions of TensorFlow 1 these mean something else than their namesakes of today: they have entries of their
# own, or none. All others differ in arguments that are refused.
OTHER_IN_VERSION_1 = ("nn.dropout", "where", "image.resize", "div", "nn.moments", "gather_nd", "scatter_nd", "nn.pool")


def named(*paths: str) -> Callable[[Function], Function]:
    """Decorator: the function of these paths within TensorFlow."""

    def register(function: Function) -> Function:
        TABLE.update(dict.fromkeys(paths, function))
        return function

    return register


def find(path: str) -> Function:
    """The function of a path.

    Raises:
        KeyError: `missing` says why.
    """
    return TABLE[_key(path)]


def missing(path: str) -> str:
    """Why there is no function of this path; empty where there is."""
    key = _key(path)
    if key in TABLE:
        return ""
    random = any(part.startswith(("random", "stateless_random")) for part in path.split("."))
    usual = "it draws random numbers at prediction too" if random else "it has no equal in Keras 3"
    return REASONS.get(key, usual)


def _key(path: str) -> str:
    """The path that the table holds: without the namespaces that only repeat a function."""
    if path in TABLE or path in REASONS:
        return path
    key = path.removeprefix("compat.v1.")
    if key != path and key.startswith(OTHER_IN_VERSION_1):
        return path
    for prefix in ("", "math.", "linalg.", "__operators__."):
        short = key.removeprefix(prefix)
        if short in TABLE or short in REASONS:
            return short
    return path


# -- one tensor, element by element ------------------------------------------------------------------------------------

UNARY = {
    "abs": ops.absolute,
    "acos": ops.arccos,
    "acosh": ops.arccosh,
    "asin": ops.arcsin,
    "asinh": ops.arcsinh,
    "atan": ops.arctan,
    "atanh": ops.arctanh,
    "bessel_i0": ops.i0,
    "ceil": ops.ceil,
    "cos": ops.cos,
    "cosh": ops.cosh,
    "erf": ops.erf,
    "erfc": ops.erfc,
    "erfinv": ops.erfinv,
    "expm1": ops.expm1,
    "floor": ops.floor,
    "is_finite": ops.isfinite,
    "is_inf": ops.isinf,
    "is_nan": ops.isnan,
    "log": ops.log,
    "log1p": ops.log1p,
    "log_sigmoid": ops.log_sigmoid,
    "logical_not": ops.logical_not,
    "negative": ops.negative,
    "neg": ops.negative,
    "reciprocal": ops.reciprocal,
    "rint": ops.round,
    "round": ops.round,
    "rsqrt": ops.rsqrt,
    "sign": ops.sign,
    "sin": ops.sin,
    "sinh": ops.sinh,
    "sqrt": ops.sqrt,
    "square": ops.square,
    "tan": ops.tan,
}
ACTIVATIONS = {
    "elu": ("nn.elu", "keras.activations.elu"),
    "exponential": ("exp", "keras.activations.exponential"),
    "selu": ("nn.selu", "keras.activations.selu"),
    "sigmoid": ("sigmoid", "nn.sigmoid", "keras.activations.sigmoid"),
    "softplus": ("softplus", "nn.softplus", "keras.activations.softplus"),
    "softsign": ("softsign", "nn.softsign", "keras.activations.softsign"),
    "tanh": ("tanh", "nn.tanh", "keras.activations.tanh"),
}
KEEPS_WHOLE_NUMBERS = ("abs", "logical_not", "negative", "neg", "sign", "square")


def _unary(name: str, operation: Function) -> Function:
    def function(x):
        if name not in KEEPS_WHOLE_NUMBERS:
            require_float(tensor(x))
        return operation(tensor(x))

    return function


for _name, _operation in UNARY.items():
    named(_name)(_unary(_name, _operation))


def activation(x: Any, name: str) -> Any:
    """An Activation layer in the tensor's own type."""
    return layers.Activation(name, dtype=require_float(tensor(x)).dtype)(x)


for _name, _paths in ACTIVATIONS.items():
    named(*_paths)(lambda x, _name=_name: activation(x, _name))


@named("nn.relu", "keras.activations.relu", "keras.backend.relu")
def relu(x, alpha=0.0, max_value=None, threshold=0.0):
    if not all(value is None or is_number(value) for value in (alpha, max_value, threshold)):
        raise Untranslatable("with limits that the model computes")
    dtype = require_float(tensor(x)).dtype
    return layers.ReLU(max_value, negative_slope=alpha, threshold=threshold, dtype=dtype)(x)


@named("nn.relu6")
def relu6(features):
    return relu(features, max_value=6.0)


@named("nn.leaky_relu")
def leaky_relu(features, alpha=0.2):
    if not is_number(alpha):
        raise Untranslatable("with a slope that the model computes")
    return layers.LeakyReLU(negative_slope=alpha, dtype=require_float(tensor(features)).dtype)(features)


@named("nn.crelu")
def crelu(features, axis=-1):
    return ops.concatenate([relu(features), relu(ops.negative(features))], axis=axis)


@named("nn.silu", "nn.swish", "keras.activations.swish", "keras.activations.silu")
def silu(features, beta=1.0):
    if beta == 1.0:
        return activation(features, "silu")
    return features * ops.sigmoid(times(features, beta))


@named("nn.gelu", "keras.activations.gelu")
def gelu(features, approximate=False):
    if not approximate:
        return activation(features, "gelu")
    return ops.gelu(require_float(tensor(features)), approximate=True)


@named("keras.activations.mish")
def mish(x):
    return activation(x, "mish")


@named("keras.activations.hard_sigmoid", "keras.backend.hard_sigmoid")
def hard_sigmoid(x):
    return ops.clip(plus(times(require_float(tensor(x)), 0.2), 0.5), 0.0, 1.0)


@named("keras.activations.linear", "identity", "stop_gradient", "debugging.check_numerics", "convert_to_tensor")
def identity(x, message=None):
    return layers.Identity(dtype=tensor(x).dtype)(x)


@named("identity_n")
def identity_n(input):
    return Outputs(identity(x) for x in input)


REASONS["nn.dropout"] = "it drops values at prediction too, which no Keras layer does"
REASONS["compat.v1.nn.dropout"] = REASONS["nn.dropout"]


@named("ensure_shape")
def ensure_shape(x, shape):
    known = list(shape)
    if len(known) != rank(x) or any(a != b for a, b in zip(known, x.shape, strict=True) if None not in (a, b)):
        raise Untranslatable(f"with the shape {known} of a tensor of {tuple(x.shape)}")
    return identity(x)


@named("keras.backend.cast_to_floatx")
def cast_to_floatx(x):
    return ops.cast(tensor(x), "float32")


@named("cast", "keras.backend.cast")
def cast(x, dtype):
    if not is_tensor(x):
        return _each(lambda item: item if isinstance(item, Open) else np.dtype(dtype).type(item).item(), x)
    return ops.cast(x, dtype)


@named("saturate_cast", "dtypes.saturate_cast")
def saturate_cast(value, dtype):
    return ops.saturate_cast(tensor(value), dtype)


@named("clip_by_value", "keras.backend.clip")
def clip_by_value(t, clip_value_min, clip_value_max):
    t = require_float(tensor(t))
    if is_number(clip_value_min) and is_number(clip_value_max):
        return ops.clip(t, clip_value_min, clip_value_max)
    return minimum(maximum(t, clip_value_min), clip_value_max)


@named("clip_by_norm")
def clip_by_norm(t, clip_norm, axes=None):
    size = norm(t, axis=axes, keepdims=True)
    return ops.divide(ops.multiply(t, clip_norm), ops.maximum(size, clip_norm))


@named("nn.l2_loss")
def l2_loss(t):
    return ops.multiply(ops.sum(ops.square(require_float(tensor(t)))), 0.5)


@named("zero_fraction", "nn.zero_fraction")
def zero_fraction(value):
    return ops.mean(ops.cast(ops.equal(tensor(value), 0), "float32"))


@named("reciprocal_no_nan")
def reciprocal_no_nan(x):
    return ops.divide_no_nan(ops.ones_like(require_float(tensor(x))), x)


# -- two tensors, or a tensor and numbers ------------------------------------------------------------------------------


def _rescaled(x: Any, scale: Any, offset: Any) -> Any:
    return layers.Rescaling(scale, offset, dtype=x.dtype)(x)


def _rescales(x: Any, value: Any) -> bool:
    """Whether ``value`` is a number, or one for each entry of the last axis, that a Rescaling of ``x`` can hold."""
    if not is_float(x) or is_tensor(value):
        return False
    items = value if isinstance(value, list) else [value]
    fits = not isinstance(value, list) or len(value) == x.shape[-1]
    return fits and all(is_number(item) and math.isfinite(item) for item in items)


def _map(value: Any, function: Callable[[float], float]) -> Any:
    return [function(float(item)) for item in value] if isinstance(value, list) else function(float(value))


def _like(value: Any, number: float) -> Any:
    return [number] * len(value) if isinstance(value, list) else number


def _merged(layer: type, x: Any, y: Any, operation: Function) -> Any:
    """By a merging layer where both are tensors of as many axes: Keras' layers align others in their own way."""
    if is_tensor(x) and is_tensor(y) and rank(x) == rank(y) and is_float(x):
        first, second = pair(x, y)
        return layer(dtype=first.dtype)([first, second])
    return operation(*pair(x, y))


def _sizes(function: Function) -> Function:
    """The function of two operands, which works on plain numbers and open sizes as well."""

    def either(x, y):
        if is_tensor(x) or is_tensor(y):
            return function(x, y)
        if any(isinstance(item, Open) for item in keras.tree.flatten([x, y])):
            raise Untranslatable("of a size that is not known before the model runs")
        result = PLAIN[function.__name__](np.asarray(x), np.asarray(y))
        return result.item() if result.ndim == 0 else result.tolist()

    return either


PLAIN: dict[str, Function] = {
    "plus": np.add,
    "minus": np.subtract,
    "times": np.multiply,
    "over": np.true_divide,
    "floor_divide": np.floor_divide,
    "modulo": np.mod,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "power": np.power,
}


@_sizes
def plus(x, y):
    if is_tensor(x) and _rescales(x, y):
        return _rescaled(x, 1.0 if not isinstance(y, list) else _like(y, 1.0), _map(y, float))
    if is_tensor(y) and _rescales(y, x):
        return plus(y, x)
    return _merged(layers.Add, x, y, ops.add)


@_sizes
def minus(x, y):
    if is_tensor(x) and _rescales(x, y):
        return _rescaled(x, _like(y, 1.0), _map(y, lambda number: -number))
    if is_tensor(y) and _rescales(y, x):
        return _rescaled(y, _like(x, -1.0), _map(x, float))
    return _merged(layers.Subtract, x, y, ops.subtract)


@_sizes
def times(x, y):
    if is_tensor(x) and _rescales(x, y):
        return _rescaled(x, _map(y, float), _like(y, 0.0))
    if is_tensor(y) and _rescales(y, x):
        return times(y, x)
    return _merged(layers.Multiply, x, y, ops.multiply)


@_sizes
def over(x, y):
    if is_tensor(x) and _rescales(x, y) and all(_items(y)):
        return _rescaled(x, _map(y, lambda number: 1.0 / number), _like(y, 0.0))
    x, y = pair(x, y)
    if not is_float(x if is_tensor(x) else y):
        raise Untranslatable("of whole numbers")
    return ops.true_divide(x, y)


@_sizes
def maximum(x, y):
    return _merged(layers.Maximum, x, y, ops.maximum)


@_sizes
def minimum(x, y):
    return _merged(layers.Minimum, x, y, ops.minimum)


@_sizes
def floor_divide(x, y):
    return ops.floor_divide(*pair(x, y))


@_sizes
def modulo(x, y):
    return ops.mod(*pair(x, y))


@_sizes
def power(x, y):
    x, y = pair(x, y)
    return ops.power(require_float(x) if is_tensor(x) else x, y)


def _items(value: Any) -> list:
    return value if isinstance(value, list) else [value]


named("add")(lambda x, y: plus(x, y))
named("subtract", "sub")(lambda x, y: minus(x, y))
named("multiply", "mul")(lambda x, y: times(x, y))
named("truediv", "divide", "realdiv", "compat.v1.div", "compat.v1.realdiv")(lambda x, y: over(x, y))
named("maximum", "keras.backend.maximum")(lambda x, y: maximum(x, y))
named("minimum", "keras.backend.minimum")(lambda x, y: minimum(x, y))
named("floordiv", "floor_div")(lambda x, y: floor_divide(x, y))
named("floormod", "mod")(lambda x, y: modulo(x, y))
named("pow", "keras.backend.pow")(lambda x, y: power(x, y))


@named("divide_no_nan", "div_no_nan")
def divide_no_nan(x, y):
    return ops.divide_no_nan(*pair(x, y))


@named("multiply_no_nan")
def multiply_no_nan(x, y):
    x, y = pair(x, y)
    return ops.where(ops.equal(y, 0), 0.0, ops.multiply(x, y))


@named("atan2")
def atan2(y, x):
    return ops.arctan2(*pair(y, x))


@named("squared_difference")
def squared_difference(x, y):
    return ops.square(minus(x, y))


for _name, _operation in {
    "greater": ops.greater,
    "greater_equal": ops.greater_equal,
    "less": ops.less,
    "less_equal": ops.less_equal,
    "equal": ops.equal,
    "not_equal": ops.not_equal,
    "logical_and": ops.logical_and,
    "logical_or": ops.logical_or,
    "logical_xor": ops.logical_xor,
}.items():
    named(_name)(lambda x, y, _operation=_operation: _operation(*pair(x, y)))

for _name, _full in (("eq", "equal"), ("ne", "not_equal")):
    REASONS[f"__operators__.{_name}"] = "tf.keras did not save what it compares with; write it as tf.equal"


@named("add_n", "math.accumulate_n")
def add_n(inputs):
    if not isinstance(inputs, list):
        return identity(inputs)
    total = inputs[0]
    if all(map(is_tensor, inputs)) and len({rank(x) for x in inputs}) == 1 and len(inputs) > 1 and is_float(total):
        return layers.Add(dtype=total.dtype)(list(inputs))
    for other in inputs[1:]:
        total = plus(total, other)
    return identity(total) if len(inputs) == 1 else total


@named("where", "compat.v1.where_v2", "compat.v1.where")
def where(condition, x=None, y=None):
    if x is None or y is None:
        raise Untranslatable("for the places where it is true")
    if is_tensor(condition) and any(is_tensor(value) and rank(value) != rank(condition) for value in (x, y)):
        raise Untranslatable("of different numbers of axes")  # TensorFlow 1 and 2 align them differently
    dtype = next((value.dtype for value in (x, y) if is_tensor(value)), "float32")
    if is_tensor(x) and is_tensor(y):
        pair(x, y)
    return ops.where(constant(condition, "bool"), constant(x, dtype), constant(y, dtype))


@named("matmul")
def matmul(
    a,
    b,
    transpose_a=False,
    transpose_b=False,
    adjoint_a=False,
    adjoint_b=False,
    a_is_sparse=False,  # said so only to be faster
    b_is_sparse=False,
):
    a, b = pair(a, b)
    turned = [(a, transpose_a or adjoint_a), (b, transpose_b or adjoint_b)]
    return ops.matmul(*(ops.swapaxes(x, -1, -2) if turn else x for x, turn in turned))


@named("tensordot", "keras.backend.dot")
def tensordot(a, b, axes):
    a, b = pair(a, b)
    return ops.tensordot(a, b, axes=axes)


@named("matvec")
def matvec(a, b, transpose_a=False, adjoint_a=False):
    a, b = pair(a, b)
    b = ops.expand_dims(b, -1) if is_tensor(b) else np.expand_dims(b, -1)
    return ops.squeeze(matmul(a, b, transpose_a, adjoint_a=adjoint_a), axis=-1)


@named("matrix_transpose", "adjoint")
def matrix_transpose(a, conjugate=False):
    return ops.swapaxes(tensor(a), -1, -2)


@named("trace")
def trace(x):
    return ops.trace(require_float(tensor(x)), axis1=-2, axis2=-1)


@named("diag_part")
def diag_part(input, k=0, padding_value=0, align="RIGHT_LEFT"):
    if k:
        raise Untranslatable(f"with k={k}")
    return ops.diagonal(tensor(input), axis1=-2, axis2=-1)


@named("band_part")
def band_part(input, num_lower, num_upper):
    x = tensor(input)
    lower, upper = integers([num_lower, num_upper], "numbers")
    x = x if lower < 0 else ops.triu(x, k=-lower)
    x = x if upper < 0 else ops.tril(x, k=upper)
    return identity(x) if x is input else x


REASONS["einsum"] = "tf.keras did not save the tensors that it joins"
REASONS["meshgrid"] = "tf.keras did not save all tensors that it joins"

# -- reductions --------------------------------------------------------------------------------------------------------


def _spatial(x: Any, over: list[int] | None) -> bool:
    return over is not None and rank(x) == 4 and sorted(over) == [1, 2]


def _reduction(operation: Function, layer: type | None = None, only_float: bool = True) -> Function:
    def function(input_tensor, axis=None, keepdims=False):
        x = tensor(input_tensor)
        if only_float:
            require_float(x)
        over = axes(axis, x)
        if layer is not None and is_float(x) and _spatial(x, over):
            return layer(keepdims=bool(keepdims), data_format="channels_last", dtype=x.dtype)(x)
        return operation(x, axis=over, keepdims=bool(keepdims))

    return function


def _euclidean_norm(x, axis, keepdims):
    return ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=keepdims))


for _name, _function in {
    "reduce_mean": _reduction(ops.mean, layers.GlobalAveragePooling2D),
    "reduce_max": _reduction(ops.max, layers.GlobalMaxPooling2D, only_float=False),
    "reduce_min": _reduction(ops.min, only_float=False),
    "reduce_sum": _reduction(ops.sum),
    "reduce_prod": _reduction(ops.prod),
    "reduce_std": _reduction(ops.std),
    "reduce_variance": _reduction(ops.var),
    "reduce_logsumexp": _reduction(ops.logsumexp),
    "reduce_euclidean_norm": _reduction(_euclidean_norm),
    "reduce_all": _reduction(ops.all, only_float=False),
    "reduce_any": _reduction(ops.any, only_float=False),
}.items():
    named(_name)(_function)


def _place(operation: Function) -> Function:
    def function(input, axis=None, output_type="int64", dimension=None):  # the names are TensorFlow's
        along = axis if axis is not None else dimension
        found = operation(tensor(input), axis=0 if along is None else integers(along, "axes")[0])
        return ops.cast(found, output_type)

    return function


named("argmax", "keras.backend.argmax")(_place(ops.argmax))
named("argmin", "keras.backend.argmin")(_place(ops.argmin))


@named("count_nonzero")
def count_nonzero(input, axis=None, keepdims=False, dtype="int64"):
    found = ops.cast(ops.not_equal(tensor(input), 0), dtype)
    return ops.sum(found, axis=axes(axis, input), keepdims=bool(keepdims))


@named("cumsum")
def cumsum(x, axis=0, exclusive=False, reverse=False):
    return _cumulated(ops.cumsum, x, axis, exclusive, reverse)


@named("cumprod")
def cumprod(x, axis=0, exclusive=False, reverse=False):
    return _cumulated(ops.cumprod, x, axis, exclusive, reverse)


def _cumulated(operation: Function, x: Any, axis: Any, exclusive: bool, reverse: bool) -> Any:
    x, axis = require_float(tensor(x)), integers(axis, "axes")[0]
    x = ops.flip(x, axis=axis) if reverse else x
    if exclusive:  # what a sum or a product starts with, and all entries but the last
        entries = [[0, 0] for _ in x.shape]
        entries[axis] = [1, 0]
        start = 1.0 if operation is ops.cumprod else 0.0
        length = known_size(x, axis % rank(x))
        x = _run(ops.pad(x, entries, constant_values=start), axis % rank(x), 0, length)
    x = operation(x, axis=axis)
    return ops.flip(x, axis=axis) if reverse else x


def _run(x: Any, axis: int, start: int, stop: int) -> Any:
    return x[tuple(slice(start, stop) if i == axis else slice(None) for i in range(rank(x)))]


@named("top_k", "nn.top_k")
def top_k(input, k=1, sorted=True):
    return Outputs(ops.top_k(tensor(input), k=integers(k, "")[0], sorted=bool(sorted)))


@named("sort")
def sort(values, axis=-1, direction="ASCENDING"):
    x = ops.sort(tensor(values), axis=axis)
    return x if direction == "ASCENDING" else ops.flip(x, axis=axis)


@named("argsort")
def argsort(values, axis=-1, direction="ASCENDING", stable=False):
    if direction != "ASCENDING":
        raise Untranslatable(f"with direction={direction}")
    return ops.argsort(tensor(values), axis=axis)


@named("l2_normalize", "nn.l2_normalize", "keras.backend.l2_normalize")
def l2_normalize(x, axis=None, epsilon=1e-12, dim=None):
    over = axes(axis if axis is not None else dim, require_float(tensor(x)))
    square = ops.sum(ops.square(x), axis=over, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(square, epsilon)))


@named("linalg.normalize")
def normalize(tensor, ord="euclidean", axis=None):
    size = norm(tensor, ord, axis, True)
    return Outputs([ops.divide(tensor, size), size])


@named("norm")
def norm(tensor, ord="euclidean", axis=None, keepdims=None):
    x, over, keep = require_float(tensor), axes(axis, tensor), bool(keepdims)
    if ord in ("euclidean", 2) and not (ord == 2 and isinstance(axis, list) and len(axis) > 1):
        return _euclidean_norm(x, over, keep)
    if ord == 1 and not (isinstance(axis, list) and len(axis) > 1):
        return ops.sum(ops.absolute(x), axis=over, keepdims=keep)
    if ord in ("inf", math.inf) and not (isinstance(axis, list) and len(axis) > 1):
        return ops.max(ops.absolute(x), axis=over, keepdims=keep)
    raise Untranslatable(f"of order {ord}")


@named("nn.softmax", "keras.activations.softmax", "keras.backend.softmax")
def softmax(logits, axis=-1, dim=None):
    axis = dim if dim is not None else (-1 if axis is None else axis)
    return layers.Softmax(axis=axis, dtype=require_float(tensor(logits)).dtype)(logits)


@named("nn.log_softmax", "keras.activations.log_softmax")
def log_softmax(logits, axis=-1, dim=None):
    axis = dim if dim is not None else (-1 if axis is None else axis)
    return ops.log_softmax(require_float(tensor(logits)), axis=axis)


# -- shapes ------------------------------------------------------------------------------------------------------------


@named("shape", "keras.backend.shape")
def shape(input, out_type="int32"):
    return tuple(Open(input, axis) if n is None else int(n) for axis, n in enumerate(tensor(input).shape))


@named("size")
def size(input, out_type="int32"):
    return math.prod(known_size(tensor(input), axis) for axis in range(rank(input)))


@named("rank")
def number_of_axes(input):
    return rank(tensor(input))


def target_shape(value: Any) -> list[int]:
    """A shape with at most one open size, as -1.

    Raises:
        Untranslatable: More are open.
    """
    items = list(value) if isinstance(value, list | tuple) else [value]
    found = [-1 if isinstance(item, Open) else item for item in items]
    found = integers(found, "a shape")
    if found.count(-1) > 1:
        raise Untranslatable(f"to the shape {found}, of which more than one size is open")
    return found


@named("reshape", "keras.backend.reshape")
def reshape(tensor, shape):
    if not is_tensor(tensor):
        return _each(lambda item: item, tensor)
    wanted = list(shape) if isinstance(shape, list | tuple) else [shape]
    if wanted.count(-1) == 1 and any(isinstance(item, Open) for item in wanted):
        wanted = _without_open(tensor, wanted)
    found = target_shape(wanted)
    keeps_batch = tensor.shape[0] is None and found[0] == -1 and None not in tensor.shape[1:]
    if keeps_batch and math.prod(found[1:]) == math.prod(tensor.shape[1:]):
        return layers.Reshape(found[1:], dtype=tensor.dtype)(tensor)
    return ops.reshape(tensor, found)


def _without_open(of: Any, wanted: list) -> list:
    """``[open batch, -1, ...]``: the -1 follows from the other sizes, where the open one is the tensor's own."""
    opens = [item for item in wanted if isinstance(item, Open)]
    unknown = [axis for axis, n in enumerate(of.shape) if n is None]
    if len(opens) != 1 or len(unknown) != 1 or opens[0].axis != unknown[0]:
        return wanted
    known = math.prod(n for n in of.shape if n is not None)
    rest = math.prod(item for item in wanted if isinstance(item, int) and item != -1)
    return [known // rest if isinstance(item, int) and item == -1 else item for item in wanted]


@named("keras.backend.batch_flatten")
def batch_flatten(x):
    return reshape(x, [Open(x, 0), math.prod(known_size(x, axis) for axis in range(1, rank(x)))])


@named("keras.backend.flatten")
def flatten(x):
    return ops.reshape(tensor(x), [-1])


@named("transpose", "keras.backend.permute_dimensions")
def transpose(a, perm=None, conjugate=False):
    return ops.transpose(tensor(a), axes=None if perm is None else integers(perm, "an order of axes"))


@named("expand_dims", "keras.backend.expand_dims")
def expand_dims(input, axis=None, dim=None):
    axis = integers(axis if axis is not None else dim, "axes")[0]
    return ops.expand_dims(tensor(input), axis=axis)


@named("squeeze", "keras.backend.squeeze")
def squeeze(input, axis=None, squeeze_dims=None):
    given = axis if axis is not None else squeeze_dims
    over = None if given in (None, []) else tuple(sorted(axes(given, tensor(input)) or ()))
    return ops.squeeze(tensor(input), axis=over)


@named("concat", "keras.backend.concatenate")
def concat(values, axis=-1):
    values = list(values) if isinstance(values, list | tuple) else [values]
    found = [value for value in values if is_tensor(value)]
    if not found:
        return [item for value in values for item in _items_of(value)]
    dtype, along = found[0].dtype, integers(axis, "axes")[0]
    if len(found) == len(values) > 1 and is_float(found[0]) and {x.dtype for x in found} == {dtype}:
        return layers.Concatenate(axis=along, dtype=dtype)(values)
    return ops.concatenate([constant_tensor(value, dtype) for value in values], axis=along)


def _items_of(value: Any) -> list:
    return list(value) if isinstance(value, list | tuple) else [value]


@named("stack", "keras.backend.stack")
def stack(values, axis=0):
    values = _items_of(values)
    found = [value for value in values if is_tensor(value)]
    if not found:
        return tuple(values)
    return ops.stack([constant_tensor(value, found[0].dtype) for value in values], axis=axis)


@named("unstack")
def unstack(value, num=None, axis=0):
    if not is_tensor(value):
        return Outputs(value)
    known_size(value, axis)
    return Outputs(ops.unstack(value, num=num, axis=axis))


@named("split")
def split(value, num_or_size_splits, axis=0, num=None):
    x, axis = tensor(value), integers(axis, "axes")[0]
    if isinstance(num_or_size_splits, list):
        sizes = integers(num_or_size_splits, "sizes")
        if -1 in sizes:
            rest = known_size(x, axis) - sum(n for n in sizes if n != -1)
            sizes = [rest if n == -1 else n for n in sizes]
        parts = list(itertools.accumulate(sizes))[:-1]
        return Outputs(ops.split(x, parts, axis=axis) if parts else [identity(x)])
    return Outputs(ops.split(x, integers(num_or_size_splits, "sizes")[0], axis=axis))


@named("tile", "keras.backend.tile")
def tile(input, multiples):
    return ops.tile(tensor(input), integers(multiples, "numbers"))


@named("repeat")
def repeat(input, repeats, axis=None):
    times = integers(repeats, "numbers")
    return ops.repeat(tensor(input), times[0] if len(times) == 1 else times, axis=axis)


@named("gather", "keras.backend.gather", "nn.embedding_lookup")
def gather(params, indices, validate_indices=None, axis=None, batch_dims=0):
    if batch_dims:
        raise Untranslatable(f"with batch_dims={batch_dims}")
    if not is_tensor(params):
        if is_tensor(indices):
            params = np.array(params, dtype="float32")
        else:
            chosen = [params[i] for i in integers(indices, "places")]
            return chosen if isinstance(indices, list) else chosen[0]
    where_to = indices if is_tensor(indices) else np.array(indices, dtype="int32")
    return ops.take(params, where_to, axis=0 if axis is None else integers(axis, "axes")[0])


@named("reverse", "keras.backend.reverse")
def reverse(tensor, axis):
    return ops.flip(tensor, axis=axes(axis, tensor))


@named("roll")
def roll(input, shift, axis):
    return ops.roll(tensor(input), *(v if isinstance(v, int) else tuple(integers(v, "numbers")) for v in (shift, axis)))


@named("broadcast_to")
def broadcast_to(input, shape):
    wanted = [tensor(input).shape[i] if isinstance(n, Open) else n for i, n in enumerate(shape)]
    if None in wanted or len(wanted) != rank(input):
        sizes = [1 if isinstance(n, Open) else n for n in shape]
        check_size(sizes)
        ones = np.ones(sizes, dtype=input.dtype)
        if any(isinstance(n, Open) and input.shape[i] is not None for i, n in enumerate(shape)):
            raise Untranslatable("to a size that is not known before the model runs")
        return ops.multiply(input, ones)
    return ops.broadcast_to(input, tuple(integers(wanted, "a shape")))


@named("zeros_like", "keras.backend.zeros_like")
def zeros_like(input, dtype=None):
    return ops.zeros_like(tensor(input), dtype=dtype)


@named("ones_like", "keras.backend.ones_like")
def ones_like(input, dtype=None):
    return ops.ones_like(tensor(input), dtype=dtype)


@named("fill")
def fill(dims, value):
    sizes = _items_of(dims)
    opens = [n for n in sizes if isinstance(n, Open)]
    if not opens:
        check_size(sizes)
        return ops.full(integers(sizes, "a shape"), value) if is_tensor(value) else np.full(sizes, value).tolist()
    source = opens[0].tensor
    if sizes != list(shape(source)) and not _is_shape_of(sizes, source):
        raise Untranslatable("of a size that is not known before the model runs")
    return ops.full_like(source, value)


def _is_shape_of(sizes: list, of: Any) -> bool:
    """Whether these are the sizes of a tensor, the open ones its own."""
    if len(sizes) != rank(of):
        return False
    own = all(n.tensor is of and n.axis == axis for axis, n in enumerate(sizes) if isinstance(n, Open))
    return own and all(isinstance(n, Open) or n == of.shape[axis] for axis, n in enumerate(sizes))


@named("one_hot", "keras.backend.one_hot")
def one_hot(indices, depth, on_value=None, off_value=None, axis=None, dtype=None):
    kind = "float32" if dtype is None else dtype
    found = ops.one_hot(tensor(indices), integers(depth, "a depth")[0], axis=-1 if axis is None else axis, dtype=kind)
    on, off = (1 if on_value is None else on_value), (0 if off_value is None else off_value)
    return found if (on, off) == (1, 0) else plus(times(found, on - off), off)


@named("slice")
def slice_(input_, begin, size):
    x, begin, size = tensor(input_), integers(begin, "places"), integers(size, "sizes")
    return x[tuple(slice(b, None if n == -1 else b + n) for b, n in zip(begin, size, strict=True))]


@named("strided_slice")
def strided_slice(
    input_,
    begin,
    end,
    strides=None,
    begin_mask=0,
    end_mask=0,
    ellipsis_mask=0,
    new_axis_mask=0,
    shrink_axis_mask=0,
    var=None,
):
    if ellipsis_mask or new_axis_mask or var is not None:
        raise Untranslatable("with an ellipsis or a new axis")
    begin, end = integers(begin, "places"), integers(end, "places")
    steps = [1] * len(begin) if strides is None else integers(strides, "steps")
    parts: list[Any] = []
    for i, (first, last, step) in enumerate(zip(begin, end, steps, strict=True)):
        if shrink_axis_mask >> i & 1:
            parts.append(first)
        else:
            parts.append(slice(None if begin_mask >> i & 1 else first, None if end_mask >> i & 1 else last, step))
    return _indexed(tensor(input_), parts)


@named("getitem")
def getitem(value, slice_spec):
    parts = [_index(part) for part in (slice_spec if isinstance(slice_spec, list) else [slice_spec])]
    if not is_tensor(value):
        found = value[parts[0]] if len(parts) == 1 else np.asarray(value)[tuple(parts)].tolist()
        return found
    return _indexed(value, parts)


def _index(part: Any) -> Any:
    if isinstance(part, dict) and set(part) == {"start", "stop", "step"}:
        limits = [part["start"], part["stop"], part["step"]]
        return slice(*(None if limit is None else _known(limit) for limit in limits))
    if isinstance(part, dict) and part.get("class_name") == "__ellipsis__":
        return Ellipsis
    return None if part is None else _known(part)


def _known(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Untranslatable("with places that the model computes")
    return value


def _indexed(x: Any, parts: list) -> Any:
    """``x[parts]``; steps backwards are a flip and steps forwards, for not every backend takes them."""
    given = sum(part is not None and part is not Ellipsis for part in parts)
    if Ellipsis in parts:
        place = next(i for i, part in enumerate(parts) if part is Ellipsis)
        parts = [*parts[:place], *[slice(None)] * (rank(x) - given), *parts[place + 1 :]]
    axis, turned, plain = 0, [], []
    for part in parts:
        if isinstance(part, slice) and (part.step or 1) < 0:
            turned.append(axis)
            part = _from_behind(part, None if part.start is part.stop is None else known_size(x, axis))
        axis += part is not None
        plain.append(part)
    if turned:
        x = ops.flip(x, axis=turned)
    everything = all(isinstance(part, slice) and part in (slice(None), slice(None, None, 1)) for part in plain)
    return x if everything and turned else x[tuple(plain)]


def _from_behind(part: slice, length: int | None) -> slice:
    """The same places, counted from the end of the axis."""
    step = -part.step
    if length is None:
        return slice(None, None, step)
    first, last, _ = part.indices(length)
    return slice(length - 1 - first, length - 1 - last, step)


def _each(function: Callable[[Any], Any], value: Any) -> Any:
    return type(value)(_each(function, item) for item in value) if isinstance(value, list | tuple) else function(value)
