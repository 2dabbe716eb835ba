"""What converts: every model of keras.applications (and others) in one table that is generated, never typed.

    python benchmarks/zoo.py [MODEL ...] [--others] [--json FILE] [--markdown FILE] [--page FILE] [--fresh]

Every model has random weights and a process of its own, so its memory is free again when it ends. Results are kept in
the JSON file after every model, and a model that is in it is not measured again without ``--fresh``. ``--others`` adds
models of other packages (`pip install -e '.[zoo]'`); a package that is not there is skipped with a line that says so.
``--page`` replaces what stands between ``<!-- zoo -->`` and ``<!-- /zoo -->`` in that file.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
ALPHA = 0.5
MARKERS = ("<!-- zoo -->", "<!-- /zoo -->")
COSTS = ("macs", "parameters", "activation_bytes", "peak_activation_bytes")
HEADINGS = (
    "model",
    "convolutions in octave layers",
    "their MACs",
    "octave=1",
    "reload",
    "at defaults",
    "MACs",
    "parameters",
    "activations",
    "peak",
    "convert",
    "ms a layer",
    "left plain at min_size=1, and why",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="names in keras.applications; all of them where none is named")
    parser.add_argument("--others", action="store_true", help="models of other packages")
    parser.add_argument("--json", type=Path, default=HERE / "zoo.json")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--fresh", action="store_true", help="measure again what the JSON file holds")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if arguments.child:
        print(json.dumps(measure(arguments.child)))
        return
    labels = arguments.models or (other_labels() if arguments.others else application_names())
    known = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    for number, label in enumerate(labels, 1):
        if arguments.fresh or label not in known:
            print(f"{number}/{len(labels)} {label}", file=sys.stderr, flush=True)
            known[label] = in_a_process(label)
            write(arguments.json, json.dumps(known, indent=1) + "\n")
    table = markdown({label: known[label] for label in labels})
    print(table)
    if arguments.markdown:
        write(arguments.markdown, table + "\n")
    if arguments.page:
        write(arguments.page, between_markers(arguments.page.read_text(), table))


def application_names() -> list[str]:
    """Every constructor of keras.applications, as this Keras has them."""
    code = "import json, keras; print(json.dumps([n for n in dir(keras.applications) if n[0].isupper()]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def other_labels() -> list[str]:
    import zoo_others

    return zoo_others.labels()


def in_a_process(label: str) -> dict:
    """The row of one model; where the process fails, the last line of what it said."""
    command = [sys.executable, str(Path(__file__)), "--child", label]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    said = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
    return {"error": said[-1][:300]}


def measure(label: str) -> dict:
    """All numbers of one model."""
    import octconvert
    from octconvert.model import examples
    from octconvert.model.execution import run
    from octconvert.verification import checks

    model, names = randomise(build(label)), named(label)
    samples = examples.example_inputs(model)
    expected = run(model, samples)
    scale = [float(abs(output).max()) for output in expected]
    twin = octconvert.convert(model, alpha=ALPHA, octave=1, min_size=1, elementwise=names, calibration=False)
    oracle = checks.largest_difference(expected, run(twin.model, samples))
    del twin
    gc.collect()
    started = time.perf_counter()
    everything = octconvert.convert(model, alpha=ALPHA, min_size=1, elementwise=names, calibration=False)
    seconds = time.perf_counter() - started
    row = {
        "oracle": oracle,
        "scale": scale,
        "everything": summary(everything),
        "reload": reload_difference(everything, model, samples),
        "seconds": seconds,
        "layers": len(list(model._flatten_layers(include_self=False))),
    }
    del everything
    gc.collect()
    return {**row, "defaults": summary(octconvert.convert(model, alpha=ALPHA, elementwise=names, calibration=False))}


def build(label: str):
    import keras

    if not hasattr(keras.applications, label):
        import zoo_others

        return zoo_others.build(label)
    constructor = getattr(keras.applications, label)
    return constructor(weights=None, classifier_activation=None)


def named(label: str) -> tuple[str, ...]:
    """Layers of the model's package that octconvert has to be told of."""
    package = label.partition("/")[0]
    if package == label:
        return ()
    import zoo_others

    return zoo_others.ELEMENTWISE.get(package, ())


def randomise(model):
    """Random weights of a useful size; activations neither vanish nor grow: large ones in gates would make any rounding
    a large difference."""
    import numpy as np

    rng = np.random.default_rng(0)
    for weight in model.weights:
        shape, name = tuple(weight.shape), weight.path.rsplit("/", 1)[-1]
        if len(shape) > 1:
            fan = np.prod(shape[:2] if "depthwise" in weight.path else shape[:-1])
            value = rng.standard_normal(shape, dtype="float32") / np.sqrt(fan)
        elif any(part in name for part in ("variance", "gamma", "scale")):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = 0.3 * rng.standard_normal(shape)
        if "float" in weight.dtype:
            weight.assign(value)
    measure_statistics(model)
    return model


