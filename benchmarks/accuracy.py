"""Top-1 accuracy of a trained model after conversion without any data: sliced and folded weights.

    python benchmarks/accuracy.py --model MODEL --images IMAGES.npz [--normalization NORMALIZATION.npz]

IMAGES.npz holds ``x`` (uint8 or float images) and ``y`` (class numbers); NORMALIZATION.npz ``mean`` and ``std``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import octconvert

ALPHAS = (0.125, 0.25, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--normalization", type=Path)
    parser.add_argument("--min-size", type=int, default=8)
    arguments = parser.parse_args()
    x, y = _images(arguments.images, arguments.normalization)
    source = octconvert.load(arguments.model)
    print(f"source: {accuracy(source, x, y):.1%} of {len(y)} images")
    print("| alpha | MACs left | convolutions | slice | fold |\n|---|---|---|---|---|")
    for alpha in ALPHAS:
        results = [
            octconvert.convert(source, alpha=alpha, weights=weights, min_size=arguments.min_size)
            for weights in ("slice", "fold")
        ]
        left = results[0].after.macs / results[0].before.macs
        share = f"{len(results[0].plan.converted)}/{len(results[0].plan.convolutions)}"
        scores = " | ".join(f"{accuracy(result.model, x, y):.1%}" for result in results)
        print(f"| {alpha} | {left:.0%} | {share} | {scores} |", flush=True)


def _images(path: Path, normalization: Path | None):
    data = np.load(path)
    x = data["x"].astype("float32")
    if normalization is not None:
        scale = np.load(normalization)
        x = (x - scale["mean"]) / scale["std"]
    return x if x.ndim == 4 else x[..., None], data["y"].reshape(-1)


def accuracy(model, x, y) -> float:
    """Share of images whose largest output is the right class."""
    return float((model.predict(x, batch_size=256, verbose=0).argmax(axis=-1) == y).mean())


if __name__ == "__main__":
    main()
