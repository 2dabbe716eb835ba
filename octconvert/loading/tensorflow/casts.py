"""TensorFlow functions that hand a tensor on: unchanged, with another type, or with its shape checked."""

from __future__ import annotations

import numpy as np
from keras import layers, ops

from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    Argument,
    MultipleOutputs,
    Tensor,
    UnknownSize,
    Unsupported,
    is_tensor,
    map_nested,
    rank,
    require_tensor,
)


@implements("keras.activations.linear", "identity", "stop_gradient", "debugging.check_numerics", "convert_to_tensor")
def identity(x: Argument, message: Argument = None) -> Tensor:
    return layers.Identity(dtype=require_tensor(x).dtype)(x)


@implements("identity_n")
def identity_n(input: Argument) -> MultipleOutputs:
    return MultipleOutputs(identity(x) for x in input)


@implements("ensure_shape")
def ensure_shape(x: Argument, shape: Argument) -> Tensor:
    known = list(shape)
    if len(known) != rank(x) or any(a != b for a, b in zip(known, x.shape, strict=True) if None not in (a, b)):
        raise Unsupported(f"it expects the shape {known}, received {tuple(x.shape)}")
    return identity(x)


@implements("keras.backend.cast_to_floatx")
def cast_to_floatx(x: Argument) -> Tensor:
    return ops.cast(require_tensor(x), "float32")


@implements("cast", "keras.backend.cast")
def cast(x: Argument, dtype: Argument) -> Argument:
    if not is_tensor(x):
        return map_nested(lambda item: item if isinstance(item, UnknownSize) else np.dtype(dtype).type(item).item(), x)
    return ops.cast(x, dtype)


@implements("saturate_cast", "dtypes.saturate_cast")
def saturate_cast(value: Argument, dtype: Argument) -> Tensor:
    return ops.saturate_cast(require_tensor(value), dtype)
