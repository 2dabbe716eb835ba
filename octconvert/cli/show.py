"""``octconvert show``: its arguments."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from octconvert.cli.accuracy import preprocessing
from octconvert.cli.data_files import check_sample
from octconvert.cli.files import check_model, check_output, check_results
from octconvert.cli.parameters import (
    DEFAULT_LOADING,
    DEFAULT_RESULT,
    OUTPUT,
    RUN,
    FileName,
    LoadingParameters,
    ResultParameters,
    flag,
    option,
    sizes,
    typed,
    whole_number,
)
from octconvert.cli.task import Task
from octconvert.errors import UsageError
from octconvert.options.fields import parse
from octconvert.options.showing import ENDING, ShowingOptions, check_drawing, check_picture

SHOWN = Group("What is shown", sort_key=0)
_option: Callable[..., Parameter] = partial(option, options=ShowingOptions)


@dataclass(frozen=True, kw_only=True)
class ShowingParameters:
    """As they were typed; None where they were not."""

    image: Annotated[
        FileName,
        flag(
            "An image, an .npy file, or other data as for --calibrate, of which one sample is taken.",
            group=SHOWN,
            metavar="PATH",
        ),
    ]
    source: Annotated[
        FileName | None,
        flag(
            "The model that MODEL was converted from: its maps are drawn too, and compared. Default: none.",
            group=SHOWN,
            metavar="PATH",
        ),
    ] = None
    layers: Annotated[list[str] | None, _option("layers", "Repeatable.", group=SHOWN, metavar="REGEX")] = None
    layer_count: Annotated[str | None, _option("layer_count", group=SHOWN, metavar="INT")] = None
    channels: Annotated[str | None, _option("channels", group=SHOWN, metavar="INT")] = None
    preprocess: Annotated[
        str | None,
        _option(
            "preprocess",
            "As for a conversion.",
            unset="nothing is done",
            group=RUN,
            metavar="HOW",
            allow_leading_hyphen=True,
        ),
    ] = None
    input_shape: Annotated[str | None, option("input_shape", unset="that of the model", group=RUN, metavar="H,W,C")] = (
        None
    )
    seed: Annotated[str | None, _option("seed", group=RUN, metavar="INT")] = None

    def arguments(self) -> dict[str, Any]:
        """What was typed, by the names that `octconvert.show` has for it.

        Raises:
            UsageError: a value makes no sense.
            InputError: there is no such image or source.
        """
        values = typed(
            {
                "layers": None if self.layers is None else tuple(self.layers),
                "layer_count": whole_number(self.layer_count),
                "channels": whole_number(self.channels),
                "preprocess": preprocessing(self.preprocess),
                "seed": whole_number(self.seed),
            }
        )
        parse(ShowingOptions, values)  # refused before TensorFlow is started for it
        check_sample(self.image, "--image")
        if self.source is not None:
            check_model(self.source)
        return {"image": self.image, "source": self.source, "input_shape": sizes(self.input_shape), **values}


def show(
    model: Annotated[FileName, Parameter(help="The converted model.")],
    /,
    *,
    showing: Annotated[ShowingParameters, Parameter(name="*")],
    output: Annotated[
        FileName | None,
        flag("The picture to write. Default: MODEL-maps.png.", "--output", "-o", group=OUTPUT, metavar="PATH"),
    ] = None,
    loading: Annotated[LoadingParameters, Parameter(name="*")] = DEFAULT_LOADING,
    result: Annotated[ResultParameters, Parameter(name="*")] = DEFAULT_RESULT,
) -> Task:
    """Draw the high and low maps of MODEL for one image, beside those of its source."""
    console = result.console()
    check_model(model)
    arguments = showing.arguments()
    target = f"{os.path.splitext(model)[0]}-maps{ENDING}" if output is None else output
    check_results(result, (model, showing.image, showing.source, target))
    _check_target(target, (model, showing.image, showing.source), result)
    check_drawing()
    arguments |= {"output": target, "overwrite": result.force, **loading.arguments()}
    return Task("show", (model,), arguments, console, (target, *result.files))


def _check_target(target: str, inputs: tuple[str | None, ...], result: ResultParameters) -> None:
    """Refuse a picture that can not be written, would replace an input, or exists already.

    Raises:
        UsageError: it is refused.
    """
    check_picture(target, overwrite=True)
    for each in filter(None, inputs):
        if Path(target).exists() and Path(target).samefile(each):
            raise UsageError(f"{target}: is a file that is read; give another name with -o")
    check_output(inputs[0] or "", target, result)
