"""Sums, means, maxima and the like along axes; over the rows and columns of a map as global pooling layers."""

from __future__ import annotations

from keras import layers, ops

from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    Argument,
    Function,
    Tensor,
    axes,
    integers,
    is_float,
    rank,
    require_float,
    require_tensor,
)


def _covers_rows_and_columns(x: Tensor, over: list[int] | None) -> bool:
    return over is not None and rank(x) == 4 and sorted(over) == [1, 2]


def euclidean_norm(x: Argument, axis: Argument, keepdims: Argument) -> Tensor:
    return ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=keepdims))


def _reduction(operation: Function, layer: type | None = None, only_float: bool = True) -> Function:
    def function(input_tensor: Argument, axis: Argument = None, keepdims: bool = False) -> Tensor:
        x = require_tensor(input_tensor)
        if only_float:
            require_float(x)
        over = axes(axis, x)
        if layer is not None and is_float(x) and _covers_rows_and_columns(x, over):
            return layer(keepdims=bool(keepdims), data_format="channels_last", dtype=x.dtype)(x)
        return operation(x, axis=over, keepdims=bool(keepdims))

    return function


for _name, _function in {
    "reduce_mean": _reduction(ops.mean, layers.GlobalAveragePooling2D),
    "reduce_max": _reduction(ops.max, layers.GlobalMaxPooling2D, only_float=False),
    "reduce_min": _reduction(ops.min, only_float=False),
    "reduce_sum": _reduction(ops.sum),
    "reduce_prod": _reduction(ops.prod),
    "reduce_std": _reduction(ops.std),
    "reduce_variance": _reduction(ops.var),
    "reduce_logsumexp": _reduction(ops.logsumexp),
    "reduce_euclidean_norm": _reduction(euclidean_norm),
    "reduce_all": _reduction(ops.all, only_float=False),
    "reduce_any": _reduction(ops.any, only_float=False),
}.items():
    implements(_name)(_function)


@implements("count_nonzero")
def count_nonzero(input: Argument, axis: Argument = None, keepdims: bool = False, dtype: Argument = "int64") -> Tensor:
    nonzero = ops.cast(ops.not_equal(require_tensor(input), 0), dtype)
    return ops.sum(nonzero, axis=axes(axis, input), keepdims=bool(keepdims))


def _index_of_extreme(operation: Function) -> Function:
    def function(
        input: Argument, axis: Argument = None, output_type: Argument = "int64", dimension: Argument = None
    ) -> Tensor:
        along = axis if axis is not None else dimension
        index = operation(require_tensor(input), axis=0 if along is None else integers(along, "axes")[0])
        return ops.cast(index, output_type)

    return function


implements("argmax", "keras.backend.argmax")(_index_of_extreme(ops.argmax))
implements("argmin", "keras.backend.argmin")(_index_of_extreme(ops.argmin))


@implements("nn.l2_loss")
def l2_loss(t: Argument) -> Tensor:
    return ops.multiply(ops.sum(ops.square(require_float(require_tensor(t)))), 0.5)


@implements("zero_fraction", "nn.zero_fraction")
def zero_fraction(value: Argument) -> Tensor:
    return ops.mean(ops.cast(ops.equal(require_tensor(value), 0), "float32"))
