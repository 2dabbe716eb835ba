"""Options in messages: the library names them as Python does, the command line by its flags."""

import ast
import inspect
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from octconvert.cli.app import app
from octconvert.cli.spelling import FLAGS, spell

PACKAGE = Path(__file__).resolve().parents[2] / "octconvert"
WITHOUT_FLAG = {"progress", "strict"}
"""The command line shows progress by itself, and is always strict."""


@pytest.mark.parametrize(
    "text, expected",
    [
        ("give `input_shape` (rows, columns, channels)", "give --input-shape (rows, columns, channels)"),
        ("`calibration` or `calibration=False`", "--calibrate or --no-calibration"),
        ("`overwrite` replaces it, `output` names another", "--force replaces it, -o names another"),
        ("`overwrite=True`, `benchmark=False`", "--force, no --benchmark"),
        ("`objective='latency'`", "--objective latency"),
        ('`preset="paper"`', "--preset paper"),
        ("`input_shape=(224, 224, 3)`", "--input-shape 224,224,3"),
        ("`calibration_steps=('solve', 'refine')`", "--calibration-steps solve,refine"),
        ("`for_inference=False`", "--no-for-inference"),
        ("`filters` must be positive, layer `output", "`filters` must be positive, layer `output"),
        ("alpha and input_shape in no quotes", "alpha and input_shape in no quotes"),
    ],
)
def test_options_become_flags(text, expected):
    assert spell(text) == expected


@pytest.mark.parametrize("function", ["convert", "plan", "diff", "bench", "export", "show", "load"])
def test_every_option_of_the_public_functions_has_a_flag(function):
    from octconvert import api

    parameters = inspect.signature(getattr(api, function)).parameters.values()
    options = {each.name for each in parameters if each.default is not each.empty}
    assert options - WITHOUT_FLAG - set(FLAGS) == set()


def test_every_flag_exists():
    screen = io.StringIO()
    for command in ([], ["bench"], ["export"], ["show"]):
        app.help_print(command, console=Console(file=screen, width=200))
    listed = set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", screen.getvalue()))
    assert {spell(f"`{name}`") for name in FLAGS} - listed == set()
    assert {spell(f"`{name}=False`") for name in ("calibration", "for_inference")} - listed == set()


def test_no_message_below_the_command_line_names_a_flag():
    files = [(path.relative_to(PACKAGE).with_suffix("").parts[0], path) for path in PACKAGE.rglob("*.py")]
    assert [path.name for room, path in files if room != "cli" and _flags(path)] == []


def _flags(path: Path) -> list[str]:
    """The strings of a module, but for its documentation, that hold a flag."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [
        node.value for node in strings if id(node) not in documentation and re.search(r"(?<!\S)\(?--[a-z]", node.value)
    ]
