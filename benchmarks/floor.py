"""What a run would take if nothing but its layers' own times counted: the floor, and which layers it is made of.

    python benchmarks/floor.py [MODEL ...] [--alpha 0.5] [--runtime litert|onnx|openvino] [--threads 2] [--rounds 5]

Every layer of the form for inference is written as a model of its own and run alone, at its own shapes; layers that
are alike are run once and counted as often as they stand in the model. Models as in latency.py; batch 1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from models import source_and_octave

import octconvert
from octconvert.runtimes import find
from octconvert.runtimes.signature import example_inputs

RUNS = 20
SMALL = 0.01
"""Share of the sum below which a kind of layer is not listed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=("VGG16", "ResNet50", "MobileNet"))
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--runtime", choices=("litert", "onnx", "openvino"), default="litert")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for name in arguments.models:
        source, result = source_and_octave(name, arguments.alpha)
        for told, model in (("source", source), ("octave", result.model)):
            _report(f"{name}, {told}", octconvert.for_inference(model, arguments.runtime), arguments)
        keras.backend.clear_session()


def _report(title: str, model, arguments) -> None:
    runtime = find(arguments.runtime)
    with tempfile.TemporaryDirectory() as folder:
        sessions = {}
        for key, alone in {**_alone(model), "": model}.items():
            path = Path(folder) / f"{len(sessions)}{runtime.suffix}"
            runtime.export(alone, path, batch=1)
            sessions[key] = runtime.open(path, arguments.threads)
            sessions[key].feed(example_inputs(alone, 1))
        times = _best(sessions, arguments.rounds)
    spent, counts = Counter(), Counter()
    for layer, key in _keys(model):
        spent[_kind(layer)] += times[key]
        counts[_kind(layer)] += 1
    total = spent.total()
    print(f"{title}: {times['']:.2f} ms in one, {total:.2f} ms layer by layer")
    for kind, found in spent.most_common():
        if found > SMALL * total:
            print(f"  {found:7.2f} ms  {counts[kind]:4d}  {kind}", flush=True)


def _keys(model) -> Iterator[tuple[keras.Layer, str]]:
    """Every call of a layer that computes something, with what tells whether two calls take the same time."""
    for layer in model.layers:
        if isinstance(layer, (keras.layers.InputLayer, keras.layers.Identity)):
            continue
        config = {name: value for name, value in layer.get_config().items() if name != "name"}
        for node in layer._inbound_nodes:
            shapes = [tensor.shape[1:] for tensor in node.input_tensors]
            yield layer, json.dumps([type(layer).__name__, config, shapes], default=str, sort_keys=True)


def _alone(model) -> dict[str, keras.Model]:
    """One model for every key: a new layer like the one in the model, with weights of its own."""
    made = {}
    for layer, key in _keys(model):
        if key not in made:
            inputs = [keras.Input(shape) for shape in json.loads(key)[2]]
            copy = type(layer).from_config(layer.get_config())
            made[key] = keras.Model(inputs, copy(inputs if len(inputs) > 1 else inputs[0]))
    return made


def _best(sessions: dict, rounds: int) -> dict[str, float]:
    """Milliseconds of a run by key: the best round's median."""
    best = dict.fromkeys(sessions, np.inf)
    for _ in range(rounds):
        for key, session in sessions.items():
            session.invoke()
            best[key] = min(best[key], 1e3 * statistics.median(_seconds(session) for _ in range(RUNS)))
    return best


def _seconds(session) -> float:
    started = time.perf_counter()
    session.invoke()
    return time.perf_counter() - started


def _kind(layer) -> str:
    size = getattr(layer, "kernel_size", None)
    return type(layer).__name__ + (f" {size[0]}x{size[1]}" if size else "")


if __name__ == "__main__":
    main()
