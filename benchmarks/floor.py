"""What a run would take if nothing but its layers' own times counted: the floor, and which layers it is made of.

    python benchmarks/floor.py [MODEL ...] [--alpha 0.5] [--interior 1] [--runtime litert|onnx|openvino]
                               [--quantize int8] [--threads 2] [--rounds 5]

Every layer of the form for inference is written as a model of its own and run alone, at its own shapes; layers that
are alike are run once and counted as often as they stand in the model. Models as in latency.py; batch 1.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import keras
from models import source_and_octave

import octconvert
from octconvert.benchmarking.process import Worker, exported
from octconvert.model.copying import config_of, copy_operation, rebuild
from octconvert.model.graph import OPERATION
from octconvert.model.graph_reader import build_graph

RUNS = 20
FREE = (keras.layers.Identity, keras.layers.ReLU)
"""Layers that runtimes compute along with the one before."""
SMALL = 0.01
"""Share of the sum below which a kind of layer is not listed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=("VGG16", "ResNet50", "MobileNet"))
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--interior", type=float)
    parser.add_argument("--quantize", choices=("int8", "float16", "dynamic"))
    parser.add_argument("--runtime", choices=("litert", "onnx", "openvino"), default="litert")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for name in arguments.models:
        source, result = source_and_octave(name, arguments.alpha, interior=arguments.interior)
        for told, model in (("source", source), ("octave", result.model)):
            _report(
                f"{name}, {told}",
                octconvert.for_inference(model, arguments.runtime, quantize=arguments.quantize),
                arguments,
            )
        keras.backend.clear_session()


def _report(title: str, model, arguments) -> None:
    calls = list(_calls(model))
    models = {"": model}
    for layer, shapes, key in calls:
        if key not in models:
            models[key] = _alone(layer, shapes)
    times = _best(models, arguments)
    spent, counts = Counter(), Counter()
    for layer, _, key in calls:
        spent[_kind(layer)] += times[key]
        counts[_kind(layer)] += 1
    total = spent.total()
    print(f"{title}: {times['']:.2f} ms in one, {total:.2f} ms layer by layer")
    for kind, found in spent.most_common():
        if found > SMALL * total:
            print(f"  {found:7.2f} ms  {counts[kind]:4d}  {kind}", flush=True)


def _calls(model) -> Iterator[tuple[keras.Layer, list[tuple], str]]:
    """Every call of a layer that computes something: with what shapes, and what calls of the same time share."""
    graph = build_graph(model)
    for call in graph.calls:
        layer = call.operation
        if call.kind == OPERATION and not isinstance(layer, FREE):
            config = {name: value for name, value in layer.get_config().items() if name != "name"}
            shapes = [graph.tensors[number].shape[1:] for number in call.inputs]
            yield layer, shapes, json.dumps([type(layer).__name__, config, shapes], default=str, sort_keys=True)


def _alone(layer, shapes: list[tuple]) -> keras.Model:
    """A new layer like the one in the model, with weights of its own."""
    inputs = [keras.Input(shape) for shape in shapes]
    is_layer = isinstance(layer, keras.layers.Layer)
    copy = rebuild(type(layer), config_of(layer)) if is_layer else copy_operation(layer, "alone")
    return keras.Model(inputs, copy(inputs if len(inputs) > 1 else inputs[0]))


def _best(models: dict[str, keras.Model], arguments) -> dict[str, float]:
    """Milliseconds of a run by key: the best round's median."""
    best = dict.fromkeys(models, math.inf)
    with tempfile.TemporaryDirectory() as folder, Worker() as worker:
        for number, model in enumerate(models.values()):
            stem = Path(folder) / str(number)
            worker.open(number, **exported(model, arguments.runtime, stem, 1, arguments.threads, arguments.quantize))
        for _ in range(arguments.rounds):
            for number, key in enumerate(models):
                seconds, _ = worker.run(1, RUNS, model=number, whole=False)
                best[key] = min(best[key], 1e3 * statistics.median(seconds))
    return best


def _kind(layer) -> str:
    size = getattr(layer, "kernel_size", None)
    return type(layer).__name__ + (f" {size[0]}x{size[1]}" if size else "")


if __name__ == "__main__":
    main()
