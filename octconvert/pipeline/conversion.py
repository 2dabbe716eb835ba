"""`Conversion`: what `octconvert.convert` returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from octconvert.display.serialized import to_dict
from octconvert.options.arguments import checked
from octconvert.options.showing import ShowingOptions
from octconvert.pipeline.show import show as show_maps
from octconvert.results.maps import FeatureMaps
from octconvert.results.plan import Plan
from octconvert.results.report import Check, ConvolutionReport, Cost, Report
from octconvert.results.shown import STANDARD, Shown, View, as_page, renderable
from octconvert.verification.saving import save_checked

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class Conversion(Shown):
    """A converted model with everything that is known about it; shows its report in a terminal or notebook.

    Attributes:
        model: the new Keras model.
        plan: the `Plan` it follows.
        report: the `Report`.
        source: the model that it was converted from, as it was read.
    """

    model: Any
    plan: Plan
    report: Report
    custom_objects: dict[str, Any] = field(default_factory=dict)
    source: Any = None

    @property
    def before(self) -> Cost:
        """Cost of the source model."""
        return self.report.before

    @property
    def after(self) -> Cost:
        """Cost of the converted model."""
        return self.report.after

    @property
    def convolutions(self) -> tuple[ConvolutionReport, ...]:
        return self.report.convolutions

    @property
    def checks(self) -> tuple[Check, ...]:
        return self.report.checks

    @property
    def repairs(self) -> tuple[str, ...]:
        """What was repaired while loading the source file."""
        return self.report.repairs

    @checked
    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Save the model; the file gets its name only after it was loaded again and predicted the same.

        Raises:
            UsageError: the ending is neither .keras nor .h5, or the file exists and ``overwrite`` is false.
            CheckError: the saved file does not load or predicts something else.
        """
        save_checked(self.model, Path(path), overwrite, self.custom_objects)

    @checked
    def show(
        self,
        image: Any,
        *,
        layers: Iterable[str] = (),
        layer_count: int = ShowingOptions.count,
        channels: int = ShowingOptions.channels,
        preprocess: str | Callable | None = None,
        seed: int = ShowingOptions.seed,
        output: str | Path | None = None,
        overwrite: bool = False,
    ) -> FeatureMaps:
        """Feature maps of the model for one input beside those of its source, see `octconvert.show`.

        Raises:
            InputError: the image can not be read.
            UsageError: an option makes no sense.
        """
        return show_maps(
            {
                "model_or_path": self.model,
                "image": image,
                "source": self.source,
                "layers": layers,
                "layer_count": layer_count,
                "channels": channels,
                "preprocess": preprocess,
                "seed": seed,
                "output": output,
                "overwrite": overwrite,
            }
        )

    def to_dataframe(self) -> DataFrame:
        """The convolutions as a pandas table, one a row: names, shapes, alphas, MACs and errors.

        Raises:
            UsageError: pandas is not installed.
        """
        return self.report.to_dataframe()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dictionaries and lists, ready for JSON."""
        return to_dict(self.report)

    def __rich__(self) -> RenderableType:
        return renderable(self.report)

    def __repr__(self) -> str:
        report = self.report
        converted, total = len(report.converted), len(report.convolutions)
        ratio = report.before.macs / report.after.macs if report.after.macs else 1.0
        return f"<Conversion of {report.source}: {converted} of {total} convolutions, {ratio:.2f}x fewer MACs>"


@as_page.register
def _(conversion: Conversion, view: View = STANDARD) -> str:
    return as_page(conversion.report, view)
