r"""What else makes a trained CNN cheaper: accuracy over measured time, each way in float32 and in int8 (LiteRT).

    python benchmarks/alternatives.py --data CIFAR_DIR [--fashion FASHION_DIR] [--samples 1024] [--budget SECONDS]
                                      [--rounds 9] [--ways octave interiors timed smaller svd] [--json RESULT.json]

All ways are post-training, on the same unlabelled images: *octave* (one alpha), *interiors* (whole-low inside blocks),
*timed* (``target_time`` in each precision), *smaller* (the same model, fed smaller images) and *svd* (every
convolution as two of a lower rank; the rank by the energy of its responses, the weights by reduced-rank regression on
what the smaller model itself computes: Zhang et al. 2016, arXiv 1505.06798, with the same ridge as ours). Models, data
and the folders are those of accuracy.py. Times are medians of interleaved rounds, batch 1, two threads, all in their
form for inference.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
from accuracy import Task, _tasks
from keras import layers, ops

import octconvert
from octconvert.errors import CheckError
from octconvert.pipeline.source import copied_at
from octconvert.runtimes import find
from octconvert.runtimes.signature import signature_of

PRECISIONS = (None, "int8")
ALPHAS, TIMES, SIZES, ENERGIES = (0.25, 0.5, 0.75), (0.85, 0.7, 0.55, 0.4), (0.875, 0.75, 0.625), (0.98, 0.95, 0.9, 0.8)
"""``SIZES``: of images, as shares of their own."""
POSITIONS, RIDGE, FEWEST = 40_000, 1e-4, 16
"""Positions that a convolution is fitted to at most, and output channels below which it stays as it is."""


@dataclass(frozen=True, eq=False)
class Variant:
    """A cheaper model. ``precision``: the one that it is meant for; None: both. ``size``: of its images."""

    way: str
    name: str
    model: keras.Model
    size: int
    precision: str | None = None


@dataclass(frozen=True)
class Point:
    """One variant in one precision: a point of the figure."""

    net: str
    way: str
    name: str
    precision: str
    macs: int
    milliseconds: float
    share: float
    accuracy: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--budget", type=float)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    points: list[Point] = []
    for task in _tasks(argparse.Namespace(**vars(arguments), model=None)):
        options = {} if arguments.budget is None else {"calibration_budget": arguments.budget}
        task = replace(task, options=options, samples=arguments.samples)
        variants = [Variant("source", "source", task.model, task.x.shape[1])]
        for way in arguments.ways:
            variants += WAYS[way](task)
        points += _measured(task, variants, arguments.rounds)
        if arguments.json is not None:
            _keep(arguments.json, points)


def _keep(path: Path, points: list[Point]) -> None:
    """Those of other networks stay in the file."""
    nets = {point.net for point in points}
    others = [each for each in json.loads(path.read_text()) if each["net"] not in nets] if path.exists() else []
    path.write_text(json.dumps([*others, *(asdict(point) for point in points)], indent=1))


# ---- the ways


def _octave(task: Task) -> list[Variant]:
    return [_converted(task, "octave", f"alpha {alpha}", alpha=alpha) for alpha in ALPHAS]


def _interiors(task: Task) -> list[Variant]:
    return [_converted(task, "interiors", "interiors", alpha=0.0, interior=1.0)]


def _timed(task: Task) -> list[Variant]:
    """For each precision its own choices."""
    found = []
    for precision in PRECISIONS:
        for share in TIMES:
            options = {"target_time": share, "runtime": "litert", "quantize": precision}
            try:
                name = f"target_time {share}"
                found.append(replace(_converted(task, "timed", name, **options), precision=precision or "float32"))
            except (octconvert.UsageError, CheckError) as error:
                print(f"  {precision or 'float32'}: {error}", flush=True)
    return found


def _converted(task: Task, way: str, name: str, **options) -> Variant:
    images = task.train[: task.samples]
    result = octconvert.convert(task.model, **options, min_size=1, calibration=images, **task.options)
    return Variant(way, name, result.model, task.x.shape[1])


def _smaller(task: Task) -> list[Variant]:
    own, channels = task.x.shape[2:]
    sizes = [round(share * own) for share in SIZES]
    return [Variant("smaller", f"{size}x{size}", copied_at(task.model, (size, size, channels)), size) for size in sizes]


def _svd(task: Task) -> list[Variant]:
    folded = octconvert.for_inference(task.model, "litert")
    images = task.train[: task.samples]
    return [Variant("svd", f"energy {e}", _low_rank(folded, images, e), task.x.shape[1]) for e in ENERGIES]


WAYS = {"octave": _octave, "interiors": _interiors, "timed": _timed, "smaller": _smaller, "svd": _svd}


# ---- low rank


def _low_rank(model: keras.Model, images: np.ndarray, energy: float) -> keras.Model:
    """Every convolution in order, fitted to its responses in the source, given what comes in now."""
    result = keras.models.clone_model(model)
    result.set_weights(model.get_weights())
    names = [layer.name for layer in model.layers if _is_candidate(layer)]
    for name in names:
        layer = model.get_layer(name)
        responses = _responses(model, layer, images)
        patches = _patches(layer, _input_of(result, name, images))
        factors = _factors(patches, responses, energy)
        rank = factors[0].shape[1]
        rows, columns, channels, outputs = layer.kernel.shape
        if rank * (rows * columns * channels + outputs) < 0.9 * rows * columns * channels * outputs:
            result = _with_factors(result, name, layer, factors)
    return result


def _is_candidate(layer) -> bool:
    return type(layer) is layers.Conv2D and layer.groups == 1 and layer.filters >= FEWEST


def _input_of(model: keras.Model, name: str, images: np.ndarray) -> np.ndarray:
    return keras.Model(model.inputs, model.get_layer(name).input).predict(images, batch_size=128, verbose=0)


def _responses(model: keras.Model, layer, images: np.ndarray) -> np.ndarray:
    """(sampled positions, channels): what the convolution computes in the source, without its activation."""
    kernel, bias = (ops.convert_to_numpy(each) for each in (layer.kernel, layer.bias))
    return _sampled(layer, kernel, _input_of(model, layer.name, images)) + bias


def _patches(layer, x: np.ndarray) -> np.ndarray:
    """(sampled positions, rows * columns * channels): what the kernel reads."""
    shape = layer.kernel.shape[:3]
    return _sampled(layer, np.eye(int(np.prod(shape)), dtype="float32").reshape(*shape, -1), x)


def _sampled(layer, kernel: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A convolution of this kernel at some of its positions, the same for each call."""
    rng, parts = np.random.default_rng(0), []
    for part in np.array_split(x, max(1, len(x) // 16)):
        y = ops.convert_to_numpy(ops.conv(part, kernel, layer.strides, layer.padding)).reshape(-1, kernel.shape[-1])
        parts.append(y[rng.permutation(len(y))[: max(1, POSITIONS * len(part) // len(x))]])
    return np.concatenate(parts).astype("float64")


def _factors(patches: np.ndarray, responses: np.ndarray, energy: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernels and bias of ``patches @ first @ last + bias``, the best of their rank (reduced-rank regression)."""
    means = patches.mean(0), responses.mean(0)
    x, y = patches - means[0], responses - means[1]
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += RIDGE * np.trace(gram) / len(gram)
    full = np.linalg.solve(gram, x.T @ y)
    values, vectors = np.linalg.eigh((x @ full).T @ (x @ full))
    kept = np.cumsum(values[::-1]) / values.sum()
    basis = vectors[:, ::-1][:, : int(np.searchsorted(kept, energy)) + 1]
    first, last = full @ basis, basis.T
    return first, last, means[1] - means[0] @ first @ last


def _with_factors(model: keras.Model, name: str, layer, factors) -> keras.Model:
    """The model with one convolution as two."""
    first, last, bias = factors
    pair = keras.Sequential(
        [
            layers.Conv2D(first.shape[1], layer.kernel_size, layer.strides, layer.padding, use_bias=False),
            layers.Conv2D(layer.filters, 1, activation=layer.activation),
        ],
        name=name,
    )
    changed = keras.models.clone_model(
        model, clone_function=lambda each: pair if each.name == name else type(each).from_config(each.get_config())
    )
    for each in changed.layers:
        if each.name != name:
            each.set_weights(model.get_layer(each.name).get_weights())
    pair.set_weights([first.reshape(*layer.kernel.shape[:3], -1), last[None, None], bias])
    return changed


# ---- measuring


def _measured(task: Task, variants: list[Variant], rounds: int) -> list[Point]:
    points = []
    print(
        f"{task.name}\n| way | | precision | MACs | ms | of the source's time | accuracy |\n|{'---|' * 7}", flush=True
    )
    for precision in PRECISIONS:
        label = precision or "float32"
        chosen = [each for each in variants if each.precision in (None, label)]
        times = octconvert.bench(
            {f"{number} {each.name}": each.model for number, each in enumerate(chosen)},
            runtimes=["litert"],
            rounds=rounds,
            for_inference=True,
            quantize=precision,
        )
        for variant, row in zip(chosen, times.rows, strict=True):
            if row.median is None:
                print(f"| {variant.way} | {variant.name} | {label} | can not be run: {row.error} |", flush=True)
                continue
            accuracy = _accuracy(task, variant, precision)
            share = row.median / times.rows[0].median
            point = Point(task.name, variant.way, variant.name, label, row.macs, row.median, share, accuracy)
            points.append(point)
            print(
                f"| {point.way} | {point.name} | {label} | {point.macs / 1e6:.1f} M | {point.milliseconds:.3f} |"
                f" {share:.0%} | {accuracy:.2%} |",
                flush=True,
            )
    return points


def _accuracy(task: Task, variant: Variant, precision: str | None) -> float:
    """Of the exported file on the test images."""
    test, data = (_resized(images, variant.size) for images in (task.x, task.train[: task.samples]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        octconvert.export(variant.model, path, quantize=precision, calibration=data if precision else None, batch=50)
        session = find("litert").open(path, threads=2)
        (name,) = (each.name for each in signature_of(variant.model, 50))
        outputs = [np.array(session({name: part})[0]) for part in np.split(test, len(test) // 50)]
    return float((np.concatenate(outputs).argmax(axis=-1) == task.y).mean())


def _resized(images: np.ndarray, size: int) -> np.ndarray:
    if images.shape[1] == size:
        return images
    parts = np.array_split(images, max(1, len(images) // 500))
    resized = (ops.image.resize(part, (size, size), antialias=True) for part in parts)
    return np.concatenate([ops.convert_to_numpy(part) for part in resized])


if __name__ == "__main__":
    main()
