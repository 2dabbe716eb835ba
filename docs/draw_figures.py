"""Draws the figures of docs/benchmarks.md, and writes its tables, from docs/data/*.json; and the picture of the index.

    pip install -e '.[docs]' && python docs/draw_figures.py

The pictures follow the reader's light or dark scheme. A test compares the tables of the page with the data.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

DOCS = Path(__file__).parent
INK, PAPER = "#24292e", "#fefefe"
"""Colours that become those of the reader's scheme."""
SCHEMES = (
    f"<style>svg {{ --ink: {INK}; --paper: #ffffff }} "
    "@media (prefers-color-scheme: dark) { svg { --ink: #d5d9e2; --paper: #1e2129 } }</style>"
)
STYLES = {
    "source": (INK, "*", "source"),
    "octave": ("#2f7ed8", "o", "octave, one alpha"),
    "interiors": ("#17a2b8", "D", "octave, interiors"),
    "timed": ("#2e9e4f", "s", "octave, by time"),
    "smaller": ("#e07b00", "^", "smaller images"),
    "svd": ("#d64550", "v", "low rank"),
}
WEIGHTS = {
    "real": ("#2f7ed8", "o", "fitted, 2,048 images without labels"),
    "synthetic": ("#17a2b8", "D", "fitted, no data"),
    "fold + BN": ("#2e9e4f", "s", "folded, statistics estimated again"),
    "slice": ("#e07b00", "^", "sliced"),
    "fold": ("#d64550", "v", "folded"),
}
PRECISIONS = ("float32", "int8")
BETWEEN = "(?<=<!-- {0} -->\n).*?(?=<!-- /{0} -->)"


def read(name: str) -> list[dict]:
    return json.loads((DOCS / "data" / f"{name}.json").read_text(encoding="utf-8"))


def draw_alternatives(points: list[dict]) -> Figure:
    """Accuracy over the share of the source's time, for each network and precision."""
    nets = list(dict.fromkeys(point["net"] for point in points))
    figure, axes = plt.subplots(len(nets), 2, figsize=(7.5, 3.4 * len(nets)), squeeze=False, layout="constrained")
    for net, row in zip(nets, axes, strict=True):
        for precision, axis in zip(PRECISIONS, row, strict=True):
            own = [point for point in points if (point["net"], point["precision"]) == (net, precision)]
            for way, style in STYLES.items():
                _line(axis, style, [(100 * p["share"], 100 * p["accuracy"]) for p in own if p["way"] == way])
            best = max(100 * point["accuracy"] for point in own)
            axis.set(ylim=(best - 12, best + 1), xlabel="time, % of the source's (LiteRT)", ylabel="top-1 accuracy, %")
            axis.set_title(f"{net}, {precision}")
    axes[0][0].legend(fontsize="small")
    return figure


