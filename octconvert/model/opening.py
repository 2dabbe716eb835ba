"""Layers that hide calls of other layers, opened: their ``call`` is traced into a Functional model.

A layer of another package, or a subclassed block, runs other layers in its ``call``, where the call graph can not see
them. Most such methods also run on Keras tensors. What they call then is a Functional model of the same layers, with
the same variables. It is used only if its outputs on random inputs are those of the layer.

Which layers are opened is decided by the rules (`decide_by`): those of other packages that no rule knows.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import keras
import ml_dtypes
import numpy as np
from keras import tree
from keras.src import backend
from keras.src.models.functional import Functional
from keras.src.ops.node import Node as KerasNode
from keras.src.utils.python_utils import is_default

from octconvert.errors import first_line
from octconvert.layers.weight import WeightTensor
from octconvert.model.call_arguments import CallArguments, Spec, arguments_of
from octconvert.model.functional import functional_of, nodes_in_order

MOST_NUMBERS = 2**28
"""Numbers in all tensors of a layer that is run to compare its outputs, at most."""
MOST_CONSTANTS = 2**14
"""Numbers in an array among the arguments of a traced call, at most: they are written into the configuration."""
BATCH, OPEN_SIZES = 2, (32, 64, 7)
"""Samples to compare outputs on, and what an open size is then: the first that the layer works at."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A layer as the Functional model that its ``call`` is; or why it can not be one.

    Attributes:
        model: of the layer's own layers; its inputs are the different tensors of a call, in order. None: the layer
            stays closed.
        reason: why, in words.
        trains_alike: whether it calls the same layers in training.
    """

    model: Functional | None
    reason: str = ""
    trains_alike: bool = True


@dataclass(frozen=True)
class Closed:
    """Layers that are not opened.

    Attributes:
        names: their classes, names or paths.
        with_operations: whether those that call operations which are no layers, too: HDF5 does not hold these.
    """

    names: tuple[str, ...] = ()
    with_operations: bool = False

    def reason(self, model: Functional) -> str:
        """Why a layer that is this model stays closed; empty where it need not."""
        nodes = [node for node in nodes_in_order(model) if not isinstance(node.operation, keras.layers.Layer)]
        if not self.with_operations or not nodes:
            return ""
        return f"HDF5 does not hold the operation {type(nodes[0].operation).__name__} that it calls; name a .keras file"


NOTHING_CLOSED = Closed()


class CanNotOpen(Exception):
    """The message is the reason."""


_may_open: Callable[[Any], bool] = lambda operation: False  # noqa: E731
_cache: WeakKeyDictionary[Any, tuple[Any, Opened]] = WeakKeyDictionary()
"""Layer -> the signature it was opened for, and the result."""


def decide_by(may_open: Callable[[Any], bool]) -> None:
    """Set the function that decides which operations are opened."""
    global _may_open
    _may_open = may_open


def goes_by(operation: Any, path: str, names: Collection[str]) -> bool:
    """Whether one of ``names`` is the class, the registered class ("package>Name"), the name or the path of a layer."""
    if not names:
        return False
    cls = type(operation)
    own = {cls.__name__, keras.saving.get_registered_name(cls), operation.name, path}
    return not own.isdisjoint(names)


def opened(layer: Any, functional: Functional) -> Opened | None:
    """A layer that a model calls, opened for all its calls; None where it is none to be opened."""
    if not isinstance(layer, keras.layers.Layer) or not _may_open(layer):
        return None
    if layer.supports_masking and not is_default(layer.compute_mask):
        return Opened(None, "it computes a mask")
    calls = {id(node): node for node in (*layer._inbound_nodes, *nodes_in_order(functional)) if node.operation is layer}
    tensors = (tensor for node in calls.values() for tensor in node.arguments.keras_tensors)
    if any(backend.get_keras_mask(tensor) is not None for tensor in tensors):
        return Opened(None, "it reads a mask")
    arguments = arguments_of(list(calls.values()))
    return Opened(None, "its calls have different arguments") if arguments is None else _once(layer, arguments)


def time_distributed_model(node: KerasNode) -> Functional | None:
    """The Functional model, or opened layer, in a `TimeDistributed` that the node calls; None for any other call.

    One with a mask, or around a layer or a model with several inputs or outputs, is an operation like any other.
    """
    wrapper = node.operation
    if type(wrapper) is not keras.layers.TimeDistributed or len(node.arguments.keras_tensors) != 1:
        return None
    inside = functional_of(wrapper.layer)
    if inside is None and _may_open(wrapper.layer):
        (tensor,) = node.arguments.keras_tensors
        step = Spec((None, *tensor.shape[2:]), str(tensor.dtype))
        inside = _once(wrapper.layer, CallArguments.of((_input(step),), {})).model
    one_tensor = inside is not None and len(inside.inputs) == len(inside.outputs) == 1
    return inside if one_tensor and node.arguments.kwargs.get("mask") is None else None


def opened_model(model: keras.Model, inputs: Any) -> Opened:
    """A subclassed model, opened; ``inputs``: the structure of Keras tensors that it is called with."""
    return _once(model, CallArguments.of((inputs,), {}))


def _once(layer: keras.layers.Layer, arguments: CallArguments) -> Opened:
    known, result = _cache.get(layer, (None, Opened(None)))
    if known != arguments.signature:
        result = _open(layer, arguments)
        _cache[layer] = arguments.signature, result
    return result


def _open(layer: keras.layers.Layer, arguments: CallArguments) -> Opened:
    try:
        with _unchanged(layer):
            in_training = _kinds(layer, arguments)
        with _unchanged(layer) as changed:
            traced = _traced(layer, arguments, training=None)
            _check_arguments(layer, traced)
            _check_outputs(layer, arguments, traced)
            if changed():
                raise CanNotOpen("it changes its weights when it is called")
    except CanNotOpen as reason:
        return Opened(None, str(reason))
    except Exception as error:  # whatever the layer's own code raises on Keras tensors
        return Opened(None, f"its call does not run on Keras tensors: {first_line(error)}")
    return Opened(traced, "", in_training == _sequence(traced))


@contextmanager
def _unchanged(layer: keras.layers.Layer) -> Iterator[Callable[[], bool]]:
    """Whatever a ``call`` writes is taken back: attributes, weights, losses, and that other layers were called.

    Yields:
        A function that says whether weights differ from before.
    """
    attributes, losses = dict(vars(layer)), len(layer._losses)
    counts = [(each, len(each._inbound_nodes), len(each._outbound_nodes)) for each in layer._flatten_layers()]
    values = [(weight, _value(weight)) for weight in layer.variables]
    try:
        yield lambda: any(_differs(*each) for each in values)
        if len(layer._losses) > losses:
            raise CanNotOpen("it adds a loss of its own")
    finally:
        del layer._losses[losses:]
        vars(layer).update(attributes)
        for weight, value in values:
            if _differs(weight, value):
                weight.assign(value)
        for each, inbound, outbound in counts:
            del each._inbound_nodes[inbound:], each._outbound_nodes[outbound:]


def _value(weight: keras.Variable) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(weight))


def _differs(weight: keras.Variable, value: np.ndarray) -> bool:
    return _value(weight).tobytes() != value.tobytes()


def _input(spec: Spec) -> keras.KerasTensor:
    return keras.Input(batch_shape=spec.shape, dtype=spec.dtype)


def _traced(layer: keras.layers.Layer, arguments: CallArguments, training: bool | None) -> Functional:
    inputs = [_input(spec) for spec in arguments.specs]
    read = [layer.dtype_policy.convert_input(x, layer.autocast, layer.input_dtype) for x in inputs]
    args, kwargs = arguments.filled(read)
    parameter = inspect.signature(layer.call).parameters.get("training")
    if parameter is not None and (training or kwargs.get("training") is None):
        kwargs["training"] = training if training or parameter.default is None else False
    attributes = dict(vars(layer))
    try:
        _replace_weights(layer, inputs[0])
        with _at_any_shape(layer):
            outputs = layer.call(*args, **kwargs)
    finally:
        vars(layer).update(attributes)
    if not all(backend.is_keras_tensor(output) for output in tree.flatten(outputs)):
        raise CanNotOpen("its outputs do not follow from its inputs alone")
    (structure, *others), _ = arguments.filled(inputs)
    is_whole = not others and len(tree.flatten(structure)) == len(inputs)  # with a list of one, calls with it warn
    return Functional(structure if is_whole else inputs, outputs, name=layer.name)


@contextmanager
def _at_any_shape(layer: keras.layers.Layer) -> Iterator[None]:
    """Models inside take Keras tensors of other shapes than they were built with, as they take real tensors."""
    models = filter(None, map(functional_of, layer._flatten_layers(include_self=False)))
    shapes = {id(tensor): (tensor, tensor._shape) for model in models for tensor in model.inputs}
    try:
        for tensor, shape in shapes.values():
            tensor._shape = (None,) * len(shape)
        yield
    finally:
        for tensor, shape in shapes.values():
            tensor._shape = shape


def _replace_weights(layer: keras.layers.Layer, like: Any) -> None:
    """Put tensors in the place of the layer's own weights, which no layer in it holds."""
    own = {id(weight) for weight in (*layer._trainable_variables, *layer._non_trainable_variables)}
    for name, value in list(vars(layer).items()):
        if id(value) in own:
            vars(layer)[name] = WeightTensor.of(value, layer.dtype_policy)(like)


