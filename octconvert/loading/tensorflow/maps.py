"""Data formats, spatial arguments and padding of feature maps and images."""

from __future__ import annotations

from keras import layers, ops

from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    Argument,
    Tensor,
    Unsupported,
    integers,
    is_float,
    is_number,
    rank,
    require_tensor,
)

CHANNELS_FIRST = ("NC", "NCW", "NCHW", "NCDHW")


def keras_data_format(data_format: Argument, x: Tensor) -> str:
    """Keras' word for a data format, for a tensor with one to three spatial axes."""
    if rank(x) not in (3, 4, 5):
        raise Unsupported(f"its argument has {rank(x)} axes")
    return "channels_first" if data_format in CHANNELS_FIRST else "channels_last"


def spatial_values(value: Argument, x: Tensor, data_format: str, name: str) -> tuple[int, ...]:
    """The argument ``name`` for each spatial axis, from one number, one for each, or one for every axis of ``x``."""
    items, count = integers(1 if value is None else value, name), rank(x) - 2
    if len(items) == count + 2:
        start = 1 if data_format == "channels_last" else 2
        if any(n != 1 for axis, n in enumerate(items) if not start <= axis < start + count):
            raise Unsupported(f"{name}={items} covers the batch or the channels")
        return tuple(items[start : start + count])
    if len(items) not in (1, count):
        raise Unsupported(f"{name}={items} is not supported")
    return tuple(items) if len(items) == count else tuple(items) * count


def with_padding(x: Tensor, padding: Argument) -> tuple[Tensor, str]:
    """(map, 'same' or 'valid'); explicit numbers become zeros around the map."""
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID"):
        return x, padding.lower()
    if not isinstance(padding, list) or len(padding) != rank(x):
        raise Unsupported(f"padding={padding} is not supported")
    return pad(x, padding), "valid"


@implements("pad", "compat.v1.pad")
def pad(tensor: Argument, paddings: Argument, mode: Argument = "CONSTANT", constant_values: Argument = 0) -> Tensor:
    sides = [integers(pair, "paddings") for pair in paddings]
    if len(sides) != rank(tensor):
        raise Unsupported(f"it expects {rank(tensor)} pairs of paddings, received {len(sides)}")
    kind = str(mode).lower()
    zeros = kind == "constant" and constant_values == 0
    if zeros and is_float(tensor) and len(sides) == 4 and not any(sides[0]) and not any(sides[3]):
        form = "channels_last"
        return layers.ZeroPadding2D(tuple(map(tuple, sides[1:3])), data_format=form, dtype=tensor.dtype)(tensor)
    if kind == "constant":
        if not is_number(constant_values):
            raise Unsupported("the model computes its constant_values")
        return ops.pad(tensor, sides, mode="constant", constant_values=constant_values)
    if kind not in ("reflect", "symmetric"):
        raise Unsupported(f"mode={mode} is not supported")
    return ops.pad(tensor, sides, mode=kind)


@implements("nn.depth_to_space", "compat.v1.depth_to_space", "compat.v1.nn.depth_to_space")
def depth_to_space(input: Argument, block_size: Argument, data_format: Argument = None) -> Tensor:
    form = keras_data_format(data_format, require_tensor(input))
    _require_map(input)
    return ops.depth_to_space(input, integers(block_size, "block_size")[0], data_format=form)


@implements("nn.space_to_depth", "compat.v1.space_to_depth", "compat.v1.nn.space_to_depth")
def space_to_depth(input: Argument, block_size: Argument, data_format: Argument = None) -> Tensor:
    form = keras_data_format(data_format, require_tensor(input))
    _require_map(input)
    return ops.space_to_depth(input, integers(block_size, "block_size")[0], data_format=form)


def _require_map(x: Tensor) -> None:
    if rank(x) != 4:
        raise Unsupported(f"its argument has {rank(x)} axes")


def image_axes(x: Tensor) -> tuple[int, int]:
    """Axes of rows and columns of one image or a batch of them."""
    if rank(x) not in (3, 4):
        raise Unsupported(f"its argument has {rank(x)} axes")
    return rank(x) - 3, rank(x) - 2
