"""``same`` padding of Theano, which differs from that of TensorFlow for strides and even kernels.

Theano puts ``k // 2`` rows before the map, whatever the stride; TensorFlow puts as few there as possible.
"""

from __future__ import annotations

from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record, name_of, walk

APPROXIMATE = ("MaxPooling2D", "AveragePooling2D", "Conv2DTranspose", "Deconvolution2D", "SeparableConv2D", "Conv1D")
"""Layers that are left as they are, with a note."""


def replace(model: Record, context: LoadingContext) -> None:
    """Pads as Theano did, with a ZeroPadding2D before each Conv2D that needs one, in place."""
    for record in list(walk(model)):
        config = record["config"]
        if not isinstance(config, dict) or config.get("padding") != "same":
            continue
        if record["class_name"] == "Conv2D":
            _pad_before(record, context)
        elif record["class_name"] in APPROXIMATE and set(_pair(config.get("strides"))) != {1}:
            context.notes.add("Theano padded this layer slightly differently; compare its predictions", name_of(record))


def _pair(value: object) -> tuple[int, int]:
    if isinstance(value, list | tuple):
        return int(value[0]), int(value[-1])
    return (int(value), int(value)) if isinstance(value, int) else (1, 1)


def _pad_before(record: Record, context: LoadingContext) -> None:
    name, config = name_of(record), dict(record["config"])
    strides, rates = _pair(config.get("strides")), _pair(config.get("dilation_rate"))
    sizes = [(k - 1) * rate + 1 for k, rate in zip(_pair(config["kernel_size"]), rates, strict=True)]
    if strides == (1, 1) and all(size % 2 for size in sizes):
        return
    # The output has ceil(n / stride) rows: one row less at the end for an even kernel.
    padding = [[size // 2, size // 2 - (1 - size % 2)] for size in sizes]
    pad = {"name": f"{name}_pad", "padding": padding, "data_format": config.get("data_format")}
    inner = {**config, "padding": "valid", "name": f"{name}_inner"}
    record["class_name"] = "Sequential"
    record["config"] = {
        "name": name,
        "layers": [{"class_name": "ZeroPadding2D", "config": pad}, {"class_name": "Conv2D", "config": inner}],
    }
    context.notes.add("the padding of Theano was written as a ZeroPadding2D", name)
