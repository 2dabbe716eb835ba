"""The public functions. Each declares its options here; the stage of the pipeline that it names does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from octconvert import loading
from octconvert.errors import InputError
from octconvert.options.arguments import checked, performed_by
from octconvert.options.calibration import STEPS, CalibrationOptions
from octconvert.options.delivery import DeliveryOptions
from octconvert.options.deployment import DeploymentOptions
from octconvert.options.loading import LoadingOptions
from octconvert.options.quantization import QuantizationOptions
from octconvert.options.rewriting import RewritingOptions
from octconvert.options.showing import ShowingOptions
from octconvert.options.timing import BenchSettings
from octconvert.pipeline.bench import bench as bench_models
from octconvert.pipeline.conversion import Conversion
from octconvert.pipeline.convert import convert as convert_model
from octconvert.pipeline.diff import diff as diff_models
from octconvert.pipeline.export import export as export_model
from octconvert.pipeline.planning import plan as plan_model
from octconvert.pipeline.show import show as show_maps
from octconvert.pipeline.source import read_model
from octconvert.results.bench import Bench
from octconvert.results.export import Exported
from octconvert.results.maps import FeatureMaps
from octconvert.results.plan import Plan
from octconvert.results.report import Report
from octconvert.system.progress import Progress
from octconvert.system.progress_bars import with_progress

read = loading.read


@performed_by(with_progress(convert_model))
def convert(
    model_or_path: Any,
    alpha: float = RewritingOptions.alpha,
    *,
    octave: int | tuple[int, ...] = RewritingOptions.octave,
    alpha_map: Mapping[str, float] | Iterable[tuple[str, float]] | None = None,
    interior: float | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = RewritingOptions.min_size,
    preset: str | None = None,
    stride_mode: str = RewritingOptions.stride_mode,
    weights: str = RewritingOptions.weights,
    portable: bool = False,
    elementwise: Iterable[str | type] = (),
    plan: Plan | str | Path | None = None,
    input_shape: tuple[int, ...] | None = None,
    calibration: Any = None,
    preprocess: str | Callable | None = None,
    input_range: tuple[float, float] | None = None,
    calibration_samples: int = CalibrationOptions.samples,
    calibration_budget: float | None = None,
    calibration_steps: Iterable[str] = STEPS,
    target_macs: float | None = None,
    target_time: float | None = None,
    max_drop: float | None = None,
    evaluate: Any = None,
    metric: str | Callable | None = None,
    seed: int = CalibrationOptions.seed,
    for_inference: bool = False,
    runtime: str | None = None,
    quantize: str | None = None,
    objective: str = DeploymentOptions.objective,
    benchmark: bool = False,
    threads: int = DeploymentOptions.threads,
    verify: str = DeliveryOptions.verify,
    output: str | Path | None = None,
    overwrite: bool = False,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    strict: bool = False,
    progress: Progress | bool | None = None,
) -> Conversion:
    """Rewrite a trained Keras CNN as an octave CNN, with its weights.

    Args:
        model_or_path: a Functional or Sequential Keras model (it is not changed), or an .h5 / .keras file.
        alpha: share of the channels that become low, from 0 to 1 (paper, section 3.1). At 1 a tensor is whole-low: one
            map at the low resolution.
        octave: factor between the two resolutions, a power of two up to 64, or one for each axis: (1, 2, 2) keeps
            the time of a video. 1 changes no resolution: the same function.
        alpha_map: regular expressions on layer names, each with the alpha of the tied groups that it matches; the first
            match counts.
        interior: alpha of the tensors inside residual blocks, inverted bottlenecks, dense blocks and the like, where
            those on the main path follow ``alpha``; None: one alpha for all.
        include, exclude: regular expressions on layer names: convert only these layers; leave these plain.
        min_size: rows and columns below which a map stays plain.
        preset: 'paper' leaves plain what the paper leaves plain: the stem before a max-pooling, and 7x7 maps.
        stride_mode: 'keep', or 'pool': average pooling and a convolution of stride 1 (another function, for training).
        weights: 'slice' the kernels, 'fold' them to the low resolution, or leave them 'fresh'.
        portable: built-in Keras layers only, so that the model loads without octconvert.
        elementwise: layers (classes, class names or layer names) and activation functions that act on each channel and
            position independently; a chain then goes on through them. This overrides the rule of a layer.
        plan: a `Plan` or its file, in place of all options above.
        input_shape: (rows, columns, channels) for a model that leaves them open.
        calibration: inputs to fit the converted model to, a few hundred; labels are ignored: an .npz or .npy file, a
            directory of images, arrays, a dataset, any iterable (see `octconvert.samples.read_samples`).
            None: synthetic images. False: no calibration, the weights are only moved.
        preprocess: applied to the data before the model reads them: a name from keras.applications,
            'scale,offset', 'module:function' or a function.
        input_range: (black, white) as the model expects them, for synthetic images; None: derived from the model.
        calibration_samples: the largest number of samples to use.
        calibration_budget: seconds to aim at; None: 80 on synthetic images, 300 on data, 60 more where alphas are
            chosen.
        calibration_steps: a part of 'rotate', 'select', 'solve', 'renormalize', 'refine'.
        target_macs: choose an alpha for every tied group so that this share of the MACs remains, at the least damage.
        target_time: the same for this share of the source's time, measured on this machine, ``runtime`` and
            ``quantize``, both models in their form for inference.
        max_drop: the same, for the fewest MACs at which at most this share of the top-1 agreement is lost.
        evaluate: labelled data of the same kinds, for the model's first output; the report then has the accuracy, or
            what ``metric`` names, before and after. Labels, samples and metric are checked, and the source is
            evaluated, before the conversion; what fails behind it is a note.
        metric: 'accuracy', 'auc', 'mean-iou', 'pixel-accuracy', 'mae', 'psnr', 'module:function' or a function of
            (labels, outputs), arrays of all samples, that returns a number. None: by the model's first output and the
            labels, see "Evaluation" in the documentation.
        seed: for all random numbers.
        for_inference: return (and save) the model in its form for inference, see `octconvert.for_inference`: the same
            outputs in less time, not trainable.
        runtime: 'tf', 'xla', 'litert', 'onnx' or 'openvino', for the form for inference; implies ``for_inference``.
        quantize: 'int8', 'float16' or 'dynamic', to which `octconvert.export` will round the result for ``runtime``:
            the form for inference suits that, and times are measured so. Nothing is rounded here.
        objective: 'macs' converts every layer that it can; 'latency' only those that save time, measured on this
            machine and ``runtime``, and none where the whole model saves no time.
        benchmark: time the result against the source, both in their form for inference, for the report.
        threads: for measuring times.
        verify: 'quick', or 'deep' with the octave=1 oracle on this model.
        output: file to save to (.keras or .h5); written only if every check passes.
        overwrite: whether an existing ``output`` may be replaced.
        unsafe: allow files that run code when loaded (Lambda layers).
        custom_objects: classes and functions by name, for loading.
        strict: raise `NothingToConvert` where no convolution is converted, instead of returning the model as it was.
        progress: called with (stage, done, total) while working; True: a bar; None: a bar in notebooks alone.

    Returns:
        `Conversion`: the new model, its plan, its report with costs and checks; shows itself in terminal and notebook.

    Raises:
        InputError: the model or file can not be read.
        UsageError: an option makes no sense.
        CheckError: the rewritten model failed a check; nothing was written.
        NothingToConvert: with ``strict``, no convolution can be converted.
    """
    ...


@performed_by(
    with_progress(plan_model),
    like=convert,
    without=("evaluate", "metric", "for_inference", "benchmark", "verify", "output", "overwrite", "strict"),
)
def plan(model_or_path: Any, **options: Any) -> Plan:
    """The plan that `convert` follows with the same options: the tied groups and the role of every convolution.

    The data select channels and alphas only where ``calibration`` or ``target_macs`` is set; otherwise the last
    channels of each group are low. With ``plan``, the result of that (edited) plan for this model.

    Args:
        model_or_path, options: those of `convert`, but for the ones that say what is checked, measured and written.

    Raises:
        InputError: the model or file can not be read.
        UsageError: an option makes no sense.
    """
    ...


@performed_by(diff_models)
def diff(a: Any, b: Any, *, unsafe: bool = False, custom_objects: Mapping[str, Any] | None = None) -> Report:
    """Compare two models (or files): their costs, and their convolutions matched by name.

    Raises:
        InputError: a model or file can not be read.
    """
    ...


@performed_by(with_progress(bench_models))
def bench(
    models: Any,
    *,
    runtimes: str | Iterable[str] | None = None,
    threads: int = DeploymentOptions.threads,
    batch: int | None = None,
    rounds: int = BenchSettings.rounds,
    for_inference: bool = False,
    quantize: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    progress: Progress | bool | None = None,
) -> Bench:
    """Time models side by side on the CPU, each exported as it would be deployed in a process of its own.

    The runs are interleaved: every model has its turn in every round, in alternating order; every five rounds, up to
    three times, in new processes.

    Args:
        models: Keras models or files, a list or a mapping from names; the others are compared with the first.
        runtimes: of 'tf', 'xla', 'litert', 'onnx' and 'openvino'; those that are not installed are left out. None:
            'tf', or 'xla' where Keras runs on JAX.
        threads: for the runtime.
        batch: samples in one run; None: the batch size of the model, else 1.
        rounds: turns of every model, each of up to five timed runs.
        for_inference: time the models in their form for inference, see `octconvert.for_inference`.
        quantize: time them rounded to 'int8', 'float16' or 'dynamic', see `octconvert.export`.
        input_shape: (rows, columns, channels) for models that leave them open.
        unsafe: allow files that run code when loaded (Lambda layers).
        custom_objects: classes and functions by name, for loading.
        progress: called with (stage, done, total) while working; True: a bar; None: a bar in notebooks alone.

    Returns:
        `Bench`: times, memory and MACs, and how much of the saved MACs is saved time; a model that can not be measured
        has the reason in its row. Shows itself in a terminal or notebook.

    Raises:
        InputError: a model or file can not be read.
        UsageError: an option makes no sense, or no runtime is installed.
    """
    ...


@performed_by(with_progress(export_model))
def export(
    model_or_path: Any,
    output: str | Path,
    *,
    format: str | None = None,
    batch: int | str | None = None,
    opset: int | None = None,
    for_inference: bool = True,
    quantize: str | None = None,
    integer_io: bool = False,
    calibration: Any = None,
    preprocess: Any = None,
    input_range: tuple[float, float] | None = None,
    calibration_samples: int = QuantizationOptions.samples,
    evaluate: Any = None,
    metric: str | Callable | None = None,
    seed: int = QuantizationOptions.seed,
    input_shape: tuple[int, ...] | None = None,
    overwrite: bool = False,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    progress: Progress | bool | None = None,
) -> Exported:
    """Write a model for another runtime. The file gets its name only after it has run there with the outputs of Keras.

    Args:
        model_or_path: a Functional or Sequential Keras model (it is not changed), or an .h5 / .keras file.
        output: a name that ends in .tflite, .onnx or .xml (OpenVINO, with a .bin beside it), or a directory.
        format: 'litert', 'onnx', 'openvino' or 'tf' (a SavedModel); None: by the ending.
        batch: samples in one run, fixed by the export like all other sizes, or 'dynamic'; None: what the model
            fixes, else 1.
        opset: for ONNX, the version of its operations.
        for_inference: write the model's form for inference, see `octconvert.for_inference`. Where the runtime refuses
            the requested one, the other is written, and a note says so.
        quantize: round the numbers: 'int8' (weights and activations), 'float16' (weights), 'dynamic' (weights int8,
            activations as each run has them; not for OpenVINO); by LiteRT's converter, by ONNX Runtime's quantiser, or
            by NNCF for OpenVINO; not for SavedModels. The result is compared with the model on samples that nothing was
            measured on.
        integer_io: with 'int8' for LiteRT: inputs and outputs are int8 too.
        calibration: unlabelled inputs for the ranges of activations, see `octconvert.convert`; None: synthetic images.
        preprocess: for ``calibration`` and ``evaluate``, see `octconvert.convert`.
        input_range: of synthetic images, see `octconvert.convert`.
        calibration_samples: the largest number of samples that are used.
        evaluate: labelled inputs to measure the accuracy on, of the model and of the rounded export.
        metric: what is measured on them, see `octconvert.convert`.
        seed: of the samples.
        input_shape: (rows, columns, channels) for a model that leaves them open.
        overwrite: whether an existing ``output`` may be replaced.
        unsafe: allow files that run code when loaded (Lambda layers).
        custom_objects: classes and functions by name, for loading.
        progress: called with (stage, done, total) while working; True: a bar; None: a bar in notebooks alone.

    Returns:
        `Exported`: what was written and how it was checked.

    Raises:
        InputError: the model, file or data can not be read, or the runtime lacks an operation.
        UsageError: an option makes no sense, the runtime is not installed or lacks the precision, or ``output`` can not
            be written.
        CheckError: the exported file can not be run, or its outputs differ; nothing was written.
    """
    ...


@performed_by(show_maps)
def show(
    model_or_path: Any,
    image: Any,
    *,
    source: Any = None,
    layers: Iterable[str] = (),
    layer_count: int = ShowingOptions.count,
    channels: int = ShowingOptions.channels,
    preprocess: str | Callable | None = None,
    seed: int = ShowingOptions.seed,
    input_shape: tuple[int, ...] | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
) -> FeatureMaps:
    """Feature maps of a converted model for one input: high and low maps of a few layers, beside the source's.

    Args:
        model_or_path: a converted model, in any of its forms, or its file.
        image: the file of an image, an .npy file, or an array: one sample, or several of which the first is shown;
            any other data that `convert` takes for its calibration. Images are scaled and cropped as there.
        source: the model that it was converted from, or its file; None: the maps of the converted model alone.
        layers: regular expressions on layer names of the source: all maps of these; empty: `layer_count` maps, spread
            over the depth, behind activations where there are any.
        layer_count: number of layers, where none are named.
        channels: how many channels of the high map and of the low one are drawn: those with the largest variance.
        preprocess: as of `convert`.
        seed: chooses one sample of a file or directory of several.
        input_shape: (rows, columns, channels) for models that leave them open.
        output: a .png file to draw to.
        overwrite: whether an existing ``output`` may be replaced.
        unsafe: allow files that run code when loaded (Lambda layers).
        custom_objects: classes and functions by name, for loading.

    Returns:
        `FeatureMaps`: the picture in a notebook, a table in a terminal; ``save`` writes the picture.

    Raises:
        InputError: a model or the image can not be read, or the model has no pairs.
        UsageError: an option makes no sense, ``output`` can not be written, or matplotlib is missing for it.
    """
    ...


@checked
def load(
    path: str | Path,
    *,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Any:
    """Load a model file; old formats are repaired in memory, octave layers are known.

    Args:
        path: an .h5 / .keras file.
        unsafe: allow files that run code when loaded (Lambda layers).
        custom_objects: classes and functions by name.
        input_shape: (rows, columns, channels) for a model that leaves them open.

    Raises:
        InputError: the file can not be read.
        UsageError: ``input_shape`` does not fit the model.
    """
    options = LoadingOptions(input_shape=input_shape, unsafe=unsafe, custom_objects=custom_objects)
    return read_model(path, options).model


__all__ = ["Conversion", "InputError", "bench", "convert", "diff", "export", "load", "plan", "read", "show"]
