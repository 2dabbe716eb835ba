"""Operations of TensorFlow that tf2onnx does not know; registered when this module is imported."""

from __future__ import annotations

from typing import Any

import numpy as np
from tf2onnx import utils
from tf2onnx.handler import tf_op


@tf_op("Erfc")
class Erfc:
    """``1 - erf(x)``, part of every exact GELU."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        source, name = node.input[0], node.name
        shapes, dtypes = node.output_shapes, node.output_dtypes
        number = utils.map_onnx_to_numpy_type(ctx.get_dtype(source))
        error = ctx.make_node("Erf", [source], shapes=shapes, dtypes=dtypes)
        one = ctx.make_const(utils.make_name("one"), np.ones((), number))
        ctx.remove_node(name)
        parts = [one.output[0], error.output[0]]
        ctx.make_node("Sub", parts, name=name, outputs=node.output, shapes=shapes, dtypes=dtypes)
