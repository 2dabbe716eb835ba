"""Pages of docs/ that are made from the code, from data or from tests say what these say."""

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

import octconvert
from octconvert.rules.registry import registered

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def text_of(page):
    return (DOCS / page).read_text(encoding="utf-8")


def script(path):
    """A script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_rules_is_that_of_the_registry():
    page = text_of("converts.md")
    assert page == script(DOCS / "list_rules.py").page(), "run python docs/list_rules.py"
    built_in = [family for family in registered() if family.__module__.startswith("octconvert.rules.")]
    layers = {layer.__name__ for family in built_in for layer in family.layers}
    assert layers and {name for name in layers if f"`{name}`" not in page} == set()


@pytest.mark.parametrize("name", octconvert.__all__)
def test_the_api_page_has_every_public_name(name):
    page = text_of("api.md")
    module = octconvert._PUBLIC[name]
    whole = re.search(rf"^::: {re.escape(module)}\n(?:    .*\n)*", page, re.MULTILINE)
    listed = whole and ("members:" not in whole[0] or re.search(rf"\b{name}\b", whole[0]))
    assert listed or f"\n::: octconvert.{name}\n" in page


@pytest.mark.parametrize("name", ["latency.json", "accuracy.json"])
def test_the_data_of_the_figures_are_those_of_the_measurements(name):
    tables = script(DOCS / "read_tables.py")
    assert tables.as_json(tables.TABLES[name](text_of("measurements.md"))) == text_of(f"data/{name}")


def test_the_tables_of_the_benchmarks_are_those_of_the_data():
    pytest.importorskip("matplotlib")
    assert text_of("benchmarks.md") == script(DOCS / "draw_figures.py").page(), "run python docs/draw_figures.py"


@pytest.mark.parametrize("promised", re.findall(r"`(tests/[\w./]+::\w+)`", text_of("security.md")))
def test_a_promise_is_held_by_a_test(promised):
    path, name = promised.split("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@cache
def texts_of_the_source():
    """The strings of the package, with line feeds for what is filled in."""
    texts = []
    for path in Path(octconvert.__file__).parent.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        docstrings = [node.value for node in nodes if isinstance(node, ast.Expr)]
        for node in nodes:
            if node in docstrings:
                continue
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(str(p.value) if isinstance(p, ast.Constant) else "\n" for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


MESSAGES = re.findall(r"^\| `([^`]+)` \|", text_of("troubleshooting.md"), re.MULTILINE)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_one_of_the_program(message):
    pattern = re.compile(r"\s?\n\s?".join(re.escape(part.strip()) for part in message.split("…") if part.strip()))
    assert any(pattern.search(text) for text in texts_of_the_source())


def test_shell_blocks_become_one_script_with_the_lines_of_the_page():
    blocks = script(ROOT / ".ci" / "shell_blocks.py")
    page = "# T\n\n<!-- before the commands\ncp a b\n-->\n\n```console\n$ shown\n```\n\n```bash\noctconvert b\n```\n"
    assert blocks.script_of(page).splitlines() == ["", "", "", "cp a b", *[""] * 7, "octconvert b", ""]


@pytest.mark.parametrize("page", sorted(page.name for page in [DOCS / "tutorial.md", *DOCS.glob("how-to-*.md")]))
def test_pages_to_follow_have_commands_that_ci_runs(page):
    blocks = [script(ROOT / ".ci" / name) for name in ("shell_blocks.py", "python_blocks.py")]
    assert any(each.script_of(text_of(page)).strip() for each in blocks)
