"""The command line: arguments -> `octconvert.api` -> exit code.

    0    converted
    1    a check failed, or something unexpected went wrong; nothing was written
    2    bad usage, or an input that can not be read
    3    nothing to convert; nothing was written
    130  interrupted
    141  the reader of stdout has gone, as in "octconvert ... | head"

TensorFlow takes seconds to start, so nothing here imports it before the arguments have been understood.
"""

from __future__ import annotations

import contextlib
import json as jsonlib
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.exceptions import MissingArgumentError, UnusedCliTokensError

from octconvert import environment
from octconvert.accuracy_options import NONE_GIVEN, AccuracyOptions, whole_number
from octconvert.errors import CheckError, InputError, NothingToConvert, OctconvertError, UsageError
from octconvert.files import write_atomically

STDOUT = "-"


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
) -> None:
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
    talk = _Talk(json, quiet, verbose, debug)
    _check_options(options, plan)
    calibrating = accuracy.arguments({**options, "plan": plan})
    timing: dict[str, Any] = {"objective": objective, "runtime": runtime}
    timing["threads"] = whole_number("threads", threads) or 2
    _check_input(model)
    accuracy.check_files()
    _check_json(json, force, model, plan, *accuracy.files)
    if dry_run:
        calibrating.pop("evaluate", None)
        _dry_run(model, {**options, **calibrating, **timing, "plan": _read_plan(plan)}, loading, custom_objects, talk)
        return
    target = output or _default_output(model)
    _check_output(model, target, force)
    given, failure = _read_plan(plan), None
    with talk.working("starting TensorFlow") as progress:
        from octconvert import api, io

        io.check_target(target, overwrite=force)
        loading["custom_objects"] = _custom_objects(custom_objects)
        more: dict[str, Any] = {"plan": given, "verify": verify, "output": target, "overwrite": force, "strict": True}
        more |= {"for_inference": for_inference, "benchmark": benchmark, **timing}
        try:
            with talk.converting(benchmark or objective == "latency"):
                found = api.convert(model, **options, **calibrating, **loading, **more, progress=progress)
            report = found.report
        except CheckError as error:
            failure, report = error, error.report
    if report is not None:
        talk.report(report)
    if failure is not None:
        raise failure


def _dry_run(model: str, options: dict, loading: dict, custom_objects: list[str] | None, talk: _Talk) -> None:
    with talk.working("starting TensorFlow") as progress:
        from octconvert import api

        loading["custom_objects"] = _custom_objects(custom_objects)
        with talk.converting(options["objective"] == "latency"):
            plan = api.plan(model, **options, **loading, progress=progress)
    from octconvert.report.terminal import plan_table

    talk.say(plan.to_json, lambda: plan_table(plan, verbose=talk.verbose))
    if not plan.converted:
        raise NothingToConvert(f"{model}: no convolution can be converted with these options")


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
) -> None:
    """Compare what two models cost, layer by layer."""
    talk = _Talk(json, quiet, verbose, debug)
    _check_input(a)
    _check_input(b)
    _check_json(json, force, a, b)
    with talk.working("starting TensorFlow"):
        from octconvert import api

        report = api.diff(a, b, unsafe=unsafe, custom_objects=_custom_objects(custom_objects))
    talk.report(report)


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
) -> None:
    """Time models side by side, as they would be deployed on the CPU."""
    from octconvert.benchmarking.settings import bench_settings, usable

    talk = _Talk(json, quiet, False, debug)
    asked = {"threads": threads, "batch": batch, "rounds": rounds}
    options: dict[str, Any] = {name: whole_number(name, text) for name, text in asked.items()}
    options = {name: value for name, value in options.items() if value is not None}
    options |= {"runtimes": runtime or ("tf",), "for_inference": for_inference}
    usable(bench_settings(**options).runtimes)
    loading: dict[str, Any] = {"unsafe": unsafe, "input_shape": _input_shape(input_shape)}
    if not models:
        raise UsageError("bench: name a model")
    for model in models:
        _check_input(model)
    _check_json(json, force, *models)
    with talk.working("starting TensorFlow") as progress:
        from octconvert import api

        loading["custom_objects"] = _custom_objects(custom_objects)
        with talk.converting():
            found = api.bench(models, **options, **loading, progress=progress)
    talk.say(lambda: jsonlib.dumps(found.to_dict(), indent=2), lambda: found)
    if not found.measured:
        raise CheckError(f"nothing could be measured: {found.rows[0].model}: {found.rows[0].error}")


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
) -> None:
    """Write MODEL for another runtime, checked against Keras."""
    from octconvert.exporting import check_target, format_of

    talk = _Talk(json, quiet, False, debug)
    options: dict[str, Any] = {"format": format, "batch": whole_number("batch", batch)}
    options |= {"for_inference": not no_for_inference, "overwrite": force}
    loading: dict[str, Any] = {"unsafe": unsafe, "input_shape": _input_shape(input_shape)}
    target = format_of(Path(output), format)
    target.check_installed()
    _check_input(model)
    _check_json(json, force, model)
    _check_output(model, output, force)
    check_target(target, Path(output), force)
    with talk.working("starting TensorFlow") as progress:
        from octconvert import api

        loading["custom_objects"] = _custom_objects(custom_objects)
        with talk.converting():
            found = api.export(model, output, **options, **loading, progress=progress)
    talk.say(lambda: jsonlib.dumps(found.to_dict(), indent=2), lambda: found)


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
    from octconvert.planning.values import Options

    if plan is not None and options:
        name = next(iter(options)).replace("_", "-")
        raise UsageError(f"--{name} can not be given together with --plan, which fixes it; edit the plan instead")
    frozen: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
    Options(**frozen)


