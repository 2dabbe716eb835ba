"""`octconvert.show`: feature maps of a converted model beside those of its source, for one input."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from octconvert.errors import InputError, UsageError
from octconvert.model.execution import tensors_of
from octconvert.model.graph import OPERATION, CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.options.fields import parse
from octconvert.options.loading import LoadingOptions
from octconvert.options.showing import ShowingOptions
from octconvert.pipeline.layer_maps import PairMaps
from octconvert.pipeline.map_pairs import MapPair, map_pairs
from octconvert.pipeline.source import label_of, read_model
from octconvert.results.maps import FeatureMaps, LayerMaps
from octconvert.samples.inputs import ModelInput, inputs_of
from octconvert.samples.reading import read_samples
from octconvert.samples.values import Samples
from octconvert.text import words

_NAMED = 12


def show(arguments: Mapping[str, Any]) -> FeatureMaps:
    """`octconvert.show`; see there."""
    options, loading = parse(ShowingOptions, arguments), parse(LoadingOptions, arguments)
    items = [arguments["model_or_path"], arguments.get("source")]
    models = [None if item is None else read_model(item, loading).model for item in items]
    labels = ["" if item is None else label_of(item, model) for item, model in zip(items, models, strict=True)]
    graph = build_graph(models[0])
    source = None if models[1] is None else build_graph(models[1])
    if source is not None:
        _check_inputs(graph, source, labels)
    pairs = _chosen(_comparable(graph, source, labels), options)
    sample = _sample(arguments["image"], graph if source is None else source, options)
    layers = _layers(graph, source, pairs, sample, options.channels)
    if not layers:
        raise InputError(f"{labels[0]}: at this input its maps have one position each, and there is nothing to see")
    notes = list(sample.notes)
    if len(layers) < len(pairs):
        notes.append(f"{words.plural(len(pairs) - len(layers), 'map')} of one position at this input left out")
    image = arguments["image"]
    origin = str(image) if isinstance(image, (str, os.PathLike)) else "the given input"
    result = FeatureMaps(labels[0], labels[1], origin, tuple(layers), tuple(notes))
    if options.output is not None:
        result.save(options.output, overwrite=options.overwrite)
    return result


def _check_inputs(graph: CallGraph, source: CallGraph, labels: list[str]) -> None:
    """Raise InputError unless both models take the same inputs."""
    own, other = ([spec.shape for spec in inputs_of(each)] for each in (graph, source))
    same = len(own) == len(other) and all(
        len(a) == len(b) and all(None in (m, n) or m == n for m, n in zip(a, b, strict=True))
        for a, b in zip(own, other, strict=True)
    )
    if not same:
        texts = [", ".join(map(words.shape, each)) for each in (own, other)]
        raise InputError(f"{labels[1]}: is not the source of {labels[0]}: it takes {texts[1]}, the other {texts[0]}")


def _comparable(graph: CallGraph, source: CallGraph | None, labels: list[str]) -> list[MapPair]:
    """The pairs and low maps; those alone that the source has too, where there is one.

    Raises:
        InputError: there are none.
    """
    pairs = map_pairs(graph)
    if not pairs:
        raise InputError(f"{labels[0]}: no layer writes a pair or a low map; expected a converted model")
    if source is None:
        return pairs
    channels = {key: _channels(source, tensor) for key, tensor in _source_tensors(source).items()}
    known = [pair for pair in pairs if channels.get((pair.name, pair.use)) == _pair_channels(graph, pair)]
    if not known:
        raise InputError(f"{labels[1]}: is not the source of {labels[0]}: no layer of that name writes such a map")
    return known


def _source_tensors(source: CallGraph) -> dict[tuple[str, int], int]:
    """(layer name, which of its calls) -> its output."""
    tensors: dict[tuple[str, int], int] = {}
    uses: dict[str, int] = {}
    for call in source.calls:
        if call.kind == OPERATION:
            use = uses.setdefault(call.layer_name, 0)
            uses[call.layer_name] += 1
            tensors[call.layer_name, use] = call.outputs[0]
    return tensors


def _channels(graph: CallGraph, tensor: int | None) -> int:
    if tensor is None:
        return 0
    shape = graph.tensors[tensor].shape
    return shape[graph.axis_of_channels(shape)] or 0


def _pair_channels(graph: CallGraph, pair: MapPair) -> int:
    return _channels(graph, pair.high) + _channels(graph, pair.low)


def _chosen(pairs: list[MapPair], options: ShowingOptions) -> list[MapPair]:
    """Those that the patterns name; else some that are spread over the depth, behind activations where there are any.

    Raises:
        UsageError: a pattern matches none.
    """
    if not options.layers:
        active = [pair for pair in pairs if pair.active] or pairs
        places = np.linspace(0, len(active) - 1, min(options.count, len(active)))
        return [active[round(place)] for place in places]
    for pattern in options.layers:
        if not any(re.search(pattern, pair.name) for pair in pairs):
            names = list(dict.fromkeys(pair.name for pair in pairs))
            more = ", ..." if len(names) > _NAMED else ""
            raise UsageError(f"`layers`: no map matches '{pattern}'; there are {', '.join(names[:_NAMED])}{more}")
    return [pair for pair in pairs if any(re.search(pattern, pair.name) for pattern in options.layers)]


def _sample(image: Any, graph: CallGraph, options: ShowingOptions) -> Samples:
    """One sample, read and preprocessed as for a calibration.

    Raises:
        InputError: it can not be read, or does not fit the model.
    """
    data, inputs = image, inputs_of(graph)
    if len(inputs) == 1:
        data = _first_sample(image, inputs[0])
    preprocess, seed = options.preprocess, options.seed
    return read_samples(data, graph.model, preprocess=preprocess, limit=1, seed=seed, where="the image")


def _first_sample(image: Any, spec: ModelInput) -> Any:
    """Of an array, in memory or in an .npy file, the sample that it is or the first that it holds, as a batch."""
    array: Any = image
    if isinstance(image, (str, os.PathLike)):
        if Path(image).suffix.lower() != ".npy":
            return image
        try:
            array = np.load(image, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):  # the reader of samples says why
            return image
    elif hasattr(image, "__array_interface__") or hasattr(image, "__array__"):
        array = np.asarray(image)
    if not isinstance(array, np.ndarray):
        return image
    shapes = [spec.shape] if spec.grey_shape is None else [spec.shape, spec.grey_shape]
    single = any(
        array.ndim == len(shape) and all(b in (None, a) for a, b in zip(array.shape, shape, strict=True))
        for shape in shapes
    )
    return np.asarray(array[None] if single else array[:1])


def _layers(
    graph: CallGraph, source: CallGraph | None, pairs: list[MapPair], sample: Samples, channels: int
) -> list[LayerMaps]:
    wanted = [number for pair in pairs for number in (pair.high, pair.low) if number is not None]
    own = _run(graph, sample, wanted)
    of_source: dict[tuple[str, int], int] = {} if source is None else _source_tensors(source)
    keys = [(pair.name, pair.use) for pair in pairs]
    theirs = {} if source is None else _run(source, sample, [of_source[key] for key in keys])
    layers = []
    for pair, key in zip(pairs, keys, strict=True):
        high = None if pair.high is None else own[pair.high]
        maps = PairMaps(high, own[pair.low], None if source is None else theirs[of_source[key]])
        name = pair.name if not pair.use else f"{pair.name} (call {pair.use + 1})"
        if max(maps.size) > 1:
            layers.append(maps.layer(name, channels))
    return layers


def _run(graph: CallGraph, sample: Samples, requested: Iterable[int]) -> dict[int, np.ndarray]:
    """Tensor number -> (rows, columns, channels) of the sample; models of a fixed batch get it that many times."""
    batch = graph.tensors[graph.inputs[0]].shape[0] or 1
    tensors = tensors_of(graph, [np.repeat(array, batch, axis=0) for array in sample.arrays], requested)
    result = {}
    for number, tensor in tensors.items():
        axis = graph.axis_of_channels(graph.tensors[number].shape) - 1
        result[number] = np.moveaxis(keras.ops.convert_to_numpy(tensor)[0], axis, -1).astype("float64")
    return result
