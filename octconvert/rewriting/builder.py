"""`Layout` -> rewritten model: an interpreter over the source's calls with an environment from tensor to value.

A value is a Keras tensor or a `Pair`. Every layer of the new model is made here or by a rule, never taken from the
source; shared layers are made once and called as often as in the source; nested models stay nested.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from octconvert.errors import OctconvertError, RewriteError, first_line
from octconvert.layers import OctaveMerge, portable
from octconvert.model.copying import config_of, copy_operation, is_adapted, rebuild, settle
from octconvert.model.functional import functional_of, nested_arguments, node_of, nodes_in_order, timed_model
from octconvert.model.graph import Call
from octconvert.octave.geometry import ceil_div
from octconvert.octave.names import OCTAVE_SUFFIX, PORTABLE, SUFFIXES
from octconvert.octave.split import ChannelSplit, Pair
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.layout import Layout
from octconvert.rules import rule_of


@dataclass(frozen=True, eq=False)
class Made:
    """A layer of the new model: which call of the source it stands for, and as which part of it.

    ``part``: 'clone' for a copy, 'clone-H' and 'clone-L' for those of a pair, else what the rule calls it.
    """

    layer: Any
    call: Call
    part: str


@dataclass(frozen=True, eq=False)
class Applied:
    """One call of a `Made` layer: its Keras node in the new model, and the source's call that it was made for.

    A nested model is built once for all its calls, and so are the calls in it.
    """

    made: Made
    call: Call
    node: Any


class Builder:
    """What rules work with while they rewrite: splits, names, fresh layers, weights, merged tensors.

    Args:
        layout: the solved graph of the source model.
        options: ``portable``, ``stride_mode`` and ``weights`` are read here.
        progress: called with (calls done, calls in all).
        tuned: `Rewritten.weights` of another model of the same layout, taken over.

    Attributes:
        made: the new layers, as they were made.
        applied: their calls, in the order in which they were built.
        values: (path, id of a Keras tensor of the source) -> what stands for it: a Keras tensor or `Pair`.
    """

    def __init__(
        self, layout: Layout, options: RewritingOptions, progress=None, tuned: Mapping[tuple, Mapping] | None = None
    ):
        self.layout, self.options, self.graph = layout, options, layout.graph
        self.data_format = layout.graph.data_format
        self.octave = options.octave
        self.notes: list[str] = []
        self.parameter_changes: dict[object, int] = {}
        self.made: list[Made] = []
        self.applied: list[Applied] = []
        self.values: dict[tuple[tuple[str, ...], int], Any] = {}
        self._tuned = tuned or {}
        self._progress = progress
        self._done = 0
        self._made: dict[tuple, Any] = {}
        self._items: dict[tuple, Made] = {}
        self._built: set[tuple] = set()
        self._models: dict[int, tuple] = {}
        self._merged: dict[int, tuple[Any, Any]] = {}
        self._uses = Counter(call.key for call in layout.graph.calls)
        self._initializers: dict[int, dict] = {}
        self._names: list[set[str]] = []
        self._reserved: list[set[str]] = []

    # ---- the walk ----

    def build(self):
        """The rewritten Keras model, weights moved.

        Raises:
            RewriteError: a layer could not be rewritten; the message names it.
        """
        source = self.graph.model
        functional = functional_of(source)
        assert functional is not None  # the graph was read from it
        inputs = [self._input_like(tensor) for tensor in functional.inputs]
        with self._names_of(functional, ()):
            values = self._walk(functional, (), dict(zip(map(id, functional.inputs), inputs, strict=True)))
            outputs = self._outputs([values[id(tensor)] for tensor in functional.outputs], functional.outputs)
        return keras.Model(
            tree.pack_sequence_as(functional._inputs_struct, inputs),
            tree.pack_sequence_as(functional._outputs_struct, outputs),
            name=source.name,
            trainable=source.trainable,
        )

    def _outputs(self, values: list, tensors) -> list:
        """The model's outputs, made by layers of the names that the source's had: losses are keyed by them."""
        outputs, given = [], set()
        for value, name in zip(values, map(_output_name, tensors), strict=True):
            output = self.plain(value, name)
            if _output_name(output) != name and name not in given:
                output = keras.layers.Identity(dtype=output.dtype, name=name)(output)
            given.add(name)
            outputs.append(output)
        return outputs

    def _walk(self, functional, path, values: dict[int, object]) -> dict[int, object]:
        """Run the calls of one (nested) model."""
        for node in nodes_in_order(functional):
            if node.is_input or id(node.outputs[0]) in values:
                continue
            nested = functional_of(node.operation)
            if nested is not None:
                outputs = self._call_nested(node, nested, path, values)
            elif timed_model(node) is not None:
                outputs = self._call_timed(node, path, values)
            else:
                call = self.graph.lookup[path, id(node)]
                outputs = self._call(call, [values[id(tensor)] for tensor in node.arguments.keras_tensors])
            values.update(zip(map(id, node.outputs), outputs, strict=True))
        self.values.update({(path, tensor): value for tensor, value in values.items()})
        return values

    @contextlib.contextmanager
    def _names_of(self, functional, path):
        """Names are unique within one (nested) model."""
        self._names.append({operation.name for operation in functional.operations})
        self._reserved.append(set() if path else self._names_of_later_outputs(functional))
        yield
        self._names.pop()
        self._reserved.pop()

    def _names_of_later_outputs(self, functional) -> set[str]:
        """Layers whose name what comes behind them has to carry, a merge or an activation: losses are keyed by it."""
        return {_output_name(tensor) for tensor in functional.outputs if self._has_more_behind(tensor)}

    def _has_more_behind(self, tensor) -> bool:
        number = self.graph.values[(), id(tensor)]
        call = self.graph.producer(number)
        activation = getattr(call.operation, "activation", None)
        apart = isinstance(activation, keras.layers.Layer) and not call.path and self.layout.reads(call)
        return number in self.layout.splits or (apart and any(part in self.layout.splits for part in call.inputs))

    def _call(self, call: Call, inputs: list) -> list:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, len(self.graph.calls))
        if not self.layout.reads(call):
            inputs = [self.plain(value) for value in inputs]
        has_pair = any(isinstance(value, Pair) for value in inputs)
        try:
            rule = rule_of(call, self.options.elementwise)
            if rule is not None and (has_pair or any(tensor in self.layout.splits for tensor in call.outputs)):
                return rule.rewrite(call, inputs, self)
            args, kwargs = self.arguments(call, inputs)
            return tree.flatten(self.clone(call)(*args, **kwargs))
        except OctconvertError:
            raise
        except Exception as error:
            reason = f"could not be rewritten: {first_line(error)}"
            raise RewriteError(f"layer '{call.name}' ({call.class_name}) {reason}", call.key, reason) from error

    # ---- nested models ----

    def _call_nested(self, node, nested, path, values) -> list:
        operation = node.operation
        if id(operation) not in self._models:
            self._models[id(operation)] = self._build_nested(operation, nested, (*path, operation.name))
        model, splits_in, splits_out = self._models[id(operation)]
        arguments = [values[id(tensor)] for tensor in nested_arguments(nested, node)]
        flat = []
        for value, split in zip(arguments, splits_in, strict=True):
            flat += [self.plain(value)] if split is None else self.settled(value)
        kwargs = {key: value for key, value in node.arguments.kwargs.items() if key != "inputs"}
        paired = any(split is not None for split in splits_in)
        outputs = model(flat if paired else tree.pack_sequence_as(nested._inputs_struct, flat), **kwargs)
        return _regroup(tree.flatten(outputs), splits_out)

    def _call_timed(self, node, path, values) -> list:
        """The converted model inside, in the same wrapper."""
        wrapper = node.operation
        if id(wrapper) not in self._models:
            inside = functional_of(wrapper.layer)
            model = self._build_nested(wrapper.layer, inside, (*path, wrapper.name), plain_ends=True)[0]
            options = {
                "name": self.own_name(wrapper.name),
                "dtype": wrapper.dtype_policy,
                "trainable": wrapper.trainable,
            }
            self._models[id(wrapper)] = (keras.layers.TimeDistributed(model, **options),)
        tensors = {id(tensor): self.plain(values[id(tensor)]) for tensor in node.arguments.keras_tensors}
        args, kwargs = node.arguments.fill_in(tensors)
        return tree.flatten(self._models[id(wrapper)][0](*args, **kwargs))

    def _build_nested(self, operation, nested, path, plain_ends: bool = False):
        inputs, values, splits_in, name = [], {}, [], self.own_name(operation.name)
        for tensor in nested.inputs:
            number = self.graph.values[path, id(tensor)]
            split, shape = self.layout.splits.get(number), self.graph.tensors[number].built_shape
            if split is None:
                made = [self._input_like(tensor, shape)]
                values[id(tensor)] = made[0]
            else:
                made = self._pair_inputs(tensor, shape, split)
                values[id(tensor)] = Pair.of(made, split)
            inputs += made
            splits_in.append(split)
        numbers = [self.graph.values[path, id(tensor)] for tensor in nested.outputs]
        splits_out = [None if plain_ends else self.layout.splits.get(number) for number in numbers]
        outputs = []
        with self._names_of(nested, path):
            self._walk(nested, path, values)
            for tensor, split in zip(nested.outputs, splits_out, strict=True):
                value = values[id(tensor)]
                outputs += [self.plain(value)] if split is None else self.settled(value)
        paired_in, paired_out = (any(s is not None for s in splits) for splits in (splits_in, splits_out))
        model = keras.Model(
            inputs if paired_in else tree.pack_sequence_as(nested._inputs_struct, inputs),
            outputs if paired_out else tree.pack_sequence_as(nested._outputs_struct, outputs),
            name=name,
            trainable=operation.trainable,
        )
        return model, splits_in, splits_out

    def _input_like(self, tensor, shape=None):
        layer = tensor._keras_history.operation
        return keras.Input(
            batch_shape=tensor.shape if shape is None else shape,
            dtype=tensor.dtype,
            sparse=bool(tensor.sparse),
            name=layer.name,
            optional=getattr(layer, "optional", False),
        )

    def _pair_inputs(self, tensor, shape, split: ChannelSplit) -> list:
        name, made = tensor._keras_history.operation.name, []
        for suffix, channels, cell in zip(SUFFIXES, (split.high, split.low), (1, split.octave), strict=True):
            part = list(shape)
            if len(part) == 4:
                for axis in self.graph.spatial_axes:
                    part[axis] = None if part[axis] is None else ceil_div(part[axis], cell)
            part[self.channel_axis(tensor)] = len(channels)
            made.append(keras.Input(batch_shape=tuple(part), dtype=tensor.dtype, name=name + suffix))
        return made

    # ---- for the rules ----

    def tuned(self, call: Call, part: str) -> Mapping[str, Any]:
        """Weights to take in the place of the source's, by attribute name; empty where there are none."""
        return self._tuned.get((*call.key, part), {})

    def channel_axis(self, tensor) -> int:
        """Channel axis of a tensor: the last of (batch, channels), the data format's of a map."""
        return self.graph.channel_axis if len(tensor.shape) == 4 else len(tensor.shape) - 1

    def split(self, call: Call, output: int = 0) -> ChannelSplit | None:
        """The planned split of a call's output; None where it stays plain."""
        return self.layout.splits.get(call.outputs[output])

    def pair_split(self, call: Call, output: int = 0) -> ChannelSplit:
        """The planned split of a call's output that is a pair by plan."""
        return self.layout.splits[call.outputs[output]]

    def source_shape(self, call: Call, argument: int = 0):
        """Shape of an argument in the source model."""
        return self.graph.tensors[call.inputs[argument]].shape

    def name(self, preferred: str) -> str:
        """``preferred``, or the first of ``preferred-2``, ``preferred-3`` ... that is free."""
        number, name = 1, preferred
        while name in self._names[-1]:
            number += 1
            name = f"{preferred}-{number}"
        self._names[-1].add(name)
        return name

    def own_name(self, name: str) -> str:
        """The source layer's name for what replaces it, unless the merged output has to carry it."""
        return self.name(name + OCTAVE_SUFFIX) if name in self._reserved[-1] else name

    def base_name(self, preferred: str) -> str:
        """``preferred`` or the first of ``preferred-2`` ... whose built-in layers take no name that is in use."""
        number, name = 1, preferred
        while any(known.startswith(name + ending) for known in self._names[-1] for ending in PORTABLE):
            number += 1
            name = f"{preferred}-{number}"
        return name

    def is_shared(self, call: Call) -> bool:
        """Whether the call's layer is called more than once."""
        return self._uses[call.key] > 1

    def once(self, call: Call, part: str, create: Callable[[], object]):
        """What ``create`` returns, made at the first call of a shared layer and found again at the later ones."""
        return self._once((*call.key, part), create)

    def _once(self, key: tuple, make: Callable[[], object]):
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def arguments(self, call: Call, inputs: list):
        """(args, kwargs) of the source's call with other tensors in the place of its own."""
        tensors = {id(t): value for t, value in zip(call.node.arguments.keras_tensors, inputs, strict=True)}
        return call.node.arguments.fill_in(tensors)

    def clone(self, call: Call, suffix: str = "", changes: Mapping | None = None, weights=None):
        """A fresh copy of the call's layer, as a callable that also moves the weights once it is built.

        Args:
            suffix: for the name; empty keeps the source's name.
            changes: configuration entries to replace.
            weights: function to the arrays for the copy; None takes the source layer's.
        """
        source = call.operation
        # A layer without weights may work on a pair at one call and on a plain tensor at another: the copies for pairs
        # belong to the call, the one that keeps the name to the layer.
        part = f"clone{suffix}"
        key = (*call.key, part) if suffix else ("operation", id(source))

        def fill(copy):
            if isinstance(source, keras.layers.Layer):
                values = list(self.tuned(call, part).values())
                self.set_weights(copy, values or (weights() if weights is not None else source.weights))

        return self._filled(key, call, part, lambda: self._copy(source, suffix, changes), fill)

    def filled(self, call: Call, part: str, create: Callable[[], Any], fill: Callable[[Any], None]):
        """The layer that ``create`` returns, as a callable; ``fill`` moves its weights once it is built."""
        return self._filled((*call.key, part), call, part, create, fill)

    def _filled(self, key: tuple, call: Call, part: str, create: Callable[[], Any], fill: Callable[[Any], None]):
        layer = self._once(key, create)
        if key not in self._items:
            self._items[key] = Made(layer, call, part)
            self.made.append(self._items[key])

        def apply(*args, **kwargs):
            output = portable.called(layer, *args, **kwargs) if self.options.portable else layer(*args, **kwargs)
            self.applied.append(Applied(self._items[key], call, node_of(tree.flatten(output)[0])))
            if key not in self._built:
                self._built.add(key)
                fill(layer)
            return output

        return apply

    def _copy(self, source, suffix: str, changes):
        name = self.name(source.name + suffix) if suffix else self.own_name(source.name)
        if not isinstance(source, keras.layers.Layer):
            return copy_operation(source, name, changes)
        return self.make(type(source), {**config_of(source), **(changes or {}), "name": name})

    def make(self, layer_class, config: dict):
        """A layer from its configuration. Initial values that will be overwritten are not drawn: it takes zeros."""
        initializers = {key: config[key] for key in config if key.endswith("_initializer")}
        if self.options.weights == "fresh" or not initializers:
            return rebuild(layer_class, config)
        layer = rebuild(layer_class, {**config, **dict.fromkeys(initializers, "zeros")})
        if not all(key in vars(layer) for key in initializers):  # they could not be given back
            return rebuild(layer_class, config)
        self._initializers[id(layer)] = initializers
        return layer

    def _restore_initializers(self, layer) -> None:
        for key, value in self._initializers.pop(id(layer), {}).items():
            setattr(layer, key, keras.initializers.get(value))

    def set_weights(self, layer, values) -> None:
        """Assign all weights of a layer, unless the user wants fresh ones; what it was adapted to is moved anyway."""
        if self.options.weights == "fresh" and not is_adapted(layer):
            return
        self._restore_initializers(layer)
        for variable, value in zip(layer.weights, values, strict=True):
            variable.assign(value)
        settle(layer)

    def assign(self, layer, values: Mapping) -> None:
        """Assign weights by attribute name; None entries and weights the layer has not are passed over."""
        if self.options.weights == "fresh":
            return
        self._restore_initializers(layer)
        for name, value in values.items():
            variable = getattr(layer, name, None)
            if variable is not None and value is not None:
                variable.assign(value)

    def note(self, text: str) -> None:
        """Something the report should tell."""
        if text not in self.notes:
            self.notes.append(text)

    def account(self, call: Call, fewer: int) -> None:
        """The rewritten call has ``fewer`` parameters than the source's (negative: more); counted once a layer."""
        self.parameter_changes[call.key] = fewer

    def plain(self, value, name: str | None = None):
        """The plain tensor: a pair is merged (once), pending padding applied."""
        if not isinstance(value, Pair):
            return value
        if id(value.high) not in self._merged:
            label = name if value.pads is None else None  # else the name belongs to what comes after the padding
            self._merged[id(value.high)] = (value.high, self._merge(value, label))  # the tensor keeps its id alive
        merged = self._merged[id(value.high)][1]
        if value.pads is None:
            return merged
        return portable.pad_or_crop(merged, value.pads, self.data_format, self.name(f"{_base_name(value)}-merge"))

    def _merge(self, pair: Pair, name: str | None):
        base = _base_name(pair)
        label = self.name(f"{base}-merge") if name not in self._reserved[-1] else name
        self._reserved[-1].discard(name)
        split, order = pair.split, pair.split.source_order
        dtype = pair.high.dtype
        if len(pair.high.shape) == 2:
            return self._merge_vectors(pair, order, label)
        if self.options.portable or (split.octave == 1 and order is None):
            return portable.merge(pair.high, pair.low, split.octave, order, self.data_format, label)
        order = None if order is None else order.tolist()
        return OctaveMerge(split.octave, order, self.data_format, dtype=dtype, name=label)([pair.high, pair.low])

    def _merge_vectors(self, pair: Pair, order, label: str):
        dtype = pair.high.dtype
        if order is None:
            return keras.layers.Concatenate(name=label, dtype=dtype)([pair.high, pair.low])
        high, low = (
            keras.layers.Reshape((1, 1, part.shape[-1]), name=self.name(f"{label}-map{suffix}"), dtype=dtype)(part)
            for suffix, part in zip(SUFFIXES, (pair.high, pair.low), strict=True)
        )
        merged = portable.merge(high, low, 1, order, "channels_last", f"{label}-channels")
        return keras.layers.Reshape((merged.shape[-1],), name=label, dtype=dtype)(merged)

    def settled(self, value: Pair) -> list:
        """[high, low] with pending padding applied (planning made sure that it lines up)."""
        if value.pads is None:
            return [value.high, value.low]
        octave = value.split.octave
        rows = [value.high.shape[axis] for axis in self.graph.spatial_axes]
        cells = [value.low.shape[axis] for axis in self.graph.spatial_axes]
        low_pads = tuple(
            (before // octave, _low_after(size, cell, before, after, octave))
            for size, cell, (before, after) in zip(rows, cells, value.pads, strict=True)
        )
        base = _base_name(value)
        return [
            portable.pad_or_crop(part, pads, self.data_format, self.name(f"{base}-shift{suffix}"))
            for part, pads, suffix in zip((value.high, value.low), (value.pads, low_pads), SUFFIXES, strict=True)
        ]

    def joined(self, value: Pair, name: str):
        """A pair of vectors as one tensor in the order [high | low]; the reader's weights are gathered instead."""
        high, low = self.settled(value)
        joined = keras.layers.Concatenate(axis=self.channel_axis(high), name=self.name(name), dtype=high.dtype)
        return joined([high, low])

    def dual(self, call: Call, values: Sequence, weights=None, changes=(None, None), constants=None) -> Pair:
        """Call the layer once on the high and once on the low tensors.

        Args:
            values: of the call's inputs; plain tensors go to both.
            weights: function from ``slice`` of channels (index array) to the arrays of that copy; None: none to move.
            changes: configuration entries to replace in the high and in the low copy.
            constants: function from (args, kwargs, channels) to those of a call with the constants of these channels.
        """
        split = self.pair_split(call)
        parts = [self.settled(value) if isinstance(value, Pair) else [value, value] for value in values]
        outputs = []
        for i, (suffix, channels) in enumerate(zip(SUFFIXES, (split.high, split.low), strict=True)):
            args, kwargs = self.arguments(call, [part[i] for part in parts])
            if constants is not None:
                args, kwargs = constants(args, kwargs, channels)
            own = (lambda channels=channels: weights(channels)) if weights is not None else list
            outputs.append(self.clone(call, suffix, changes[i], own)(*args, **kwargs))
        return Pair.of(outputs, split)


def weights_by_name(layer) -> dict[str, Any]:
    """The weights a layer holds itself, by attribute name, in their order."""
    names = {id(value): name.lstrip("_") for name, value in vars(layer).items()}
    return {names.get(id(weight), weight.name): weight for weight in getattr(layer, "weights", ())}


def _low_after(size, cells, before: int, after: int, octave: int) -> int:
    """Cells to add behind a low map so that it fits its padded high map."""
    if size is None:
        return after // octave
    return ceil_div(size + before + after, octave) - cells - before // octave


def _regroup(tensors: list, splits: list) -> list:
    """Flat tensors back to values."""
    values, rest = [], iter(tensors)
    for split in splits:
        values.append(next(rest) if split is None else Pair(next(rest), next(rest), split))
    return values


def _output_name(tensor) -> str:
    return tensor._keras_history.operation.name


def _base_name(pair: Pair) -> str:
    """The name of the layer that made a pair."""
    name = pair.high._keras_history.operation.name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name
