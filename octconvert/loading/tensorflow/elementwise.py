"""TensorFlow functions of one tensor, element by element."""

from __future__ import annotations

from keras import ops

from octconvert.loading.tensorflow.arithmetic import maximum, minimum
from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import Argument, Function, Tensor, is_number, require_float, require_tensor

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
ACCEPTS_INTEGERS = ("abs", "logical_not", "negative", "neg", "sign", "square")


def _unary(name: str, operation: Function) -> Function:
    def function(x: Argument) -> Tensor:
        if name not in ACCEPTS_INTEGERS:
            require_float(require_tensor(x))
        return operation(require_tensor(x))

    return function


for _name, _operation in UNARY.items():
    implements(_name)(_unary(_name, _operation))


@implements("clip_by_value", "keras.backend.clip")
def clip_by_value(t: Argument, clip_value_min: Argument, clip_value_max: Argument) -> Tensor:
    t = require_float(require_tensor(t))
    if is_number(clip_value_min) and is_number(clip_value_max):
        return ops.clip(t, clip_value_min, clip_value_max)
    return minimum(maximum(t, clip_value_min), clip_value_max)


@implements("reciprocal_no_nan")
def reciprocal_no_nan(x: Argument) -> Tensor:
    return ops.divide_no_nan(ops.ones_like(require_float(require_tensor(x))), x)
