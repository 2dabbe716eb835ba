"""The layers of TensorFlow functions in a configuration (``TFOpLambda``), replaced by what builds them with Keras.

The file names a function by its path (``math.square``) and holds the arguments of its calls. Such a record is replaced
by one of a `TensorFlowFunction`. When Keras builds the model it calls that with Keras tensors, which calls the function
of the table. The model consists of what that function used; the `TensorFlowFunction` does not become part of it.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import keras
from keras import tree
from keras.src.ops.operation import Operation

from octconvert.errors import InputError, first_line
from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record, children, is_functional, is_reference, name_of, walk
from octconvert.loading.tensorflow import table
from octconvert.loading.tensorflow.values import Argument, Function, MultipleOutputs, Tensor, Unsupported, is_tensor

LAYER_CLASSES = ("TFOpLambda", "SlicingOpLambda")
CONSTANT = "_CONSTANT_VALUE"
ELLIPSIS = {"class_name": "__ellipsis__"}
TENSOR = "__tensor__"  # key of a tensor's number in the arguments that a `TensorFlowFunction` keeps


@dataclass(frozen=True)
class TensorReference:
    """One output of a call of another layer."""

    layer: str
    node: int
    output: int

    def as_keras3(self) -> Record:
        """The reference in the form of Keras 3."""
        history = [self.layer, self.node, self.output]
        config = {"shape": [None], "dtype": "float32", "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": config}


def translate(model: Record, context: LoadingContext) -> None:
    """Replaces the records of all TensorFlow functions, in place.

    Raises:
        InputError: Keras has no equivalent of a function. (Its arguments are checked when the model is built.)
    """
    for record in walk(model):
        if is_functional(record):
            names = {name_of(layer) for layer in children(record)}
            for layer in children(record):
                if layer["class_name"] in LAYER_CLASSES:
                    _replace(layer, names, context)
        for layer in children(record):
            if layer["class_name"] == "TensorFlowOpLayer" and layer["class_name"] not in context.custom_objects:
                message = "is a raw TensorFlow operation; save the model with tf.keras 2.4 or later"
                context.refuse(message, name_of(layer))


def _replace(layer: Record, names: set[str], context: LoadingContext) -> None:
    name, function = name_of(layer), str(layer["config"].get("function"))
    reason = table.reason_missing(function)
    if reason:
        context.refuse(_refusal(function, reason), name)
    calls, nodes = [], []
    for node in layer["inbound_nodes"]:
        tensors: list[TensorReference] = []
        calls.append(_with_numbered_tensors(*_arguments(node), names, tensors))
        nodes.append({"args": [tensor.as_keras3() for tensor in tensors], "kwargs": {}})
    config = {"name": name, "function": function, "calls": json.dumps(calls), "path": str(context.path)}
    registered = keras.saving.get_registered_name(TensorFlowFunction)
    layer.clear()
    layer.update(
        module=TensorFlowFunction.__module__,
        class_name=TensorFlowFunction.__name__,
        registered_name=registered,
        config=config,
        name=name,
        inbound_nodes=nodes,
    )
    context.notes.add("TensorFlow operations between the layers were written as Keras layers", name)


def _refusal(function: str, reason: str) -> str:
    return (
        f"calls TensorFlow's tf.{function}, which can not be converted ({reason}); "
        "rebuild the model with Keras layers and save it again"
    )


def _arguments(node: Any) -> tuple[Any, dict[str, Any]]:
    """(first argument, keyword arguments) of a call, as the file holds them.

    The first is one entry ``[layer, node, output, {keyword arguments}]``, or a list of such entries, also nested. A
    constant is an entry ``[CONSTANT, -1, value, {keyword arguments}]``.
    """
    entry = node
    while isinstance(entry, list) and entry and not isinstance(entry[0], str):
        entry = entry[0]
    return node, dict(entry[3]) if len(entry) > 3 else {}


def _with_numbered_tensors(
    first: Any, keywords: dict[str, Any], names: set[str], tensors: list[TensorReference]
) -> list[Any]:
    """Both arguments with a number in the place of every tensor; the tensors are added to ``tensors``."""

    def numbered(value: Any) -> Any:
        if is_reference(value, names):
            tensors.append(TensorReference(*value[:3]))
            return {TENSOR: len(tensors) - 1}
        if isinstance(value, list) and len(value) > 2 and value[0] == CONSTANT:
            return value[2]
        if isinstance(value, list | tuple):
            return [numbered(item) for item in value]
        if value is Ellipsis:  # Keras' reader of HDF5 has decoded it
            return ELLIPSIS
        return {key: numbered(item) for key, item in value.items()} if isinstance(value, dict) else value

    return [numbered(first), {key: numbered(value) for key, value in keywords.items() if key != "name"}]


def _with_tensors(value: Any, tensors: tuple[Tensor, ...]) -> Argument:
    """The arguments with the tensors themselves in the place of their numbers."""
    if isinstance(value, dict):
        if TENSOR in value:
            return tensors[value[TENSOR]]
        return {key: _with_tensors(item, tensors) for key, item in value.items()}
    return [_with_tensors(item, tensors) for item in value] if isinstance(value, list) else value


@keras.saving.register_keras_serializable(package="octconvert")
class TensorFlowFunction(Operation):
    """Takes the place of a ``TFOpLambda`` while Keras builds a model; what it calls becomes part of the model instead.

    A result need not be a tensor: that of ``tf.shape`` is a tuple of numbers, as far as they are known.

    Args:
        name: of the layer in the file; the last of the operations that are created gets it.
        function: path of the function within TensorFlow.
        calls: JSON text: for each call the first argument and the keyword arguments.
        path: of the file, for messages.
    """

    def __init__(self, function: str, calls: str, path: str, name: str) -> None:
        super().__init__(name=name)
        self.function, self.calls, self.path = function, json.loads(calls), path

    def __call__(self, *tensors: Tensor) -> Any:
        number = len(self._inbound_nodes)
        first, keywords = (_with_tensors(part, tensors) for part in self.calls[number])
        try:
            result = _call(table.find(self.function), first, keywords)
        except Unsupported as error:
            raise self._input_error(str(error)) from error
        except Exception as error:  # arguments that the function does not have, or that Keras does not accept
            raise self._input_error(first_line(error)) from error
        outputs = [_not_an_input(output, tensors) for output in _outputs(result)]
        self._name_operations(outputs, tensors, f"{self.name}.call{number + 1}" if number else self.name)
        self._inbound_nodes.append(SimpleNamespace(output_tensors=outputs, outputs=outputs))
        return result

    def _input_error(self, reason: str) -> InputError:
        return InputError(f"{self.path}: layer '{self.name}' {_refusal(self.function, reason)}")

    def _name_operations(self, outputs: list[Any], tensors: tuple[Tensor, ...], name: str) -> None:
        """Names the operations between ``tensors`` and ``outputs``: the names that Keras chose could be taken."""
        known = {id(tensor) for tensor in tree.flatten(tensors)}
        operations: list[Operation] = []
        waiting = [output for output in outputs if is_tensor(output)]
        while waiting:
            tensor = waiting.pop(0)
            operation = tensor._keras_history.operation
            if id(tensor) not in known and operation not in operations:
                operations.append(operation)
                waiting += operation._inbound_nodes[tensor._keras_history.node_index].arguments.keras_tensors
        for position, operation in enumerate(operations):
            operation.name = f"{name}.{position}" if position else name


def _call(function: Function, first: Argument, keywords: dict[str, Argument]) -> Any:
    parameters = inspect.signature(function).parameters
    unknown = {key: value for key, value in keywords.items() if key not in parameters}
    unsupported = [f"{key}={value}" for key, value in unknown.items() if value is not None]  # None is no value
    if unsupported:
        raise Unsupported(f"{', '.join(unsupported)} is not supported")
    return function(first, **{key: value for key, value in keywords.items() if key in parameters})


def _outputs(result: Any) -> list[Any]:
    return result if isinstance(result, MultipleOutputs) else [result]


def _not_an_input(output: Any, tensors: tuple[Tensor, ...]) -> Any:
    """The output, behind an Identity layer where it is one of the inputs: a layer of the call's name must exist."""
    if any(output is tensor for tensor in tensors) and is_tensor(output):
        return keras.layers.Identity(dtype=output.dtype)(output)
    return output
