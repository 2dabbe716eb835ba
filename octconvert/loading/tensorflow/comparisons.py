"""Comparisons, logical functions and ``tf.where``."""

from __future__ import annotations

from keras import ops

from octconvert.loading.tensorflow.table import REASONS, implements
from octconvert.loading.tensorflow.values import (
    Argument,
    Function,
    Tensor,
    Unsupported,
    constant,
    is_tensor,
    operands,
    rank,
)


def _comparison(operation: Function) -> Function:
    def function(x: Argument, y: Argument) -> Tensor:
        return operation(*operands(x, y))

    return function


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
    implements(_name)(_comparison(_operation))


for _name in ("eq", "ne"):
    REASONS[f"__operators__.{_name}"] = "tf.keras did not save the second operand, use tf.equal"


@implements("where", "compat.v1.where_v2", "compat.v1.where")
def where(condition: Argument, x: Argument = None, y: Argument = None) -> Tensor:
    if x is None or y is None:
        raise Unsupported("it returns the indices of true values, and their number is unknown")
    if is_tensor(condition) and any(is_tensor(value) and rank(value) != rank(condition) for value in (x, y)):
        raise Unsupported("its operands have different numbers of axes")  # TensorFlow 1 and 2 align them differently
    dtype = next((value.dtype for value in (x, y) if is_tensor(value)), "float32")
    if is_tensor(x) and is_tensor(y):
        operands(x, y)
    return ops.where(constant(condition, "bool"), constant(x, dtype), constant(y, dtype))
