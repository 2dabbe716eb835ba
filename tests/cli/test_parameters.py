"""Parameters that are the library's options: their choices, meanings and defaults."""

import io
import typing
from dataclasses import fields

import pytest
from rich.console import Console

from octconvert.cli.accuracy import AccuracyParameters
from octconvert.cli.app import app
from octconvert.cli.bench import TimingParameters
from octconvert.cli.convert import DeploymentParameters, RewritingParameters, TargetParameters
from octconvert.options.delivery import VERIFY
from octconvert.options.deployment import OBJECTIVES
from octconvert.options.request import DEFAULTS
from octconvert.options.rewriting import PRESETS, STRIDE_MODES, WEIGHTS
from octconvert.options.timing import RUNTIMES


def choices(parameters, name):
    """The values of a `Literal` in the annotation of a field."""
    pending, values = [typing.get_type_hints(parameters)[name]], []
    while pending:
        hint = pending.pop()
        if typing.get_origin(hint) is typing.Literal:
            values += typing.get_args(hint)
        else:
            pending += typing.get_args(hint)
    return set(values)


@pytest.mark.parametrize(
    "parameters, name, expected",
    [
        (RewritingParameters, "preset", PRESETS),
        (RewritingParameters, "stride_mode", STRIDE_MODES),
        (RewritingParameters, "weights", WEIGHTS),
        (TargetParameters, "verify", VERIFY),
        (DeploymentParameters, "objective", OBJECTIVES),
        (DeploymentParameters, "runtime", RUNTIMES),
        (TimingParameters, "runtime", RUNTIMES),
    ],
)
def test_choices_are_those_of_the_library(parameters, name, expected):
    assert choices(parameters, name) == set(expected)


def test_every_option_of_a_conversion_is_a_parameter():
    classes = (RewritingParameters, AccuracyParameters, DeploymentParameters, TargetParameters)
    named = {field.name for each in classes for field in fields(each)}
    renamed = {"calibration": "calibrate"}
    shared = {"plan", "input_shape", "unsafe", "custom_objects", "overwrite", "strict"}
    assert {renamed.get(name, name) for name in set(DEFAULTS) - shared} - named == set()


def test_help_shows_meanings_and_defaults_of_the_library():
    screen = io.StringIO()
    app.help_print([], console=Console(file=screen, width=300))
    text = " ".join(screen.getvalue().split())
    assert "Share of the channels that become low, from 0 to 1 (one low map, no high one). Default: 0.5." in text
    assert "The largest number of samples that are used. Default: 2048." in text
    assert "measured on this machine and --runtime. Default: macs." in text and "`" not in text
