"""MACs, parameters and activation memory of any Keras model, read off its call graph.

MACs count convolutions, Dense layers and layers with a count of their own (``layer.macs(input_shape)``), those inside
`TimeDistributed` once for each time step; additions, pooling and normalisation count nothing, as in the paper. Memory
counts the tensors between calls; what a layer holds inside while it works is not counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from keras import layers

from octconvert.model.functional import functional_of
from octconvert.model.graph import BOUNDARY, OPERATION, Call, CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.model.shapes import with_input_shapes, with_known_sizes
from octconvert.results.report import Cost

ASSUMED_SIZES = (224, 256, 299, 331, 512)
"""Rows and columns taken where the model leaves them open: the first at which it works."""


def measure(model_or_graph) -> tuple[CallGraph, Cost]:
    """The call graph with every size known, and the `Cost` of one run on one sample.

    Sizes that are unknown are taken from `ASSUMED_SIZES`; the cost tells which input shapes that gives.

    Raises:
        InputError: the model is subclassed, or works at none of the assumed sizes.
    """
    graph = model_or_graph if isinstance(model_or_graph, CallGraph) else build_graph(model_or_graph)
    sized = with_known_sizes(graph, ASSUMED_SIZES)
    shapes = [sized.tensors[number].shape for number in sized.inputs]
    assumed = () if sized is graph else tuple(tuple(size or 0 for size in shape[1:]) for shape in shapes)
    total, peak = _activation_bytes(sized)
    return sized, Cost(sum(call_macs(sized).values()), graph.model.count_params(), total, peak, assumed)


def cost_of(model_or_graph) -> Cost:
    """The second half of `measure`."""
    return measure(model_or_graph)[1]


def call_macs(graph: CallGraph) -> dict[int, int]:
    """Call index -> MACs for one sample, for the calls that have any; all sizes must be known."""
    found = {}
    for call in graph.calls:
        macs = _macs(graph, call) if call.kind == OPERATION else 0
        if macs:
            found[call.index] = macs * graph.runs(call)
    return found


def _macs(graph: CallGraph, call: Call) -> int:
    inputs = [graph.tensors[number].shape for number in call.inputs]
    outputs = [graph.tensors[number].shape for number in call.outputs]
    return _layer_macs(call.operation, inputs, outputs)


def _layer_macs(layer, inputs: list[tuple], outputs: list[tuple]) -> int:
    """MACs of one call of a layer, and of what a wrapper holds."""
    own = getattr(layer, "macs", None)
    if callable(own):
        return int(own(inputs if len(inputs) > 1 else inputs[0]))
    for kind, count in _COUNTERS:
        if isinstance(layer, kind):
            return count(layer, inputs[0], outputs[0])
    if isinstance(layer, layers.TimeDistributed):
        steps = inputs[0][1]
        one = [[(shape[0], *shape[2:]) for shape in shapes] for shapes in (inputs, outputs)]
        return steps * _layer_macs(layer.layer, *one)
    if isinstance(layer, layers.Wrapper):
        return _layer_macs(layer.layer, inputs, outputs)
    if functional_of(layer) is not None:
        return sum(call_macs(with_input_shapes(build_graph(layer), inputs)).values())
    return 0


def _positions(layer, shape) -> int:
    """Product of the spatial sizes."""
    return math.prod(shape[2:] if layer.data_format == "channels_first" else shape[1:-1])


def _convolution(layer, source, output) -> int:
    kernel = layer.kernel.shape  # (..., channels of one group, filters)
    return _positions(layer, output) * math.prod(kernel)


def _depthwise(layer, source, output) -> int:
    return _positions(layer, output) * math.prod(layer.kernel.shape)


def _separable(layer, source, output) -> int:
    kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
    return _positions(layer, output) * sum(math.prod(kernel.shape) for kernel in kernels)


def _transposed(layer, source, output) -> int:
    return _positions(layer, source) * math.prod(layer.kernel.shape)


def _dense(layer, source, output) -> int:
    return math.prod(output[1:-1]) * math.prod(layer.kernel.shape)


_COUNTERS: tuple[tuple[type | tuple[type, ...], Callable], ...] = (
    ((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _transposed),
    ((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    ((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _depthwise),
    ((layers.Conv1D, layers.Conv2D, layers.Conv3D), _convolution),
    (layers.Dense, _dense),
)


def _activation_bytes(graph: CallGraph) -> tuple[int, int]:
    """(all activations, the most alive at once). A nested model's input is the tensor it is called with."""
    root = list(range(len(graph.tensors)))
    for call in graph.calls:
        if call.kind == BOUNDARY:
            root[call.outputs[0]] = root[call.inputs[0]]
    runs = {number: graph.runs(call) for call in graph.calls for number in call.outputs}
    sizes = {t.index: _bytes(t) * runs[t.index] for t in graph.tensors if root[t.index] == t.index}
    last_use = {root[number]: call.index for call in graph.calls for number in (*call.outputs, *call.inputs)}
    for number in graph.outputs:
        last_use[root[number]] = len(graph.calls)
    alive = peak = 0
    for call in graph.calls:
        if call.kind != BOUNDARY:
            alive += sum(sizes[number] for number in call.outputs)
        peak = max(peak, alive)
        touched = {root[number] for number in (*call.inputs, *call.outputs)}
        alive -= sum(sizes[number] for number in touched if last_use[number] == call.index)
    return sum(sizes.values()), peak


def _bytes(tensor) -> int:
    """Bytes of a tensor for one sample; strings and other unsized types count one byte an element."""
    bits = re.search(r"\d+$", tensor.dtype)
    return math.prod(1 if size is None else size for size in tensor.shape[1:]) * (int(bits[0]) // 8 if bits else 1)
