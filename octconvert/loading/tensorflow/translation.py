"""Plain TensorFlow functions that tf.keras 2 kept as layers (``TFOpLambda``), written as Keras layers and operations.

The file names a function by its path (``math.square``) and holds what it was called with. The record is replaced by a
`TensorFlowFunction`; while Keras builds the model it is called with the Keras tensors, and calls the function of that
path, which has TensorFlow's signature and is written with Keras. The model is made of what that function used; nothing
of the stand-in stays in it.
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
from octconvert.loading.configuration import Job, Record, children, is_functional, is_reference, name_of, walk
from octconvert.loading.tensorflow import functions, images  # noqa: F401  (images adds its functions to the table)
from octconvert.loading.tensorflow.values import Outputs, Untranslatable, is_tensor

OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
CONSTANT = "_CONSTANT_VALUE"
ELLIPSIS = {"class_name": "__ellipsis__"}
TENSOR = "__tensor__"  # key of a tensor's place among the arguments that a `TensorFlowFunction` keeps


@dataclass(frozen=True)
class Reference:
    """One output of another layer."""

    layer: str
    node: int
    output: int

    def revived(self) -> Record:
        history = [self.layer, self.node, self.output]
        config = {"shape": [None], "dtype": "float32", "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": config}


def translate(model: Record, job: Job) -> None:
    """Replaces the records of all TensorFlow functions, in place.

    Raises:
        InputError: A function has no equal in Keras. (How it is called is looked at when the model is built.)
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
    name, function = name_of(layer), str(layer["config"].get("function"))
    reason = functions.missing(function)
    if reason:
        job.refuse(_refused(function, reason), name)
    calls, nodes = [], []
    for node in layer["inbound_nodes"]:
        tensors: list[Reference] = []
        calls.append(_written(*_arguments(node), names, tensors))
        nodes.append({"args": [tensor.revived() for tensor in tensors], "kwargs": {}})
    config = {"name": name, "function": function, "calls": json.dumps(calls), "path": str(job.path)}
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
    job.notes.add("TensorFlow operations between the layers were written as Keras layers", name)


def _refused(function: str, reason: str) -> str:
    return f"calls TensorFlow's tf.{function} ({reason}); rebuild the model with Keras layers instead and save it again"


def _arguments(node: Any) -> tuple[Any, dict[str, Any]]:
    """(first argument, named arguments) of a call, as the file holds them.

    The first is one entry ``[layer, node, output, {named arguments}]``, or a list of such entries, also nested. A
    constant stands as ``[CONSTANT, -1, value, {named arguments}]``.
    """
    entry = node
    while isinstance(entry, list) and entry and not isinstance(entry[0], str):
        entry = entry[0]
    return node, dict(entry[3]) if len(entry) > 3 else {}


def _written(first: Any, named: dict[str, Any], names: set[str], tensors: list[Reference]) -> list:
    """Both with a mark in the place of every tensor; the tensors are added to ``tensors``."""

    def write(value: Any) -> Any:
        if is_reference(value, names):
            tensors.append(Reference(*value[:3]))
            return {TENSOR: len(tensors) - 1}
        if isinstance(value, list) and len(value) > 2 and value[0] == CONSTANT:
            return value[2]
        if isinstance(value, list | tuple):
            return [write(item) for item in value]
        if value is Ellipsis:  # Keras' reader of HDF5 has decoded it
            return ELLIPSIS
        return {key: write(item) for key, item in value.items()} if isinstance(value, dict) else value

    return [write(first), {key: write(value) for key, value in named.items() if key != "name"}]


def _read(value: Any, tensors: tuple) -> Any:
    if isinstance(value, dict):
        if TENSOR in value:
            return tensors[value[TENSOR]]
        return {key: _read(item, tensors) for key, item in value.items()}
    return [_read(item, tensors) for item in value] if isinstance(value, list) else value


@keras.saving.register_keras_serializable(package="octconvert")
class TensorFlowFunction(Operation):
    """Stands in for a ``TFOpLambda`` while Keras builds a model; what it calls becomes part of the model instead.

    A result need no tensor: what ``tf.shape`` says is numbers, as far as they are known.

    Args:
        name: of the layer in the file; the last of the operations that are made carries it.
        function: path of the function within TensorFlow.
        calls: JSON text: for each call the first argument and the named ones.
        path: of the file, for messages.
    """

    def __init__(self, function: str, calls: str, path: str, name: str):
        super().__init__(name=name)
        self.function, self.calls, self.path = function, json.loads(calls), path

    def __call__(self, *tensors):
        number = len(self._inbound_nodes)
        first, named = (_read(part, tensors) for part in self.calls[number])
        try:
            result = _called(functions.find(self.function), first, named)
        except Untranslatable as error:
            raise self._refusal(str(error)) from error
        except Exception as error:  # arguments that the function has not, or that Keras does not take
            raise self._refusal(first_line(error)) from error
        outputs = [_own(output, tensors) for output in (result if isinstance(result, Outputs) else [result])]
        self._name_all(outputs, tensors, f"{self.name}.call{number + 1}" if number else self.name)
        self._inbound_nodes.append(SimpleNamespace(output_tensors=outputs, outputs=outputs))
        return result

    def _refusal(self, reason: str) -> InputError:
        return InputError(f"{self.path}: layer '{self.name}' {_refused(self.function, reason)}")

    def _name_all(self, outputs: list, tensors: tuple, name: str) -> None:
        """The operations between ``tensors`` and ``outputs`` get names of their own: Keras' could be taken."""
        known, found = {id(tensor) for tensor in tree.flatten(tensors)}, []
        waiting = [output for output in outputs if is_tensor(output)]
        while waiting:
            tensor = waiting.pop(0)
            operation = tensor._keras_history.operation
            if id(tensor) not in known and operation not in found:
                found.append(operation)
                waiting += operation._inbound_nodes[tensor._keras_history.node_index].arguments.keras_tensors
        for position, operation in enumerate(found):
            operation.name = f"{name}.{position}" if position else name


def _called(function: functions.Function, first: Any, named: dict[str, Any]) -> Any:
    parameters = inspect.signature(function).parameters
    unknown = {key: value for key, value in named.items() if key not in parameters}
    refused = [f"{key}={value}" for key, value in unknown.items() if value is not None]  # None stands for no value
    if refused:
        raise Untranslatable(f"with {', '.join(refused)}")
    return function(first, **{key: value for key, value in named.items() if key in parameters})


def _own(output: Any, tensors: tuple) -> Any:
    """A function may hand on what it was called with; its name must be there all the same."""
    if any(output is tensor for tensor in tensors) and is_tensor(output):
        return keras.layers.Identity(dtype=output.dtype)(output)
    return output
