"""`Report`: everything that a conversion or a comparison of two models reports. Values only: no Keras, no printing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from octconvert.results.bench import Bench
from octconvert.results.frames import data_frame
from octconvert.results.graph import ModelGraph
from octconvert.results.next_step import NextStep
from octconvert.results.plan import Chain
from octconvert.results.shown import Shown

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Cost:
    """The cost of one run of a model on one sample.

    Attributes:
        macs: multiply-accumulates.
        parameters: weights, trainable or not.
        activation_bytes: the sizes of all tensors between layers, added up.
        peak_activation_bytes: the largest sum of those that are alive at once, in execution order.
        assumed_shapes: input shapes assumed where the model leaves rows or columns open; empty where it does not.
    """

    macs: int
    parameters: int
    activation_bytes: int
    peak_activation_bytes: int
    assumed_shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class ConvolutionReport:
    """One row of the per-layer table.

    Attributes:
        name, class_name, role, alpha_in, alpha_out, reason: see `octconvert.planning.Convolution`.
        macs_before, macs_after: multiply-accumulates of the layer in the source and in the converted model.
        input_shape, output_shape: (rows, columns, channels) of the source's map; None where unknown.
        high_shape, low_shape: of the converted output; low_shape is None where the output is plain, high_shape where it
            is whole-low.
        error: mean squared difference between the layer's output and the source's, on the held-out samples, relative to
            the variance of the source's; None where it was not measured.
    """

    name: str
    class_name: str
    role: str
    alpha_in: float
    alpha_out: float
    macs_before: int
    macs_after: int
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]
    high_shape: tuple[int | None, ...] | None
    low_shape: tuple[int | None, ...] | None
    reason: str = ""
    error: float | None = None

    @property
    def writes_whole_low(self) -> bool:
        """Whether its output is one low map, without a high one."""
        return self.alpha_out == 1


@dataclass(frozen=True)
class Check:
    """One check of the converted model: its name, whether it passed, and the measured values in words."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Measure:
    """How close the converted model's outputs are to the source's, on held-out samples.

    Attributes:
        name: 'top-1 agreement' (share of samples, higher is better), 'relative error' (mean squared difference over the
            variance of the source's outputs, lower is better) or 'PSNR' (dB, higher is better).
        before: with the weights only moved (sliced or folded, whichever is closer).
        after: as the model is now.
    """

    name: str
    before: float
    after: float


@dataclass(frozen=True)
class Step:
    """One step of the calibration: its name, whether its result was kept, and what it did, or why it failed."""

    name: str
    kept: bool
    detail: str
    seconds: float


@dataclass(frozen=True)
class CalibrationReport:
    """How the converted model was calibrated, and how close it is to its source before and after.

    Attributes:
        data: the data it was calibrated on: ``1,024 synthetic images``, ``photos/ (96 images)``.
        synthetic: whether the data are synthetic images, not the user's own data.
        input_range: the range of values of synthetic images, and where it was read; empty for real data.
        samples, held_out: the number of samples for fitting, and of others for measuring.
        measures: before and after, on the held-out samples.
        steps: in order.
        seconds: total time.
        cut: stages of which the clock has ended some; without any the same command has the same weights again.
        base: how the weights that it is compared with were moved, 'slice' or 'fold'; the model has them where no step
            was kept.
    """

    data: str
    synthetic: bool
    input_range: str
    samples: int
    held_out: int
    measures: tuple[Measure, ...]
    steps: tuple[Step, ...]
    seconds: float
    cut: tuple[str, ...] = ()
    base: str = "slice"


@dataclass(frozen=True)
class SmallerImages:
    """The plain alternative to a conversion: the source, as it is, on smaller images that cost as many MACs.

    Attributes:
        rows, columns: of the images.
        mac_share: multiply-accumulates of the source for one of them, over those for one of its own images.
        accuracy: share of samples whose largest output is the label.
    """

    rows: int
    columns: int
    mac_share: float
    accuracy: float


SHARE, DECIBELS = "share", "dB"
"""Units of metrics; others have none."""


@dataclass(frozen=True)
class Metric:
    """A metric on labelled data, for the source and for the converted model.

    Attributes:
        name: 'accuracy' (share of samples whose largest output is the label), 'auc', 'mean-iou', 'pixel-accuracy',
            'mae', 'psnr' (mean over the images), or that of a function of the user's.
        unit: 'share' (from 0 to 1), 'dB', or empty.
        before, after: nan where it could not be measured; a note says why.
    """

    name: str
    unit: str
    before: float
    after: float


@dataclass(frozen=True)
class Evaluation:
    """Metrics of the first output on labelled data of the user's (``evaluate``).

    Attributes:
        data: name of the data.
        samples: number of samples.
        before, after: the first metric, of the source and of the converted model.
        smaller: accuracy of the source on smaller images; None where no accuracy was measured, its input size is not
            free, or nothing became cheaper.
        metrics: all of them; empty in reports that were written before there were others than the accuracy.
    """

    data: str
    samples: int
    before: float
    after: float
    smaller: SmallerImages | None = None
    metrics: tuple[Metric, ...] = ()

    @property
    def measured(self) -> tuple[Metric, ...]:
        """``metrics``, or the accuracy of an older report."""
        return self.metrics or (Metric("accuracy", SHARE, self.before, self.after),)


@dataclass(frozen=True)
class Report(Shown):
    """A conversion, or two models side by side (`octconvert.diff`); shows itself in a terminal or notebook.

    Attributes:
        source, target: names of the two models: file names where there are files, else model names.
        before, after: their costs.
        convolutions: one row a convolution, in execution order.
        chains: see `octconvert.planning.Chain`; empty for a diff.
        checks: all checks with their results.
        repairs: repairs of the source file while loading it, a sentence each.
        notes: further remarks, a sentence each.
        options: the options of the conversion by name; empty for a diff.
        seconds: time the conversion took; None for a diff.
        next_steps: what may follow, the likeliest first.
        calibration: None where the model was not calibrated.
        evaluation: accuracy or other metrics on labelled data; None where nothing was measured.
        bench: times of the source and the converted model; None where they were not measured.
        graph: the source's calls, to be drawn; None where they are not known. JSON leaves it out.
    """

    source: str
    target: str
    before: Cost
    after: Cost
    convolutions: tuple[ConvolutionReport, ...]
    chains: tuple[Chain, ...] = ()
    checks: tuple[Check, ...] = ()
    repairs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    options: tuple[tuple[str, object], ...] = ()
    seconds: float | None = None
    next_steps: tuple[NextStep, ...] = ()
    calibration: CalibrationReport | None = None
    evaluation: Evaluation | None = None
    bench: Bench | None = None
    graph: ModelGraph | None = None

    @property
    def converted(self) -> tuple[ConvolutionReport, ...]:
        """The convolutions that became octave layers."""
        return tuple(row for row in self.convolutions if row.role != "plain")

    def to_dataframe(self) -> DataFrame:
        """The convolutions as a pandas table, one a row.

        Raises:
            UsageError: pandas is not installed.
        """
        return data_frame(self.convolutions)

    @property
    def octave_mac_share(self) -> float:
        """Share of the source's convolution MACs that lie in converted layers."""
        total = sum(row.macs_before for row in self.convolutions)
        return sum(row.macs_before for row in self.converted) / total if total else 0.0
