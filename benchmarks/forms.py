"""The forms for inference side by side: how convolutions are joined and low maps are sampled up, on every runtime.

    python benchmarks/forms.py [MODEL ...] [--alpha 0.5] [--runtime tf xla litert onnx openvino] [--rounds 10]

A cell is the speed-up over the source (in its own form for inference); see `octconvert.inference.emission.Forms`.
Models as in latency.py; batch 1, two threads.
"""

from __future__ import annotations

import argparse

from latency import RUNTIMES
from models import source_and_octave

import octconvert
from octconvert.inference import Forms, for_inference
from octconvert.inference.step_forms import PATHS, UPSAMPLINGS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=("ResNet50", "MobileNet"))
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--runtime", nargs="+", default=RUNTIMES)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    for name in arguments.models:
        source, result = source_and_octave(name, arguments.alpha)
        print(f"| {name} | {' | '.join(arguments.runtime)} |\n" + "|---" * (1 + len(arguments.runtime)) + "|")
        for paths in PATHS:
            _rows(source, result.model, paths, arguments)


def _rows(source, octave, paths: str, arguments) -> None:
    """The forms of these paths, beside the source: not all at once, for TensorFlow holds a gigabyte a model."""
    made = {"source": for_inference(source)}
    made |= {f"{paths}, {each}": for_inference(octave, forms=Forms(paths, each)) for each in UPSAMPLINGS}
    columns = [octconvert.bench(made, runtimes=name, rounds=arguments.rounds).rows for name in arguments.runtime]
    for told, *cells in zip(made, *columns, strict=True):
        print(f"| {told} | {' | '.join(map(_cell, cells))} |", flush=True)


def _cell(row) -> str:
    return "failed" if row.speedup is None else f"{row.median:.1f} ms, {row.speedup:.2f}x"


if __name__ == "__main__":
    main()
