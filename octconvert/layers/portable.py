"""`octave_conv_2d`: the octave convolution out of built-in Keras layers only, for models that load with plain Keras.

Every function takes and gives Keras tensors of known rows and columns and names its layers after ``name``. Layers that
only move values about work in the tensor's own dtype: the global policy may be another than the model's.
"""

from __future__ import annotations

import weakref
from typing import Any

import keras
from keras import layers

from octconvert.layers import base
from octconvert.layers.spatial import Window, channel_axis, is_same, pools_by_two, reads_past_end, spatial_axes
from octconvert.octave.names import HH, HIGH, HL, LH, LL, LOW


def known_sizes(x, data_format: str, name: str) -> tuple[int, int]:
    """(rows, columns) of a Keras tensor; ValueError where they are unknown."""
    found = tuple(x.shape[axis] for axis in spatial_axes(data_format))
    if None in found:
        raise ValueError(
            f"'{name}': built-in layers need known rows and columns, received {tuple(x.shape)}; use OctaveConv2D"
        )
    return found


def pool_octave(x, octave: int, data_format: str, name: str):
    """The built-in twin of `octconvert.layers.spatial.pool_octave`; for unknown sizes too."""
    if octave == 1:
        return x
    sizes = [x.shape[axis] for axis in spatial_axes(data_format)]
    if None not in sizes and not any(size % octave for size in sizes):
        return layers.AveragePooling2D(octave, padding="valid", data_format=data_format, name=name, dtype=x.dtype)(x)
    steps = octave.bit_length() - 1
    for step in range(steps):
        label = name if step == steps - 1 else f"{name}-{step + 1}"
        x = layers.AveragePooling2D(2, padding="same", data_format=data_format, name=label, dtype=x.dtype)(x)
    return x


def pad_or_crop(x, pads, data_format: str, name: str):
    """ZeroPadding2D and Cropping2D as ((top, bottom), (left, right)) asks for; negative amounts crop."""
    cuts = tuple((max(-before, 0), max(-after, 0)) for before, after in pads)
    adds = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    if any(map(any, cuts)):
        x = layers.Cropping2D(cuts, data_format=data_format, name=f"{name}-crop", dtype=x.dtype)(x)
    if any(map(any, adds)):
        x = layers.ZeroPadding2D(adds, data_format=data_format, name=f"{name}-pad", dtype=x.dtype)(x)
    return x


def biased(convolution, x, output_shape, stride: int, data_format: str, name: str):
    """``convolution(x)``, which adds a bias, with the bias on the channels whatever the number of columns.

    Where Keras would misplace it, the map is one column wider while it is added.

    Args:
        output_shape: of ``convolution(x)``; ``stride``: along the columns.
    """
    if not base.bias_is_misplaced(output_shape, data_format):
        return convolution(x)
    wider = pad_or_crop(x, ((0, 0), (0, stride)), data_format, f"{name}-wider")
    return pad_or_crop(convolution(wider), ((0, 0), (0, -1)), data_format, name)


def repeat_edges(x, pads, data_format: str, name: str):
    """Like `pad_or_crop`, with copies of the edge in place of zeros (a maximum is unchanged by them)."""
    x = pad_or_crop(x, tuple((min(before, 0), min(after, 0)) for before, after in pads), data_format, name)
    for i, axis in enumerate(spatial_axes(data_format)):
        size = x.shape[axis]
        parts = [x]
        for side, amount in enumerate(pads[i]):
            if amount > 0:
                cut = [(0, 0), (0, 0)]
                cut[i] = (size - 1, 0) if side else (0, size - 1)
                label = f"{name}-edge{i}{side}"
                edge = layers.Cropping2D(tuple(cut), data_format=data_format, name=label, dtype=x.dtype)(x)
                parts = [*parts, *[edge] * amount] if side else [*[edge] * amount, *parts]
        if len(parts) > 1:
            x = layers.Concatenate(axis=axis, name=f"{name}-edges{i}", dtype=x.dtype)(parts)
    return x


