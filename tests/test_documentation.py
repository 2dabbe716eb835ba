"""README.md and the pages of docs/: links lead somewhere, and every command and option that they name exists."""

import ast
import importlib
import io
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

import octconvert
from octconvert.cli.app import app
from octconvert.cli.spelling import COMMANDS as NAMES

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")])
REPOSITORY = re.compile(r"https://github\.com/octconvert/octconvert/(?:blob|tree)/main/([^)#\s]+)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
SCRIPT = re.compile(r"(?:python|benchmarks/|docs/|examples/)\S*\.py")
HEREDOC = re.compile(r" <<'END'\n.*?^END$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"\"\n[^\"]*\n\"")  # a script of several lines
OTHER_TOOLS = ("pip", "pytest", "mkdocs", "git", "pre-commit", "ruff", "python3")
COMMANDS = ("", *NAMES)


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def flags():
    """Command -> the options that its ``--help`` lists."""

    def listed(command):
        stream = io.StringIO()
        app.help_print([command] if command else [], console=Console(file=stream, width=200))
        return set(FLAG.findall(stream.getvalue()))

    return {command: listed(command) for command in COMMANDS}


def anchors(page):
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings(page):
    text = page.read_text(encoding="utf-8")
    targets = [target for target in LINK.findall(text) if "://" not in target]
    for target in targets:
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{name_of(page)} links to {target}"
        if anchor and not anchor.startswith("octconvert."):  # those are made from docstrings; MkDocs checks them
            assert anchor in anchors(linked), f"{name_of(page)} links to {target}"
    for path in REPOSITORY.findall(text):
        assert (ROOT / path).exists(), f"{name_of(page)} links to {path} in the repository"


PATH = re.compile(r"`((?:octconvert|tests|docs|examples|fixtures|benchmarks|\.ci)/[\w./-]*)`")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_names_exist(page):
    named = PATH.findall(page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_page_is_in_the_navigation_of_the_site():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.name for page in ROOT.glob("docs/*.md")]
    assert [page for page in pages if f"- {page}\n" not in navigation] == []


def commands_in(text):
    """The lines of shell blocks, without prompts, comments, continuation lines and the text of scripts in them."""
    for language, block in FENCE.findall(text):
        if language in ("sh", "bash", "console"):
            joined = QUOTED.sub("''", HEREDOC.sub("", block.replace("\\\n", " ")))
            yield from (line.removeprefix("$ ") for line in joined.splitlines() if line.strip())


def octconvert_calls():
    for page in PAGES:
        for line in commands_in(page.read_text(encoding="utf-8")):
            for part in line.split(" && "):
                words = shlex.split(part, comments=True)
                if words and words[0].endswith("octconvert"):
                    yield pytest.param(words[1:], id=f"{name_of(page)}: {shlex.join(words[1:])}")


@pytest.mark.parametrize("arguments", octconvert_calls())
def test_commands_of_the_documentation_are_understood(arguments, tmp_path, monkeypatch):
    """Those with --config take the file that the page shows."""
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    Path("octconvert.toml").write_text(next(block for language, block in FENCE.findall(page) if language == "toml"))
    following = [*arguments[1:], "--"]
    bare = [word == "--json" and after.startswith("--") for word, after in zip(arguments, following, strict=True)]
    tokens = [f"{word}=-" if is_bare else word for word, is_bare in zip(arguments, bare, strict=True)]
    app.parse_args(tokens, exit_on_error=False, print_error=False)


def spans_with_flags(text):
    """Inline code and lines of shell blocks that name an option."""
    inline = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    return [span for span in (*inline, *commands_in(text)) if FLAG.search(span)]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name_of)
def test_options_that_a_page_names_exist(page, flags):
    everywhere = set().union(*flags.values())
    scripts = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("benchmarks/*.py"))
    of_scripts = set(re.findall(r'"(--[a-z-]+)"', scripts))
    for span in spans_with_flags(page.read_text(encoding="utf-8")):
        tool, *words = span.split()
        if tool.rsplit("/", 1)[-1] in OTHER_TOOLS or "-m" in words[:1]:
            continue
        is_script = SCRIPT.search(span) or page.name == "measurements.md"
        known = everywhere | of_scripts if is_script else everywhere
        unknown = [flag for flag in FLAG.findall(span) if flag not in known]
        assert not unknown, f"{name_of(page)}: {span}"


def test_the_page_of_the_command_line_explains_every_option_of_a_conversion(flags):
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert flags[""] - set(FLAG.findall(page)) == set()


def test_type_checkers_see_the_public_names():
    tree = ast.parse(Path(octconvert.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    imports = {alias.asname: node.module for node in guarded.body for alias in node.names}
    assert sorted(imports) == octconvert.__all__
    for name, module in imports.items():
        assert getattr(importlib.import_module(module), name) is getattr(octconvert, name)


def test_ci_runs_the_commands_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("quickstart", "tests"):
        assert re.search(rf"^<!-- {name} -->\n```bash\n.+\n```$", readme, re.MULTILINE), name
