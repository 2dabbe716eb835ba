"""Nearest upsampling in an ONNX graph, in the mode that runtimes are fastest in.

tf2onnx writes TensorFlow's rule for the nearest cell, ``tf_half_pixel_for_nn``, which ONNX has dropped since opset 13.
For whole factors it is the same as ``asymmetric``: ``floor((i + 0.5) / n) = floor(i / n)``. With that ONNX Runtime
keeps the layout of its convolutions; otherwise it changes to another layout and back around every upsampling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_MODE, _FASTEST = b"tf_half_pixel_for_nn", b"asymmetric"
_SCALES = 2
"""Position of the scales among the inputs of a Resize."""


def use_asymmetric_upsampling(model: onnx.ModelProto) -> None:
    """Change the coordinate mode of every nearest Resize by whole factors, in place."""
    from onnx import numpy_helper

    constants = {each.name: each for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Resize" or len(node.input) <= _SCALES or node.input[_SCALES] not in constants:
            continue
        scales = numpy_helper.to_array(constants[node.input[_SCALES]])
        attributes = {attribute.name: attribute for attribute in node.attribute}
        mode = attributes.get("coordinate_transformation_mode")
        floors = "nearest_mode" in attributes and attributes["nearest_mode"].s == b"floor"
        if mode is not None and mode.s == _MODE and floors and scales.size and (scales % 1 == 0).all():
            mode.s = _FASTEST
