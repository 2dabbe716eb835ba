"""Which feature maps are shown, and for which input."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octconvert.errors import UsageError
from octconvert.options import limits
from octconvert.options.fields import option
from octconvert.options.limits import shown
from octconvert.system.installation import install_command
from octconvert.system.targets import check_target
from octconvert.system.targets import shown as name_of

ENDING = ".png"


@dataclass(frozen=True)
class ShowingOptions:
    """The options for a picture of feature maps.

    Raises:
        UsageError: on creation, where a value makes no sense.
    """

    layers: tuple[str, ...] = option((), "regular expressions on layer names: show these; default: spread over depth")
    count: int = option(4, "number of layers, where none are named", "layer_count")
    channels: int = option(4, "channels of each map to draw, those with the largest variance")
    preprocess: Any = option(None, "how the input is preprocessed for the model")
    seed: int = option(0, "seed of the choice of one sample, where a file or directory holds several")
    output: str | Path | None = option(None, "file to draw to (.png)")
    overwrite: bool = option(False, "replace an existing file")

    def __post_init__(self) -> None:
        for name, value in (("layer_count", self.count), ("channels", self.channels), ("seed", self.seed)):
            limits.whole(name, value)
        for pattern in self.layers:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UsageError(f"`layers`: {shown(pattern)} is no regular expression: {error}") from None
        if self.output is not None:
            check_drawing()
            check_picture(self.output, overwrite=self.overwrite)


def check_drawing() -> None:
    """Raises `UsageError` where there is no matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(f"pictures of feature maps need matplotlib, which is not installed: {install_command('show')}")


def check_picture(target: str | Path, *, overwrite: bool) -> Path:
    """Refuse a picture that can not be written.

    Returns:
        The path behind all links.

    Raises:
        UsageError: with the reason.
    """
    if Path(target).suffix.lower() != ENDING:
        raise UsageError(f"{name_of(target)}: pictures are written as {ENDING}; name it so")
    return check_target(target, overwrite=overwrite)
