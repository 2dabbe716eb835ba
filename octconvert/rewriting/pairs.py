"""Pairs of Keras tensors: pending padding applied, merged to a plain tensor, or joined in the order [high | low]."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import numpy as np
from keras import KerasTensor, layers

from octconvert.layers import OctaveMerge, portable
from octconvert.octave.geometry import ceil_div, factors
from octconvert.octave.names import HIGH, LOW, SUFFIXES
from octconvert.octave.split import Pair
from octconvert.planning.planned import Planned
from octconvert.rewriting.names import Names, layer_name
from octconvert.rules import Value


class Pairs:
    """See `octconvert.rules.Build` for ``plain``, ``settled`` and ``joined``."""

    def __init__(self, planned: Planned, names: Names) -> None:
        self._graph, self._names = planned.graph, names
        self._data_format, self._portable = planned.graph.data_format, planned.options.portable
        self._merged: dict[tuple[Hashable, ...], tuple[Pair, KerasTensor]] = {}

    def plain(self, value: Value, output: str | None = None) -> KerasTensor:
        """The plain tensor: a pair is merged (once), pending padding applied.

        Args:
            output: name of the model's output that the value is; None for any other.
        """
        if not isinstance(value, Pair):
            return value
        key = _key(value)
        if key not in self._merged:
            label = output if value.pads is None else None  # else the name belongs to what comes after the padding
            self._merged[key] = (value, self._merge(value, label))  # the pair keeps the ids of its tensors alive
        merged = self._merged[key][1]
        if value.pads is None:
            return merged
        name = self._names.name(f"{_base_name(value)}-merge")
        return portable.pad_or_crop(merged, value.pads, self._data_format, name)

    def _merge(self, pair: Pair, output: str | None) -> KerasTensor:
        split, order, low = pair.split, pair.split.source_order, pair.low
        if pair.high is None and split.octave == 1:
            return low
        label = self._names.merge_name(_base_name(pair), output)
        if pair.high is None:
            return self._upsampled(pair, label)
        if len(low.shape) == 2:
            return self._merge_vectors(pair, order, label)
        if self._portable or (split.octave == 1 and order is None):
            return portable.merge(pair.high, low, split.octave, order, self._data_format, label)
        positions = None if order is None else order.tolist()
        return OctaveMerge(split.octave, positions, self._data_format, dtype=low.dtype, name=label)(pair.tensors)

    def _upsampled(self, pair: Pair, label: str) -> KerasTensor:
        """The plain map of a tensor that is whole-low."""
        low, split = pair.low, pair.split
        if self._portable:
            size = pair.size(self._graph.spatial_axes_of(low.shape))
            return portable.upsample_to(low, split.octave, size, self._data_format, f"{label}-up")
        keywords = {"whole_low": True, "high_size": split.odd_size, "dtype": low.dtype, "name": label}
        return OctaveMerge(split.octave, None, self._data_format, **keywords)(pair.inputs)

    def _merge_vectors(self, pair: Pair, order: np.ndarray | None, label: str) -> KerasTensor:
        dtype = pair.high.dtype
        if order is None:
            return layers.Concatenate(name=label, dtype=dtype)([pair.high, pair.low])
        high, low = (
            layers.Reshape((1, 1, part.shape[-1]), name=self._names.name(f"{label}-map{suffix}"), dtype=dtype)(part)
            for suffix, part in zip(SUFFIXES, (pair.high, pair.low), strict=True)
        )
        merged = portable.merge(high, low, 1, order, "channels_last", f"{label}-channels")
        return layers.Reshape((merged.shape[-1],), name=label, dtype=dtype)(merged)

    def settled(self, value: Pair) -> Pair:
        """The pair with pending padding applied (planning made sure that it lines up)."""
        if value.pads is None:
            return value
        axes = self._graph.spatial_axes_of(value.low.shape)
        blocks = factors(value.split.octave, len(axes))
        size = value.size(axes)
        cells = [value.low.shape[axis] for axis in axes]
        low_pads = tuple(
            (before // block, _low_after(length, cell, before, after, block))
            for length, cell, (before, after), block in zip(size, cells, value.pads, blocks, strict=True)
        )
        padded = tuple(
            None if length is None else length + before + after
            for length, (before, after) in zip(size, value.pads, strict=True)
        )
        base, split = _base_name(value), replace(value.split, size=padded)
        amounts = {HIGH: value.pads, LOW: low_pads}
        tensors = [
            portable.pad_or_crop(tensor, amounts[suffix], self._data_format, self._names.name(f"{base}-shift{suffix}"))
            for tensor, (suffix, _, _) in zip(value.tensors, split.parts, strict=True)
        ]
        return Pair.of(tensors, split)

    def joined(self, value: Pair, name: str) -> KerasTensor:
        """A pair of vectors as one tensor in the order [high | low]; the reader's weights are gathered instead."""
        tensors = self.settled(value).tensors
        if len(tensors) == 1:
            return tensors[0]
        axis = self._graph.axis_of_channels(tensors[0].shape)
        return layers.Concatenate(axis=axis, name=self._names.name(name), dtype=tensors[0].dtype)(tensors)


def _key(pair: Pair) -> tuple[Hashable, ...]:
    """Equal for pairs of the same tensors in the same order of channels: several may share one of their tensors."""
    split = pair.split
    return (*map(id, pair.inputs), split.mask.tobytes(), split.octave, split.size)


def _low_after(size: int | None, cells: int | None, before: int, after: int, octave: int) -> int:
    """Cells to add behind a low map so that it fits its padded high map."""
    if size is None or cells is None:
        return after // octave
    return ceil_div(size + before + after, octave) - cells - before // octave


def _base_name(pair: Pair) -> str:
    """The name of the layer that wrote a pair."""
    name = layer_name(pair.low if pair.high is None else pair.high)
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name