def _kinds(layer: keras.layers.Layer, arguments: CallArguments) -> list[str] | None:
    """What it calls in training; None where that can not be traced."""
    try:
        return _sequence(_traced(layer, arguments, training=True))
    except Exception:  # random numbers, moving averages ...: not what is computed at inference
        return None


def _sequence(traced: Functional) -> list[str]:
    return [f"{type(node.operation).__module__}.{type(node.operation).__name__}" for node in nodes_in_order(traced)]


def _check_arguments(layer: keras.layers.Layer, traced: Functional) -> None:
    """Weights are those of layers, and arrays are small."""
    for node in nodes_in_order(traced):
        for value in tree.flatten((node.arguments.args, node.arguments.kwargs)):
            if not backend.is_keras_tensor(value) and math.prod(getattr(value, "shape", ())) > MOST_CONSTANTS:
                raise CanNotOpen(f"its call holds an array of {math.prod(value.shape):,} numbers")
    known = {id(weight) for weight in traced.weights}
    for each in layer._flatten_layers():
        for weight in each._trainable_variables:
            if id(weight) not in known:
                raise CanNotOpen(f"it computes with the weight '{weight.name}' itself, not by a layer")


def _check_outputs(layer: keras.layers.Layer, arguments: CallArguments, traced: Functional) -> None:
    failure: Exception = CanNotOpen("it works at no usual size")
    is_open = any(None in spec.shape[1:] for spec in arguments.specs)
    for size in OPEN_SIZES if is_open else OPEN_SIZES[:1]:
        _check_size(traced, size)
        tensors = [_random(spec, size) for spec in arguments.specs]
        args, kwargs = arguments.filled(tensors)
        try:
            expected = tree.flatten(layer(*args, **{**kwargs, "training": False}))
        except Exception as error:  # of a size that it does not work at
            failure = error
            continue
        outputs = tree.flatten(traced(tree.pack_sequence_as(traced._inputs_struct, tensors), training=False))
        if len(outputs) != len(expected) or not all(map(_same, expected, outputs)):
            raise CanNotOpen("its outputs are not those of the layers that it calls")
        return
    raise failure


