"""Bytes of the tensors between the calls of a model; what a layer holds inside while it works is not counted."""

from __future__ import annotations

import math
import re

from octconvert.model.graph import BOUNDARY, CallGraph, Tensor


def activation_bytes(graph: CallGraph) -> tuple[int, int]:
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


def _bytes(tensor: Tensor) -> int:
    """Bytes of a tensor for one sample; strings and other unsized types count one byte an element."""
    bits = re.search(r"\d+$", tensor.dtype)
    return math.prod(1 if size is None else size for size in tensor.shape[1:]) * (int(bits[0]) // 8 if bits else 1)
