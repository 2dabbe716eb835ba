"""Sample results, and their text."""

import io
from dataclasses import replace

from rich.console import Console

import octconvert.display  # noqa: F401  (registers how results are shown)
from octconvert.options.rewriting import RewritingOptions
from octconvert.results.bench import Bench, BenchRow
from octconvert.results.export import Exported, TensorReport
from octconvert.results.next_step import NextStep
from octconvert.results.plan import Chain, ChainEnd, Convolution, Group, Plan
from octconvert.results.report import (
    CalibrationReport,
    Check,
    ConvolutionReport,
    Cost,
    Evaluation,
    Measure,
    Metric,
    Report,
    SmallerImages,
    Step,
)
from octconvert.results.shown import STANDARD
from octconvert.results.shown import renderable as render

OPTIONS = tuple((name, getattr(RewritingOptions(), name)) for name in RewritingOptions.__dataclass_fields__)


PASSED = (
    Check("shapes", True, "1 output of shape (None, 10), as in the source"),
    Check("finite", True, "8 random samples, no NaN and no infinity"),
    Check("oracle", True, "octave=1: largest difference 2.1e-09 on outputs of size 7.3e-03"),
    Check("reload", True, "the saved file gives the same outputs"),
)


def text(renderable, width=80, encoding="utf-8"):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=stream, width=width, no_color=True, force_terminal=False, legacy_windows=False)
    console.print(renderable)
    stream.flush()
    # rich fills cells up with blanks; golden files without them survive editors.
    return "".join(f"{line.rstrip()}\n" for line in raw.getvalue().decode(encoding).splitlines())


def oneline(result, view=STANDARD):
    """The text without line breaks."""
    return " ".join(text(render(result, view)).split())