def _check_input(path: str) -> None:
    if not Path(path).exists():
        raise InputError(f"{path}: there is no such file")


def _check_json(path: str | None, force: bool, *inputs: str | None) -> None:
    if path in (None, STDOUT):
        return
    place = Path(str(path))
    if place.is_dir() or not place.resolve().parent.is_dir():
        raise UsageError(f"--json={path}: no file can be made there; name one in a directory that exists")
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
    from octconvert.planning.values import Plan

    return None if path is None else Plan.from_file(path)


def _custom_objects(entries: list[str] | None) -> dict[str, Any]:
    from octconvert.io import parse_custom_object

    return dict(parse_custom_object(entry) for entry in entries or ())


# --- talking to the user --------------------------------------------------------------------------------------------


class _Talk:
    """Where results, progress and JSON go."""

    def __init__(self, json: str | None, quiet: bool, verbose: bool, debug: bool):
        if quiet and verbose:
            raise UsageError("--quiet and --verbose contradict each other")
        self.json, self.quiet, self.verbose, self.debug = json, quiet, verbose, debug

    @contextlib.contextmanager
    def working(self, stage: str) -> Iterator[Callable[[str, int, int], None] | None]:
        """Silence libraries, keep stdout clean, and show progress where somebody watches."""
        # Whatever a library prints belongs to stderr: stdout may be read by a program.
        with contextlib.redirect_stdout(sys.stderr), self._progress(stage) as progress:
            if not self.debug:
                _start_quietly()
            yield progress

    def converting(self, wanted: bool = True) -> contextlib.AbstractContextManager[None]:
        """Silence the converters of other runtimes, which write to stderr whatever they are told."""
        shown = not wanted or self.debug or os.environ.get(environment.LOG_LEVEL) == "0"
        return contextlib.nullcontext() if shown else _discarded_stderr(tell=False)

    @contextlib.contextmanager
    def _progress(self, stage: str) -> Iterator[Callable[[str, int, int], None] | None]:
        if self.quiet or self.debug or not sys.stderr.isatty():
            yield None
            return
        # Its own descriptor, so that it can be seen while stderr is silenced.
        stream = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding)
        with stream, _progress_bar(stage, stream) as show:
            yield show

    def report(self, report: Any) -> None:
        from octconvert.report.json import to_dict
        from octconvert.report.terminal import render

        self.say(lambda: jsonlib.dumps(to_dict(report), indent=2), lambda: render(report, verbose=self.verbose))

    def say(self, text: Callable[[], str], renderable: Callable[[], Any]) -> None:
        """The same result as JSON, where it was asked for, and for people."""
        if self.json == STDOUT:
            print(text())
            return
        if self.json is not None:
            _write_json(Path(self.json), text() + "\n")
        if not self.quiet:
            from rich.console import Console

            console = Console()
            with console.capture() as captured:
                console.print(renderable(), crop=False)
            # Written here because rich would end the process by itself where the reader has gone.
            sys.stdout.write(captured.get())