def _check_size(traced: Functional, size: int) -> None:
    tensors = [tensor for node in nodes_in_order(traced) for tensor in node.outputs]
    numbers = sum(BATCH * math.prod(size if axis is None else axis for axis in x.shape[1:]) for x in tensors)
    if numbers > MOST_NUMBERS:
        raise CanNotOpen(f"its tensors hold {numbers:,} numbers, too many to compare its outputs")


def _random(spec: Spec, size: int) -> Any:
    rng = np.random.default_rng(0)
    sizes = (BATCH, *[size] * len(spec.shape))
    shape = tuple(size if axis is None else axis for axis, size in zip(spec.shape, sizes, strict=False))
    values = rng.standard_normal(shape) if "float" in spec.dtype else rng.integers(0, 2, shape)
    return keras.ops.convert_to_tensor(values, dtype=spec.dtype)


def _same(expected: Any, output: Any) -> bool:
    if tuple(expected.shape) != tuple(output.shape) or expected.dtype != output.dtype:
        return False
    dtype = backend.standardize_dtype(expected.dtype)
    first, second = (np.asarray(keras.ops.convert_to_numpy(x)).astype("float64") for x in (expected, output))
    if not np.isfinite(first).all() or not np.isfinite(second).all():
        return False
    scale = float(np.abs(first).max(initial=0.0))
    allowed = math.sqrt(ml_dtypes.finfo(dtype).eps) if "float" in dtype else 0.0
    return float(np.abs(first - second).max(initial=0.0)) <= allowed * scale
