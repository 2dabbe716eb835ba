r"""Top-1 accuracy of trained models after conversion: weights only moved, calibrated without and with data, distilled.

    python benchmarks/accuracy.py --data CIFAR_DIR [--fashion FASHION_DIR] [--alpha 0.125 0.25 0.5] [--distill]
                                  [--budget SECONDS] [--samples COUNT] [--interior] [--whole-low REGEX ...]
                                  [--target-macs SHARE ...]
    python benchmarks/accuracy.py --model MODEL --images TEST.npz [--calibration DATA.npz] [--normalization N.npz]

CIFAR_DIR holds ``resnet_small.keras``, ``train_12k.npz``, ``test_5k.npz`` (``x``, ``y``) and ``normalization.npz``
(``mean``, ``std``). FASHION_DIR holds the files of Debian's dataset-fashion-mnist; the model is
fixtures/fashion_deep.keras. Calibration reads the first 2,048 training images without their labels; test images are
measured on, and no more.

Where TEST.npz has no ``y``, the agreement with the source is measured in place of the accuracy.

``--interior`` adds a row with the interiors of all blocks whole-low and the main path plain, ``--whole-low REGEX`` one
with those tied groups that a layer of such a name writes. Two of the CIFAR network's three interiors, and all three:

    python benchmarks/accuracy.py --data CIFAR_DIR --alpha --whole-low 's[01]c1' --interior --samples 1024 \
                                  --ways real synthetic

``--target-macs SHARE`` adds a row whose alphas the search chooses (for *real* and *synthetic*).
"""

from __future__ import annotations

import argparse
import gzip
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
import numpy as np

import octconvert
from octconvert.training.augmentation import flip_and_shift

CALIBRATION = 2048
FIXTURES = Path(__file__).parent.parent / "fixtures"


@dataclass(frozen=True, eq=False)
class Task:
    """A trained model with images: to calibrate on (or None), to distil on (or None), to measure on.

    ``options``: of every calibration. ``samples``: training images to calibrate on.
    """

    name: str
    model: keras.Model
    train: np.ndarray | None
    x: np.ndarray
    y: np.ndarray
    options: dict = field(default_factory=dict)
    samples: int = CALIBRATION


@dataclass(frozen=True, eq=False)
class Row:
    """What becomes low: a name for the table, and arguments of `octconvert.convert`."""

    name: str
    options: dict


def main() -> None:
    arguments = _arguments()
    options = {} if arguments.budget is None else {"calibration_budget": arguments.budget}
    for task in _tasks(arguments):
        task = replace(task, options=options, samples=arguments.samples)
        rows = _rows(arguments)
        models = _table(task, rows, arguments.min_size, arguments.ways)
        if arguments.distill and task.train is not None:
            for name in ("real", "real, target_macs"):
                if name in models:
                    _distilled(task, f"{rows[-1].name}, {name}", models[name])


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--normalization", type=Path)
    parser.add_argument("--alpha", type=float, nargs="*", default=[0.125, 0.25, 0.5])
    parser.add_argument("--whole-low", nargs="*", default=[], metavar="REGEX", help="rows with these groups whole-low")
    parser.add_argument("--interior", action="store_true", help="a row with the interiors of all blocks whole-low")
    parser.add_argument("--target-macs", type=float, nargs="*", default=[], metavar="SHARE", help="rows at these MACs")
    parser.add_argument("--min-size", type=int, default=1)
    parser.add_argument("--budget", type=float, help="seconds of every calibration; default: what convert takes")
    parser.add_argument("--samples", type=int, default=CALIBRATION, help="training images to calibrate on")
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--distill", action="store_true")
    return parser.parse_args()


def _rows(arguments) -> list[Row]:
    rows = [Row(f"alpha {alpha}", {"alpha": alpha}) for alpha in arguments.alpha]
    for regex in arguments.whole_low:
        rows.append(Row(f"whole-low `{regex}`", {"alpha": 0.0, "alpha_map": {regex: 1.0}}))
    if arguments.interior:
        rows.append(Row("interiors whole-low", {"alpha": 0.0, "interior": 1.0}))
    rows += [Row("chosen", {"target_macs": share}) for share in arguments.target_macs]
    return rows


def _tasks(arguments):
    if arguments.data is not None:
        folder = arguments.data
        train = _images(folder / "train_12k.npz", folder / "normalization.npz")[0]
        x, y = _images(folder / "test_5k.npz", folder / "normalization.npz")
        yield Task("CIFAR-10", octconvert.load(folder / "resnet_small.keras"), train, x, y)
    if arguments.fashion is not None:
        train, _ = _fashion(arguments.fashion, "train")
        x, y = _fashion(arguments.fashion, "t10k")
        yield Task("Fashion-MNIST", octconvert.load(FIXTURES / "fashion_deep.keras"), train, x, y)
    if arguments.model is not None:
        x, y = _images(arguments.images, arguments.normalization)
        given = arguments.calibration
        train = None if given is None else _images(given, arguments.normalization)[0]
        model = octconvert.load(arguments.model)
        if y is None:
            print("no labels: agreement with the source in place of accuracy")
            y = _classes(model, x)
        yield Task(arguments.model.name, model, train, x, y)


