"""Products and norms of matrices and vectors."""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from octconvert.loading.tensorflow.casts import identity
from octconvert.loading.tensorflow.reductions import euclidean_norm
from octconvert.loading.tensorflow.table import REASONS, implements
from octconvert.loading.tensorflow.values import (
    Argument,
    MultipleOutputs,
    Tensor,
    Unsupported,
    axes,
    integers,
    is_tensor,
    operands,
    require_float,
    require_tensor,
)


@implements("matmul")
def matmul(
    a: Argument,
    b: Argument,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,  # only a hint for speed
    b_is_sparse: bool = False,
) -> Tensor:
    a, b = operands(a, b)
    factors = [(a, transpose_a or adjoint_a), (b, transpose_b or adjoint_b)]
    return ops.matmul(*(ops.swapaxes(x, -1, -2) if transposed else x for x, transposed in factors))


@implements("tensordot", "keras.backend.dot")
def tensordot(a: Argument, b: Argument, axes: Argument) -> Tensor:
    a, b = operands(a, b)
    return ops.tensordot(a, b, axes=axes)


@implements("matvec")
def matvec(a: Argument, b: Argument, transpose_a: bool = False, adjoint_a: bool = False) -> Tensor:
    a, b = operands(a, b)
    b = ops.expand_dims(b, -1) if is_tensor(b) else np.expand_dims(b, -1)
    return ops.squeeze(matmul(a, b, transpose_a, adjoint_a=adjoint_a), axis=-1)


@implements("matrix_transpose", "adjoint")
def matrix_transpose(a: Argument, conjugate: bool = False) -> Tensor:
    return ops.swapaxes(require_tensor(a), -1, -2)


@implements("trace")
def trace(x: Argument) -> Tensor:
    return ops.trace(require_float(require_tensor(x)), axis1=-2, axis2=-1)


@implements("diag_part")
def diag_part(input: Argument, k: Argument = 0, padding_value: Argument = 0, align: Argument = "RIGHT_LEFT") -> Tensor:
    if k:
        raise Unsupported(f"k={k} is not supported")
    return ops.diagonal(require_tensor(input), axis1=-2, axis2=-1)


@implements("band_part")
def band_part(input: Argument, num_lower: Argument, num_upper: Argument) -> Tensor:
    x = require_tensor(input)
    lower, upper = integers([num_lower, num_upper], "bounds")
    x = x if lower < 0 else ops.triu(x, k=-lower)
    x = x if upper < 0 else ops.tril(x, k=upper)
    return identity(x) if x is input else x


REASONS["einsum"] = "tf.keras did not save its tensors"
REASONS["meshgrid"] = "tf.keras did not save all of its tensors"


@implements("l2_normalize", "nn.l2_normalize", "keras.backend.l2_normalize")
def l2_normalize(x: Argument, axis: Argument = None, epsilon: Argument = 1e-12, dim: Argument = None) -> Tensor:
    over = axes(axis if axis is not None else dim, require_float(require_tensor(x)))
    square = ops.sum(ops.square(x), axis=over, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(square, epsilon)))


@implements("linalg.normalize")
def normalize(tensor: Argument, ord: Argument = "euclidean", axis: Argument = None) -> MultipleOutputs:
    size = norm(tensor, ord, axis, True)
    return MultipleOutputs([ops.divide(tensor, size), size])


@implements("norm")
def norm(tensor: Argument, ord: Argument = "euclidean", axis: Argument = None, keepdims: Argument = None) -> Tensor:
    x, over, keep = require_float(tensor), axes(axis, tensor), bool(keepdims)
    if ord in ("euclidean", 2) and not (ord == 2 and isinstance(axis, list) and len(axis) > 1):
        return euclidean_norm(x, over, keep)
    if ord == 1 and not (isinstance(axis, list) and len(axis) > 1):
        return ops.sum(ops.absolute(x), axis=over, keepdims=keep)
    if ord in ("inf", math.inf) and not (isinstance(axis, list) and len(axis) > 1):
        return ops.max(ops.absolute(x), axis=over, keepdims=keep)
    raise Unsupported(f"ord={ord} is not supported")


@implements("clip_by_norm")
def clip_by_norm(t: Argument, clip_norm: Argument, axes: Argument = None) -> Tensor:
    size = norm(t, axis=axes, keepdims=True)
    return ops.divide(ops.multiply(t, clip_norm), ops.maximum(size, clip_norm))
