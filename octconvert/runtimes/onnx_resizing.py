"""Nearest upsampling in an ONNX graph as runtimes know it best.

tf2onnx writes TensorFlow's rule for the nearest cell, ``tf_half_pixel_for_nn``, which ONNX has dropped since opset 13.
By whole numbers it is the same as ``asymmetric``: ``floor((i + 0.5) / n) = floor(i / n)``. With that ONNX Runtime stays
in the layout of its convolutions, where it would go to another one and back around every upsampling.
"""

from __future__ import annotations

_RULE, _KNOWN_BEST = b"tf_half_pixel_for_nn", b"asymmetric"
_SCALES = 2
"""Place of the scales among a Resize's inputs."""


def settle_upsampling(made) -> None:
    """Change the rule of every nearest Resize by whole numbers.

    Args:
        made: onnx.ModelProto; changed.
    """
    from onnx import numpy_helper

    constants = {each.name: each for each in made.graph.initializer}
    for node in made.graph.node:
        if node.op_type != "Resize" or len(node.input) <= _SCALES or node.input[_SCALES] not in constants:
            continue
        scales = numpy_helper.to_array(constants[node.input[_SCALES]])
        attributes = {attribute.name: attribute for attribute in node.attribute}
        rule = attributes.get("coordinate_transformation_mode")
        floors = "nearest_mode" in attributes and attributes["nearest_mode"].s == b"floor"
        if rule is not None and rule.s == _RULE and floors and scales.size and (scales % 1 == 0).all():
            rule.s = _KNOWN_BEST