def row(name, role, alphas, size, channels, macs, after, reason="", class_name="Conv2D"):
    low = int(alphas[1] * channels)
    high = channels - low
    return ConvolutionReport(
        name=name,
        class_name=class_name,
        role=role,
        alpha_in=alphas[0],
        alpha_out=alphas[1],
        macs_before=macs,
        macs_after=after,
        input_shape=(size, size, channels),
        output_shape=(size, size, channels),
        high_shape=(size, size, high) if high else None,
        low_shape=(size // 2, size // 2, low) if low else None,
        reason=reason,
    )


def five():
    rows = (
        row("conv1", "first", (0, 0.5), 32, 32, 884_736, 552_960),
        row("conv2", "intermediate", (0.5, 0.5), 32, 32, 9_437_184, 4_128_768),
        row("separable", "intermediate", (0.5, 0.5), 16, 64, 598_016, 270_000, class_name="SeparableConv2D"),
        row("conv3", "last", (0.5, 0), 16, 64, 9_437_184, 5_898_240),
        row("head", "plain", (0, 0), 4, 10, 10_240, 10_240, "its map of 4 x 4 is smaller than min_size 8"),
    )
    chain = Chain(
        first=("conv1",),
        intermediate=("conv2", "separable"),
        last=("conv3",),
        dual=("bn1", "relu1", "bn2", "relu2", "pool"),
        ends=(ChainEnd("conv3", "Conv2D", "the layer after it reads a plain tensor"),),
    )
    return Report(
        source="small.h5",
        target="small-octave.keras",
        before=Cost(20_367_360, 61_706, 1_234_567, 262_144),
        after=Cost(10_860_208, 61_706, 998_000, 300_000),
        convolutions=rows,
        chains=(chain,),
        checks=PASSED,
        repairs=("lambda layers of Keras 1 'border_mode' were renamed to 'padding' in 4 layers",),
        notes=("Accuracy after conversion was not measured; fine-tune or calibrate before use.",),
        options=OPTIONS,
        seconds=3.217,
        next_steps=(
            NextStep("Time both models here", "bench", ("small.h5", "small-octave.keras"), (("runtimes", "litert"),)),
            NextStep("Write it for LiteRT", "export", ("small-octave.keras",), (("output", "small-octave.tflite"),)),
        ),
    )


def whole_low():
    """A bottleneck whose interior is whole-low, behind a plain stem."""
    rows = (
        row("stem", "plain", (0, 0), 32, 64, 1_769_472, 1_769_472, "alpha leaves it no low channel"),
        row("reduce", "first", (0, 1), 32, 16, 1_048_576, 262_144),
        row("conv", "intermediate", (1, 1), 32, 16, 2_359_296, 589_824),
        row("expand", "last", (1, 0), 32, 64, 1_048_576, 262_144),
    )
    chain = Chain(("reduce",), ("conv",), ("expand",), ("bn1", "relu1"), (ChainEnd("expand", "Conv2D", ""),))
    options = tuple({**dict(OPTIONS), "alpha": 0.0, "interior": 1.0}.items())
    return replace(five(), convolutions=rows, chains=(chain,), repairs=(), notes=(), options=options)


def five_hundred():
    rows = []
    for stage in range(1, 11):
        for block in range(1, 51):
            name = f"backbone/encoder/stage{stage}_block{block}_conv"
            size, macs = 2 ** (9 - (stage + 1) // 2), 1_000_000 * (51 - block) + stage
            if (stage, block) == (1, 1):
                rows.append(row(name, "first", (0, 0.125), size, 64, macs, round(0.9 * macs)))
            elif stage > 8:
                reason = "excluded by 'stage9'" if block % 2 else "Concatenate joins it with a tensor that is not tied"
                rows.append(row(name, "plain", (0, 0), size, 64, macs, macs, reason))
            elif (stage, block) == (8, 50):
                rows.append(row(name, "last", (0.125, 0), size, 64, macs, round(0.9 * macs)))
            else:
                rows.append(row(name, "intermediate", (0.125, 0.125), size, 64, macs, round(0.824 * macs)))
    converted = [r.name for r in rows if r.role == "intermediate"]
    ends = tuple(ChainEnd(f"neck/attention_{i}", "MultiHeadAttention", "no rule for this layer") for i in range(40))
    long = Chain((rows[0].name,), tuple(converted[:300]), (), tuple(f"bn{i}" for i in range(900)), ends)
    short = [Chain((), (name,), (), ("bn",), (ChainEnd(f"{name}_out", "Lambda", ""),)) for name in converted[300:]]
    return Report(
        source="a-rather-long-file-name-of-a-segmentation-network.h5",
        target="a-rather-long-file-name-of-a-segmentation-network-octave.keras",
        before=Cost(15_470_314_496, 138_357_544, 123_456_789, 25_690_112, ((512, 512, 3),)),
        after=Cost(13_112_000_000, 138_357_544, 120_000_000, 26_000_000, ((512, 512, 3),)),
        convolutions=tuple(rows),
        chains=(long, *short),
        checks=PASSED,
        repairs=tuple(f"layer {i}: 'batch_input_shape' became 'batch_shape'" for i in range(20)),
        notes=("The model leaves rows and columns open.",),
        options=tuple({**dict(OPTIONS), "alpha": 0.125, "alpha_map": ((".*_1$", 0.25),), "portable": True}.items()),
        seconds=83.4,
        next_steps=(
            NextStep(
                "Time both models here",
                "bench",
                (
                    "a rather-long-file-name-of-a-segmentation-network.h5",
                    "a-rather-long-file-name-of-a-segmentation-network-octave.keras",
                ),
            ),
        ),
    )


def nothing():
    reasons = ("excluded by the option exclude", "dilated convolutions stay plain")
    rows = tuple(row(f"conv{i}", "plain", (0, 0), 16, 8, 1000, 1000, reasons[i % 2]) for i in range(3))
    cost = Cost(3000, 216, 8192, 4096)
    return Report("net.keras", "net-octave.keras", cost, cost, rows, options=OPTIONS, seconds=0.4)


def failed():
    bad = Check("oracle", False, "octave=1: largest difference 0.31 on outputs of size 0.9, at output 'probabilities'")
    return replace(five(), checks=(*PASSED[:2], bad), next_steps=())


def with_errors(report, errors):
    rows = (replace(row, error=error) for row, error in zip(report.convolutions, errors, strict=True))
    return replace(report, convolutions=tuple(rows), notes=())


def synthetic():
    """A classifier without any data of the user's."""
    done = CalibrationReport(
        data="1,024 synthetic images",
        synthetic=True,
        input_range="-1..1, from the Rescaling 'rescale' that the input goes through first",
        samples=896,
        held_out=128,
        measures=(
            Measure("top-1 agreement", 0.711, 0.969),
            Measure("relative error", 0.3124, 0.02413),
            Measure("PSNR", 18.24, 29.3),
        ),
        steps=(
            Step("rotate", True, "4 groups, the low channels are the smoothest combinations", 3.04),
            Step("solve", True, "5 layers by least squares", 12.31),
            Step("renormalize", True, "moving mean and variance of 2 layers", 1.0),
            Step(
                "refine", True, "60 steps of Adam; the error fell from 3.5% to 2.4%, the best of 3 learning rates", 24.6
            ),
        ),
        seconds=41.2,
    )
    return replace(with_errors(five(), (0.031, 0.124, 0.0004, 0.0, None)), calibration=done)


def calibrated():
    """Data of the user's, labels to measure with, and a step that was not kept."""
    done = CalibrationReport(
        data="photos/ (96 of 5,200 images)",
        synthetic=False,
        input_range="",
        samples=86,
        held_out=10,
        measures=(Measure("top-1 agreement", 0.8, 1.0), Measure("relative error", 0.124, 0.000412)),
        steps=(
            Step("select", True, "other low channels in 2 of 4 groups", 0.4),
            Step("solve", True, "4 layers by least squares", 2.25),
            Step(
                "refine",
                False,
                "200 steps of 32 samples, no nearer to the source: error 0.0412% -> 0.0431%, undone",
                7.5,
            ),
        ),
        seconds=10.2,
    )
    smaller = SmallerImages(147, 147, 0.43, 0.792)
    metrics = (Metric("accuracy", "share", 0.841, 0.83),)
    result = Evaluation("test.npz", 5000, 0.841, 0.83, smaller, metrics)
    report = with_errors(five(), (0.031, 0.124, 0.0004, 14.0, None))
    return replace(report, calibration=done, evaluation=result)


def not_calibrated():
    """A regression model on which nothing helped: no headline may say that it was calibrated."""
    report = synthetic()
    why = "2 layers, no nearer to the source: error 7.79% -> 7.82%, undone"
    steps = tuple(replace(step, kept=False, detail=why) for step in report.calibration.steps)
    done = replace(report.calibration, steps=steps, measures=(Measure("PSNR", 31.0, 31.0),))
    return replace(report, calibration=done)


def five_hundred_errors():
    """The worst layers are neither the first nor the heaviest."""
    source = five_hundred()
    report = with_errors(source, [0.5 if 233 <= i < 236 else 0.01 for i in range(500)])
    return replace(report, chains=(), calibration=calibrated().calibration, repairs=())


def diff():
    """As `octconvert.pipeline.reporting` makes it: the role is the layer's class in the second model."""
    source, became = five(), ("OctaveConv2D", "OctaveConv2D", "plain", "OctaveConv2D", "-")
    rows = tuple(
        replace(r, role=role, alpha_in=0, alpha_out=0, high_shape=r.output_shape, low_shape=None, reason="")
        for r, role in zip(source.convolutions, became, strict=True)
    )
    rows = (*rows[:4], replace(rows[4], macs_after=0, reason="not in the second model"))
    return Report("small.h5", "small-octave.keras", source.before, source.after, rows)


def plain_diff():
    source = diff()
    rows = tuple(replace(r, role="plain", macs_after=r.macs_before, reason="") for r in source.convolutions)
    return replace(source, convolutions=rows)


def plan():
    groups = (
        Group("g1", ("conv1",), (32,), 0.5, (16,)),
        Group("g2", ("conv2", "separable"), (32, 64), 0.5, (16, 32)),
    )
    return _plan_of(five(), groups)


def whole_low_plan():
    names = ("reduce", "conv")
    groups = [Group(f"g{i}", (name,), (16,), 1.0, (16,), whole_low=True) for i, name in enumerate(names, 1)]
    return _plan_of(whole_low(), tuple(groups))


def _plan_of(report, groups):
    kept = ("name", "class_name", "role", "alpha_in", "alpha_out", "reason")
    convolutions = tuple(
        Convolution(
            **{name: getattr(r, name) for name in kept},
            input_shape=(None, *r.input_shape),
            output_shape=(None, *r.output_shape),
        )
        for r in report.convolutions
    )
    return Plan("small", 2, 8, "keep", "slice", False, groups, convolutions, report.chains)


def empty_plan():
    return replace(plan(), convolutions=(), groups=(), chains=())


def bench():
    rows = (
        BenchRow("models/of/mine/resnet50.keras", "tf", 3_860_000_000, 47.8, (46.9, 49.2), 75, 1.0, 1.0, 310.2),
        BenchRow("models/of/mine/resnet50-octave.keras", "tf", 2_130_000_000, 36.8, (36.1, 38), 75, 1.3, 1.81, 295.0),
        BenchRow("models/of/mine/resnet50-octave.keras", "litert", 2_130_000_000, error="it has no [op]"),
    )
    return Bench(rows, threads=2, batch=1, rounds=15, for_inference=True, notes=("a note",))


def exported():
    check = Check("outputs", True, "8 random samples, largest difference 2.4e-07 on outputs of size 0.91")
    inputs = (TensorReport("image", (1, 32, 32, 3), "float32"),)
    return Exported("net.keras", "net.tflite", "litert", 254_712, True, inputs, check, ("a note",))
