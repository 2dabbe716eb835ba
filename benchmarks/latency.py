"""Latency of converted models against their sources: interleaved rounds in one run, medians, TensorFlow graph and XLA.

    python benchmarks/latency.py [MODEL ...] [--alpha 0.5] [--rounds 15] [--threads 2]

MODEL is a name in keras.applications; random weights, batch 1, float32.
"""

from __future__ import annotations

import argparse
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

import octconvert

DEFAULT_MODELS = ("VGG16", "ResNet50", "MobileNet")
PRESETS = {"ResNet50": "paper"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=DEFAULT_MODELS)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    print("| model | MACs | TF graph: source, octave, ratio | XLA: source, octave, ratio |\n" + "|---" * 4 + "|")
    for name in arguments.models:
        source = getattr(keras.applications, name)(weights=None)
        result = octconvert.convert(source, alpha=arguments.alpha, preset=PRESETS.get(name), calibration=False)
        cells = [_cell([source, result.model], arguments.rounds, jit) for jit in (False, True)]
        print(f"| {name} | {result.before.macs / result.after.macs:.2f}x | {cells[0]} | {cells[1]} |", flush=True)
        keras.backend.clear_session()


def _cell(models, rounds: int, jit: bool) -> str:
    shape = (1, *models[0].input_shape[1:])
    x = tf.constant(np.random.default_rng(0).random(shape), tf.float32)
    functions = [tf.function(lambda x, m=m: m(x, training=False), jit_compile=jit) for m in models]
    times: list[list[float]] = [[], []]
    for round_number in range(rounds + 2):  # the first two warm up
        for function, found in zip(functions, times, strict=True):
            started = time.perf_counter()
            np.asarray(function(x))
            if round_number >= 2:
                found.append(time.perf_counter() - started)
    before, after = (1000 * statistics.median(found) for found in times)
    return f"{before:.1f} ms, {after:.1f} ms, {before / after:.2f}x"


if __name__ == "__main__":
    main()
