"""What kept its name and computes something else since, or computed something else with Theano."""

from __future__ import annotations

from octconvert.io.tree import Job, Record, is_model, name_of, walk

# Keras 1 and 2: clip(0.2 x + 0.5, 0, 1). Keras 3: clip(x / 6 + 0.5, 0, 1).
NAME = "hard_sigmoid"


def keep_hard_sigmoid(model: Record, job: Job, *, may_nest: bool) -> None:
    """Spells out the hard_sigmoid of Keras 1 and 2 as Rescaling and ReLU, in place.

    Args:
        may_nest: Whether a layer may become a small Sequential. In a .keras file the place of the weights depends on
            the order of the classes, so there it may not.

    Raises:
        InputError: The function sits where it can not be replaced.
    """
    # Collected first: what is put in must not be walked again.
    for record in list(walk(model)):
        config = record["config"]
        if is_model(record) or not isinstance(config, dict):
            continue
        if config.get("recurrent_activation") == NAME or (config.get("activation") == NAME and not may_nest):
            job.refuse("uses the hard_sigmoid of Keras 2, which is another function in Keras 3", name_of(record))
        if config.get("activation") == NAME:
            _spell_out(record, job)


def _spell_out(record: Record, job: Job) -> None:
    name, old = name_of(record), dict(record["config"])
    steps: list[Record] = [
        {"class_name": "Rescaling", "config": {"name": f"{name}_slope", "scale": 0.2, "offset": 0.5}},
        {"class_name": "ReLU", "config": {"name": f"{name}_clip", "max_value": 1.0}},
    ]
    if record["class_name"] != "Activation":
        inner = {**old, "activation": "linear", "name": f"{name}_inner"}
        steps.insert(0, {"class_name": record["class_name"], "config": inner})
    record["class_name"] = "Sequential"
    record["config"] = {"name": name, "layers": steps}
    job.notes.add("the hard_sigmoid of Keras 2 was spelled out; Keras 3 has another function of that name", name)


# -- Theano's 'same' padding -------------------------------------------------------------------------------------------

UNEQUAL = ("MaxPooling2D", "AveragePooling2D", "Conv2DTranspose", "Deconvolution2D", "SeparableConv2D", "Conv1D")


def keep_theano_padding(model: Record, job: Job) -> None:
    """Pads as Theano did where that is not what TensorFlow does, in place.

    Theano puts ``k // 2`` rows before the map, whatever the stride; TensorFlow puts as few there as it can.
    """
    for record in list(walk(model)):
        config = record["config"]
        if not isinstance(config, dict) or config.get("padding") != "same":
            continue
        if record["class_name"] == "Conv2D":
            _pad_first(record, job)
        elif record["class_name"] in UNEQUAL and set(_pair(config.get("strides"))) != {1}:
            job.notes.add("Theano padded this layer a little differently; compare its predictions", name_of(record))


def _pair(value: object) -> tuple[int, int]:
    if isinstance(value, list | tuple):
        return int(value[0]), int(value[-1])
    return (int(value), int(value)) if isinstance(value, int) else (1, 1)


def _pad_first(record: Record, job: Job) -> None:
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
    job.notes.add("Theano's way of padding was spelled out with a ZeroPadding2D", name)
