"""Writes the table of docs/converts.md: every layer and operation for which octconvert/rules has a rule.

    python docs/list_rules.py

A test compares the page with what this script writes.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import keras

import octconvert.rules
from octconvert.rules import Family, Rule
from octconvert.rules.registry import registered

PAGE = Path(__file__).parent / "converts.md"
SOURCE = "https://github.com/octconvert/octconvert/blob/main/octconvert/rules/"
BETWEEN = re.compile(r"(?<=<!-- rules -->\n).*?(?=<!-- /rules -->)", re.DOTALL)


def table() -> str:
    """A section for each file of rules, with a row for each registered class in it."""
    return "\n".join(
        _section(name) for _, name, _ in pkgutil.iter_modules(octconvert.rules.__path__) if _families(name)
    )


def page() -> str:
    """The text of the page with the current table."""
    return BETWEEN.sub(lambda _: f"\n{table()}\n", PAGE.read_text(encoding="utf-8"))


def _families(module: str) -> list[type[Family]]:
    own = [family for family in registered() if family.__module__ == f"octconvert.rules.{module}"]
    return sorted(own, key=lambda family: family.__name__)


def _section(module: str) -> str:
    text = importlib.import_module(f"octconvert.rules.{module}").__doc__ or ""
    identity = _escaped(" ".join(text.split("\n\n")[0].split()).removesuffix("."))
    rows = "\n".join(_row(family) for family in _families(module))
    heading = f"### {module.replace('_', ' ').capitalize()}\n\n{identity}. [Source]({SOURCE}{module}.py)"
    return f"{heading}\n\n| layers and operations | |\n|---|---|\n{rows}\n"


def _row(family: type[Family]) -> str:
    names = [*(layer.__name__ for layer in family.layers), *map(_public, family.operations)]
    listed = ", ".join(f"`{name}`" for name in names)
    text = " ".join((family.__doc__ or "").split("\n\n")[0].split())
    return f"| {listed} | {_escaped(f'{text}{_unless_rule(family)}')} |"


def _unless_rule(family: type[Family]) -> str:
    """What happens to layers of which only costs and structure are known."""
    if issubclass(family, Rule) or family.layers[0].__module__.startswith("octconvert."):
        return ""
    return " Opened: what it calls takes its place." if family.opened else " Counted; pairs are merged before it."


def _public(operation: str) -> str:
    """`ops.leaky_relu` for keras.src.ops.nn.LeakyRelu; the class's name where no function is called so."""
    name = operation.rsplit(".", 1)[-1]
    function = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return f"ops.{function}" if ".ops." in operation and hasattr(keras.ops, function) else name


def _escaped(text: str) -> str:
    """As Markdown: code in single backquotes, no column ends."""
    return text.replace("``", "`").replace("|", r"\|").replace("->", "→").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
