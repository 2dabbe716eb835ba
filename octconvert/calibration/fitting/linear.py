"""Layers that are linear in their weights, written as regressions from rows of inputs to outputs.

A convolution's output at one position is ``row @ weights``, where the row holds the inputs under its window. An octave
convolution is two such regressions: the high output from windows on the high map and, once for each block of ``octave``
positions, on the low map (paper, equations 2-4); the low output from windows on the pooled high and on the low map.
A high output from a low map alone holds one value in every block: it is a regression of the block's mean.
Rows are gathered at drawn positions only, so no map is ever unfolded as a whole.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from octconvert.calibration.fitting.transposed import TransposedInputs, turned
from octconvert.layers.base import bias_is_misplaced
from octconvert.layers.reading import split_inputs
from octconvert.layers.spatial import pad_or_crop, pool_octave, sizes
from octconvert.layers.window import TransposedWindow
from octconvert.model.tensors import BackendTensor
from octconvert.octave.geometry import Octave, factors, same_padding
from octconvert.rules import traits_of
from octconvert.rules.traits import (
    CONV,
    DENSE,
    DEPTHWISE,
    HIGH,
    LOW,
    TRANSPOSED,
    ConvolutionStage,
    OctavePath,
    OctaveStage,
)


@dataclass(frozen=True, eq=False)
class Term:
    """One kernel and the map it moves over.

    Attributes:
        kernel: name of the layer's weight.
        prepare: inputs of the layer -> (map, padding 'same', 'causal' or 'valid') in the layer's data format.
        dilation: of the kernel.
        cell: fitted positions along each axis that read one and the same window (octave for LH beside HH, else 1).
    """

    kernel: str
    prepare: Callable[[Sequence[BackendTensor]], tuple[BackendTensor, str]]
    dilation: tuple[int, ...]
    cell: Octave = 1


@dataclass(frozen=True, eq=False)
class Regression:
    """One output map of a layer as a sum of terms.

    Attributes:
        layer: of the converted model.
        output: which of its outputs.
        terms: what is added up.
        bias: name of the bias weight.
        blocks: groups of channels that do not mix (groups of the convolution; channels of a depthwise one).
        kernel_size, strides: of every term, one number an axis; (1,) for Dense, whose positions lie on one axis. A
            transposed window moves by 1 (`transposed`).
        kind: CONV, DEPTHWISE, TRANSPOSED or DENSE of `octconvert.rules.traits`.
        cell: output positions along each axis that hold one value (octave for LH alone, else 1): their mean is fitted.
    """

    layer: Any
    output: int
    terms: tuple[Term, ...]
    bias: str
    blocks: int = 1
    kernel_size: tuple[int, ...] = (1,)
    strides: tuple[int, ...] = (1,)
    kind: str = CONV
    cell: Octave = 1

    @property
    def channels_first(self) -> bool:
        return getattr(self.layer, "data_format", None) == "channels_first"

    def rows(self, inputs: Sequence[BackendTensor], positions: np.ndarray) -> BackendTensor:
        """Inputs under the window at ``positions`` (n, 1 + axes), the sample first: (blocks, n, features)."""
        columns = [self._columns(term, inputs, positions) for term in self.terms]
        return columns[0] if len(columns) == 1 else ops.concatenate(columns, axis=-1)

    def _columns(self, term: Term, inputs: Sequence[BackendTensor], positions: np.ndarray) -> BackendTensor:
        x = self._padded(*term.prepare(inputs), term.dilation)
        windows = gather_windows(self.last(x), positions, self.kernel_size, self.strides, term)
        count, taps, channels = windows.shape
        if self.blocks == 1:
            return ops.reshape(windows, (1, count, taps * channels))
        split = ops.reshape(windows, (count, taps, self.blocks, channels // self.blocks))
        return ops.reshape(ops.transpose(split, (2, 0, 1, 3)), (self.blocks, count, -1))

    def _padded(self, x: BackendTensor, padding: str, dilation: tuple[int, ...]) -> BackendTensor:
        if padding == "valid":
            return x
        data_format = "channels_first" if self.channels_first else "channels_last"
        windows = zip(sizes(x, data_format), self.kernel_size, self.strides, dilation, strict=True)
        if padding == "causal":
            pads = [((taps - 1) * step, 0) for _, taps, _, step in windows]
        else:
            pads = [same_padding(*each) for each in windows]
        return pad_or_crop(x, pads, data_format)

    def last(self, x: BackendTensor) -> BackendTensor:
        """A tensor as (batch, positions along each axis, channels)."""
        if self.kind == DENSE:
            return ops.reshape(x, (x.shape[0], -1, x.shape[-1]))
        return ops.moveaxis(x, 1, -1) if self.channels_first else x

    def targets(self, y: BackendTensor, positions: np.ndarray) -> BackendTensor:
        """The target (in the layer's data format, means of cells) at the positions: (blocks, n, outputs of a block)."""
        y = self.last(y)
        places = np.ravel_multi_index(tuple(positions.T), y.shape[:-1])
        rows = ops.take(ops.reshape(y, (-1, y.shape[-1])), places, axis=0)
        return ops.transpose(ops.reshape(rows, (len(positions), self.blocks, -1)), (1, 0, 2))

    def importance(self, inputs: Sequence[BackendTensor], positions: np.ndarray) -> np.ndarray:
        """Share of each position's cell that lies within the output: less than 1 at the end of odd sizes; (n,)."""
        share = np.ones(len(positions), dtype="float32")
        if self.cell == 1:
            return share
        source = _source_size(self.layer, inputs)
        for axis, (size, cell) in enumerate(zip(source, factors(self.cell, len(source)), strict=True)):
            left = self.layer.window.output(axis, size) - cell * positions[:, 1 + axis]
            share *= np.minimum(left, cell) / np.float32(cell)
        return share

    def weights(self, values: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """(blocks, features, outputs of a block) from the layer's kernels, or from ``values`` by their names."""
        return np.concatenate([self._stacked(self._kernel(term, values)) for term in self.terms], axis=1)

    def _kernel(self, term: Term, values: Mapping[str, np.ndarray] | None) -> np.ndarray:
        value = getattr(self.layer, term.kernel) if values is None else values[term.kernel]
        kernel = np.asarray(ops.convert_to_numpy(value), dtype="float64")
        return turned(kernel) if self.kind == TRANSPOSED else kernel

    @property
    def features(self) -> int:
        """Inputs of one output: the rows of a block's `weights`."""
        return sum(map(self._features, self.terms))

    def _features(self, term: Term) -> int:
        return self._taps if self._is_depthwise else self._taps * self._shape(term)[-2]

    def _shape(self, term: Term) -> tuple[int, ...]:
        """Of the kernel as `_kernel` has it."""
        *sizes, inputs, outputs = getattr(self.layer, term.kernel).shape
        return (*sizes, outputs, inputs) if self.kind == TRANSPOSED else (*sizes, inputs, outputs)

    @property
    def _taps(self) -> int:
        return math.prod(self.kernel_size)

    def _stacked(self, kernel: np.ndarray) -> np.ndarray:
        if self._is_depthwise:  # (..., channels, multiplier)
            return np.moveaxis(kernel.reshape(-1, *kernel.shape[-2:]), 1, 0)
        rows, outputs = kernel.shape[-2:]
        split = kernel.reshape(self._taps, rows, self.blocks, outputs // self.blocks)
        return np.moveaxis(split, 2, 0).reshape(self.blocks, self._taps * rows, -1)

    @property
    def _is_depthwise(self) -> bool:
        return self.kind == DEPTHWISE

    def assign(self, weights: np.ndarray) -> None:
        """The inverse of `weights`."""
        start = 0
        for term in self.terms:
            shape, count = self._shape(term), self._features(term)
            part = weights[:, start : start + count]
            start += count
            if self._is_depthwise:
                kernel = np.moveaxis(part, 0, 1)
            else:
                kernel = np.moveaxis(part.reshape(self.blocks, self._taps, shape[-2], -1), 0, 2)
            kernel = kernel.reshape(shape)
            variable = getattr(self.layer, term.kernel)
            variable.assign(turned(kernel) if self.kind == TRANSPOSED else kernel)

    @property
    def bias_variable(self) -> keras.Variable | None:
        """The bias; None where the layer has none."""
        return getattr(self.layer, self.bias, None)


def gather_windows(
    x: BackendTensor, positions: np.ndarray, kernel_size: tuple[int, ...], strides: tuple[int, ...], term: Term
) -> BackendTensor:
    """Values of a padded map (batch, positions along each axis, channels) under windows: (n, taps, channels)."""
    taps = np.array(list(itertools.product(*map(range, kernel_size)))) * term.dilation
    first = positions[:, 1:] // term.cell * strides
    index = positions[:, :1]
    for axis, size in enumerate(x.shape[1:-1]):
        index = index * size + first[:, axis, None] + taps[:, axis]
    return ops.take(ops.reshape(x, (-1, x.shape[-1])), index, axis=0)


def draw_positions(rng: np.random.Generator, shape: tuple[int, ...], limit: int) -> np.ndarray:
    """At most ``limit`` different positions, the sample first, of an output map (batch, ..., channels)."""
    total = math.prod(shape[:-1])
    chosen = np.arange(total) if total <= limit else np.sort(rng.choice(total, limit, replace=False))
    return np.stack(np.unravel_index(chosen, shape[:-1]), axis=1).astype("int32")


def regressions(layer: Any) -> list[Regression]:
    """The regressions of a layer's outputs, in their order; empty for a layer that is not known to be linear."""
    traits = traits_of(layer)
    if traits.octave is not None:
        return _octave(layer, traits.octave)
    if len(traits.stages) != 1:
        return []
    (stage,) = traits.stages
    if stage.kind == DENSE:
        term = Term(stage.kernel, lambda inputs: (inputs[0], stage.padding), (1,))
        return [Regression(layer, 0, (term,), stage.bias, kind=DENSE)]
    return _plain(layer, stage)


def _octave(layer: Any, stage: OctaveStage) -> list[Regression]:
    regressions, windows, strides = [], layer, tuple(layer.strides)
    if stage.kind == TRANSPOSED:
        windows, strides = TransposedInputs(layer.window, layer.data_format, layer.low_dilation), (1,) * layer.rank
    for number, output in enumerate(stage.outputs):
        from_low = all(path.reads == LOW for path in output.paths)
        to_high = output.resolution == HIGH
        cell = layer.octave if to_high and from_low else 1
        shared = layer.octave if to_high and not from_low else 1
        terms = tuple(_octave_term(layer, windows, path, shared) for path in output.paths)
        kernel = getattr(layer, output.paths[0].kernel)
        blocks = kernel.shape[-2] if stage.kind == DEPTHWISE else layer.groups
        windowed = (tuple(layer.kernel_size), strides, stage.kind)
        regressions.append(Regression(layer, number, terms, output.bias, blocks, *windowed, cell))
    return regressions


def _octave_term(layer: Any, windows: Any, path: OctavePath, cell: Octave) -> Term:
    """A path as a term.

    Args:
        windows: what prepares the maps for the windows: the layer itself, or `TransposedInputs`.
        cell: fitted positions along each axis that read one window of a low map.
    """

    def maps(inputs: Sequence[BackendTensor]) -> tuple[BackendTensor | None, BackendTensor | None]:
        return layer.low_input.maps(*split_inputs(list(inputs), layer.name))

    def high(inputs: Sequence[BackendTensor]) -> tuple[BackendTensor, str]:
        return windows.prepare_high(maps(inputs)[0])

    def low(inputs: Sequence[BackendTensor]) -> tuple[BackendTensor, str]:
        return windows.prepare_low(maps(inputs)[1], _source_size(layer, inputs))

    def pooled(inputs: Sequence[BackendTensor]) -> tuple[BackendTensor, str]:
        return windows.prepare_low(
            pool_octave(maps(inputs)[0], layer.octave, layer.data_format, layer.causal), _source_size(layer, inputs)
        )

    if path.reads == HIGH:
        return Term(path.kernel, high, layer.dilation_rate)
    return Term(path.kernel, low if path.reads == LOW else pooled, layer.low_dilation, cell)


def _source_size(layer: Any, inputs: Sequence[BackendTensor]) -> tuple[int, ...]:
    """Of the source's map, along each axis, that an octave layer's inputs hold or stand in for."""
    return tuple(map(int, layer.source_sizes(list(inputs))))


def _plain(layer: Any, stage: ConvolutionStage) -> list[Regression]:
    outputs = [tensor for node in layer._inbound_nodes for tensor in node.output_tensors]
    has_bias = getattr(layer, stage.bias, None) is not None
    if has_bias and any(bias_is_misplaced(output.shape, layer.data_format) for output in outputs):
        return []  # its bias is no intercept
    kernel = getattr(layer, stage.kernel)
    blocks = kernel.shape[-2] if stage.kind == DEPTHWISE else stage.groups
    taps, strides, dilation = tuple(kernel.shape[:-2]), tuple(stage.strides), tuple(stage.dilation)
    if stage.kind == TRANSPOSED:
        window = TransposedWindow(taps, strides, dilation, stage.padding, stage.output_padding, 1)
        windows = TransposedInputs(window, layer.data_format)
        term = Term(stage.kernel, lambda inputs: windows.prepare_high(inputs[0]), dilation)
        return [Regression(layer, 0, (term,), stage.bias, 1, taps, (1,) * len(taps), TRANSPOSED)]
    term = Term(stage.kernel, lambda inputs: (inputs[0], stage.padding), dilation)
    return [Regression(layer, 0, (term,), stage.bias, blocks, taps, strides, stage.kind)]