def _images(path: Path, normalization: Path | None):
    data = np.load(path)
    x = data["x"].astype("float32")
    if normalization is not None:
        scale = np.load(normalization)
        x = (x - scale["mean"]) / scale["std"]
    y = data["y"].reshape(-1) if "y" in data else None
    return (x if x.ndim == 4 else x[..., None]).astype("float32"), y


def _fashion(folder: Path, part: str):
    with gzip.open(next(folder.glob(f"{part}-images*.gz"))) as file:
        x = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28, 1) / np.float32(255)
    with gzip.open(next(folder.glob(f"{part}-labels*.gz"))) as file:
        return x, np.frombuffer(file.read(), np.uint8, offset=8)


def accuracy(model, task: Task) -> float:
    """Share of the test images whose largest output is the right class."""
    return float((_classes(model, task.x) == task.y).mean())


def _classes(model, x: np.ndarray) -> np.ndarray:
    return model.predict(x, batch_size=256, verbose=0).argmax(axis=-1)


# ---- ways to convert: (task, row, min_size) -> model


def _moved(weights: str):
    def convert(task: Task, row: Row, min_size: int):
        options = {**row.options, "weights": weights, "min_size": min_size, "calibration": False}
        return octconvert.convert(task.model, **options).model

    return convert


def _renormalized(task: Task, row: Row, min_size: int):
    """Folded, and every BatchNormalization's statistics taken anew from the calibration images."""
    model = _moved("fold")(task, row, min_size)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    images = task.train[: task.samples]
    for _ in range(2):  # the first pass moves what the second one measures behind it
        for number, batch in enumerate(np.array_split(images, 8)):
            for layer in layers:
                layer.momentum = number / (number + 1)
            model(batch, training=True)
    return model


def _synthetic(task: Task, row: Row, min_size: int):
    return octconvert.convert(task.model, **row.options, min_size=min_size, **task.options).model


def _real(task: Task, row: Row, min_size: int):
    images = task.train[: task.samples]
    return octconvert.convert(task.model, **row.options, min_size=min_size, **task.options, calibration=images).model


def _searched(task: Task, row: Row, min_size: int):
    """The MACs of the row, with alphas chosen by the search."""
    images = task.train[: task.samples]
    return octconvert.convert(
        task.model, target_macs=_share(task, row, min_size), min_size=min_size, calibration=images, **task.options
    ).model


def _share(task: Task, row: Row, min_size: int) -> float:
    """MACs of a row, as a share of the source's; at most."""
    if "target_macs" in row.options:
        return row.options["target_macs"]
    moved = octconvert.convert(task.model, **row.options, min_size=min_size, calibration=False)
    return moved.after.macs / moved.before.macs


WAYS = {
    "slice": _moved("slice"),
    "fold": _moved("fold"),
    "fold + BN": _renormalized,
    "synthetic": _synthetic,
    "real": _real,
    "real, target_macs": _searched,
}
_NEED_DATA = ("fold + BN", "real", "real, target_macs")


def _table(task: Task, rows: list[Row], min_size: int, wanted) -> dict:
    """Prints it; the models of the last row."""
    ways = {name: WAYS[name] for name in wanted if task.train is not None or name not in _NEED_DATA}
    print(f"{task.name}: source {accuracy(task.model, task):.2%} of {len(task.y):,} test images")
    print(f"| low | MACs left | {' | '.join(ways)} |\n|---|---|{'---|' * len(ways)}", flush=True)
    models = {}
    for row in rows:
        cells = []
        for name, convert in ways.items():
            started = time.perf_counter()
            model = models[name] = convert(task, row, min_size)
            cells.append(f"{accuracy(model, task):.2%} ({time.perf_counter() - started:.0f} s)")
        print(f"| {row.name} | {_share(task, row, min_size):.0%} | {' | '.join(cells)} |", flush=True)
    return models


def _distilled(task: Task, name: str, model) -> None:
    """Three epochs towards the source's outputs on 12,000 training images."""
    started = time.perf_counter()
    octconvert.distill(task.model, model, task.train[:12_000], epochs=3, augment=flip_and_shift, verbose=0)
    seconds = time.perf_counter() - started
    print(f"{name}, distilled for 3 epochs: {accuracy(model, task):.2%} ({seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
