"""The walk over the source's calls: an interpreter with an environment from tensor to value.

A value is a Keras tensor or a `Pair`. Every layer of the new model is created here or by a rule, never taken from the
source; shared layers are created once and called as often as in the source; nested models stay nested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
from keras import KerasTensor, tree
from keras.src.models.functional import Functional

from octconvert.errors import OctconvertError, RewriteError, first_line
from octconvert.model.functional import functional_of, nodes_in_order
from octconvert.model.graph import Call
from octconvert.octave.split import Pair
from octconvert.rewriting.context import RewriteContext, arguments
from octconvert.rewriting.names import layer_name
from octconvert.rewriting.nested import NestedModels, Values, input_like
from octconvert.rewriting.record import Path
from octconvert.rewriting.run_sizes import RunSizes
from octconvert.rules import Value, rule_of


class Walk:
    """Rewrites one model, call by call.

    Args:
        context: the `Build` that the rules receive.
        progress: called with (calls done, calls in all).
    """

    def __init__(self, context: RewriteContext, progress: Callable[[int, int], None] | None = None) -> None:
        self._context, self._layout = context, context.planned.layout
        self._progress, self._done = progress, 0
        self._nested = NestedModels(context, self._calls_of)
        self._sizes = RunSizes(context.graph, context.names)

    def model(self) -> keras.Model:
        """The rewritten Keras model, weights moved.

        Raises:
            RewriteError: a layer could not be rewritten; the message names it.
        """
        source = self._context.graph.model
        functional = functional_of(source)
        assert functional is not None  # the graph was read from it
        inputs = [input_like(tensor) for tensor in functional.inputs]
        with self._context.names.scope(functional, ()):
            values = self._calls_of(functional, (), dict(zip(map(id, functional.inputs), inputs, strict=True)))
            outputs = self._outputs([values[id(tensor)] for tensor in functional.outputs], functional.outputs)
        return keras.Model(
            tree.pack_sequence_as(functional._inputs_struct, inputs),
            tree.pack_sequence_as(functional._outputs_struct, outputs),
            name=source.name,
            trainable=source.trainable,
        )

    def _outputs(self, values: list[Value], tensors: list[KerasTensor]) -> list[KerasTensor]:
        """The model's outputs, from layers with the names that the source's had: losses are keyed by them."""
        outputs: list[KerasTensor] = []
        taken: set[str] = set()
        for value, name in zip(values, map(layer_name, tensors), strict=True):
            output = self._context.pairs.plain(value, name)
            if layer_name(output) != name and name not in taken:
                output = keras.layers.Identity(dtype=output.dtype, name=name)(output)
            taken.add(name)
            outputs.append(output)
        return outputs

    def _calls_of(self, functional: Functional, path: Path, values: Values) -> Values:
        """Rewrite the calls of one (nested) model; ``values`` holds those of its inputs, and is filled."""
        for node in nodes_in_order(functional):
            if node.is_input or id(node.outputs[0]) in values or self._context.graph.goes_on(node):
                continue
            nested = self._context.graph.inside(node.operation)
            if nested is not None:
                outputs = self._nested.call(node, nested, path, values)
            elif self._context.graph.in_time(node) is not None:
                outputs = self._nested.call_time_distributed(node, path, values)
            else:
                call = self._context.graph.lookup[path, id(node)]
                outputs = self._call(call, [values[id(tensor)] for tensor in node.arguments.keras_tensors])
            values.update(zip(map(id, node.outputs), outputs, strict=True))
        self._context.record.values.update({(path, tensor): value for tensor, value in values.items()})
        return values

    def _call(self, call: Call, inputs: list[Value]) -> list[Value]:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, len(self._context.graph.calls))
        if not self._layout.reads(call):
            with _errors_name(call):
                outputs = self._merged_later(call, inputs)
            if outputs is not None:
                return outputs
            inputs = [self._context.plain(value) for value in inputs]
        with _errors_name(call):
            return self._rewritten(call, inputs)

    def _merged_later(self, call: Call, inputs: list[Value]) -> list[Value] | None:
        """A call that stops pairs, where its rule can merge them behind a part of it."""
        rule = rule_of(call, self._context.options.elementwise) if any(isinstance(v, Pair) for v in inputs) else None
        return None if rule is None else rule.merge_later(call, inputs, self._context.at(call))

    def _rewritten(self, call: Call, inputs: list[Value]) -> list[Value]:
        """The call by its rule where a pair is read or written; else a copy of its layer."""
        has_pair = any(isinstance(value, Pair) for value in inputs)
        rule = rule_of(call, self._context.options.elementwise)
        if rule is not None and (has_pair or any(tensor in self._layout.splits for tensor in call.outputs)):
            return self._sizes.attached(call, inputs, rule.rewrite(call, inputs, self._context.at(call)))
        args, kwargs = arguments(call, inputs)
        return tree.flatten(self._context.clone(call)(*args, **kwargs))


@contextmanager
def _errors_name(call: Call) -> Iterator[None]:
    """Whatever a rule, or Keras for it, raises: as a RewriteError that names the layer."""
    try:
        yield
    except OctconvertError:
        raise
    except Exception as error:
        reason = f"could not be rewritten: {first_line(error)}"
        raise RewriteError(f"layer '{call.name}' ({call.class_name}) {reason}", call.key, reason) from error
