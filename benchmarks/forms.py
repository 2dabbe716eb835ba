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
from octconvert.inference.emission import PATHS, UPSAMPLINGS

FORMS = {f"{paths}, {upsampling}": Forms(paths, upsampling) for paths in PATHS for upsampling in UPSAMPLINGS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=("ResNet50", "MobileNet"))
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--runtime", nargs="+", default=RUNTIMES)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    for name in arguments.models:
        source, result = source_and_octave(name, arguments.alpha)
        made = {"source": for_inference(source)}
        made |= {told: for_inference(result.model, forms=forms) for told, forms in FORMS.items()}
        columns = {
            runtime: octconvert.bench(made, runtimes=runtime, rounds=arguments.rounds).rows
            for runtime in arguments.runtime
        }
        print(f"| {name} | {' | '.join(columns)} |\n" + "|---" * (1 + len(columns)) + "|")
        for number, told in enumerate(made):
            cells = (rows[number] for rows in columns.values())
            print(f"| {told} | {' | '.join(_cell(row) for row in cells)} |", flush=True)


def _cell(row) -> str:
    return "failed" if row.speedup is None else f"{row.median:.1f} ms, {row.speedup:.2f}x"


if __name__ == "__main__":
    main()
