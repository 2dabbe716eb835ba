"""Seconds of a calibration, the share of each step, and how well it keeps to its budget.

    python benchmarks/calibration.py [MODEL ...] [--budget SECONDS ...] [--alpha 0.5] [--json FILE]

MODEL is ``fashion_cnn``, ``fashion_deep``, ``images`` (an image-to-image network, 400x600) or a name in
keras.applications (random weights), or a file. Each run has a process of its own, and is calibrated on synthetic
images, or with ``--calibration FILE`` on those.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

FIXTURES = Path(__file__).parent.parent / "fixtures"
FILES = {"fashion_cnn": FIXTURES / "fashion_cnn.h5", "fashion_deep": FIXTURES / "fashion_deep.keras"}
DEFAULT_MODELS = ("fashion_cnn", "fashion_deep", "MobileNetV2", "ResNet50", "images", "EfficientNetB0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=DEFAULT_MODELS)
    parser.add_argument("--budget", type=float, nargs="*", default=[None])
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--calibration", help="a file of images; default: synthetic ones")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_child(arguments.models[0], arguments)))
        return
    rows = [_measure(name, budget, arguments) for name in arguments.models for budget in arguments.budget]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


def _measure(name: str, budget: float | None, arguments: argparse.Namespace) -> dict:
    command = [sys.executable, __file__, name, "--child", "--alpha", str(arguments.alpha)]
    command += [] if budget is None else ["--budget", str(budget)]
    command += [] if arguments.calibration is None else ["--calibration", arguments.calibration]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    row = json.loads(done.stdout.splitlines()[-1])
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in row["stages"].items() if seconds >= 0.5)
    print(
        f"{name}: {row['seconds']:.1f} s in all ({row['processor']:.1f} s of the processor), calibration"
        f" {row['calibration']:.1f} of {row['budget']:g} s; error {row['before']:.4g} -> {row['after']:.4g}"
    )
    print(f"    {stages}")
    for step in row["steps"]:
        print(f"    {step['name']} {step['seconds']:.1f} s, {'kept' if step['kept'] else 'not kept'}: {step['detail']}")
    sys.stdout.flush()
    return row


def _child(name: str, arguments: argparse.Namespace) -> dict:
    import octconvert
    from octconvert.options.calibration import CalibrationOptions

    model, options = _model(name)
    budget, data = arguments.budget[0], arguments.calibration
    stages: dict[str, float] = {}
    now = ["", time.monotonic()]

    def progress(stage: str, done: int, total: int) -> None:
        moment = time.monotonic()
        stages[now[0]] = stages.get(now[0], 0.0) + moment - now[1]
        now[:] = [stage, moment]

    started, processor = time.monotonic(), time.process_time()
    result = octconvert.convert(
        model, alpha=arguments.alpha, calibration=data, calibration_budget=budget, progress=progress, **options
    )
    seconds, processor = time.monotonic() - started, time.process_time() - processor
    progress("", 0, 0)
    report = result.report.calibration
    if report is None:
        raise SystemExit("not calibrated: " + "; ".join(result.report.notes))
    errors = {measure.name: measure for measure in report.measures}["relative error"]
    return {
        "model": name,
        "budget": budget or CalibrationOptions(data=arguments.calibration).seconds,
        "seconds": seconds,
        "processor": processor,
        "calibration": report.seconds,
        "cut": list(report.cut),
        "before": errors.before,
        "after": errors.after,
        "samples": report.samples,
        "held_out": report.held_out,
        "stages": {stage: seconds for stage, seconds in stages.items() if stage},
        "steps": [
            {"name": step.name, "kept": step.kept, "seconds": step.seconds, "detail": step.detail}
            for step in report.steps
        ],
    }


def _model(name: str):
    """The model, and options that it needs."""
    import keras

    import octconvert

    if name in FILES or Path(name).suffix:
        return octconvert.load(FILES.get(name, Path(name))), {}
    if name == "images":
        inputs = x = keras.Input((400, 600, 3))
        for _ in range(5):
            x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
        return keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same")(x)), {"input_range": (0, 1)}
    keras.utils.set_random_seed(0)
    return _normalized(getattr(keras.applications, name)(weights=None)), {}


def _normalized(model):
    """With the statistics that BatchNormalization has of some images: with random weights values vanish else."""
    import keras

    from octconvert.calibration.data.synthetic import dead_leaves

    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    rows, columns = model.input_shape[1:3]
    model(dead_leaves(8, rows, columns) - 0.5, training=True)
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum
    return model


if __name__ == "__main__":
    main()
