"""The command line: arguments -> a checked `Task` -> exit code.

    0    converted
    1    a check failed, the process that did the work died, or something unexpected went wrong; nothing was written
    2    bad usage, or an input that can not be read
    3    nothing to convert; nothing was written
    129  hung up (SIGHUP)
    130  interrupted
    141  the reader of stdout has gone, as in "octconvert ... | head"
    143  terminated (SIGTERM)

TensorFlow takes seconds to start, so nothing here imports it, nor NumPy. The task is done by a process of its own, and
this one watches it (`octconvert.cli.supervision`).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.exceptions import MissingArgumentError, UnusedCliTokensError

from octconvert.cli.accuracy import NONE_GIVEN, AccuracyOptions, whole_number
from octconvert.cli.console import STDOUT, Console
from octconvert.cli.outcome import explain, fail
from octconvert.cli.task import Task
from octconvert.errors import InputError, UsageError
from octconvert.system.targets import check_target


def _version() -> str:
    try:
        return metadata.version("octconvert")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


app = App(
    name="octconvert",
    help="Turn a trained Keras CNN into an Octave-Convolution CNN, weights and all.",
    help_epilogue="Exit codes: 0 converted, 1 a check failed, 2 bad usage or unreadable input, 3 nothing to convert.",
    help_format="plaintext",
    usage="Usage: octconvert MODEL [OPTIONS]\n       octconvert diff A B [OPTIONS]\n"
    "       octconvert bench A [B ...] [OPTIONS]\n       octconvert export MODEL -o OUT [OPTIONS]",
    version=_version,
    default_parameter=Parameter(negative=(), show_default=False),
)

# The third group is that of `AccuracyOptions`.
_TITLES = {0: "What is converted", 1: "How it is converted", 3: "Output", 4: "Loading and checking"}
_RUN = Group("How it is run", sort_key=1)
_WHAT, _HOW, _OUT, _SAFE = (Group(title, sort_key=key) for key, title in _TITLES.items())


def _option(help: str, *names: str, group: Group | None = None, **more: Any) -> Parameter:
    return Parameter(name=names or None, help=help, group=group, **more)


Json = Annotated[
    str | None,
    _option(
        "Write the result as JSON: alone or with '-' to stdout, which then carries nothing else; or to a file PATH "
        "that ends in .json (--json=PATH for any other name).",
        group=_OUT,
        metavar="[PATH|-]",
    ),
]
Quiet = Annotated[bool, _option("Print nothing but errors.", "--quiet", "-q", group=_OUT)]
Verbose = Annotated[bool, _option("Show every layer, chain and name.", "--verbose", "-v", group=_OUT)]
Debug = Annotated[bool, _option("Show tracebacks and TensorFlow's own messages.", group=_OUT)]
Unsafe = Annotated[
    bool, _option("Run code stored in the model's file (Lambda layers); only for files you trust.", group=_SAFE)
]
CustomObjects = Annotated[
    list[str] | None,
    _option("A class or function the model needs; repeatable.", group=_SAFE, metavar="MODULE.PY:NAME"),
]
InputShape = Annotated[
    str | None, _option("For models that leave their input's size open.", group=_RUN, metavar="H,W,C")
]
Batch = Annotated[
    str | None, _option("Samples of one run. Default: what the model fixes, else 1.", group=_RUN, metavar="N")
]


@app.default
def convert(
    model: Annotated[str, Parameter(help="The model to convert: .keras, or .h5 of any Keras.")],
    /,
    *,
    output: Annotated[
        str | None, _option("The file to write. Default: MODEL-octave.keras.", "--output", "-o", group=_OUT)
    ] = None,
    alpha: Annotated[float | None, _option("Share of the channels that become low. Default: 0.5.", group=_WHAT)] = None,
    alpha_map: Annotated[
        list[str] | None,
        _option("Another alpha for the layers whose name matches; repeatable.", group=_WHAT, metavar="REGEX=ALPHA"),
    ] = None,
    include: Annotated[
        list[str] | None,
        _option("Convert only layers whose name matches; repeatable.", group=_WHAT, metavar="REGEX"),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        _option("Leave layers plain whose name matches; repeatable.", group=_WHAT, metavar="REGEX"),
    ] = None,
    min_size: Annotated[
        str | None, _option("Leave maps plain whose shorter side is smaller. Default: 8.", group=_WHAT)
    ] = None,
    preset: Annotated[
        Literal["paper"] | None, _option("'paper' leaves the layers plain that the paper leaves plain.", group=_WHAT)
    ] = None,
    octave: Annotated[
        str | None, _option("Factor between the resolutions, a power of two. Default: 2.", group=_HOW)
    ] = None,
    stride_mode: Annotated[
        Literal["keep", "pool"] | None,
        _option("'keep' strides (default), or 'pool': average pooling and a stride of 1.", group=_HOW),
    ] = None,
    weights: Annotated[
        Literal["slice", "fold", "fresh"] | None,
        _option("How the trained weights move: sliced (default), folded, or not at all.", group=_HOW),
    ] = None,
    portable: Annotated[
        bool | None, _option("Use built-in Keras layers only; the file then loads without octconvert.", group=_HOW)
    ] = None,
    elementwise: Annotated[
        list[str] | None,
        _option(
            "A layer, class or activation without a rule that acts on each element alone; repeatable.",
            group=_HOW,
            metavar="NAME",
        ),
    ] = None,
    plan: Annotated[
        str | None, _option("Follow a plan that --dry-run --json wrote.", group=_HOW, metavar="FILE")
    ] = None,
    input_shape: Annotated[
        str | None, _option("For models that leave their input's size open.", group=_HOW, metavar="H,W,C")
    ] = None,
    accuracy: Annotated[AccuracyOptions, Parameter(name="*")] = NONE_GIVEN,
    for_inference: Annotated[
        bool,
        _option("Write the form for inference: faster, the same outputs, no longer to be trained.", group=_OUT),
    ] = False,
    runtime: Annotated[
        Literal["tf", "xla", "litert", "onnx", "openvino"] | None,
        _option("What the form for inference is written for. Default: tf; alone it asks for that form.", group=_OUT),
    ] = None,
    objective: Annotated[
        Literal["macs", "latency"],
        _option("'latency' converts only what gains time, measured here on --runtime. Default: macs.", group=_WHAT),
    ] = "macs",
    benchmark: Annotated[bool, _option("Time the result against the source, on --runtime.", group=_OUT)] = False,
    threads: Annotated[str | None, _option("For measuring times. Default: 2.", group=_OUT, metavar="N")] = None,
    dry_run: Annotated[bool, _option("Print the plan and write no model.", group=_OUT)] = False,
    force: Annotated[bool, _option("Overwrite an existing output.", group=_OUT)] = False,
    verify: Annotated[
        Literal["quick", "deep"], _option("How thoroughly the result is checked. Default: quick.", group=_SAFE)
    ] = "quick",
    unsafe: Unsafe = False,
    custom_objects: CustomObjects = None,
    json: Json = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> Task:
    """Convert MODEL."""
    asked = {
        "alpha": alpha,
        "alpha_map": _alpha_map(alpha_map),
        "include": include,
        "exclude": exclude,
        "min_size": whole_number("min-size", min_size),
        "preset": preset,
        "octave": whole_number("octave", octave),
        "stride_mode": stride_mode,
        "weights": weights,
        "portable": portable,
        "elementwise": elementwise,
    }
    options: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    loading: dict[str, Any] = {"unsafe": unsafe, "input_shape": _input_shape(input_shape)}
    loading["custom_objects"] = custom_objects
    console = Console(json, quiet, verbose, debug)
    _check_options(options, plan)
    calibrating = accuracy.arguments({**options, "plan": plan})
    timing: dict[str, Any] = {"objective": objective, "runtime": runtime}
    timing["threads"] = whole_number("threads", threads) or 2
    _check_input(model)
    accuracy.check_files()
    _check_json(json, force, model, plan, *accuracy.files)
    arguments = {**options, **calibrating, **timing, **loading}
    if dry_run:
        arguments.pop("evaluate", None)
        return Task("plan", (model,), {**arguments, "plan": _read_plan(plan)}, console, _files(json))
    target = output or _default_output(model)
    check_target(target, overwrite=True)  # first what no --force would help against
    _check_output(model, target, force)
    arguments |= {"plan": _read_plan(plan), "verify": verify, "output": target, "overwrite": force, "strict": True}
    arguments |= {"for_inference": for_inference, "benchmark": benchmark}
    return Task("convert", (model,), arguments, console, (target, *_files(json)))


@app.command
def diff(
    a: Annotated[str, Parameter(help="A model.")],
    b: Annotated[str, Parameter(help="The model to hold against it.")],
    /,
    *,
    unsafe: Unsafe = False,
    custom_objects: CustomObjects = None,
    force: Annotated[bool, _option("Overwrite an existing JSON file.", group=_OUT)] = False,
    json: Json = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> Task:
    """Compare what two models cost, layer by layer."""
    console = Console(json, quiet, verbose, debug)
    _check_input(a)
    _check_input(b)
    _check_json(json, force, a, b)
    return Task("diff", (a, b), {"unsafe": unsafe, "custom_objects": custom_objects}, console, _files(json))


@app.command
def bench(
    *models: Annotated[str, Parameter(help="Models; the first is what the others are held against.")],
    runtime: Annotated[
        list[Literal["tf", "xla", "litert", "onnx", "openvino"]] | None,
        _option("What to run them on; repeatable. Default: tf.", group=_RUN),
    ] = None,
    threads: Annotated[str | None, _option("That a runtime may use. Default: 2.", group=_RUN, metavar="N")] = None,
    batch: Batch = None,
    rounds: Annotated[
        str | None, _option("How often every model has its turn. Default: 15.", group=_RUN, metavar="N")
    ] = None,
    for_inference: Annotated[
        bool, _option("Measure the models in their form for inference, normalisation folded.", group=_RUN)
    ] = False,
    input_shape: InputShape = None,
    unsafe: Unsafe = False,
    custom_objects: CustomObjects = None,
    force: Annotated[bool, _option("Overwrite an existing JSON file.", group=_OUT)] = False,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> Task:
    """Time models side by side, as they would be deployed on the CPU."""
    from octconvert.options.timing import bench_settings, usable

    console = Console(json, quiet, False, debug)
    asked = {"threads": threads, "batch": batch, "rounds": rounds}
    options: dict[str, Any] = {name: whole_number(name, text) for name, text in asked.items()}
    options = {name: value for name, value in options.items() if value is not None}
    options |= {"runtimes": runtime or ("tf",), "for_inference": for_inference}
    usable(bench_settings(**options).runtimes)
    loading: dict[str, Any] = {"unsafe": unsafe, "input_shape": _input_shape(input_shape)}
    loading["custom_objects"] = custom_objects
    if not models:
        raise UsageError("bench: name a model")
    for model in models:
        _check_input(model)
    _check_json(json, force, *models)
    return Task("bench", models, {**options, **loading}, console, _files(json))


@app.command
def export(
    model: Annotated[str, Parameter(help="The model to export.")],
    /,
    *,
    output: Annotated[
        str,
        _option(
            "What to write: a name ending in .tflite, .onnx or .xml (OpenVINO), or a directory.",
            "--output",
            "-o",
            group=_OUT,
        ),
    ],
    format: Annotated[
        Literal["litert", "onnx", "openvino", "tf"] | None,
        _option("Default: by the ending. openvino and tf (a SavedModel) write directories, too.", group=_RUN),
    ] = None,
    batch: Batch = None,
    no_for_inference: Annotated[
        bool, _option("Write the model as it is, with its normalisation layers.", group=_RUN)
    ] = False,
    input_shape: InputShape = None,
    unsafe: Unsafe = False,
    custom_objects: CustomObjects = None,
    force: Annotated[bool, _option("Overwrite an existing output.", group=_OUT)] = False,
    json: Json = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> Task:
    """Write MODEL for another runtime, checked against Keras."""
    from octconvert.verification import exporting

    console = Console(json, quiet, False, debug)
    options: dict[str, Any] = {"format": format, "batch": whole_number("batch", batch)}
    options |= {"for_inference": not no_for_inference, "overwrite": force}
    loading: dict[str, Any] = {"unsafe": unsafe, "input_shape": _input_shape(input_shape)}
    loading["custom_objects"] = custom_objects
    target = exporting.format_of(Path(output), format)
    target.check_installed()
    _check_input(model)
    _check_json(json, force, model)
    _check_output(model, output, force)
    exporting.check_target(target, Path(output), force)
    return Task("export", (model,), {"output": output, **options, **loading}, console, (output, *_files(json)))


# --- reading the arguments ------------------------------------------------------------------------------------------


def _alpha_map(entries: list[str] | None) -> list[tuple[str, float]] | None:
    """'REGEX=ALPHA' in the order given; the regular expression itself may hold a '='."""
    if entries is None:
        return None
    pairs = []
    for entry in entries:
        pattern, _, value = entry.rpartition("=")
        try:
            pairs.append((pattern, float(value)))
        except ValueError:
            pattern = ""
        if not pattern:
            raise UsageError(f"--alpha-map takes REGEX=ALPHA, for example 'block1=0.25'; received '{entry}'")
    return pairs


def _input_shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--input-shape takes rows, columns and channels, for example 224,224,3; received '{text}'")
    return tuple(int(part) for part in parts)


def _check_options(options: dict[str, Any], plan: str | None) -> None:
    """Refuse what makes no sense before TensorFlow is started for it."""
    from octconvert.options.rewriting import RewritingOptions

    if plan is not None and options:
        name = next(iter(options)).replace("_", "-")
        raise UsageError(f"--{name} can not be given together with --plan, which fixes it; edit the plan instead")
    frozen: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
    RewritingOptions(**frozen)


def _check_input(path: str) -> None:
    if not Path(path).exists():
        raise InputError(f"{path}: there is no such file")


def _check_json(path: str | None, force: bool, *inputs: str | None) -> None:
    if path in (None, STDOUT):
        return
    place = Path(str(path))
    try:
        check_target(place, overwrite=True)
    except UsageError as error:
        raise UsageError(f"--json={error}") from error
    if any(item is not None and _same_file(place, Path(item)) for item in inputs):
        raise UsageError(f"--json={path}: is a file that is read; name another one")
    if place.exists() and not force:
        raise UsageError(f"--json={path}: exists already; --force overwrites it")


def _same_file(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)


def _default_output(model: str) -> str:
    return f"{os.path.splitext(model)[0]}-octave.keras"


def _check_output(model: str, target: str, force: bool) -> None:
    path = Path(target)
    try:
        exists = path.exists()
    except OSError as error:
        raise UsageError(f"{target}: can not be written ({error.strerror}); give another name with -o") from error
    if exists and path.samefile(model):
        raise UsageError(f"{target}: is the model to convert; give another name with -o")
    if exists and not force:
        raise UsageError(f"{target}: exists already; --force overwrites it, -o names another file")


def _read_plan(path: str | None) -> Any:
    from octconvert.results.plan import Plan

    return None if path is None else Plan.from_file(path)


def _files(json: str | None) -> tuple[str, ...]:
    """What is written for --json."""
    return () if json in (None, STDOUT) else (str(json),)


# --- from arguments to an exit code ---------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Args:
        argv: the arguments; the task is then done in this process. None: those of this process; a process of its own
            does the task, watched by this one.
    """
    for stream in (sys.stdout, sys.stderr):
        # A layer's name must not break the report on a terminal that can not show it.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if argv is None:
        from octconvert.cli.supervision import supervise

        sys.exit(_run(_with_json_values(sys.argv[1:]), supervise))
    sys.exit(_run(_with_json_values(argv), _here))