def upsample_to(x, octave: int, like, data_format: str, name: str):
    """Nearest upsampling, cut at the end to the rows and columns of ``like``."""
    if octave == 1:
        return x
    rows, columns = known_sizes(like, data_format, name)
    x = layers.UpSampling2D(octave, data_format=data_format, interpolation="nearest", name=name, dtype=x.dtype)(x)
    axes = spatial_axes(data_format)
    return pad_or_crop(x, ((0, rows - x.shape[axes[0]]), (0, columns - x.shape[axes[1]])), data_format, name)


_SLOPE_OF_FUSED = 0.2
# The layers that stand for one, which may be called again.
_APART: weakref.WeakKeyDictionary[Any, tuple] = weakref.WeakKeyDictionary()


def called(layer, *args, **kwargs):
    """``layer(*args, **kwargs)``; a rectifier with a slope out of other layers where TensorFlow would take another one.

    With oneDNN, TensorFlow 2.21 makes one operation of a convolution, its bias, a sum and a LeakyRelu in any graph
    (``predict``), and loses the slope: it computes with 0.2 (`_FusedConv2D`, ``leakyrelu_alpha``).
    """
    slope = _slope(layer)
    if slope in (None, 0.0, _SLOPE_OF_FUSED) or len(args) != 1 or not _is_sum_of_biased(args[0]):
        return layer(*args, **kwargs)
    if layer not in _APART:
        dtype = getattr(layer, "dtype_policy", None) or args[0].dtype
        join = layers.Maximum if slope <= 1 else layers.Minimum
        scaling = layers.Rescaling(slope, name=f"{layer.name}-slope", dtype=dtype)
        _APART[layer] = scaling, join(name=f"{layer.name}-join", dtype=dtype)
    scaling, join = _APART[layer]
    return join([args[0], scaling(args[0])])


def _slope(layer) -> float | None:
    """Of a layer or raw operation that TensorFlow computes by its LeakyRelu; None of any other."""
    bounded = getattr(layer, "max_value", None) is not None or bool(getattr(layer, "threshold", 0))
    return None if bounded or not hasattr(layer, "negative_slope") else float(layer.negative_slope)


_NOTHING_AT_INFERENCE = (layers.Dropout, layers.GaussianDropout, layers.GaussianNoise, layers.Identity)


def _is_sum_of_biased(x) -> bool:
    """Whether a Keras tensor is a sum at inference, one term of which is a convolution that adds a bias."""
    maker, read = _made_by(x)
    while isinstance(maker, _NOTHING_AT_INFERENCE):
        maker, read = _made_by(read[0])
    terms = [_made_by(term)[0] for term in read] if type(maker).__name__ == "Add" else []
    return any(isinstance(term, layers.Conv2D) and term.use_bias for term in terms)


def _made_by(x) -> tuple:
    """(operation, tensors that it read) of a Keras tensor."""
    history = x._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, node.arguments.keras_tensors


def merge(high, low, octave: int, order, data_format: str, name: str):
    """The built-in twin of `OctaveMerge`."""
    low = upsample_to(low, octave, high, data_format, f"{name}-up")
    parts = [high, low] if order is None else _runs(high, low, order, data_format, name)
    return layers.Concatenate(axis=channel_axis(data_format), name=name, dtype=high.dtype)(parts)


def _runs(high, low, order, data_format: str, name: str) -> list:
    """Runs of channels that are neighbours in both orders, cut out of high and low in the order asked for."""
    axis = channel_axis(data_format)
    width = high.shape[axis]
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


def channels(x, start: int, stop: int, data_format: str, name: str):
    """Channels start..stop of ``x``; Cropping2D reaches the channel axis when it is told the other data format."""
    width = x.shape[channel_axis(data_format)]
    if (start, stop) == (0, width):
        return x
    cut = (start, width - stop)
    if data_format == "channels_last":
        return layers.Cropping2D(((0, 0), cut), data_format="channels_first", name=name, dtype=x.dtype)(x)
    return layers.Cropping2D((cut, (0, 0)), data_format="channels_last", name=name, dtype=x.dtype)(x)


