"""Latency of converted models against their sources, all in their form for inference, on every runtime there is.

    python benchmarks/latency.py [MODEL ...] [--ways pairs interiors] [--alpha 0.5] [--octave 2] [--min-size 8]
                                 [--objective macs|latency] [--batch 1] [--threads 2] [--rounds 15]
                                 [--runtime tf xla litert onnx openvino] [--quantize int8] [--target-time 0.6]

MODEL is a name in keras.applications; random weights, float32, 224x224. *Pairs* have ``--alpha`` everywhere;
*interiors* are whole-low inside blocks and plain elsewhere; *timed*: alphas chosen for ``--target-time`` of the
source's time, on each runtime. Every model runs in a process of its own, in turns with the
others, see `octconvert.bench`; a cell has source, octave, speed-up, the peak memory's ratio, and how many times fewer
MACs there are.
"""

from __future__ import annotations

import argparse

import keras
from models import PRESETS, prepared

import octconvert

DEFAULT_MODELS = ("VGG16", "ResNet50", "MobileNet")
RUNTIMES = ("litert", "tf", "xla", "onnx", "openvino")
WAYS = ("pairs", "interiors", "timed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=DEFAULT_MODELS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS[:2])
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--octave", type=_octave, default=2, help="2, or 1,2,2: a factor for each axis")
    parser.add_argument("--min-size", type=int, default=8)
    parser.add_argument("--objective", default="macs")
    parser.add_argument("--runtime", nargs="+", default=RUNTIMES)
    parser.add_argument("--quantize", choices=("int8", "float16", "dynamic"))
    parser.add_argument("--target-time", type=float, default=0.6)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    print(f"| model | {' | '.join(arguments.runtime)} |\n" + "|---" * (1 + len(arguments.runtime)) + "|")
    for name in arguments.models:
        cells = _cells(name, arguments)
        for way in arguments.ways:
            print(f"| {name}, {way} | {' | '.join(cells[way])} |", flush=True)
        keras.backend.clear_session()


def _octave(text: str) -> int | tuple[int, ...]:
    factors = tuple(map(int, text.split(",")))
    return factors if len(factors) > 1 else factors[0]


def _cells(name: str, arguments) -> dict[str, list[str]]:
    """For each way one for each runtime; with ``--objective latency`` each has a conversion of its own."""
    timing, source = arguments.objective == "latency" or "timed" in arguments.ways, prepared(name)
    cells = {way: [] for way in arguments.ways}
    for runtimes in [[runtime] for runtime in arguments.runtime] if timing else [arguments.runtime]:
        results = {way: _converted(name, source, way, arguments, runtimes[0]) for way in arguments.ways}
        times = octconvert.bench(
            {"source": source, **{way: result.model for way, result in results.items()}},
            runtimes=runtimes,
            threads=arguments.threads,
            batch=arguments.batch,
            rounds=arguments.rounds,
            for_inference=True,
            quantize=arguments.quantize,
        )
        for runtime in runtimes:
            rows = {row.model: row for row in times.rows if row.runtime == runtime}
            for way, result in results.items():
                ratio = result.before.macs / result.after.macs
                cells[way].append(f"{_cell([rows[key] for key in ('source', way) if key in rows])}, {ratio:.2f}x MACs")
    return cells


def _converted(name: str, source, way: str, arguments, runtime: str):
    """A conversion whose weights are moved, and that is all."""
    timed = {"runtime": runtime, "threads": arguments.threads, "quantize": arguments.quantize}
    if way == "timed":
        return octconvert.convert(source, target_time=arguments.target_time, calibration_steps=(), **timed)
    options = {"calibration": False, "octave": arguments.octave, "min_size": arguments.min_size}
    if arguments.objective == "latency":
        options |= {"objective": "latency", **timed}
    if way == "interiors":
        return octconvert.convert(source, 0.0, interior=1.0, **options)
    return octconvert.convert(source, arguments.alpha, preset=PRESETS.get(name), **options)


def _cell(rows) -> str:
    if len(rows) < 2 or any(row.error for row in rows):
        return "; ".join(row.error for row in rows if row.error) or "not installed"
    before, after = rows
    told = f"{before.median:.1f} ms, {after.median:.1f} ms, **{after.speedup:.2f}x**"
    return told if before.memory is None else f"{told} ({after.memory / before.memory:.0%} memory)"


if __name__ == "__main__":
    main()
