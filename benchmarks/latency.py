"""Latency of converted models against their sources, both in their form for inference, on every runtime there is.

    python benchmarks/latency.py [MODEL ...] [--alpha 0.5] [--objective macs|latency] [--batch 1] [--threads 2]
                                 [--rounds 15] [--runtime tf xla litert onnx openvino]

MODEL is a name in keras.applications; random weights, float32, 224x224. Every model runs in a process of its own, in
turns, see `octconvert.bench`; a cell tells source, octave, speed-up, the peak memory's ratio, and how many times fewer
MACs there are.
"""

from __future__ import annotations

import argparse

import keras

import octconvert

DEFAULT_MODELS = ("VGG16", "ResNet50", "MobileNet")
PRESETS = {"ResNet50": "paper"}
RUNTIMES = ("litert", "tf", "xla", "onnx", "openvino")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=DEFAULT_MODELS)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--objective", default="macs")
    parser.add_argument("--runtime", nargs="+", default=RUNTIMES)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    print(f"| model | {' | '.join(arguments.runtime)} |\n" + "|---" * (1 + len(arguments.runtime)) + "|")
    for name in arguments.models:
        cells = []
        source = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
        for runtime in arguments.runtime:
            more = {"objective": arguments.objective, "preset": PRESETS.get(name), "calibration": False}
            if arguments.objective == "latency":
                more |= {"runtime": runtime, "threads": arguments.threads}
            result = octconvert.convert(source, alpha=arguments.alpha, **more)
            times = octconvert.bench(
                {"source": source, "octave": result.model},
                runtimes=runtime,
                threads=arguments.threads,
                batch=arguments.batch,
                rounds=arguments.rounds,
                for_inference=True,
            )
            cells.append(f"{_cell(times.rows)}, {result.before.macs / result.after.macs:.2f}x MACs")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        keras.backend.clear_session()


def _cell(rows) -> str:
    if len(rows) < 2 or any(row.error for row in rows):
        return "; ".join(row.error for row in rows if row.error) or "not installed"
    before, after = rows
    told = f"{before.median:.1f} ms, {after.median:.1f} ms, **{after.speedup:.2f}x**"
    return told if before.memory is None else f"{told} ({after.memory / before.memory:.0%} memory)"


if __name__ == "__main__":
    main()
