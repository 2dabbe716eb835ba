"""The forms for inference side by side: how convolutions are joined and low maps are sampled up, on every runtime.

    python benchmarks/forms.py [MODEL ...] [--alpha 0.5] [--interior 1] [--quantize int8] [--rounds 10]
                               [--runtime tf xla litert onnx openvino]

A cell is the speed-up over the source (in its own form for inference); see `octconvert.inference.emission.Forms`.
Models as in latency.py; batch 1, two threads.
"""

from __future__ import annotations

import argparse

from latency import RUNTIMES
from models import source_and_octave

import octconvert
from octconvert.inference import Forms, for_inference
from octconvert.inference.step_forms import PATHS, POOLINGS, UPSAMPLINGS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=("ResNet50", "MobileNet"))
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--interior", type=float)
    parser.add_argument("--quantize", choices=("int8", "float16", "dynamic"))
    parser.add_argument("--runtime", nargs="+", default=RUNTIMES)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    for name in arguments.models:
        source, result = source_and_octave(name, arguments.alpha, interior=arguments.interior)
        print(f"| {name} | {' | '.join(arguments.runtime)} |\n" + "|---" * (1 + len(arguments.runtime)) + "|")
        for paths in PATHS:
            _rows(source, result.model, paths, arguments)


def _rows(source, octave, paths: str, arguments) -> None:
    """The forms of these paths, beside the source: not all at once, for TensorFlow holds a gigabyte a model."""
    is_int8 = arguments.quantize == "int8"
    made = {"source": for_inference(source, "litert" if is_int8 else None, quantize=arguments.quantize)}
    for pooling in POOLINGS if is_int8 else POOLINGS[:1]:
        for up in UPSAMPLINGS:
            name = ", ".join((paths, up, pooling) if is_int8 else (paths, up))
            made[name] = for_inference(octave, forms=Forms(paths, up, pooling))
    options = {"rounds": arguments.rounds, "quantize": arguments.quantize}
    columns = [octconvert.bench(made, runtimes=name, **options).rows for name in arguments.runtime]
    for told, *cells in zip(made, *columns, strict=True):
        print(f"| {told} | {' | '.join(map(_cell, cells))} |", flush=True)


def _cell(row) -> str:
    return "failed" if row.speedup is None else f"{row.median:.1f} ms, {row.speedup:.2f}x"


if __name__ == "__main__":
    main()
