"""Names of the outputs of an ONNX graph: output_0, output_1 ... as in all other formats."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def name_outputs(model: onnx.ModelProto) -> None:
    """Rename the outputs, in place; one that is an input, or another output, becomes a copy of it."""
    from onnx import helper

    graph = model.graph
    counts = Counter(each.name for each in graph.output)
    produced = {name for node in graph.node for name in node.output}
    renamed = {}
    for number, each in enumerate(graph.output):
        own, new = each.name, f"output_{number}"
        if own not in produced or counts[own] > 1:
            graph.node.append(helper.make_node("Identity", [own], [new]))
        else:
            renamed[own] = new
        each.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = renamed.get(name, name)
