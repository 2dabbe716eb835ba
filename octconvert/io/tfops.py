"""Plain TensorFlow operations that tf.keras 2 kept as layers, written as Keras layers or operations.

``TFOpLambda`` and ``SlicingOpLambda`` name a function and hold its other arguments in the call. Each function here
has one small translation that computes the same; a function without one is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from octconvert.io.tree import Job, Record, children, is_functional, is_reference, name_of, walk

OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
CONSTANT = "_CONSTANT_VALUE"
PREFIXES = ("compat.v1.", "__operators__.", "math.", "nn.", "image.", "keras.activations.")
NUMPY = "keras.src.ops.numpy"
CORE = "keras.src.ops.core"


@dataclass(frozen=True)
class Call:
    """One call of a TensorFlow function: its tensors (or numbers) in order, and its other arguments."""

    inputs: list[Any]
    options: dict[str, Any]

    def tensor(self, index: int) -> bool:
        return isinstance(self.inputs[index], Reference)


@dataclass(frozen=True)
class Reference:
    """One output of another layer."""

    layer: str
    node: int
    output: int

    def plain(self) -> list:
        return [self.layer, self.node, self.output, {}]

    def revived(self) -> Record:
        history = [self.layer, self.node, self.output]
        config = {"shape": [None], "dtype": "float32", "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": config}


class Untranslatable(Exception):
    """The call uses its function in a way that has no translation; the message says which."""


Made = tuple[Record, list[Reference]]  # a record without name and nodes, and the tensors it is called on
Rule = Callable[[Call], Made]


def translate(model: Record, job: Job) -> None:
    """Replaces all TensorFlow operations by Keras layers and operations, in place.

    Raises:
        InputError: An operation has no translation.
    """
    for record in walk(model):
        if is_functional(record):
            names = {name_of(layer) for layer in children(record)}
            for layer in children(record):
                if layer["class_name"] in OPERATIONS:
                    _replace(layer, names, job)
        for layer in children(record):
            if layer["class_name"] == "TensorFlowOpLayer" and layer["class_name"] not in job.custom_objects:
                job.refuse("is a raw TensorFlow operation; save the model with tf.keras 2.4 or later", name_of(layer))


def _replace(layer: Record, names: set[str], job: Job) -> None:
    name, full = name_of(layer), str(layer["config"].get("function"))
    short = full
    for prefix in PREFIXES:
        short = short.removeprefix(prefix)
    try:
        if short not in RULES:
            raise Untranslatable("it has no equal in Keras 3")
        made, inputs = RULES[short](_call(layer, names))
    except Untranslatable as reason:
        job.refuse(
            f"calls TensorFlow's tf.{full} ({reason}); rebuild the model with Keras layers instead and save it again",
            name,
        )
    made["config"] = {"name": name, **made["config"]}
    if "module" in made:
        constants = made.pop("after", [])
        nodes: list[Any] = [{"args": [*(one.revived() for one in inputs), *constants], "kwargs": {}}]
    else:
        nodes = [[one.plain() for one in inputs]]
        made["config"].setdefault("dtype", layer["config"].get("dtype") or "float32")
        if len(inputs) > 1:
            job.merged.append(name)
    layer.clear()
    layer.update(made, name=name, inbound_nodes=nodes)
    job.notes.add("TensorFlow operations between the layers were written as Keras layers", name)


def _call(layer: Record, names: set[str]) -> Call:
    nodes = layer["inbound_nodes"]
    if len(nodes) != 1:
        raise Untranslatable("it is called more than once")
    node = nodes[0]
    entries = [node] if node and isinstance(node[0], str) else node
    options = dict(entries[0][3]) if len(entries[0]) > 3 else {}
    options.pop("name", None)
    inputs = [_input(entry, names) for entry in entries]
    if "y" in options:
        inputs.append(_input(options.pop("y"), names))
    if any(is_reference(value, names) for value in options.values()):
        raise Untranslatable("one of its settings is computed by the model")
    return Call(inputs, options)


def _input(entry: Any, names: set[str]) -> Any:
    if is_reference(entry, names):
        return Reference(*entry[:3])
    return entry[2] if isinstance(entry, list) and entry and entry[0] == CONSTANT else entry


# -- the rules ---------------------------------------------------------------------------------------------------------


def _layer(kind: str, **config: Any) -> Record:
    return {"class_name": kind, "config": config}


def _operation(module: str, kind: str, *after: Any, **config: Any) -> Record:
    """A raw Keras operation; ``after`` are the constants that follow the tensor in its call."""
    return {"module": module, "class_name": kind, "registered_name": kind, "config": config, "after": list(after)}


def simple(kind: str, *allowed: str, **config: Any) -> Rule:
    """A function of one tensor, with no settings but ``allowed`` ones, which are ignored."""

    def rule(call: Call) -> Made:
        _only(call, *allowed)
        return _layer(kind, **config), [_one(call)]

    return rule


def binary(layer: str, scale: Callable[[float], tuple], reverse: Callable[[float], tuple] | None) -> Rule:
    """Two tensors: a merging layer. One number: a Rescaling with the (scale, offset) that ``scale`` gives."""

    def rule(call: Call) -> Made:
        _only(call)
        if len(call.inputs) != 2:
            raise Untranslatable("it has not two inputs")
        if call.tensor(0) and call.tensor(1):
            if not layer:
                raise Untranslatable("of two tensors it has no equal in Keras 3")
            return _layer(layer), list(call.inputs)
        first = call.tensor(0)
        by, number = (scale, call.inputs[1]) if first else (reverse, call.inputs[0])
        if by is None or not _numbers(number):
            raise Untranslatable("of this constant it has no equal layer")
        factor, offset = _each(by, number)
        return _layer("Rescaling", scale=factor, offset=offset), [call.inputs[0 if first else 1]]

    return rule


def _numbers(value: Any) -> bool:
    flat = value if isinstance(value, list) else [value]
    return bool(flat) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in flat)


def _each(by: Callable[[float], tuple], number: Any) -> tuple:
    if not isinstance(number, list):
        return by(float(number))
    pairs = [by(float(one)) for one in number]
    return tuple([pair[side] for pair in pairs] for side in (0, 1))


def _one(call: Call) -> Reference:
    if len(call.inputs) != 1 or not call.tensor(0):
        raise Untranslatable("it has not one tensor as input")
    return call.inputs[0]


def _only(call: Call, *allowed: str, **defaults: Any) -> None:
    """Refuses settings that are neither ``allowed`` nor at the value of ``defaults``."""
    for key, value in call.options.items():
        if key not in allowed and value is not None and not (key in defaults and value == defaults[key]):
            raise Untranslatable(f"with {key}={value}")


def _reduce(layer: str, operation: str) -> Rule:
    def rule(call: Call) -> Made:
        _only(call, "axis", "keepdims")
        axis, keep = call.options.get("axis"), bool(call.options.get("keepdims"))
        if isinstance(axis, list) and sorted(axis) in ([1, 2], [-3, -2]):
            return _layer(layer, keepdims=keep, data_format="channels_last"), [_one(call)]
        if axis is None:
            raise Untranslatable("over all axes")
        return _operation(NUMPY, operation, axis=axis, keepdims=keep), [_one(call)]

    return rule


def _softmax(call: Call) -> Made:
    _only(call, "axis")
    axis = call.options.get("axis")
    return _layer("Softmax", axis=-1 if axis is None else axis), [_one(call)]


def _leaky(call: Call) -> Made:
    _only(call, "alpha")
    return _layer("LeakyReLU", negative_slope=call.options.get("alpha", 0.2)), [_one(call)]


def _gelu(call: Call) -> Made:
    _only(call, "approximate")
    if call.options.get("approximate"):
        raise Untranslatable("in its approximate form")
    return _layer("Activation", activation="gelu"), [_one(call)]


def _concat(call: Call) -> Made:
    _only(call, "axis")
    if not all(isinstance(one, Reference) for one in call.inputs) or "axis" not in call.options:
        raise Untranslatable("of constants")
    return _layer("Concatenate", axis=call.options["axis"]), list(call.inputs)


def _add_n(call: Call) -> Made:
    _only(call)
    if not all(isinstance(one, Reference) for one in call.inputs) or len(call.inputs) < 2:
        raise Untranslatable("of constants")
    return _layer("Add"), list(call.inputs)


def _slice(call: Call) -> Made:
    _only(call, "slice_spec")
    spec = call.options.get("slice_spec")
    parts = [_index(part) for part in (spec if isinstance(spec, list) else [spec])]
    return _operation(NUMPY, "GetItem", parts), [_one(call)]


def _index(part: Any) -> Any:
    if isinstance(part, dict) and set(part) == {"start", "stop", "step"}:
        if not all(value is None or isinstance(value, int) for value in part.values()):
            raise Untranslatable("with bounds that the model computes")
        return {"class_name": "__slice__", "config": part}
    if isinstance(part, int):
        return part
    raise Untranslatable(f"with the index {part}")


def _pad(call: Call) -> Made:
    _only(call, "paddings", mode="CONSTANT", constant_values=0)
    sides = call.options.get("paddings")
    if not isinstance(sides, list) or len(sides) != 4 or any(sides[0]) or any(sides[3]):
        raise Untranslatable("of other axes than rows and columns")
    return _layer("ZeroPadding2D", padding=sides[1:3], data_format="channels_last"), [_one(call)]


def _resize(call: Call) -> Made:
    _only(call, "size", "method", antialias=False, preserve_aspect_ratio=False)
    size, method = call.options.get("size"), call.options.get("method") or "bilinear"
    if (
        not isinstance(size, list)
        or not _numbers(size)
        or len(size) != 2
        or method not in ("bilinear", "nearest", "bicubic")
    ):
        raise Untranslatable(f"to {size} by {method}")
    height, width = size
    made = _layer("Resizing", height=height, width=width, interpolation=method, data_format="channels_last")
    return made, [_one(call)]


def _reshape(call: Call) -> Made:
    _only(call, "shape")
    shape = call.options.get("shape")
    if not isinstance(shape, list) or not _numbers(shape) or shape[0] != -1 or -1 in shape[1:]:
        raise Untranslatable(f"to {shape}")
    return _layer("Reshape", target_shape=shape[1:]), [_one(call)]


def _transpose(call: Call) -> Made:
    _only(call, "perm", conjugate=False)
    return _operation(NUMPY, "Transpose", axes=call.options.get("perm")), [_one(call)]


def _clip(call: Call) -> Made:
    _only(call, "clip_value_min", "clip_value_max")
    low, high = call.options.get("clip_value_min"), call.options.get("clip_value_max")
    return _operation(NUMPY, "Clip", x_min=low, x_max=high), [_one(call)]


def _cast(call: Call) -> Made:
    _only(call, "dtype")
    return _operation(CORE, "Cast", dtype=call.options.get("dtype")), [_one(call)]


def _axis(operation: str) -> Rule:
    def rule(call: Call) -> Made:
        _only(call, "axis")
        return _operation(NUMPY, operation, axis=call.options.get("axis")), [_one(call)]

    return rule


def _power(call: Call) -> Made:
    _only(call)
    if len(call.inputs) != 2 or not call.tensor(0) or not _numbers(call.inputs[1]):
        raise Untranslatable("of this exponent")
    return _operation(NUMPY, "Power", call.inputs[1]), [call.inputs[0]]


def _activation(name: str) -> Rule:
    return simple("Activation", activation=name)


RULES: dict[str, Rule] = {
    "add": binary("Add", lambda c: (1.0, c), lambda c: (1.0, c)),
    "subtract": binary("Subtract", lambda c: (1.0, -c), lambda c: (-1.0, c)),
    "multiply": binary("Multiply", lambda c: (c, 0.0), lambda c: (c, 0.0)),
    "truediv": binary("", lambda c: (1.0 / c, 0.0), None),
    "divide": binary("", lambda c: (1.0 / c, 0.0), None),
    "maximum": binary("Maximum", lambda c: _never(), None),
    "minimum": binary("Minimum", lambda c: _never(), None),
    "negative": simple("Rescaling", scale=-1.0, offset=0.0),
    "add_n": _add_n,
    "relu": simple("ReLU"),
    "relu6": simple("ReLU", max_value=6.0),
    "leaky_relu": _leaky,
    "softmax": _softmax,
    "gelu": _gelu,
    "silu": _activation("silu"),
    "swish": _activation("silu"),
    "sigmoid": _activation("sigmoid"),
    "tanh": _activation("tanh"),
    "elu": _activation("elu"),
    "selu": _activation("selu"),
    "softplus": _activation("softplus"),
    "exp": _activation("exponential"),
    "identity": simple("Identity"),
    "stop_gradient": simple("Identity"),
    "concat": _concat,
    "reduce_mean": _reduce("GlobalAveragePooling2D", "Mean"),
    "reduce_max": _reduce("GlobalMaxPooling2D", "Max"),
    "getitem": _slice,
    "pad": _pad,
    "resize": _resize,
    "reshape": _reshape,
    "transpose": _transpose,
    "clip_by_value": _clip,
    "cast": _cast,
    "expand_dims": _axis("ExpandDims"),
    "squeeze": _axis("Squeeze"),
    "pow": _power,
}


def _never() -> tuple:
    raise Untranslatable("of a constant it has no equal layer")