def draw_latency(rows: list[dict]) -> Figure:
    """Speed-up for each runtime and model, beside the ratio of the MACs."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, axes = plt.subplots(len(models), 1, figsize=(6, 6.5), sharex=True, sharey=True, layout="constrained")
    for model, axis in zip(models, axes, strict=True):
        runtimes = list(dict.fromkeys(row["runtime"] for row in rows))
        for offset, (way, style) in zip((-0.2, 0.2), (("pairs", "octave"), ("interiors", "smaller")), strict=True):
            own = [row for row in rows if (row["model"], row["way"]) == (model, way)]
            places = [runtimes.index(row["runtime"]) + offset for row in own]
            colour = STYLES[style][0]
            axis.bar(places, [row["speedup"] for row in own], width=0.36, color=colour, label=way)
            axis.axhline(own[0]["macs_ratio"], color=colour, linestyle="--", linewidth=1, label=f"MACs saved, {way}")
        axis.axhline(1, color=INK, linewidth=1)
        axis.set_xticks(range(len(runtimes)), runtimes)
        axis.set_title(model)
    axes[1].set_ylabel("times as fast as the source")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=4)
    return figure


def draw_accuracy(rows: list[dict]) -> Figure:
    """Top-1 error over the share of the MACs, by the way in which the weights were found."""
    figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
    for way, style in WEIGHTS.items():
        _line(axis, style, [(row["macs_percent"], 100 - row["top1_percent"]) for row in rows if row["way"] == way])
    axis.set(xlabel="MACs, % of the source's", ylabel="top-1 error, % (source: 15.9)", xlim=(100, 40), ylim=(10, 80))
    axis.axhline(15.86, color=INK, linewidth=1, linestyle="--")
    axis.legend(fontsize="small")
    return figure


def _line(axis, style: tuple[str, str, str], points: list[tuple[float, float]]) -> None:
    if points:
        colour, marker, label = style
        axis.plot(*zip(*sorted(points), strict=True), color=colour, marker=marker, label=label, linewidth=1.2)
    axis.grid(alpha=0.3)


def draw_octave() -> Figure:
    """The idea: eight channels at full resolution, and half of them at half of it."""
    figure, axis = plt.subplots(figsize=(6.2, 2.1), layout="constrained")
    axis.set(xlim=(0, 16), ylim=(0, 5.2), aspect="equal")
    axis.axis("off")
    for channel in range(8):
        _map(axis, 0.4 + 0.32 * channel, 1.3 + 0.12 * channel, 2, STYLES["octave"][0])
    for channel in range(4):
        _map(axis, 8 + 0.32 * channel, 1.6 + 0.12 * channel, 2, STYLES["octave"][0])
        _map(axis, 12.4 + 0.32 * channel, 1.6 + 0.12 * channel, 1, STYLES["smaller"][0])
    axis.annotate("", xy=(7.4, 2.8), xytext=(5.6, 2.8), arrowprops={"arrowstyle": "->", "color": INK, "lw": 1.5})
    for x, text in ((2.5, "8 channels\n100% of the MACs"), (9.5, "4 high: fine detail"), (13.4, "4 low: the rest")):
        axis.text(x, 1.0, text, ha="center", va="top", color=INK)
    axis.text(11.4, 0.45, "44% of the MACs", ha="center", va="top", color=INK)
    return figure


def _map(axis, x: float, y: float, size: float, colour: str) -> None:
    axis.add_patch(plt.Rectangle((x, y), size, size, facecolor=colour, edgecolor=PAPER, linewidth=1))


def alternatives_table(points: list[dict]) -> str:
    head = "| network | | precision | MACs | time | share of the time | top-1 |\n|---|---|---|---|---|---|---|"
    rows = [
        f"| {p['net']} | {STYLES[p['way']][2]}{'' if p['way'] == p['name'] else ', ' + p['name']} | {p['precision']} "
        f"| {p['macs'] / 1e6:.1f} M | {p['milliseconds']:.2f} ms | {p['share']:.0%} | {p['accuracy']:.1%} |"
        for p in points
    ]
    return "\n".join([head, *rows])


def latency_table(rows: list[dict]) -> str:
    head = "| model | | runtime | MACs | source | converted | speed-up |\n|---|---|---|---|---|---|---|"
    return "\n".join([head, *(
        f"| {r['model']} | {r['way']} | {r['runtime']} | {r['macs_ratio']:.2f}x | {r['source_ms']:.1f} ms "
        f"| {r['octave_ms']:.1f} ms | {r['speedup']:.2f}x |" for r in rows
    )])  # fmt: skip


def accuracy_table(rows: list[dict]) -> str:
    shares = list(dict.fromkeys(row["macs_percent"] for row in rows))
    head = f"| weights | {' | '.join(f'{share:.0f}% of the MACs' for share in shares)} |\n|---|{'---|' * len(shares)}"
    own = {(row["way"], row["macs_percent"]): 100 - row["top1_percent"] for row in rows}
    lines = [
        f"| {label} | {' | '.join(f'{own[way, share]:.1f}%' for share in shares)} |"
        for way, (_, _, label) in WEIGHTS.items()
    ]
    return "\n".join([head, *lines])


FIGURES: dict[str, tuple[Callable, Callable]] = {
    "accuracy": (draw_accuracy, accuracy_table),
    "latency": (draw_latency, latency_table),
    "alternatives": (draw_alternatives, alternatives_table),
}


def page() -> str:
    """docs/benchmarks.md with the tables of the current data."""
    text = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    for name, (_, table) in FIGURES.items():
        written = f"\n{table(read(name))}\n\n"
        text = re.sub(BETWEEN.format(name), lambda _, written=written: written, text, flags=re.DOTALL)
    return text


def save(figure: Figure, path: Path) -> None:
    """Write an SVG whose ink and paper follow the scheme of the reader."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue().replace(INK, "var(--ink)").replace(PAPER, "var(--paper)")
    path.write_text(re.sub(r"(<svg [^>]*>)", rf"\1\n {SCHEMES}", text, count=1), encoding="utf-8")


def main() -> None:
    colours = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    papers = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")
    plt.rcParams.update(dict.fromkeys(colours, INK) | dict.fromkeys(papers, PAPER))
    plt.rcParams["svg.hashsalt"] = "octconvert"  # the same file for the same numbers
    for name, (draw, _) in FIGURES.items():
        save(draw(read(name)), DOCS / "assets" / f"{name}.svg")
    save(draw_octave(), DOCS / "assets" / "octave.svg")
    (DOCS / "benchmarks.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
