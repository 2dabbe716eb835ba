"""Layers that hide calls of other layers, opened: their ``call`` is traced into a Functional model.

A layer of another package, or a subclassed block, runs other layers in its ``call``, where the call graph can not see
them. Most such methods also run on Keras tensors. What they call then is a Functional model of the same layers, with
the same variables. It is used only if its outputs on random inputs are those of the layer.

Which layers are opened is decided by the rules (`decide_by`): those of other packages that no rule knows.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import keras
import ml_dtypes
import numpy as np
import tensorflow as tf
from keras import tree
from keras.src import backend
from keras.src.models.functional import Functional
from keras.src.ops.node import Node as KerasNode

from octconvert.errors import first_line
from octconvert.layers.weight import WeightTensor
from octconvert.model.call_arguments import CallArguments, Spec, common_arguments
from octconvert.model.functional import functional_of, nodes_in_order
from octconvert.model.unchanged import unchanged

MOST_NUMBERS = 2**28
"""Numbers in all tensors of a layer that is run to compare its outputs, at most."""
MOST_CONSTANTS = 2**14
"""Numbers in an array among the arguments of a traced call, at most: they are written into the configuration."""
BATCH, OPEN_SIZES = 2, (32, 64, 7)
"""Samples to compare outputs on, and what an open size is then: the first that the layer works at."""
_WRITTEN = (type(None), bool, int, float, str, slice, type(Ellipsis), np.generic, np.dtype)
_VARIABLES = ("_trainable_variables", "_non_trainable_variables")


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


class _NotBuilt(CanNotOpen):
    """Layers in it have no weights yet."""


_may_open: Callable[[Any], bool] = lambda operation: False  # noqa: E731
_cache: WeakKeyDictionary[Any, tuple[Any, Opened]] = WeakKeyDictionary()
"""Layer -> the signature it was opened for, and the result."""


def decide_by(may_open: Callable[[Any], bool]) -> None:
    """Set the function that decides which operations are opened."""
    global _may_open
    _may_open = may_open


def may_open(operation: Any) -> bool:
    """Whether rules leave it to this module to look for layers in an operation."""
    return _may_open(operation)


def forget() -> None:
    """Have layers opened anew: what their ``call`` does follows from attributes, too, which may have been changed."""
    _cache.clear()


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
    nodes = _calls(layer, functional)
    if _has_mask(tensor for node in nodes for tensor in node.arguments.keras_tensors):
        return Opened(None, "it reads a mask")
    if _has_mask(tensor for node in nodes for tensor in node.outputs):
        return Opened(None, "it makes a mask")
    return _for_all([CallArguments.of(node.arguments.args, node.arguments.kwargs) for node in nodes], layer)


def opened_in_time(wrapper: Any, functional: Functional) -> Opened | None:
    """The layer in a `TimeDistributed` that a model calls, opened for one step; None where it is none to be opened."""
    if not _may_open(wrapper.layer):
        return None
    shapes = [
        (tensor.shape, tensor.dtype) for node in _calls(wrapper, functional) for tensor in node.arguments.keras_tensors
    ]
    steps = [Spec((None, *shape[2:]), str(dtype)) for shape, dtype in shapes]
    return _for_all([CallArguments.of((_input(step),), {}) for step in steps], wrapper.layer)


def _calls(layer: keras.layers.Layer, functional: Functional) -> list[KerasNode]:
    """The calls of a layer, by other models too."""
    nodes = (*layer._inbound_nodes, *nodes_in_order(functional))
    return list({id(node): node for node in nodes if node.operation is layer}.values())


def _has_mask(tensors: Iterable[Any]) -> bool:
    return any(backend.get_keras_mask(tensor) is not None for tensor in tensors)


def _for_all(calls: list[CallArguments], layer: keras.layers.Layer) -> Opened:
    arguments = common_arguments(calls)
    return Opened(None, "its calls have different arguments") if arguments is None else _once(layer, arguments)


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
        with unchanged(layer):
            in_training = _kinds(layer, arguments)
        try:
            traced = _checked(layer, arguments)
        except _NotBuilt:  # it was never run: its first run makes the weights, as any run of the model does
            _on_random(layer, arguments, OPEN_SIZES[0])
            traced = _checked(layer, arguments)
    except CanNotOpen as reason:
        return Opened(None, str(reason))
    except Exception as error:  # whatever the layer's own code raises on Keras tensors
        return Opened(None, f"its call does not run on Keras tensors: {first_line(error)}")
    return Opened(traced, "", in_training == _sequence(traced))


def _checked(layer: keras.layers.Layer, arguments: CallArguments) -> Functional:
    """The layer as a model that computes the same."""
    with unchanged(layer) as changed:
        weights = [id(weight) for weight in layer.variables]
        layer._losses.clear()
        traced = _traced(layer, arguments, training=None)
        if [id(weight) for weight in layer.variables] != weights:
            raise _NotBuilt("it creates weights when it is called")
        _check_arguments(traced)
        _check_outputs(layer, arguments, traced)
        if layer._losses:
            raise CanNotOpen("it adds a loss of its own")
        if changed():
            raise CanNotOpen("it changes its weights when it is called")
    return traced


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
        with _at_any_shape(layer), _Reads() as reads:
            outputs = layer.call(*args, **kwargs)
    finally:
        vars(layer).update(attributes)
    reads.check()
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


class _Reads(keras.StatelessScope):
    """Notes which weights are read by their values: layers that are called on Keras tensors read none."""

    def __init__(self) -> None:
        super().__init__()
        self._names: list[str] = []

    def get_current_value(self, variable: keras.Variable) -> Any:
        self._names.append(variable.name)
        return super().get_current_value(variable)

    def check(self) -> None:
        if self._names:
            raise CanNotOpen(_computes_with(self._names[0]))


def _computes_with(name: str) -> str:
    return f"it computes with the weight '{name}' itself, not by a layer"


def _replace_weights(layer: keras.layers.Layer, like: Any) -> None:
    """Put tensors in the place of the layer's own weights, which no layer in it holds."""
    names = Counter(each.name for each in layer._flatten_layers(include_self=False))
    tensors = {}
    for weight in (*layer._trainable_variables, *layer._non_trainable_variables):
        names[weight.name] += 1
        name = weight.name if names[weight.name] == 1 else f"{weight.name}_{names[weight.name]}"
        tensors[id(weight)] = WeightTensor.of(weight, layer, name)(like)
    for name, value in list(vars(layer).items()):
        if name not in _VARIABLES:
            vars(layer)[name] = _replaced(value, tensors)