def prepare_low(x, window: Window, alignments, outputs, data_format: str, name: str, allow_same: bool = True):
    """(map, padding) for a window operation on a low map, as `octconvert.layers.spatial.prepare_low`."""
    if all(pools_by_two(a, window) for a in alignments):
        pool = layers.AveragePooling2D(2, 1, "same", data_format=data_format, name=f"{name}-align", dtype=x.dtype)
        return pool(x), "valid"
    cells = known_sizes(x, data_format, name)
    pads = tuple(a.padding(cells[i], outputs[i]) for i, a in enumerate(alignments))
    if allow_same and all(is_same(a, cells[i], pads[i]) for i, a in enumerate(alignments)):
        return x, "same"
    ends = tuple((0, max(p[1], 0) if reads_past_end(a, window) else 0) for a, p in zip(alignments, pads, strict=True))
    x = repeat_edges(x, ends, data_format, name)
    rest = tuple((before, after - end) for (before, after), (_, end) in zip(pads, ends, strict=True))
    x = pad_or_crop(x, rest, data_format, name)
    filters = [a.prefilter for a in alignments]
    return fixed_filter(x, filters, window.octave, data_format, f"{name}-align"), "valid"


def fixed_filter(x, filters, octave: int, data_format: str, name: str):
    """Filters along rows and columns: average pooling, or the average of shifted maps (all weights are n / octave)."""
    widths = tuple(map(len, filters))
    if widths == (1, 1):
        return x
    if is_box(filters):
        return layers.AveragePooling2D(widths, 1, "valid", data_format=data_format, name=name, dtype=x.dtype)(x)
    for i, width in enumerate(widths):
        if width == 1:
            continue
        parts = []
        for shift, weight in enumerate(filters[i]):
            times = round(weight * octave)
            if times:
                cut = [(0, 0), (0, 0)]
                cut[i] = (shift, width - 1 - shift)
                label = f"{name}{i}-shift{shift}"
                part = layers.Cropping2D(tuple(cut), data_format=data_format, name=label, dtype=x.dtype)(x)
                parts += [part] * times
        x = layers.Average(name=f"{name}{i}", dtype=x.dtype)(parts)
    return x


def is_box(filters) -> bool:
    """Whether fixed filters are plain averages."""
    return all(len(set(weights)) == 1 for weights in filters)


def octave_conv_2d(
    inputs,
    filters,
    kernel_size,
    octave=2,
    ratio_out=0.5,
    strides=(1, 1),
    padding="same",
    data_format=None,
    dilation_rate=(1, 1),
    groups=1,
    activation=None,
    use_bias=True,
    name=None,
    **conv_arguments,
):
    """The function of `OctaveConv2D` out of Conv2D, AveragePooling2D, UpSampling2D, Add ... layers.

    Args:
        inputs: Keras tensor, or ``[high, low]``, of known rows and columns.
        name: the layers are called ``name-HH``, ``name-HL``, ``name-LH``, ``name-LL`` and so on; None counts
            ``octave_conv_1``, ``octave_conv_2`` ... The biases sit in ``name-HH`` (high) and ``name-HL`` (low).
        **conv_arguments: initialisers, regularisers, constraints, dtype: given to every Conv2D.
        The rest: as `OctaveConv2D`.

    Returns:
        ``[high, low]``, or one tensor for ``ratio_out`` 0.0 or 1.0.

    Raises:
        ValueError: as `OctaveConv2D`, and for unknown rows or columns.
    """
    return PortableConv(
        filters=filters,
        kernel_size=base.pair_of(kernel_size, "kernel_size"),
        octave=base.check_octave(octave),
        ratio_out=ratio_out,
        strides=base.pair_of(strides, "strides"),
        padding=base.standard_padding(padding),
        data_format=base.standard_data_format(data_format),
        dilation_rate=base.pair_of(dilation_rate, "dilation_rate"),
        groups=groups,
        activation=activation,
        use_bias=use_bias,
        name=name or f"octave_conv_{keras.backend.get_uid('octave_conv')}",
        **conv_arguments,
    )(inputs)


