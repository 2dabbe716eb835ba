"""Draws docs/assets/alternatives.svg from docs/assets/alternatives.json, which benchmarks/alternatives.py writes.

pip install -e '.[docs]' && python docs/draw_alternatives.py
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt

ASSETS = Path(__file__).parent / "assets"
STYLES = {
    "source": ("k", "*", "source"),
    "octave": ("tab:blue", "o", "octave, one alpha"),
    "interiors": ("tab:cyan", "D", "octave, interiors"),
    "timed": ("tab:green", "s", "octave, by time"),
    "smaller": ("tab:orange", "^", "smaller images"),
    "svd": ("tab:red", "v", "low rank"),
}
PRECISIONS = ("float32", "int8")


def main() -> None:
    points = json.loads((ASSETS / "alternatives.json").read_text())
    nets = list(dict.fromkeys(point["net"] for point in points))
    plt.rcParams["svg.hashsalt"] = "alternatives"  # the same file for the same numbers
    figure, axes = plt.subplots(len(nets), 2, figsize=(10, 4 * len(nets)), squeeze=False, layout="constrained")
    for net, row in zip(nets, axes, strict=True):
        for precision, axis in zip(PRECISIONS, row, strict=True):
            _panel(axis, [point for point in points if (point["net"], point["precision"]) == (net, precision)])
            axis.set_title(f"{net}, {precision}")
    axes[0][0].legend(fontsize="small")
    figure.savefig(ASSETS / "alternatives.svg", metadata={"Date": None})


def _panel(axis, points: list[dict]) -> None:
    """Accuracy over the share of the source's time."""
    for way, (colour, marker, label) in STYLES.items():
        own = sorted((100 * point["share"], 100 * point["accuracy"]) for point in points if point["way"] == way)
        if own:
            axis.plot(*zip(*own, strict=True), color=colour, marker=marker, label=label, linewidth=1)
    axis.set_xlabel("time, % of the source's (LiteRT)")
    axis.set_ylabel("top-1 accuracy, %")
    best = max(100 * point["accuracy"] for point in points)
    axis.set_ylim(best - 12, best + 1)
    axis.grid(alpha=0.3)


if __name__ == "__main__":
    main()