@contextlib.contextmanager
def _progress_bar(stage: str, stream: TextIO) -> Iterator[Callable[[str, int, int], None]]:
    """One line that shows the stage at hand and how long it has taken."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    # Stages have names of many lengths; padded, they do not push the bar about.
    name = TextColumn("{task.description:<26}", markup=False)
    columns = (name, BarColumn(20), TextColumn("{task.fields[count]:>9}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        progress.add_task(stage, total=None, count="")

        def show(stage: str, done: int, total: int) -> None:
            if stage != progress.tasks[0].description:
                # A new task, for one never forgets its total and when it began.
                progress.remove_task(progress.tasks[0].id)
                progress.add_task(stage, total=None, count="")
            count = f"{done}/{total}" if total else ""
            progress.update(progress.tasks[0].id, completed=done, total=total or None, count=count)

        yield show


def _write_json(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UsageError(f"{path}: the JSON can not be written: {error.strerror}") from error


def _start_quietly() -> None:
    """Import TensorFlow without its log lines, unless the user has asked to see them all."""
    environment.set_defaults()
    if os.environ[environment.LOG_LEVEL] == "0":
        return
    warnings.simplefilter("ignore")
    with _discarded_stderr():
        import tensorflow  # noqa: F401
    from absl import logging

    logging.set_verbosity(logging.ERROR)


@contextlib.contextmanager
def _discarded_stderr(tell: bool = True) -> Iterator[None]:
    """Hold back what is written to descriptor 2, C++ included; with ``tell`` it is shown after all on an exception.

    TensorFlow 2.21 logs a few lines before it looks at TF_CPP_MIN_LOG_LEVEL; converters log what they raise as well.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        saved = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            if tell:
                held.seek(0)
                os.write(2, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


# --- from arguments to an exit code ---------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        # A layer's name must not break the report on a terminal that can not show it.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.exit(_run(_with_json_values(sys.argv[1:] if argv is None else argv)))


def _run(tokens: Sequence[str]) -> int:
    try:
        command, arguments, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _fail(f"{_usage(error)} (see octconvert --help)", 2)
    debug = arguments.arguments.get("debug", False)
    try:
        command(*arguments.args, **arguments.kwargs)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of stdout has gone; what is left in its buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except Exception as error:
        if debug:
            traceback.print_exc()
        models = [str(value) for value in arguments.args]
        if isinstance(error, OctconvertError):
            return _fail(_naming(error, models, arguments.kwargs.values()), error.exit_code)
        return _fail(f"{' '.join(models)}: unexpected {_unexpected(error)}; --debug shows the traceback", 1)
    return 0


def _naming(error: OctconvertError, models: Sequence[str], options: Iterable[Any]) -> str:
    """The error's line; the models' files stand in front where it is about a layer, which knows of no file."""
    line = str(error)
    if not models or not isinstance(error, InputError):
        return line
    files = [*models, *(value for value in options if isinstance(value, str) and os.path.exists(value))]
    return line if any(file in line for file in files) else f"{' '.join(models)}: {line}"


def _fail(message: str, code: int) -> int:
    print(f"octconvert: {' '.join(message.split())}", file=sys.stderr)
    return code


def _unexpected(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(str(error).split())
    said = f": {said[:200]}{'...' if len(said) > 200 else ''}" if said else ""
    return f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}{said}"


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
