"""`for_inference`: any model, converted or not, as one that is only run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras

from octconvert.errors import UsageError
from octconvert.inference import precision
from octconvert.inference.emission import emitted
from octconvert.inference.lowering import lowered
from octconvert.inference.program import Program
from octconvert.inference.resolution import joined_pools, late_upsampling
from octconvert.inference.rewrites import (
    folded,
    joined_inputs,
    joined_outputs,
    kept_scalings,
    strided_pools,
    whole_images,
)
from octconvert.inference.signals import as_images
from octconvert.inference.step_forms import Forms, forms_for
from octconvert.inference.subpixel import subpixel
from octconvert.model.graph import OPERATION, CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.options.arguments import checked
from octconvert.options.limits import shown
from octconvert.options.quantization import check_precision
from octconvert.options.timing import check_runtime, default_runtime
from octconvert.rules import traits_of

_JOINED: dict[str, Callable[[Program], Program]] = {
    "separate": lambda program: program,
    "inputs": joined_inputs,
    "outputs": joined_outputs,
}


@dataclass(frozen=True, eq=False)
class InferenceForm:
    """A model that is only run; ``notes``: what should be known about it, one line each."""

    model: keras.Model
    notes: tuple[str, ...]


def checked_runtime(name: str | None) -> str:
    """The name of a runtime; None is the default one.

    Raises:
        UsageError: there is none of that name.
    """
    return default_runtime() if name is None else check_runtime(name)


@checked
def for_inference(
    model: keras.Model, runtime: str | None = None, *, quantize: str | None = None, forms: Forms | None = None
) -> keras.Model:
    """A model with the same outputs at inference and less to compute; ``model`` itself is not changed.

    BatchNormalization (and every other scale and offset of channels) goes into the kernels before it, through the sums
    of octave convolutions as well; octave layers come apart into built-in layers, written in the forms that suit the
    runtime; a map that several layers pool is pooled once; what does nothing at inference is gone. Works on any
    Functional or Sequential model, so that a source can be held against its conversion on equal terms.

    Args:
        model: inputs, outputs, their names and dtypes stay. Octave layers of maps of unknown sizes stay what they
            are (load the model with an ``input_shape`` first).
        runtime: 'tf' (the default), 'xla', 'litert', 'onnx' or 'openvino'. The model runs on all of them.
        quantize: 'int8', 'float16' or 'dynamic', where the numbers are going to be rounded behind this; nothing is
            rounded here.
        forms: in place of those of the runtime.

    Returns:
        A Keras model, no longer to be trained: there is no BatchNormalization left to keep activations in range.

    Raises:
        UsageError: an unknown runtime or precision.
        InputError: a subclassed model.
    """
    if quantize is not None:
        check_precision(quantize)
    if forms is not None and not isinstance(forms, Forms):
        raise UsageError(f"forms takes a Forms, received {shown(forms)}")
    return inference_form(model, runtime, quantize, forms).model


def inference_form(
    model: keras.Model,
    runtime: str | None = None,
    precision: str | None = None,
    forms: Forms | None = None,
    in_float32: bool = False,
) -> InferenceForm:
    """`for_inference`, with notes on it; ``in_float32``: computed in float32, whatever the model's precision."""
    forms = forms_for(checked_runtime(runtime), precision) if forms is None else forms
    graph, notes = _graph(model)
    draft = lowered(graph)
    program = folded(draft.program)
    notes += [
        *_notes(draft.kept, "an octave layer", "octave layers"),
        *_notes(kept_scalings(program), "a normalisation layer", "normalisation layers"),
    ]
    program = whole_images(strided_pools(late_upsampling(program)), _input_sizes(graph))
    if forms.transposing == "subpixel" and graph.data_format == "channels_last":
        program = subpixel(program)
    program = _JOINED[forms.paths](joined_pools(program))
    if graph.ranks == (1,) and _are_images(graph, forms):
        program = as_images(program, graph)
    return InferenceForm(_emitted(program, graph, forms, in_float32), tuple(notes))


def unchanged_form(model: keras.Model, in_float32: bool = False) -> InferenceForm:
    """The model itself, or the same in float32."""
    if not in_float32:
        return InferenceForm(model, ())
    graph = _graph(model)[0]
    return InferenceForm(_emitted(lowered(graph, as_it_is=True).program, graph, Forms(), in_float32), ())


def _graph(model: keras.Model) -> tuple[CallGraph, list[str]]:
    """The calls of a model, and a note where a `TimeDistributed` stays closed: reshaping needs known sizes."""
    graph = build_graph(model)
    timed = [call for call in graph.calls if call.kind == OPERATION and traits_of(call.operation).folds_time]
    shapes = (graph.tensors[call.outputs[0]].shape[1:] for call in timed)
    if all(None not in shape for shape in shapes):
        return graph, []
    name = timed[0].layer_name
    return build_graph(model, open_time=False), [
        f"for inference, the model in '{name}' (TimeDistributed) stays as it is: time steps and sizes must be known"
    ]


def _emitted(program: Program, graph: CallGraph, forms: Forms, in_float32: bool) -> keras.Model:
    return emitted(precision.in_float32(program) if in_float32 else program, graph, forms)


def _notes(kept: dict[str, list[str]], one: str, several: str) -> list[str]:
    """A line for each reason for which layers stay."""
    return [f"for inference, {_stay(names, one, several)}: {reason}" for reason, names in kept.items()]


def _stay(names: list[str], one: str, several: str) -> str:
    first, more = names[0], len(names) - 1
    return f"'{first}' and {more} more stay {several}" if more else f"'{first}' stays {one}"


def _are_images(graph: CallGraph, forms: Forms) -> bool:
    """Whether signals are computed on images; always with the channels first, for which Keras lacks some layers."""
    maps = [tensor.shape for tensor in graph.tensors if graph.is_map(tensor.shape)]
    has_form = forms.signals == "images" or graph.data_format == "channels_first"
    return has_form and all(graph.known_size(shape) is not None for shape in maps)


def _input_sizes(graph: CallGraph) -> dict[int, tuple[int, ...]]:
    """Of the inputs that are maps of known sizes, along their spatial axes."""
    sizes = {number: graph.known_size(graph.tensors[number].shape) for number in graph.inputs}
    return {number: size for number, size in sizes.items() if size is not None}
