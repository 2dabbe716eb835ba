"""Time of a training step of a converted model against its source's, compiled as Keras chooses.

    python benchmarks/training.py [MODEL ...] [--alpha 0.5] [--batch 32] [--steps 5]

MODEL is a name in keras.applications; random weights and images, 224x224, SGD with momentum. The steps are interleaved,
and medians are told.
"""

from __future__ import annotations

import argparse
import statistics
import time

import keras
import numpy as np
from models import source_and_octave


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=("ResNet50",))
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    print("| model | source | octave | speed-up | MACs |\n|---|---|---|---|---|")
    for name in arguments.models:
        source, result = source_and_octave(name, arguments.alpha)
        before, after = _seconds((source, result.model), arguments.batch, arguments.steps)
        macs = result.before.macs / result.after.macs
        print(f"| {name} | {before:.2f} s | {after:.2f} s | **{before / after:.2f}x** | {macs:.2f}x |", flush=True)


def _seconds(models, batch: int, steps: int) -> list[float]:
    """Median time of a step of each."""
    rng = np.random.default_rng(0)
    images = rng.random((batch, *models[0].input_shape[1:]), "float32")
    labels = rng.integers(models[0].output_shape[-1], size=batch)
    for model in models:
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
        model.train_on_batch(images, labels)
    times: list[list[float]] = [[] for _ in models]
    for _ in range(steps):
        for model, taken in zip(models, times, strict=True):
            started = time.perf_counter()
            model.train_on_batch(images, labels)
            taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]


if __name__ == "__main__":
    main()
