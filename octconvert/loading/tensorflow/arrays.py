"""Functions that join, split, repeat, select from or fill arrays."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from keras import layers, ops

from octconvert.loading.tensorflow.arithmetic import plus, times
from octconvert.loading.tensorflow.casts import identity
from octconvert.loading.tensorflow.shapes import shape
from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    UNKNOWN_SIZE,
    Argument,
    MultipleOutputs,
    Tensor,
    UnknownSize,
    Unsupported,
    as_list,
    axes,
    check_constant_size,
    constant_tensor,
    integers,
    is_float,
    is_tensor,
    known_size,
    rank,
    require_tensor,
)


@implements("concat", "keras.backend.concatenate")
def concat(values: Argument, axis: Argument = -1) -> Argument:
    values = as_list(values)
    tensors = [value for value in values if is_tensor(value)]
    if not tensors:
        return [item for value in values for item in as_list(value)]
    dtype, along = tensors[0].dtype, integers(axis, "axes")[0]
    if len(tensors) == len(values) > 1 and is_float(tensors[0]) and {x.dtype for x in tensors} == {dtype}:
        return layers.Concatenate(axis=along, dtype=dtype)(values)
    return ops.concatenate([constant_tensor(value, dtype) for value in values], axis=along)


@implements("stack", "keras.backend.stack")
def stack(values: Argument, axis: Argument = 0) -> Argument:
    values = as_list(values)
    tensors = [value for value in values if is_tensor(value)]
    if not tensors:
        return tuple(values)
    return ops.stack([constant_tensor(value, tensors[0].dtype) for value in values], axis=axis)


@implements("unstack")
def unstack(value: Argument, num: Argument = None, axis: Argument = 0) -> MultipleOutputs:
    if not is_tensor(value):
        return MultipleOutputs(value)
    known_size(value, axis)
    return MultipleOutputs(ops.unstack(value, num=num, axis=axis))


@implements("split")
def split(value: Argument, num_or_size_splits: Argument, axis: Argument = 0, num: Argument = None) -> MultipleOutputs:
    x, axis = require_tensor(value), integers(axis, "axes")[0]
    if isinstance(num_or_size_splits, list):
        sizes = integers(num_or_size_splits, "sizes")
        if -1 in sizes:
            rest = known_size(x, axis) - sum(n for n in sizes if n != -1)
            sizes = [rest if n == -1 else n for n in sizes]
        parts = list(itertools.accumulate(sizes))[:-1]
        return MultipleOutputs(ops.split(x, parts, axis=axis) if parts else [identity(x)])
    return MultipleOutputs(ops.split(x, integers(num_or_size_splits, "sizes")[0], axis=axis))


@implements("tile", "keras.backend.tile")
def tile(input: Argument, multiples: Argument) -> Tensor:
    return ops.tile(require_tensor(input), integers(multiples, "multiples"))


@implements("repeat")
def repeat(input: Argument, repeats: Argument, axis: Argument = None) -> Tensor:
    counts = integers(repeats, "repeats")
    return ops.repeat(require_tensor(input), counts[0] if len(counts) == 1 else counts, axis=axis)


@implements("gather", "keras.backend.gather", "nn.embedding_lookup")
def gather(
    params: Argument,
    indices: Argument,
    validate_indices: Argument = None,
    axis: Argument = None,
    batch_dims: Argument = 0,
) -> Argument:
    if batch_dims:
        raise Unsupported(f"batch_dims={batch_dims} is not supported")
    if not is_tensor(params):
        if is_tensor(indices):
            params = np.array(params, dtype="float32")
        else:
            selected = [params[i] for i in integers(indices, "indices")]
            return selected if isinstance(indices, list) else selected[0]
    positions = indices if is_tensor(indices) else np.array(indices, dtype="int32")
    return ops.take(params, positions, axis=0 if axis is None else integers(axis, "axes")[0])


@implements("reverse", "keras.backend.reverse")
def reverse(tensor: Argument, axis: Argument) -> Tensor:
    return ops.flip(tensor, axis=axes(axis, tensor))


@implements("roll")
def roll(input: Argument, shift: Argument, axis: Argument) -> Tensor:
    return ops.roll(
        require_tensor(input),
        *(v if isinstance(v, int) else tuple(integers(v, "shift or axis")) for v in (shift, axis)),
    )


@implements("zeros_like", "keras.backend.zeros_like")
def zeros_like(input: Argument, dtype: Argument = None) -> Tensor:
    return ops.zeros_like(require_tensor(input), dtype=dtype)


@implements("ones_like", "keras.backend.ones_like")
def ones_like(input: Argument, dtype: Argument = None) -> Tensor:
    return ops.ones_like(require_tensor(input), dtype=dtype)


@implements("fill")
def fill(dims: Argument, value: Argument) -> Tensor:
    sizes = as_list(dims)
    unknown = [n for n in sizes if isinstance(n, UnknownSize)]
    if not unknown:
        check_constant_size(sizes)
        return ops.full(integers(sizes, "shape"), value) if is_tensor(value) else np.full(sizes, value).tolist()
    source = unknown[0].tensor
    if sizes != list(shape(source)) and not _is_shape_of(sizes, source):
        raise Unsupported(UNKNOWN_SIZE)
    return ops.full_like(source, value)


def _is_shape_of(sizes: list[Any], of: Tensor) -> bool:
    """Whether these are the sizes of a tensor, with unknown sizes of its own."""
    if len(sizes) != rank(of):
        return False
    own = all(n.tensor is of and n.axis == axis for axis, n in enumerate(sizes) if isinstance(n, UnknownSize))
    return own and all(isinstance(n, UnknownSize) or n == of.shape[axis] for axis, n in enumerate(sizes))


@implements("one_hot", "keras.backend.one_hot")
def one_hot(
    indices: Argument,
    depth: Argument,
    on_value: Argument = None,
    off_value: Argument = None,
    axis: Argument = None,
    dtype: Argument = None,
) -> Tensor:
    kind = "float32" if dtype is None else dtype
    result = ops.one_hot(
        require_tensor(indices), integers(depth, "depth")[0], axis=-1 if axis is None else axis, dtype=kind
    )
    on, off = (1 if on_value is None else on_value), (0 if off_value is None else off_value)
    return result if (on, off) == (1, 0) else plus(times(result, on - off), off)
