"""The steps of octave layers out of built-in Keras layers only, for models that load with plain Keras.

Every function takes and returns Keras tensors of known sizes and any rank, where it says nothing else, and names its
layers after ``name``. Layers that only move values work in the tensor's own dtype: the global policy may be another
than the model's.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
from keras import layers

from octconvert.layers import base
from octconvert.layers.spatial import channel_axis, rank_of, spatial_axes
from octconvert.layers.tensors import Tensor
from octconvert.layers.window import Window, is_same, pools_by_two, repeats_ends
from octconvert.octave.geometry import Alignment, Octave, Shape, factors


def known_sizes(x: Tensor, data_format: str, name: str) -> tuple[int, ...]:
    """Of a Keras tensor along its spatial axes; ValueError where one is unknown."""
    rank = rank_of(x)
    sizes = tuple(x.shape[axis] for axis in spatial_axes(data_format, rank))
    if None in sizes:
        what = {1: "steps", 2: "rows and columns", 3: "depth, rows and columns"}[rank]
        raise ValueError(
            f"'{name}': built-in layers need known {what}, received {tuple(x.shape)}; use OctaveConv{rank}D"
        )
    return sizes


_WITHOUT_DATA_FORMAT = ("Cropping1D", "UpSampling1D")


def built_in(kind: str, value: Sequence[Any], x: Tensor, data_format: str, name: str, **arguments: Any) -> Tensor:
    """``x`` behind a layer of Keras of its rank, in the dtype of ``x``.

    Args:
        kind: of the layer, without its rank: ``AveragePooling``.
        value: the layer's first argument, one for each axis.

    Raises:
        ValueError: a 1-D layer without channels_first.
    """
    rank = rank_of(x)
    layer = f"{kind}{rank}D"
    if layer not in _WITHOUT_DATA_FORMAT:
        arguments["data_format"] = data_format
    elif data_format == "channels_first":
        raise ValueError(f"'{name}': Keras' {layer} has no channels_first; use OctaveConv1D")
    first = value[0] if rank == 1 else tuple(value)
    return getattr(layers, layer)(first, name=name, dtype=x.dtype, **arguments)(x)


def pool_octave(x: Tensor, octave: Octave, data_format: str, name: str, causal: bool = False) -> Tensor:
    """The built-in twin of `octconvert.layers.spatial.pool_octave`; for unknown sizes too."""
    rank = rank_of(x)
    blocks = factors(octave, rank)
    if max(blocks, default=1) == 1:
        return x
    if causal:
        return pool_blocks(_with_first(x, blocks[0] - 1, data_format, name), blocks, data_format, name)
    sizes = [x.shape[axis] for axis in spatial_axes(data_format, rank)]
    if None not in sizes and not any(size % block for size, block in zip(sizes, blocks, strict=True)):
        return pool_blocks(x, blocks, data_format, name)
    steps = max(blocks).bit_length() - 1
    for step in range(steps):
        label = name if step == steps - 1 else f"{name}-{step + 1}"
        halves = [min(max(block >> step, 1), 2) for block in blocks]
        x = built_in("AveragePooling", halves, x, data_format, label, padding="same")
    return x


def _with_first(x: Tensor, count: int, data_format: str, name: str) -> Tensor:
    """``count`` copies of the first position of a signal in front of it."""
    axis = spatial_axes(data_format, 1)[0]
    first = x[(slice(None),) * axis + (slice(0, 1),)]
    first._keras_history.operation.name = f"{name}-first"
    return layers.Concatenate(axis=axis, name=f"{name}-front", dtype=x.dtype)([*[first] * count, x])


def pool_blocks(x: Tensor, blocks: Sequence[int], data_format: str, name: str) -> Tensor:
    """The averages of blocks that fill the map."""
    return built_in("AveragePooling", blocks, x, data_format, name, padding="valid")


def pad_or_crop(x: Tensor, pads: Sequence[tuple[int, int]], data_format: str, name: str) -> Tensor:
    """ZeroPadding and Cropping by (before, after) along each axis; negative amounts crop."""
    cuts = tuple((max(-before, 0), max(-after, 0)) for before, after in pads)
    adds = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    if any(map(any, cuts)):
        x = built_in("Cropping", cuts, x, data_format, f"{name}-crop")
    if any(map(any, adds)):
        x = built_in("ZeroPadding", adds, x, data_format, f"{name}-pad")
    return x


def biased(
    convolution: Callable[[Tensor], Tensor], x: Tensor, output_shape: Shape, stride: int, data_format: str, name: str
) -> Tensor:
    """``convolution(x)``, which adds a bias, with the bias on the channels whatever the number of columns.

    Where Keras would misplace it, the map is one column wider while it is added.

    Args:
        output_shape: of ``convolution(x)``; ``stride``: along the columns.
    """
    if not base.bias_is_misplaced(output_shape, data_format):
        return convolution(x)
    others = [(0, 0)] * (rank_of(x) - 1)
    wider = pad_or_crop(x, [*others, (0, stride)], data_format, f"{name}-wider")
    return pad_or_crop(convolution(wider), [*others, (0, -1)], data_format, name)


def repeat_edges(x: Tensor, pads: Sequence[tuple[int, int]], data_format: str, name: str) -> Tensor:
    """Like `pad_or_crop`, with copies of the edge in place of zeros (a maximum is unchanged by them)."""
    rank = rank_of(x)
    x = pad_or_crop(x, [(min(before, 0), min(after, 0)) for before, after in pads], data_format, name)
    for i, axis in enumerate(spatial_axes(data_format, rank)):
        size = x.shape[axis]
        parts = [x]
        for side, amount in enumerate(pads[i]):
            if amount > 0:
                cut = [(0, 0)] * rank
                cut[i] = (size - 1, 0) if side else (0, size - 1)
                edge = built_in("Cropping", cut, x, data_format, f"{name}-edge{i}{side}")
                parts = [*parts, *[edge] * amount] if side else [*[edge] * amount, *parts]
        if len(parts) > 1:
            x = layers.Concatenate(axis=axis, name=f"{name}-edges{i}", dtype=x.dtype)(parts)
    return x


def upsample_to(x: Tensor, octave: Octave, size: Sequence[Any], data_format: str, name: str) -> Tensor:
    """Nearest upsampling, cut at the end to ``size``."""
    rank = rank_of(x)
    blocks = factors(octave, rank)
    if max(blocks, default=1) == 1:
        return x
    nearest = {"interpolation": "nearest"} if rank == 2 else {}
    x = built_in("UpSampling", blocks, x, data_format, name, **nearest)
    have = [x.shape[axis] for axis in spatial_axes(data_format, rank)]
    return pad_or_crop(x, [(0, wanted - length) for wanted, length in zip(size, have, strict=True)], data_format, name)


_SLOPE_OF_FUSED = 0.2
"""The slope that TensorFlow's fused operation computes with, whatever the layer's is."""
_REPLACED: weakref.WeakKeyDictionary[Any, tuple[keras.layers.Layer, keras.layers.Layer]] = weakref.WeakKeyDictionary()
"""Rectifier -> the two layers that replace it, which may be called again."""


def called(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """``layer(*args, **kwargs)``; two other layers replace a rectifier that TensorFlow would compute wrongly.

    With oneDNN, TensorFlow 2.21 makes one operation of a convolution, its bias, a sum and a LeakyRelu in any graph
    (``predict``), and loses the slope: it computes with 0.2 (`_FusedConv2D`, ``leakyrelu_alpha``).
    """
    slope = _slope(layer)
    if slope in (None, 0.0, _SLOPE_OF_FUSED) or len(args) != 1 or not _is_sum_of_biased(args[0]):
        return layer(*args, **kwargs)
    if layer not in _REPLACED:
        dtype = getattr(layer, "dtype_policy", None) or args[0].dtype
        join = layers.Maximum if slope <= 1 else layers.Minimum
        scaling = layers.Rescaling(slope, name=f"{layer.name}-slope", dtype=dtype)
        _REPLACED[layer] = scaling, join(name=f"{layer.name}-join", dtype=dtype)
    scaling, join = _REPLACED[layer]
    return join([args[0], scaling(args[0])])


def _slope(layer: Any) -> float | None:
    """Of a layer or raw operation that TensorFlow computes by its LeakyRelu; None of any other."""
    bounded = getattr(layer, "max_value", None) is not None or bool(getattr(layer, "threshold", 0))
    return None if bounded or not hasattr(layer, "negative_slope") else float(layer.negative_slope)


_IDENTITY_AT_INFERENCE = (layers.Dropout, layers.GaussianDropout, layers.GaussianNoise, layers.Identity)


def _is_sum_of_biased(x: Tensor) -> bool:
    """Whether a Keras tensor is a sum at inference, one term of which is a convolution that adds a bias."""
    producer, inputs = _producer(x)
    while isinstance(producer, _IDENTITY_AT_INFERENCE):
        producer, inputs = _producer(inputs[0])
    terms = [_producer(term)[0] for term in inputs] if type(producer).__name__ == "Add" else []
    return any(isinstance(term, layers.Conv2D) and term.use_bias for term in terms)


def _producer(x: Tensor) -> tuple[Any, Sequence[Tensor]]:
    """The operation that returned a Keras tensor, and the tensors that it reads."""
    history = x._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, node.arguments.keras_tensors


def merge(
    high: Tensor, low: Tensor, octave: Octave, order: Iterable[int] | None, data_format: str, name: str
) -> Tensor:
    """The built-in twin of `OctaveMerge`."""
    if octave != 1:
        low = upsample_to(low, octave, known_sizes(high, data_format, name), data_format, f"{name}-up")
    parts = [high, low] if order is None else _runs(high, low, order, data_format, name)
    return layers.Concatenate(axis=channel_axis(data_format, rank_of(high)), name=name, dtype=high.dtype)(parts)


def _runs(high: Tensor, low: Tensor, order: Iterable[int], data_format: str, name: str) -> list[Tensor]:
    """Runs of channels that are neighbours in both orders, cut out of high and low, in the order of the output."""
    width = high.shape[channel_axis(data_format, rank_of(high))]
    runs: list[list[int]] = []
    for position in map(int, order):
        if runs and position == runs[-1][1] and position != width:
            runs[-1][1] += 1
        else:
            runs.append([position, position + 1])
    parts = []
    for i, (start, stop) in enumerate(runs):
        source, offset = (high, 0) if start < width else (low, width)
        parts.append(channels(source, start - offset, stop - offset, data_format, f"{name}-part{i}"))
    return parts


def channels(x: Tensor, start: int, stop: int, data_format: str, name: str) -> Tensor:
    """Channels start..stop of ``x``; with the other data format Cropping2D crops the channel axis."""
    axis = channel_axis(data_format, rank_of(x))
    width = x.shape[axis]
    if (start, stop) == (0, width):
        return x
    if rank_of(x) != 2:
        part = x[(slice(None),) * axis + (slice(start, stop),)]
        part._keras_history.operation.name = name
        return part
    cut = (start, width - stop)
    if data_format == "channels_last":
        return layers.Cropping2D(((0, 0), cut), data_format="channels_first", name=name, dtype=x.dtype)(x)
    return layers.Cropping2D((cut, (0, 0)), data_format="channels_last", name=name, dtype=x.dtype)(x)


def prepare_low(
    x: Tensor,
    window: Window,
    alignments: Sequence[Alignment],
    outputs: Sequence[int],
    data_format: str,
    name: str,
    allow_same: bool = True,
) -> tuple[Tensor, str]:
    """(map, padding) for a window operation on a low map, as `octconvert.layers.spatial.prepare_low`."""
    if all(pools_by_two(a, window) for a in alignments):
        twos = [2] * len(alignments)
        return built_in("AveragePooling", twos, x, data_format, f"{name}-align", strides=1, padding="same"), "valid"
    cells = known_sizes(x, data_format, name)
    pads = tuple(a.padding(cells[i], outputs[i]) for i, a in enumerate(alignments))
    if allow_same and all(is_same(a, cells[i], pads[i]) for i, a in enumerate(alignments)):
        return x, "same"
    ends = [max(after, 0) if repeats_ends(a, window) else 0 for a, (_, after) in zip(alignments, pads, strict=True)]
    x = repeat_edges(x, [(0, end) for end in ends], data_format, name)
    x = pad_or_crop(
        x, [(before, after - end) for (before, after), end in zip(pads, ends, strict=True)], data_format, name
    )
    filters = [a.prefilter for a in alignments]
    return fixed_filter(x, filters, window.octave, data_format, f"{name}-align"), "valid"


def fixed_filter(x: Tensor, filters: Sequence[Sequence[float]], octave: Octave, data_format: str, name: str) -> Tensor:
    """Filters along each axis: average pooling, or the average of shifted maps (all weights are n / octave)."""
    widths = tuple(map(len, filters))
    if max(widths) == 1:
        return x
    if is_box(filters):
        return built_in("AveragePooling", widths, x, data_format, name, strides=1, padding="valid")
    blocks = factors(octave, rank_of(x))
    for i, width in enumerate(widths):
        if width == 1:
            continue
        parts = []
        for shift, weight in enumerate(filters[i]):
            times = round(weight * blocks[i])
            if times:
                cut = [(0, 0)] * len(filters)
                cut[i] = (shift, width - 1 - shift)
                part = built_in("Cropping", cut, x, data_format, f"{name}{i}-shift{shift}")
                parts += [part] * times
        x = layers.Average(name=f"{name}{i}", dtype=x.dtype)(parts)
    return x


def is_box(filters: Iterable[Sequence[float]]) -> bool:
    """Whether fixed filters are plain averages."""
    return all(len(set(weights)) == 1 for weights in filters)
