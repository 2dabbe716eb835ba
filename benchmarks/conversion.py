"""Seconds and peak memory of a conversion, beside ``keras.models.clone_model`` + ``set_weights`` of the same model.

    python benchmarks/conversion.py [MODEL ...] [--rounds 3] [--json FILE]

MODEL is a name in keras.applications. Every model has a process of its own for the times (both ways interleaved,
medians) and one for each way's memory. Memory is what the peak adds to the loaded model, in units of its weights;
it is read from /proc, so only on Linux.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

DEFAULT_MODELS = ("ResNet50", "EfficientNetB7", "NASNetLarge")
WAYS = ("clone", "convert")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=DEFAULT_MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", choices=("time", *WAYS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_child(arguments.models[0], arguments.child, arguments.rounds)))
        return
    rows = [_measure(name, arguments.rounds) for name in arguments.models]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


def _measure(name: str, rounds: int) -> dict:
    if not getattr(_measure, "headed", False):
        _measure.headed = True
        print("| model | layers | clone | convert | ratio | ms a layer | memory clone | memory convert |")
        print("|---" * 8 + "|")
    row = {"model": name, **_run_child(name, "time", rounds)}
    row["memory"] = {way: _run_child(name, way, rounds)["peak_over_weights"] for way in WAYS}
    ratio = row["convert"] / row["clone"]
    memory = " | ".join(f"{row['memory'][way]:.2f} x" for way in WAYS)
    print(
        f"| {name} | {row['layers']} | {row['clone']:.2f} s | {row['convert']:.2f} s | {ratio:.2f} | "
        f"{1000 * row['convert'] / row['layers']:.1f} | {memory} |",
        flush=True,
    )
    return row


def _run_child(name: str, what: str, rounds: int) -> dict:
    command = [sys.executable, __file__, name, "--child", what, "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    if done.returncode:
        raise SystemExit(f"{name} ({what}) failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _child(name: str, what: str, rounds: int) -> dict:
    import keras

    model = getattr(keras.applications, name)(weights=None)
    if what == "time":
        _once(model, "clone"), _once(model, "convert")  # first calls trace and import
        times = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                times[way].append(_once(model, way))
        return {"layers": len(model.layers), **{way: statistics.median(found) for way, found in times.items()}}
    weights = sum(int(w.size) * w.dtype.itemsize for w in map(_array, model.weights))
    gc.collect()
    loaded = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    _once(model, what)
    return {"peak_over_weights": (_memory("VmHWM") - loaded) / weights}


def _array(variable):
    import numpy as np

    return np.empty(variable.shape, dtype=variable.dtype)


def _once(model, way: str) -> float:
    import keras

    import octconvert

    gc.collect()
    started = time.perf_counter()
    if way == "clone":
        keras.models.clone_model(model).set_weights(model.get_weights())
    else:
        octconvert.convert(model, alpha=0.5, calibration=False)
    return time.perf_counter() - started


def _memory(key: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"no {key} on this system")


if __name__ == "__main__":
    main()
