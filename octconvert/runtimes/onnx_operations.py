"""Operations of TensorFlow that tf2onnx has not; registered when this module is imported."""

from __future__ import annotations

import numpy as np
from tf2onnx import utils
from tf2onnx.handler import tf_op


@tf_op("Erfc")
class Erfc:
    """``1 - erf(x)``; it is in every exact GELU."""

    @classmethod
    def version_9(cls, ctx, node, **_):
        given, name = node.input[0], node.name
        shapes, dtypes = node.output_shapes, node.output_dtypes
        number = utils.map_onnx_to_numpy_type(ctx.get_dtype(given))
        error = ctx.make_node("Erf", [given], shapes=shapes, dtypes=dtypes)
        one = ctx.make_const(utils.make_name("one"), np.ones((), number))
        ctx.remove_node(name)
        parts = [one.output[0], error.output[0]]
        ctx.make_node("Sub", parts, name=name, outputs=node.output, shapes=shapes, dtypes=dtypes)