def _here(task: Task) -> int:
    from octconvert.cli.commands import perform

    perform(task)
    return 0


def _run(tokens: Sequence[str], work: Callable[[Task], int]) -> int:
    try:
        command, arguments, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return fail(f"{_usage(error)} (see octconvert --help)", 2)
    files = tuple(value for value in arguments.kwargs.values() if isinstance(value, str))
    try:
        task = command(*arguments.args, **arguments.kwargs)
        code = work(replace(task, files=files)) if isinstance(task, Task) else 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:
        models = [str(value) for value in arguments.args]
        return explain(error, models, files, arguments.arguments.get("debug", False))
    return code


def _usage(error: CycloptsError) -> str:
    """cyclopts' message in one sentence without its full stop."""
    if isinstance(error, UnusedCliTokensError):
        return f"unexpected argument '{(error.unused_tokens or ['?'])[0]}'"
    text = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, MissingArgumentError):
        text = re.sub(r'Command "(\w+)" parameter', r"\1:", text).replace("Parameter ", "")
    return text


def _with_json_values(tokens: Sequence[str]) -> list[str]:
    """Give a bare --json its value '-'.

    Only '-' and names ending in .json are taken for its value, so that "octconvert --json model.h5" can never
    write over the model.
    """
    result: list[str] = []
    pending = list(tokens)
    while pending:
        token = pending.pop(0)
        if token == "--":
            return [*result, token, *pending]
        if token == "--json":
            follows = bool(pending) and (pending[0] == STDOUT or pending[0].lower().endswith(".json"))
            token = f"--json={pending.pop(0) if follows else STDOUT}"
        result.append(token)
    return result


if __name__ == "__main__":
    main()
