"""Octave layers -> steps: their paths as convolutions of single maps, and `octconvert.layers.OctaveMerge`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from octconvert.inference.drafting import Draft, OrderedNode, array, bias_of, policy_of
from octconvert.inference.pair_maps import PairMaps, maps_of
from octconvert.inference.program import (
    AdditionStep,
    ConvolutionStep,
    JoiningStep,
    Node,
    ScalingStep,
    UpsamplingStep,
)
from octconvert.model.graph import Call
from octconvert.octave import names
from octconvert.octave.geometry import Pads, ceil_div, factors
from octconvert.rules.traits import HIGH, LOW, POOLED, TRANSPOSED, OctaveOutput, OctavePath, Traits

_SUFFIX = {HIGH: names.HIGH, LOW: names.LOW}


def octave_convolved(
    draft: Draft, call: Call, inputs: Sequence[OrderedNode], traits: Traits
) -> list[OrderedNode] | None:
    """The paths of an octave layer as convolutions; None where sizes are not known."""
    assert traits.octave is not None  # called for those alone
    kind = traits.octave.kind
    paths = (_TransposedPaths if kind == TRANSPOSED else _OctavePaths)(draft, call, inputs, kind)
    if not paths.known:
        return None
    outputs = []
    for output in traits.octave.outputs:
        outputs.append(OrderedNode(draft.activated(paths.output(output), call, _SUFFIX[output.resolution])))
    return outputs


class _OctavePaths(PairMaps):
    """The paths of one call of an octave convolution."""

    def __init__(self, draft: Draft, call: Call, inputs: Sequence[OrderedNode], kind: str):
        super().__init__(draft, call, inputs)
        self._kind = kind

    def output(self, output: OctaveOutput) -> Node:
        """The sum of the paths to an output map; the bias goes into the first."""
        nodes = []
        for path, bias in zip(output.paths, (output.bias, *("" for _ in output.paths[1:])), strict=True):
            node = self._path(path, bias)
            nodes.append(self._upsampled(node) if output.resolution == HIGH and path.reads != HIGH else node)
        suffix = f"add{_SUFFIX[output.resolution]}"
        return nodes[0] if len(nodes) == 1 else self._add(AdditionStep(self._policy), nodes, suffix)

    def _path(self, path: OctavePath, bias: str) -> Node:
        node = self._low if path.reads == LOW else self._high
        assert node is not None  # a layer has no path that reads a map it does not have
        if path.reads == HIGH:
            return self._high_path(node, path, bias)
        node, padding = self._prepared(self._pooled(node) if path.reads == POOLED else node, path.label)
        return self._convolved(node, path, bias, padding, self._layer.low_dilation)

    def _high_path(self, node: Node, path: OctavePath, bias: str) -> Node:
        padding = self._layer.padding
        if not isinstance(padding, str):
            node, padding = self._padded(node, tuple(padding), f"pad{names.HIGH}"), "valid"
        return self._convolved(node, path, bias, padding, self._layer.dilation_rate)

    def _convolved(self, node: Node, path: OctavePath, bias: str, padding: str, dilation: Sequence[int]) -> Node:
        layer = self._layer
        step = ConvolutionStep(
            self._policy,
            self._kind,
            array(layer, path.kernel),
            bias_of(layer, bias),
            tuple(layer.strides),
            padding,
            tuple(dilation),
            getattr(layer, "groups", 1),
        )
        return self._add(step, [node], path.label)

    def _upsampled(self, node: Node) -> Node:
        """To the size of the high output."""
        if max(self._factors) == 1:
            return node
        return self._add(UpsamplingStep(self._policy, self._factors, self._output_sizes), [node], "up")


class _TransposedPaths(_OctavePaths):
    """Those of a transposed convolution, as `octconvert.layers.OctaveConv2DTranspose` computes them."""

    def _path(self, path: OctavePath, bias: str) -> Node:
        node = self._low if path.reads == LOW else self._high
        assert node is not None
        layer, numbers = self._layer, bias_of(self._layer, bias)
        if path.reads == HIGH:
            more = (("output_padding", layer.output_padding),)
            return self._spread(node, path, numbers, layer.padding, layer.dilation_rate, more)
        node = self._pooled(node) if path.reads == POOLED else node
        pads = self._fit()
        inside = numbers if max(map(max, pads)) <= 0 else None  # zeros around the map have no bias
        node = self._padded(self._spread(node, path, inside, "valid", layer.low_dilation), pads, f"fit-{path.label}")
        filters = tuple(tuple(a.prefilter[::-1]) for a in self._alignments)
        node = self._filtered(node, filters, f"align-{path.label}")
        if numbers is None or inside is not None:
            return node
        offset = numbers.astype("float64")
        return self._add(ScalingStep(self._policy, np.ones_like(offset), offset), [node], f"bias-{path.label}")

    def _spread(
        self,
        node: Node,
        path: OctavePath,
        bias: np.ndarray | None,
        padding: str,
        dilation: Sequence[int],
        more: tuple[tuple[str, Any], ...] = (),
    ) -> Node:
        kernel, strides = array(self._layer, path.kernel), tuple(self._layer.strides)
        step = ConvolutionStep(self._policy, TRANSPOSED, kernel, bias, strides, padding, tuple(dilation), more=more)
        return self._add(step, [node], path.label)

    def _fit(self) -> Pads:
        """What brings the full result of a low map to the cells of the low output, as `spatial.fit_transposed`."""
        layer, pads = self._layer, []
        low = replace(layer.window, dilation=layer.low_dilation, padding="valid", output_padding=None)
        for axis, a in enumerate(self._alignments):
            have = low.output(axis, ceil_div(self._sizes[axis], self._factors[axis]))
            extra = len(a.prefilter) - 1
            front = a.first + extra
            pads.append((front, self._cells[axis] + extra - have - front))
        return tuple(pads)


def merged(draft: Draft, call: Call, inputs: Sequence[OrderedNode], traits: Traits) -> list[OrderedNode] | None:
    """The low map upsampled and joined to the high one, if any; None where sizes are not known."""
    assert traits.merge is not None  # called for those alone
    graph, merge = draft.graph, traits.merge
    sizes = graph.known_size(graph.tensors[call.outputs[0]].shape)
    if sizes is None:
        return None
    *highs, low = (draft.plain(tensor) for tensor in maps_of(draft, call, inputs))
    times = factors(merge.octave, len(sizes))
    if max(times) > 1:
        low = draft.add(UpsamplingStep(policy_of(call), times, sizes), [low], call, "-up")
    joined = draft.add(JoiningStep(policy_of(call)), [*highs, low], call) if highs else low
    return [OrderedNode(joined, None if merge.order is None else np.asarray(merge.order))]