def measure_statistics(model) -> None:
    """BatchNormalization's statistics are those of random samples; channels that hardly vary are not made to."""
    import keras
    import numpy as np

    from octconvert.model import examples

    norms = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(keras.tree.pack_sequence_as(model._inputs_struct, examples.example_inputs(model, batch=4)), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        variance = np.array(keras.ops.convert_to_numpy(norm.moving_variance))
        norm.moving_variance.assign(np.maximum(variance, 0.3 * variance.mean()))


def summary(result) -> dict:
    """What a conversion did, as values."""
    plain = Counter(row.reason for row in result.convolutions if row.role == "plain")
    costs = {name: [getattr(cost, name) for cost in (result.before, result.after)] for name in COSTS}
    return {
        "converted": len(result.report.converted),
        "convolutions": len(result.convolutions),
        "mac_share": result.report.octave_mac_share,
        "plain": dict(plain.most_common()),
        "ends": dict(Counter(end.reason for chain in result.plan.chains for end in chain.ends)),
        "notes": list(result.report.notes),
        **costs,
    }


def reload_difference(result, model, samples) -> float | str:
    """The saved model against the one in memory; in words where the source's own file does not load either."""
    import octconvert
    from octconvert.model.execution import run
    from octconvert.verification import checks

    classes = {type(layer).__name__: type(layer) for layer in model._flatten_layers(include_self=False)}
    own = {name: found for name, found in classes.items() if not found.__module__.startswith("keras.src.layers.")}
    expected = run(result.model, samples)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        result.model.save(path)
        try:
            loaded = octconvert.load(path, unsafe=True, custom_objects=own)
        except octconvert.OctconvertError:
            if _loads(model, path, own):
                raise
            return "as the source: its own file does not load"
        return checks.largest_difference(expected, run(loaded, samples))


def _loads(model, path: Path, custom_objects: dict) -> bool:
    import keras

    model.save(path)
    try:
        keras.saving.load_model(path, custom_objects=custom_objects, safe_mode=False)
    except Exception:  # anything Keras raises about a file it can not load
        return False
    return True


def write(path: Path, text: str) -> None:
    """A reader sees the old file or the new one."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text)
    temporary.replace(path)


def markdown(rows: dict[str, dict]) -> str:
    """The table, and one line of totals."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
    lines += [f"| {' | '.join(cells(label, row))} |" for label, row in rows.items()]
    return "\n".join([*lines, "", totals(rows)])


def cells(label: str, row: dict) -> list[str]:
    if "error" in row:
        return [label, "failed", *[""] * (len(HEADINGS) - 3), row["error"].replace("|", "/")]
    everything, defaults = row["everything"], row["defaults"]
    told = [note for note in everything["notes"] if "can not be seen" in note]
    ratios = [f"{100 * defaults[name][1] / max(defaults[name][0], 1):.1f}%" for name in COSTS]
    return [
        label,
        f"{everything['converted']}/{everything['convolutions']}",
        f"{100 * everything['mac_share']:.1f}%",
        f"{row['oracle']:.0e}",
        row["reload"] if isinstance(row["reload"], str) else f"{row['reload']:.0e}" if row["reload"] else "0",
        f"{defaults['converted']}/{defaults['convolutions']}",
        *ratios,
        f"{row['seconds']:.1f} s",
        f"{1000 * row['seconds'] / row['layers']:.1f}",
        "; ".join([*(f"{n}x {reason}" for reason, n in everything["plain"].items()), *told]),
    ]


def totals(rows: dict[str, dict]) -> str:
    good = [row for row in rows.values() if "error" not in row]
    if not good:
        return f"None of {len(rows)} models converted."
    worst = max(row["oracle"] for row in good)
    share = min(row["everything"]["mac_share"] for row in good)
    peaks = [row["defaults"]["peak_activation_bytes"] for row in good]
    peak = max(after / before for before, after in peaks)
    return (
        f"{len(good)} of {len(rows)} models. Largest octave=1 difference {worst:.0e} of the output's scale; smallest "
        f"share of convolution MACs in octave layers {100 * share:.1f}%; largest peak activation memory "
        f"{100 * peak:.1f}% of the source's."
    )


def between_markers(text: str, table: str) -> str:
    start, end = (text.index(marker) for marker in MARKERS)
    return f"{text[: start + len(MARKERS[0])]}\n{table}\n{text[end:]}"


if __name__ == "__main__":
    main()
