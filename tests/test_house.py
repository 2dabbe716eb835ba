"""The code keeps to the sizes that CONTRIBUTING promises, and every option is said once."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import octconvert
from octconvert.options.request import DEFAULTS

PACKAGE = Path(octconvert.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FILE, CLASS, BODY, PARAMETERS = 400, 200, 50, 8
FLAT = {"api.py", "layers", "cli", "training/distillation.py", "loading/tensorflow"}
"""Where a user's own arguments are listed one by one, or TensorFlow's."""


@pytest.fixture(scope="module")
def trees():
    return {path: ast.parse(path.read_text()) for path in FILES}


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def lines(node, body=None) -> int:
    return node.end_lineno - (body or node).lineno + 1


def is_flat(path: Path) -> bool:
    place = path.relative_to(PACKAGE).as_posix()
    return any(place == name or place.startswith(f"{name}/") for name in FLAT)


def test_files_are_short():
    long = {str(path): count for path in FILES if (count := path.read_text().count("\n")) >= FILE}
    assert not long


def test_classes_are_small(trees):
    nodes = [(path, node) for path, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert not [f"{path}: {node.name} {lines(node)}" for path, node in nodes if lines(node) > CLASS]


def test_bodies_of_functions_fit_on_a_screen(trees):
    long = []
    for path, tree in trees.items():
        for node in functions(tree):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and lines(node, body[0]) > BODY:
                long.append(f"{path}: {node.name}")
    assert not long


def test_parameters_are_few(trees):
    many = []
    for path, tree in trees.items():
        for node in functions(tree) if not is_flat(path) else ():
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            if len([name for name in names if name not in ("self", "cls")]) > PARAMETERS:
                many.append(f"{path}: {node.name}")
    assert not many


def test_no_function_passes_its_locals_on(trees):
    calls = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "locals"]


@pytest.mark.parametrize("function", [octconvert.convert, octconvert.plan])
def test_defaults_of_the_signature_are_those_of_the_options(function):
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in ("model_or_path", "progress"):
            empty = parameter.default in (None, ()) and DEFAULTS[name] in (None, ())
            assert parameter.default == DEFAULTS[name] or empty, name


@pytest.mark.parametrize("function", [octconvert.convert, octconvert.bench, octconvert.export])
def test_help_says_what_every_argument_means(function):
    described = set()
    for names in re.findall(r"^ {8}([a-z_]+(?:, [a-z_]+)*): \S", function.__doc__, re.MULTILINE):
        described.update(names.split(", "))
    assert described == set(inspect.signature(function).parameters)


def test_quick_cases_exist(missing_quick_cases):
    """A case that was renamed would be long, and its test perhaps not be in the default suite at all."""
    assert not missing_quick_cases