def _replaced(value: Any, tensors: dict[int, Any]) -> Any:
    """A value with tensors in the place of weights, those in lists and dictionaries too; itself where it has none."""
    if isinstance(value, (list, tuple, dict)):
        keys = value if isinstance(value, dict) else range(len(value))
        entries = {key: _replaced(value[key], tensors) for key in keys}
        if all(entries[key] is value[key] for key in keys):
            return value
        return entries if isinstance(value, dict) else list(entries.values())
    return tensors.get(id(value), value)


def _kinds(layer: keras.layers.Layer, arguments: CallArguments) -> list[str] | None:
    """What it calls in training; None where that can not be traced, or where it is called as at inference."""
    try:
        traced = _traced(layer, arguments, training=True)
    except Exception:  # random numbers, moving averages ...: not what is computed at inference
        return None
    return None if any(map(_is_frozen, nodes_in_order(traced))) else _sequence(traced)


def _is_frozen(node: KerasNode) -> bool:
    """Whether a call states that it is none in training; Keras writes down a default that is not None as well."""
    if node.arguments.kwargs.get("training") is not False:
        return False
    return inspect.signature(node.operation.call).parameters["training"].default is None


def _sequence(traced: Functional) -> list[str]:
    return [f"{type(node.operation).__module__}.{type(node.operation).__name__}" for node in nodes_in_order(traced)]


def _check_arguments(traced: Functional) -> None:
    """What is not a tensor can be written into a configuration: numbers, text, small arrays."""
    for node in nodes_in_order(traced):
        for value in tree.flatten((node.arguments.args, node.arguments.kwargs)):
            if isinstance(value, keras.Variable):
                raise CanNotOpen(_computes_with(value.name))
            if backend.is_keras_tensor(value) or isinstance(value, _WRITTEN):
                continue
            if not hasattr(value, "__array__") or isinstance(value, tf.Variable):
                raise CanNotOpen(f"its call passes a {type(value).__name__} to '{node.operation.name}'")
            if math.prod(value.shape) > MOST_CONSTANTS:
                raise CanNotOpen(f"its call holds an array of {math.prod(value.shape):,} numbers")
        if not isinstance(node.operation, keras.layers.Layer):
            _check_written(node.operation)


def _check_written(operation: Any) -> None:
    try:
        operation.get_config()
    except NotImplementedError as error:
        raise CanNotOpen(f"its call runs the operation '{operation.name}', which Keras can not save") from error


def _check_outputs(layer: keras.layers.Layer, arguments: CallArguments, traced: Functional) -> None:
    failure: Exception = CanNotOpen("it works at no usual size")
    is_open = any(None in spec.shape[1:] for spec in arguments.specs)
    for size in OPEN_SIZES if is_open else OPEN_SIZES[:1]:
        _check_size(traced, size)
        try:
            tensors, expected = _on_random(layer, arguments, size)
        except Exception as error:  # of a size that it does not work at
            failure = error
            continue
        outputs = tree.flatten(traced(tree.pack_sequence_as(traced._inputs_struct, tensors), training=False))
        if len(outputs) != len(expected) or not all(map(_same, expected, outputs)):
            raise CanNotOpen("its outputs are not those of the layers that it calls")
        return
    raise failure


def _on_random(layer: keras.layers.Layer, arguments: CallArguments, size: int) -> tuple[list[Any], list[Any]]:
    """Random tensors for a call, and the layer's outputs on them."""
    tensors = [_random(spec, size) for spec in arguments.specs]
    args, kwargs = arguments.filled(tensors)
    return tensors, tree.flatten(layer(*args, **{**kwargs, "training": False}))


def _check_size(traced: Functional, size: int) -> None:
    numbers = sum(BATCH * math.prod(size if axis is None else axis for axis in x.shape[1:]) for x in _tensors(traced))
    if numbers > MOST_NUMBERS:
        raise CanNotOpen(f"its tensors hold {numbers:,} numbers, too many to compare its outputs")


def _tensors(functional: Functional) -> Iterator[Any]:
    """Of a model and of the models in it."""
    for node in nodes_in_order(functional):
        inside = functional_of(node.operation)
        yield from node.outputs if inside is None else _tensors(inside)


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
