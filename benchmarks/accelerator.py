"""Time on a GPU, with JAX: runs of the form for inference, and training steps, of converted models and their sources.

    python benchmarks/accelerator.py write FOLDER [MODEL ...] [--ways pairs interiors] [--alpha 0.5]
    python benchmarks/accelerator.py run FOLDER [--batch 1 32 128] [--dtype float32 bfloat16] [--rounds 9] [--training]

*write* needs octconvert and no GPU; it writes configurations as JSON, weights are random. *run* needs Keras and JAX
only: no TensorFlow, no octconvert. It takes JAX's first device, be it a GPU or the CPU. MODEL is a name in
keras.applications or UNet, see models.py; the models of training are of built-in Keras layers (``portable``). Medians
of interleaved rounds, with the quartiles.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEFAULT_MODELS = ("ResNet50", "VGG16", "MobileNet", "UNet")
WAYS = ("pairs", "interiors")
TURN_SECONDS, MOST_RUNS = 0.2, 20
RATE = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    write = commands.add_parser("write")
    write.add_argument("folder", type=Path)
    write.add_argument("models", nargs="*", default=DEFAULT_MODELS)
    write.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    write.add_argument("--alpha", type=float, default=0.5)
    write.set_defaults(command=_write)
    run = commands.add_parser("run")
    run.add_argument("folder", type=Path)
    run.add_argument("--batch", type=int, nargs="+", default=(1, 32, 128))
    run.add_argument("--dtype", nargs="+", choices=("float32", "bfloat16"), default=("float32", "bfloat16"))
    run.add_argument("--rounds", type=int, default=9)
    run.add_argument("--training", action="store_true")
    run.set_defaults(command=_run)
    arguments = parser.parse_args()
    arguments.command(arguments)


# ---- writing


def _write(arguments) -> None:
    from models import PRESETS, prepared

    import octconvert

    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.models:
        source = prepared(name)
        models = {"source": (source, source, 1.0)}
        for way in arguments.ways:
            if way == "interiors":
                options: dict[str, Any] = {"alpha": 0.0, "interior": 1.0}
            else:
                options = {"alpha": arguments.alpha, "preset": PRESETS.get(name)}
            result = octconvert.convert(source, calibration=False, **options)
            trained = octconvert.convert(source, calibration=False, portable=True, **options)
            models[way] = (result.model, trained.model, result.before.macs / result.after.macs)
        for way, (model, trained, ratio) in models.items():
            form = octconvert.for_inference(model, "xla")
            entry = {
                "model": name,
                "way": way,
                "macs": ratio,
                "inference": form.to_json(),
                "training": trained.to_json(),
            }
            (arguments.folder / f"{name}-{way}.json").write_text(json.dumps(entry))
        print(name, ", ".join(f"{way}: {ratio:.2f}x fewer MACs" for way, (*_, ratio) in models.items()), flush=True)


# ---- running


def _run(arguments) -> None:
    os.environ["KERAS_BACKEND"] = "jax"
    import jax

    entries = [json.loads(path.read_text()) for path in sorted(arguments.folder.glob("*.json"))]
    kind = "training" if arguments.training else "inference"
    print(f"{jax.devices()[0].device_kind}, {kind}, {arguments.rounds} rounds")
    print("| model | dtype | batch | way | MACs | ms (quartiles) | speed-up |\n" + "|---" * 7 + "|")
    for name in dict.fromkeys(entry["model"] for entry in entries):
        ways = sorted((e for e in entries if e["model"] == name), key=lambda entry: entry["way"] != "source")
        for dtype in arguments.dtype:
            for batch in arguments.batch:
                _compare(name, ways, kind, dtype, batch, arguments.rounds)


def _compare(name: str, ways: list[dict[str, Any]], kind: str, dtype: str, batch: int, rounds: int) -> None:
    prepare = _training_step if kind == "training" else _forward
    runs = [prepare(_loaded(entry[kind], dtype), dtype, batch) for entry in ways]
    times = _timed(runs, rounds)
    source = statistics.median(times[0])
    for entry, taken in zip(ways, times, strict=True):
        low, median, high = statistics.quantiles(taken, n=4)
        cells = (name, dtype, batch, entry["way"], f"{entry['macs']:.2f}x")
        milliseconds = f"{1e3 * median:.2f} ({1e3 * low:.2f} to {1e3 * high:.2f})"
        print(f"| {' | '.join(map(str, cells))} | {milliseconds} | **{source / median:.2f}x** |", flush=True)


def _loaded(text: str, dtype: str):
    """The model with all numbers of that type."""
    import keras

    return keras.models.model_from_json(text.replace('"float32"', json.dumps(dtype)))


def _images(model, dtype: str, batch: int):
    import jax

    return jax.random.normal(jax.random.key(0), (batch, *model.inputs[0].shape[1:]), dtype)


def _values(variables) -> list[Any]:
    return [variable.value for variable in variables]


def _forward(model, dtype: str, batch: int) -> Callable[[], None]:
    import jax

    weights = _values(model.trainable_variables), _values(model.non_trainable_variables)
    images = _images(model, dtype, batch)
    function = jax.jit(lambda weights, images: model.stateless_call(*weights, images, training=False)[0])
    return lambda: jax.block_until_ready(function(weights, images))


def _training_step(model, dtype: str, batch: int) -> Callable[[], None]:
    """Forward, backward and a step of gradient descent on the mean squared output."""
    import jax
    import jax.numpy as jnp

    images = _images(model, dtype, batch)

    def loss(trainable, others, images):
        outputs, others = model.stateless_call(trainable, others, images, training=True)
        return sum(jnp.mean(jnp.square(each.astype("float32"))) for each in jax.tree.leaves(outputs)), others

    def step(trainable, others, images):
        gradients, others = jax.grad(loss, has_aux=True)(trainable, others, images)
        return [value - RATE * gradient for value, gradient in zip(trainable, gradients, strict=True)], others

    compiled = jax.jit(step, donate_argnums=(0, 1))
    state = [jax.tree.map(jnp.copy, _values(v)) for v in (model.trainable_variables, model.non_trainable_variables)]

    def run() -> None:
        state[:] = jax.block_until_ready(compiled(*state, images))

    return run


def _timed(runs: list[Callable[[], None]], rounds: int) -> list[list[float]]:
    """Seconds of every run, in turns; the first runs compile."""
    turns = []
    for run in runs:
        run()
        turns.append(max(1, min(MOST_RUNS, int(TURN_SECONDS / max(_seconds(run), 1e-9)))))
    times: list[list[float]] = [[] for _ in runs]
    for number in range(rounds):
        order = range(len(runs)) if number % 2 == 0 else reversed(range(len(runs)))
        for place in order:
            runs[place]()
            times[place] += [_seconds(runs[place]) for _ in range(turns[place])]
    return times


def _seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