class PortableConv:
    """The four paths as built-in layers; called once or, if ``shared``, more often and with maps of other sizes."""

    def __init__(
        self,
        *,
        filters,
        kernel_size,
        octave,
        ratio_out,
        strides,
        padding,
        data_format,
        dilation_rate,
        groups,
        activation,
        use_bias,
        name,
        shared=False,
        **conv_arguments,
    ):
        self.window = Window(kernel_size, strides, dilation_rate, padding, octave)
        self.high_filters, self.low_filters = base.divide_filters(name, filters, ratio_out, groups)
        self.data_format, self.name, self.activation = data_format, name, activation
        self.use_bias = use_bias
        self.arguments = {"strides": strides, "data_format": data_format, "groups": groups, **conv_arguments}
        self.shared = shared
        self.paths: dict[str, keras.layers.Layer] = {}
        self.calls = 0

    def __call__(self, inputs):
        high, low = base.split_inputs(inputs, self.name)
        low_shape = None if low is None else tuple(low.shape)
        base.check_pair_shapes(self.name, tuple(high.shape), low_shape, self.window.octave, self.data_format)
        label = self.name if not self.calls else f"{self.name}-{self.calls + 1}"
        self.calls += 1
        sizes = known_sizes(high, self.data_format, self.name)
        alignments = [self.window.alignment(i, size) for i, size in enumerate(sizes)]
        outputs = [self.window.low_outputs(i, size) for i, size in enumerate(sizes)]
        if low is not None:
            low = self._prepare(low, alignments, outputs, f"{label}-low")
        results = []
        if self.high_filters:
            results.append(self._high(high, low, alignments, label))
        if self.low_filters:
            pooled = pool_octave(high, self.window.octave, self.data_format, f"{label}-pool")
            pooled = self._prepare(pooled, alignments, outputs, f"{label}-pooled")
            results.append(self._low(pooled, low, alignments, label))
        return results if len(results) == 2 else results[0]

    def _prepare(self, x, alignments, outputs, name: str):
        return prepare_low(x, self.window, alignments, outputs, self.data_format, name, allow_same=not self.shared)

    def _high(self, high, low, alignments, label: str):
        padding = self.window.padding
        if not isinstance(padding, str):
            high, padding = pad_or_crop(high, padding, self.data_format, f"{label}-high"), "valid"
        total = self._path(HH, self.high_filters, high, padding, self.window.dilation, label, self.use_bias)
        if low is not None:
            part = self._low_path(LH, self.high_filters, low, alignments, label, bias=False)
            part = upsample_to(part, self.window.octave, total, self.data_format, f"{label}-up")
            total = layers.Add(name=f"{label}-add{HIGH}", dtype=total.dtype)([total, part])
        return self._activate(total, f"{label}-act{HIGH}")

    def _low(self, pooled, low, alignments, label: str):
        total = self._low_path(HL, self.low_filters, pooled, alignments, label, bias=self.use_bias)
        if low is not None:
            part = self._low_path(LL, self.low_filters, low, alignments, label, bias=False)
            total = layers.Add(name=f"{label}-add{LOW}", dtype=total.dtype)([total, part])
        return self._activate(total, f"{label}-act{LOW}")

    def _low_path(self, path: str, filters: int, prepared, alignments, label: str, bias: bool):
        x, padding = prepared
        return self._path(path, filters, x, padding, tuple(a.dilation for a in alignments), label, bias)

    def _path(self, path: str, filters: int, x, padding: str, dilation, label: str, bias: bool):
        if path not in self.paths:
            self.paths[path] = layers.Conv2D(
                filters,
                self.window.kernel,
                padding=padding,
                dilation_rate=dilation,
                use_bias=bias,
                name=f"{self.name}{path}",
                **self.arguments,
            )
        if not bias:
            return self.paths[path](x)
        layer = self.paths[path]
        shape = layer.compute_output_shape(x.shape)
        return biased(layer, x, shape, self.window.strides[1], self.data_format, f"{label}{path}")

    def _activate(self, x, name: str):
        activation = keras.activations.get(self.activation)
        if activation is keras.activations.linear:
            return x
        return layers.Activation(activation, dtype=self.arguments.get("dtype"), name=name)(x)
